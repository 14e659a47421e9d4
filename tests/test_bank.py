"""Users trained together are as if each were alone, and as PEFT and torch would train them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT, tiny_lm
from safetensors.torch import load_file

from bench.cost.budget import Budget
from bench.errors import InputError, MethodError, OverBudget
from bench.lm import bank, joint_training, tune
from bench.lm.bank import UserTuning, train_all
from bench.lm.joint_training import JointTraining
from bench.lm.memory import free_bytes, kept_bytes
from bench.lm.model import LM
from bench.lm.multi_lora import Peft, StackedAdapters
from bench.lm.patch import Patch
from bench.lm.response_cache import ResponseCache
from bench.lm.spec import ModelSpec
from bench.lm.tune import Example, Tuning
from bench.types import Message, Request

TARGETS = {
    ("lora", "llama"): ("q_proj", "v_proj"),
    ("lora", "t5"): ("q", "v"),
    ("ia3", "llama"): ("k_proj", "v_proj", "down_proj"),
    ("ia3", "t5"): ("k", "v", "wo"),
}
KINDS = yaml.safe_load((ROOT / "conf" / "method" / "oppu.yaml").read_text(encoding="utf-8"))[
    "method"
]["kinds"]
PEFTS: tuple[Peft, ...] = ("lora", "ia3", "prompt_tuning")


@cache
def calm_lm(family: str) -> LM:
    """A tiny model of its own.

    T5 divides attention by nothing: large random queries would make rounding grow.
    """
    lm = LM(ModelSpec(name="tiny", source=f"tiny:{family}", dtype="float32", device="cpu"))
    for name, module in lm.network.model.named_modules():
        if name.endswith("Attention.q"):
            module.weight.data *= 0.1
    return lm


def adapter(peft: Peft, family: str, **changes: object) -> StackedAdapters:
    """With the rates, decay and clipping that ship."""
    rates = {
        name: KINDS[peft][name]
        for name in ("learning_rate", "weight_decay", "warmup", "max_grad_norm")
    }
    fields = {"targets": TARGETS.get((peft, family), ()), "epochs": 3, "batch": 3} | rates | changes
    return StackedAdapters(peft, Tuning(**fields), virtual_tokens=4)  # type: ignore[arg-type]


def job(number: int, size: int) -> UserTuning:
    """A user with `size` examples of different lengths."""
    words = ["red", "a much longer question about blue", "green?", "and yellow, or rather not"]
    examples = [
        Example(
            Request((Message("user", (f"user {number} asks {words[(number + at) % 4]} {at}",)),)),
            f"answer {at}",
        )
        for at in range(size)
    ]
    return UserTuning(f"user {number}", examples, seed=number)


def difference(one: Patch, two: Patch) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one.tensors, two.tensors, strict=True))


@pytest.mark.parametrize("peft", PEFTS)
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_users_trained_together_are_as_each_alone(family: str, peft: Peft) -> None:
    lm = calm_lm(family)
    jobs = [job(0, 1), job(1, 7), job(2, 3), job(3, 5)]
    how = adapter(peft, family)
    before = {name: value.clone() for name, value in lm.network.model.state_dict().items()}
    together = train_all(lm, jobs, how, Budget(progress=False))
    assert all(
        torch.equal(before[name], value) for name, value in lm.network.model.state_dict().items()
    )
    for own, patch in zip(jobs, together, strict=True):
        [alone] = train_all(lm, [own], how, Budget(progress=False))
        assert difference(patch, alone) < 1e-5, own.name
    same_start = train_all(
        lm, [job(1, 7), replace(job(3, 5), seed=job(1, 7).seed)], how, Budget(progress=False)
    )
    assert difference(*same_start) > 1e-4, "what they learnt differs, not only where they began"


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_the_bank_is_torchs_own_adamw_and_clipping(family: str) -> None:
    lm, jobs, how = calm_lm(family), [job(1, 7), job(2, 4)], adapter("lora", family)
    for own, patch in zip(jobs, train_all(lm, jobs, how, Budget(progress=False)), strict=True):
        alone = tune.tune(
            lm, own.examples, replace(how.tuning, seed=own.seed), Budget(progress=False)
        )
        assert difference(patch, alone) < 1e-5


def test_small_passes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lm, jobs, how = tiny_lm("llama"), [job(1, 7), job(2, 4)], adapter("lora", "llama")
    large = train_all(lm, jobs, how, Budget(progress=False))
    calls = []
    monkeypatch.setattr(joint_training, "PASS_SHARE", 0.0)  # one row a pass
    counted = joint_training.answer_losses
    monkeypatch.setattr(
        joint_training,
        "answer_losses",
        lambda lm, rows: calls.append(len(rows)) or counted(lm, rows),
    )
    small = train_all(lm, jobs, how, Budget(progress=False))
    assert set(calls) == {1}
    assert max(difference(one, two) for one, two in zip(large, small, strict=True)) < 1e-5


def test_a_gradient_never_crosses_to_another_user() -> None:
    lm, how = tiny_lm("llama"), adapter("lora", "llama")
    read = [[bank.encoded(lm, one, how) for one in job(number, 2).examples] for number in (1, 2)]
    group = JointTraining(lm.network, read, [1, 2], how)
    group._passes([(0, row) for row in read[0]], 1000)
    for tensor in group.weights.values():
        assert tensor.grad is not None and not tensor.grad[1].any()
    assert any(tensor.grad[0].any() for tensor in group.weights.values() if tensor.grad is not None)


def test_a_step_that_does_not_fit_is_done_in_smaller_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm, jobs, how = tiny_lm("llama"), [job(1, 5), job(2, 4)], adapter("lora", "llama")
    large = train_all(lm, jobs, how, Budget(progress=False))
    compute = joint_training.answer_losses

    def scarce(lm: LM, rows: list[bank.Row]) -> torch.Tensor:
        if len(rows) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return compute(lm, rows)

    monkeypatch.setattr(joint_training, "answer_losses", scarce)
    small = train_all(lm, jobs, how, Budget(progress=False))
    assert max(difference(one, two) for one, two in zip(large, small, strict=True)) < 1e-5
    monkeypatch.setattr(
        joint_training, "answer_losses", lambda lm, rows: scarce(lm, [*rows, *rows])
    )
    monkeypatch.setattr(JointTraining, "_bytes_per_token", lambda group: 1.0)
    with pytest.raises(MemoryError, match="one example alone"):
        train_all(lm, jobs, how, Budget(progress=False))


@pytest.mark.parametrize("peft", PEFTS)
def test_a_trained_patch_answers_what_it_learnt(peft: Peft) -> None:
    lm = tiny_lm("llama")
    own = job(1, 3)
    how = adapter(peft, "llama", epochs=40, learning_rate=0.05, weight_decay=0.0)
    [patch] = train_all(lm, [own], how, Budget(progress=False))

    def loss(patches: tuple[Patch, ...]) -> float:
        asked = [replace(one.request, patches=patches) for one in own.examples]
        scored = dict(lm.likelihood(asked, [[one.answer] for one in own.examples]))
        return -sum(scored[index][0][0] for index in range(len(asked)))

    assert loss((patch,)) < 0.7 * loss(())


def test_groups_fit_in_memory_and_finished_ones_are_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = LM(
        ModelSpec(name="tiny", source="tiny:llama", dtype="float32", device="cpu"),
        cache=ResponseCache(tmp_path / "answers.sqlite"),
    )
    jobs, how = [job(0, 2), job(1, 6), job(2, 4)], adapter("lora", "llama")
    whole = train_all(lm, jobs, how, Budget(progress=False))
    monkeypatch.setattr(bank, "free_bytes", lambda device: 0)
    trained: list[str] = []
    train = JointTraining.train

    def counted(
        group: JointTraining, budget: Budget, advance: Callable[[int], None]
    ) -> list[dict[str, torch.Tensor]]:
        [rows] = group.read
        trained.append(sizes[len(rows)])
        if len(trained) == 3:
            raise KeyboardInterrupt
        return train(group, budget, advance)

    sizes = {len(own.examples): own.name for own in jobs}
    monkeypatch.setattr(JointTraining, "train", counted)
    with pytest.raises(KeyboardInterrupt):
        train_all(lm, jobs, replace(how, virtual_tokens=5), Budget(progress=False))
    assert trained == ["user 1", "user 2", "user 0"]  # the longest first
    trained.clear()
    again = train_all(lm, jobs, replace(how, virtual_tokens=5), Budget(progress=False))
    assert trained == ["user 0"]
    assert max(difference(one, two) for one, two in zip(whole, again, strict=True)) < 1e-5
    # of both adapters
    assert len([path for path in tmp_path.glob("*.safetensors") if load_file(path)]) == 6


def test_what_a_pass_keeps_for_its_gradient_is_measured_without_the_weights() -> None:
    layer, x = torch.nn.Linear(8, 4), torch.ones(5, 8, requires_grad=True)

    def forward() -> torch.Tensor:
        return layer(x).tanh().sum()

    # what the layer read, and tanh's output
    assert kept_bytes(forward, layer.parameters()) == 4 * (5 * 8 + 5 * 4)
    assert kept_bytes(forward, []) == 4 * (5 * 8 + 5 * 4 + 4 * 8)
    assert 0 < free_bytes(torch.device("cpu")) < 2**50


def test_as_many_users_at_once_as_their_adapters_leave_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm, how = tiny_lm("llama"), adapter("lora", "llama")
    one = sum(tensor.nbytes for tensor in bank.start(lm.network, how, [0]).values())
    monkeypatch.setattr(bank, "free_bytes", lambda device: int(2.5 * 4 * one / bank.STATE_SHARE))
    read = {user: [([1] * length, [2])] for user, length in enumerate((3, 9, 5, 7, 1))}
    assert bank.grouped(lm, read, how) == [[1, 3], [2, 0], [4]]  # the most to read first


def test_what_cannot_be_trained_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_lm("llama")
    with pytest.raises(InputError, match="user 5: no examples"):
        train_all(lm, [UserTuning("user 5", [])], adapter("lora", "llama"), Budget(progress=False))
    with pytest.raises(InputError, match="no module named nothing"):
        train_all(
            lm, [job(1, 1)], adapter("ia3", "llama", targets=("nothing",)), Budget(progress=False)
        )
    for peft in PEFTS:
        with pytest.raises(MethodError, match="user 1: training changed nothing"):
            train_all(
                lm, [job(1, 2)], adapter(peft, "llama", learning_rate=0.0), Budget(progress=False)
            )
    with (
        monkeypatch.context() as patch,
        pytest.raises(MethodError, match="user 1: training changed nothing"),
    ):
        losses = joint_training.answer_losses  # no gradient: of a LoRA, decay still moves A
        patch.setattr(joint_training, "answer_losses", lambda lm, rows: 0 * losses(lm, rows))
        train_all(lm, [job(1, 2)], adapter("lora", "llama"), Budget(progress=False))
    with pytest.raises(MethodError, match="user 1: training diverged"):
        train_all(
            lm,
            [job(1, 4)],
            adapter("lora", "llama", learning_rate=float("nan")),
            Budget(progress=False),
        )
    with pytest.raises(OverBudget):
        train_all(lm, [job(1, 2)], adapter("lora", "llama"), Budget(1e-9, progress=False))

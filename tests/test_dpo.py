"""DPO starts at the reference, which is the base with the adapter off and in four bits,
and learns from its pairs.
"""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cells
import pytest
import torch
from conftest import tiny_lm
from trained import SMALL, TASK, budget, fields, people, weights

from bench.errors import MethodError, OverBudget
from bench.lm.model import LM
from bench.lm.patch import LowRank, Patch
from bench.lm.spec import ModelSpec
from bench.lm.trainer import Training, nf4_copy
from bench.types import Completion, Message, Request
from methods.dpo import preference
from methods.dpo.dpo import DPO, RankedPair
from methods.dpo.preference import Preference

LN2 = math.log(2)


def dpo(**changes: Any) -> DPO:
    return DPO(**fields("dpo", **{"training": SMALL, "max_length": 4096} | changes))


ASKED = [Request((Message("user", (f"question {n}",)),)) for n in range(6)]


def trained(lm: LM, **changes: Any) -> tuple[Patch, dict[str, Any]]:
    """Six separable pairs: after any prompt `yes` is better than `no`."""
    pairs = [
        Preference(
            lm.network.encode(request).ids,
            lm.network.answer_ids("yes"),
            lm.network.answer_ids("no"),
        )
        for request in ASKED
    ]
    options = {"beta": 0.1, "disable_dropout": True, "quantize": "nf4", "max_length": 64} | {
        name: changes.pop(name) for name in list(changes) if name in preference.DPOTuning.__slots__
    }
    training = Training.of(fields("dpo", training=SMALL | changes)["training"], seed=0)
    tuning = preference.DPOTuning(**options)  # type: ignore[arg-type]
    trained = preference.train(lm, pairs, tuning, training, budget())
    return trained.patch, trained.facts


@pytest.mark.parametrize("quantize", ["nf4", "none"])
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2"])
def test_it_starts_at_ln_2_and_the_margin_rises(family: str, quantize: str) -> None:
    lm = tiny_lm(family)
    before = weights(lm)
    patch, facts = trained(lm, quantize=quantize, epochs=4)
    assert weights(lm) == before
    assert facts["step0_loss"] == pytest.approx(LN2, abs=1e-3)
    assert facts["margin_first"] == pytest.approx(0, abs=1e-3)
    assert facts["margin_last"] > 0.1 and facts["loss_last"] < LN2
    assert facts["reference_drift"] < 1e-4 and patch.changes
    assert (facts["nf4_layers"] > 0) == (quantize == "nf4")


@pytest.mark.parametrize("quantize", ["nf4", "none"])
def test_the_harness_answers_as_the_trained_policy(quantize: str) -> None:
    """The patch raises the chosen answers on the unquantized model that the harness asks."""
    lm = tiny_lm()
    patch, _ = trained(lm, quantize=quantize, epochs=6)

    def margin(patches: tuple[Patch, ...]) -> float:
        asked = [Request(request.messages, patches) for request in ASKED]
        return sum(
            yes - no
            for _, [(yes, _), (no, _)] in lm.likelihood(asked, [["yes", "no"]] * len(asked))
        )

    assert margin((patch,)) > margin(()) + 6


def test_checkpointing_changes_no_patch_on_four_bits() -> None:
    plain, saved = (trained(tiny_lm(), checkpointing=value)[0] for value in (False, True))
    for name, low in plain.weights.items():
        assert torch.allclose(low.b, saved.weights[name].b, atol=1e-6), name


def test_a_reference_with_the_adapter_on_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "trl.trainer.dpo_trainer.use_adapter", lambda *_args, **_named: nullcontext()
    )
    with pytest.raises(
        MethodError, match=r"the reference policy moved by .* nats while DPO trained"
    ):
        trained(tiny_lm(), epochs=4)


def test_a_policy_that_does_not_start_at_the_reference_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lora = Training.lora

    def moved(self: Training, lm: LM) -> Any:
        config = lora(self, lm)
        config.init_lora_weights = False
        return config

    monkeypatch.setattr(Training, "lora", moved)
    with pytest.raises(MethodError, match=r"DPO began with a loss of .* instead of ln 2"):
        trained(tiny_lm())


def test_dropout_is_off_unless_asked_for() -> None:
    lm = tiny_lm()
    ids = {
        (disable, dropout): trained(lm, disable_dropout=disable, dropout=dropout)[0].id
        for disable in (True, False)
        for dropout in (0.0, 0.5)
    }
    assert ids[True, 0.0] == ids[True, 0.5] == ids[False, 0.0] != ids[False, 0.5]


# Four bits


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2"])
def test_four_bits_are_near_the_weights_of_every_layer(family: str) -> None:
    """NF4's widest step is .304 of a block's largest weight:
    no weight is further off than half of it.
    """
    import bitsandbytes

    lm = tiny_lm(family)
    before = weights(lm)
    quantized = nf4_copy(lm)
    model, count = quantized.model, quantized.layers
    modules = dict(lm.network.model.named_modules())
    layers = {
        name: one
        for name, one in model.named_modules()
        if isinstance(one, bitsandbytes.nn.Linear4bit)
    }
    assert len(layers) == count > 0
    for name, layer in layers.items():
        found = bitsandbytes.functional.dequantize_4bit(
            layer.weight.data, layer.weight.quant_state
        ).float()
        blocks = modules[name].weight.reshape(-1, 64)
        error = (found.reshape(-1, 64) - blocks).abs().amax(1) / blocks.abs().amax(1)
        assert 0 < float(error.max()) < 0.153, name
    same = [name for name, one in model.named_parameters() if one.dtype == torch.float32]
    assert len(same) > 0 and weights(lm) == before
    assert all(
        torch.equal(model.get_parameter(name), lm.network.model.get_parameter(name))
        for name in same
    )


def test_on_an_adapted_base_it_trains_on_the_adapted_weights() -> None:
    lm = LM(
        ModelSpec(
            name="own", source="tiny:llama", max_prompt_tokens=8000, dtype="float32", device="cpu"
        )
    )
    name = lm.network.mlp_outputs()[1]
    shape = lm.network.model.get_submodule(name).weight.shape
    lm.adopt(Patch({name: LowRank(torch.ones(1, shape[1]), torch.ones(shape[0], 1))}), "base")
    before = weights(lm)
    plain, adapted = trained(tiny_lm())[0], trained(lm)[0]
    assert weights(lm) == before and plain.id != adapted.id
    model = nf4_copy(lm).model
    import bitsandbytes

    layer = model.get_submodule(name)
    found = bitsandbytes.functional.dequantize_4bit(
        layer.weight.data, layer.weight.quant_state
    ).float()
    assert float((found - lm.network.model.get_submodule(name).weight).mean().abs()) < 0.1


# Pairs


def answering(
    lm: LM, monkeypatch: pytest.MonkeyPatch, neutral: list[str], personal: list[str] | None = None
) -> None:
    """The model gives these answers to neutral prompts, and these to personal ones."""

    def answers(requests: Any, **_: Any) -> list[Completion]:
        impersonal = ["impersonal" in request.messages[0].text for request in requests]
        assert all(impersonal) or not any(impersonal)
        return [Completion(text, 1, 1) for text in (neutral if all(impersonal) else personal or [])]

    monkeypatch.setattr(lm, "answers", answers)


def test_the_gold_is_preferred_to_the_neutral_answer_or_to_another_label(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm, users = tiny_lm(), people(4)
    asked = [(user.queries[0], user.history) for user in users]
    answering(lm, monkeypatch, ["3", " 2 ", "", "1"])
    ranked = dpo()._ranked(lm, TASK, asked, budget())
    assert [pair.chosen for pair in ranked.pairs] == ["1", "2", "3", "4"]
    rejected = [pair.rejected for pair in ranked.pairs]
    assert rejected[0] == "3" and rejected[3] == "1"
    assert rejected[1] in {"1", "3", "4", "5"} and rejected[2] in {"1", "2", "4", "5"}
    assert (ranked.dropped, ranked.replaced) == (0, 2)


def test_pairs_of_its_own_read_no_gold_and_drop_equal_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm, users = tiny_lm(), people(4)
    asked = [(user.hidden().queries[0], user.history) for user in users]
    answering(lm, monkeypatch, ["3", "2", "", "1"], ["4", " 2", "5", ""])
    ranked = dpo(pairs="self")._ranked(lm, TASK, asked, budget())
    assert [(pair.chosen, pair.rejected) for pair in ranked.pairs] == [("4", "3")]
    assert (ranked.dropped, ranked.replaced) == (3, 0)
    answering(lm, monkeypatch, ["3"] * 4, ["3"] * 4)
    with pytest.raises(MethodError, match="all 4 pairs of lamp3 are equal or empty"):
        dpo(pairs="self").fit(lm, TASK, users, budget())


def test_a_pair_that_is_too_long_loses_history_and_not_its_question_or_answer() -> None:
    lm, method, [user] = tiny_lm(), dpo(), people(1)
    pair = RankedPair(user.hidden().queries[0], user.history, "5", "1")
    tokens = method._tokens(lm, TASK, pair)
    whole = tokens.row
    assert not tokens.shortened
    tokens = dpo(max_length=len(whole) - 9)._tokens(lm, TASK, pair)
    short = tokens.row
    assert tokens.shortened and len(whole) - 30 < len(short) <= len(whole) - 9
    assert (short.chosen, short.rejected) == (whole.chosen, whole.rejected)
    assert pair.query.text in lm.network.tokenizer.decode(short.prompt)


def test_a_question_that_leaves_no_room_is_refused_before_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preference, "train", lambda *_: pytest.fail("it trained"))
    with pytest.raises(
        MethodError, match=r"lamp3 question q\d: without any history .*=200: raise it"
    ):
        dpo(max_length=200).fit(tiny_lm(), TASK, people(2), budget())


def test_an_encoder_decoder_model_is_refused_and_told_why() -> None:
    with pytest.raises(
        MethodError, match=r"DPOTrainer trains no others \(method=pooled and method=aloe do\)"
    ):
        dpo().fit(tiny_lm("t5"), TASK, people(2), budget())


# Budget, seeds, command line


def test_a_fraction_asks_and_learns_less() -> None:
    facts = dpo(fraction=0.5).fit(tiny_lm(), TASK, people(8), budget()).facts
    assert facts["pairs_asked"] == facts["examples_used"] == 4 and facts["steps"] == 1


def test_past_the_budget_it_keeps_what_it_has_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    lm, users = tiny_lm(), people(8)
    answering(lm, monkeypatch, ["9"] * 8)
    facts = dpo(training=SMALL | {"warmup": 0.0}).fit(lm, TASK, users, budget(minutes=1e-6)).facts
    assert (facts["steps"], facts["steps_planned"], facts["examples_used"]) == (1, 2, 4) and facts[
        "stopped_by_budget"
    ]


def test_a_step_at_rate_zero_is_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    lm, users = tiny_lm(), people(8)
    answering(lm, monkeypatch, ["9"] * 8)
    with pytest.raises(
        MethodError, match="training changed nothing in 1 of 2 steps: give it more time"
    ):
        dpo(training=SMALL | {"warmup": 0.5}).fit(lm, TASK, users, budget(minutes=1e-6))


def test_generating_the_pairs_counts_in_the_budget() -> None:
    spec = ModelSpec(
        name="own", source="tiny:llama", max_prompt_tokens=8000, dtype="float32", device="cpu"
    )
    limited = budget(minutes=1e-6)
    with pytest.raises(OverBudget, match="pairs: past its budget"):
        dpo().fit(LM(spec, budget=limited), TASK, people(2), limited)


def test_same_seed_same_patch_whatever_was_drawn_before() -> None:
    lm, users, ids = tiny_lm(), people(6), []
    for seed in (0, 0, 1):
        torch.rand(7)
        ids.append(dpo(seed=seed).fit(lm, TASK, users, budget()).patches[0].id)
    one, two, other = ids
    assert one == two != other


def test_a_cell_from_the_command_line(tmp_path: Path) -> None:
    words = (
        *cells.TINY,
        "method=dpo",
        "limit=2",
        "protocol.group_size=3",
        "method.max_length=8192",
        "method.training.rank=4",
    )
    code, output = cells.run(*words, folder=tmp_path)
    assert code == 0, output
    [path] = tmp_path.glob("runs/lamp3/dpo/*/record.json")
    record = json.loads(path.read_text())
    assert record["status"] == "ok" and record["counts"]["patches"] == 1
    assert (
        record["facts"]["step0_loss"] == pytest.approx(LN2, abs=1e-3)
        and record["facts"]["nf4_layers"] == 4
    )
    code, output = cells.run(*words, "model.source=tiny:t5", folder=tmp_path)
    assert code == 1 and "encoder-decoder" in output

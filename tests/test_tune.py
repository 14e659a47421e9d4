"""Tuning learns what it is shown, shares prefixes without changing the loss,
and touches nothing but the patch.
"""

from __future__ import annotations

import re

import pytest
import torch
import yaml
from conftest import FAMILIES, ROOT, task_named, tiny_lm

from bench.cost.budget import Budget
from bench.errors import InputError
from bench.lm import bank, base_examples, joint_training, tune
from bench.lm.base import BaseSpec
from bench.lm.loss import total_loss
from bench.lm.multi_lora import StackedAdapters
from bench.lm.patch import LowRank, Patch
from bench.lm.prefix import MIN_SHARED, shared_prefix
from bench.lm.trainer import Training
from bench.lm.tune import Example, Tuning
from bench.types import Item, Message, Query, Request, User

TARGETS = {"t5": ("q", "v")}


def example(question: str, answer: str, group: str = "") -> Example:
    shared = (
        "This is what the user wrote before, at some length, so that it pays to read it once. " * 2
    )
    return Example(Request((Message("user", (shared + question,)),)), answer, group)


def tuning(family: str, **changes: object) -> Tuning:
    return Tuning(
        **{
            "targets": TARGETS.get(family, Tuning.targets),
            "learning_rate": 0.03,
            "epochs": 30,
            "batch": 4,
        }
        | changes
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES)
def test_tuning_learns_what_it_is_shown_and_the_base_stays(family: str) -> None:
    lm = tiny_lm(family)
    examples = [example("red?", "yes"), example("blue?", "no")]
    before = {name: value.clone() for name, value in lm.network.model.state_dict().items()}
    patch = tune.tune(lm, examples, tuning(family), Budget(progress=False))
    assert all(
        torch.equal(before[name], value) for name, value in lm.network.model.state_dict().items()
    )

    def loss(patches: tuple[Patch, ...]) -> float:
        asked = [Request(one.request.messages, patches) for one in examples]
        scored = dict(lm.likelihood(asked, [[one.answer] for one in examples]))
        return -sum(scored[index][0][0] for index in range(2))

    assert loss((patch,)) < 0.5 * loss(())


def test_a_training_records_the_loss_of_each_step_before_it() -> None:
    """The first is the plain model's own likelihood of the answers, and learning lowers it."""
    lm = tiny_lm("llama")
    examples = [example("red?", "yes"), example("blue?", "no")]
    tuned = tune.train(lm, examples, tuning("llama"), Budget(progress=False))

    scored = dict(
        lm.likelihood([one.request for one in examples], [[one.answer] for one in examples])
    )
    tokens = sum(len(lm.network.answer_ids(one.answer)) for one in examples)
    plain = -sum(scored[index][0][0] for index in range(2)) / tokens

    assert len(tuned.losses) == tuned.spent.steps == 30
    assert tuned.losses[0] == pytest.approx(plain, rel=1e-4)
    assert tuned.losses[-1] < 0.5 * tuned.losses[0]


def test_a_shared_prefix_changes_neither_loss_nor_gradient() -> None:
    for family in ("llama", "mistral", "qwen2"):
        lm = tiny_lm(family)
        shown = (
            example("red?", "yes"),
            example("blue, or a longer question?", "no"),
            example("g", "perhaps"),
        )
        rows = [
            (lm.network.encode(one.request).ids, lm.network.answer_ids(one.answer)) for one in shown
        ]
        assert shared_prefix([prompt for prompt, _ in rows]) > MIN_SHARED
        factors = tune.fresh(lm.network, Tuning())
        for pair in factors.values():
            pair.b.data.normal_(generator=torch.Generator().manual_seed(1))
        found = []
        for batches in ([rows], [[row] for row in rows]):
            with tune._training(lm.network.model, factors, 1.0):
                total = sum(total_loss(lm.network, batch) for batch in batches)
                total.backward()  # type: ignore[union-attr]
            found.append(
                (float(total.detach()), [pair.a.grad.clone() for pair in factors.values()])
            )  # type: ignore[union-attr]
            for pair in factors.values():
                pair.a.grad = pair.b.grad = None
        assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
        for one, other in zip(found[0][1], found[1][1], strict=True):
            assert torch.allclose(one, other, rtol=1e-3, atol=1e-3)


def test_the_loss_is_on_the_answers_tokens_alone() -> None:
    lm = tiny_lm("llama")
    one = example("red?", "yes")
    prompt, answer = lm.network.encode(one.request).ids, lm.network.answer_ids("yes")
    logits = (
        lm.network.model(torch.tensor([[*prompt, *answer]]))
        .logits[0, len(prompt) - 1 : -1]
        .log_softmax(-1)
    )
    expected = -logits[torch.arange(len(answer)), torch.tensor(answer)].sum()
    assert answer[-1] == lm.network.end
    assert float(total_loss(lm.network, [(prompt, answer)])) == pytest.approx(
        float(expected), rel=1e-5
    )


def test_a_fresh_adapter_is_zero_and_a_trained_one_is_not() -> None:
    lm = tiny_lm("llama")
    fresh = tune.fresh(lm.network, Tuning())
    assert all(
        float(pair.b.abs().max()) == 0 and float(pair.a.abs().max()) > 0 for pair in fresh.values()
    )
    patch = tune.tune(
        lm, [example("red?", "yes")], tuning("llama", epochs=1), Budget(progress=False)
    )
    assert all(float(low.b.abs().max()) > 0 for low in patch.weights.values())


def test_tuning_is_the_same_for_the_same_seed() -> None:
    lm = tiny_lm("llama")
    examples = [
        example(f"q{index}", "yes" if index % 2 else "no", f"g{index // 3}") for index in range(9)
    ]
    one, two, other = (
        tune.tune(lm, examples, tuning("llama", epochs=2, seed=seed), Budget(progress=False))
        for seed in (1, 1, 2)
    )
    assert one.id == two.id != other.id


def test_the_rate_climbs_over_the_warm_up_and_then_falls() -> None:
    rate = tune.schedule(10, 0.3)
    assert [rate(step) for step in range(10)] == pytest.approx(
        [1 / 3, 2 / 3, 1, *(left / 7 for left in range(7, 0, -1))]
    )
    assert tune.schedule(10, 0.0)(0) == 1


def test_a_training_warms_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """In every kind of it: a base's and a pooled LoRA's, that of OPPU's users,
    and those of the libraries.
    """
    asked: list[float] = []
    schedule = tune.schedule
    for module in (tune, joint_training):
        monkeypatch.setattr(
            module, "schedule", lambda steps, share: asked.append(share) or schedule(steps, share)
        )
    lm, examples = tiny_lm(), [example("red?", "yes"), example("blue?", "no")]
    how = tuning("llama", warmup=0.4, epochs=4, batch=1)
    slow = tune.tune(lm, examples, how, Budget(progress=False))
    bank.train_all(
        lm,
        [bank.UserTuning("u", examples, 0)],
        StackedAdapters("lora", how),
        Budget(progress=False),
    )
    assert asked == [0.4, 0.4]
    assert (
        slow.id
        != tune.tune(
            lm, examples, tuning("llama", warmup=0.0, epochs=4, batch=1), Budget(progress=False)
        ).id
    )
    shipped = yaml.safe_load((ROOT / "conf" / "method" / "aloe.yaml").read_text())["training"]
    libraries = Training.of(shipped | {"warmup": 0.25, "batch": 4, "epochs": 2}, 0)
    told = libraries.arguments(lm, "nowhere", 40)
    assert told["warmup_steps"] == 5  # of twenty


def test_wrong_input_is_named() -> None:
    lm = tiny_lm("llama")
    with pytest.raises(InputError, match="no examples"):
        tune.tune(lm, [], Tuning(), Budget(progress=False))
    with pytest.raises(InputError, match="no module named nothing"):
        tune.tune(lm, [example("a", "b")], Tuning(targets=("nothing",)), Budget(progress=False))


def people(task_name: str, count: int = 12) -> list[User]:
    task = task_named(task_name)
    users = []
    for person in range(count):
        items = tuple(
            Item(
                f"{person}-{index}",
                {"text": f"review {person} {index}", "score": str(1 + (person + index) % 5)},
            )
            for index in range(9)
        )
        query = Query(
            f"{person}",
            task.input_template.format(text=f"asked {person}"),
            f"asked {person}",
            str(1 + person % 5),
        )
        users.append(User(str(person), items, (query,)))
    return users


def test_no_training_prompt_shows_the_item_it_asks_for() -> None:
    found = base_examples.examples(
        tiny_lm(), task_named("lamp3"), people("lamp3"), BaseSpec(no_history_share=0)
    )
    assert len(found) > 40
    for one in found:
        prompt = one.request.messages[0].text
        asked = prompt.split("review by the user: ")[1].split("\n")[0]
        assert f'"{asked}"' not in prompt
        owner = asked.split(" ")[1]
        shown = [line for line in prompt.splitlines() if "rating score for product" in line]
        assert shown and all(f'"review {owner} ' in line for line in shown), (
            "only the user's own items are shown"
        )


def authors(count: int = 8) -> list[User]:
    task, users = task_named("lamp1"), []
    for person in range(count):
        items = tuple(
            Item(f"{person}-{place}", {"title": f"paper {person} {place}", "abstract": ""})
            for place in range(9)
        )
        text = task.input_template.format(
            title=f"asked {person}", ref1=f"real {person} a", ref2=f"real {person} b"
        )
        query = Query(str(person), text, task.query_text(text), f"[{1 + person % 2}]")
        users.append(User(str(person), items, (query,)))
    return users


def test_citations_are_asked_in_both_orders_with_a_hidden_paper_of_the_authors_own() -> None:
    spec = BaseSpec(no_history_share=0, repeats=1)
    found = base_examples.examples(tiny_lm(), task_named("lamp1"), authors(), spec)
    assert 8 * 2 * (1 + 2) <= len(found) <= 8 * 2 * (1 + spec.leave_out // 2)
    asked: dict[tuple[str, frozenset[str]], set[tuple[str, str]]] = {}
    for one in found:
        prompt = one.request.messages[0].text
        title, *options = re.findall(
            r'"(asked .*?|real .*?|paper .*?)"', prompt[prompt.index("Now, given") :]
        )
        writer = title.split()[1]
        right = options[task_named("lamp1").labels.index(one.answer)].split()
        if right[0] == "real":
            assert right[1:] == [writer, "ba"[int(writer) % 2 == 0]]
        else:
            assert right[:2] == [
                "paper",
                writer,
            ], "the reference is the author's own, and the other one is not"
            assert [option.split()[1] == writer for option in options].count(True) == 1
        lines = [line for line in prompt.splitlines() if line[:1].isdigit()]
        assert lines and not any(" ".join(right) in line for line in lines), (
            "the prompt does not show it"
        )
        asked.setdefault((title, frozenset(options)), set()).add((one.answer, " ".join(right)))
    assert all(
        len({answer for answer, _ in both}) == 2 and len({right for _, right in both}) == 1
        for both in asked.values()
    )


def test_citations_are_asked_once_and_as_they_stand_where_no_history_is_asked_about() -> None:
    spec = BaseSpec(
        no_history_share=0, leave_out=0, repeats=1, balance=1, max_examples={"classification": None}
    )
    found = base_examples.examples(tiny_lm(), task_named("lamp1"), authors(), spec)
    options = [re.findall(r'"(real .*?)"', one.request.messages[0].text) for one in found]
    asked = [
        (f"[{1 + person % 2}]", [f"real {person} {side}" for side in "ab"]) for person in range(8)
    ]
    assert sorted(zip((one.answer for one in found), options, strict=True)) == sorted(asked)


def test_one_task_can_take_more_examples_and_leaves_the_keys_of_others_alone() -> None:
    most = {"classification": 20, "rating": 20, "generation": 20}
    spec, own = BaseSpec(max_examples=most), BaseSpec(max_examples=most, more={"lamp1": 3})
    counts = [
        len(base_examples.examples(tiny_lm(), task_named("lamp1"), authors(), one))
        for one in (spec, own)
    ]
    assert counts == [20, 60]
    model = {"name": "m", "weights": "w", "chat": True, "max_prompt_tokens": 1, "history_tokens": 1}
    same = [
        spec.key(model, task_named(name), "d") == own.key(model, task_named(name), "d")
        for name in ("lamp2", "lamp1")
    ]
    assert same == [True, False]


def test_balance_evens_out_the_labels() -> None:
    skewed = []
    for user in people("lamp3"):
        items = tuple(
            Item(one.id, {**one.fields, "score": "5" if place else "1"})
            for place, one in enumerate(user.history)
        )
        skewed.append(User(user.id, items, user.queries))

    def share(balance: float) -> float:
        spec = BaseSpec(balance=balance, no_history_share=0, max_examples={"rating": 60})
        answers = [
            one.answer
            for one in base_examples.examples(tiny_lm(), task_named("lamp3"), skewed, spec)
        ]
        return answers.count("5") / len(answers)

    assert share(1) > share(0.5) > share(0)


def test_the_key_of_a_base_follows_prompts_data_and_recipe() -> None:
    model = {"name": "m", "weights": "w", "chat": True, "max_prompt_tokens": 1, "history_tokens": 1}
    task, spec = task_named("lamp3"), BaseSpec()
    key = spec.key(model, task, "data")
    assert key == BaseSpec(retrain=True).key(model, task, "data")
    assert (
        len(
            {
                key,
                spec.key(model, task, "other"),
                BaseSpec(seed=1).key(model, task, "data"),
                spec.key(model, task_named("lamp2"), "data"),
                BaseSpec(n_items=3).key(model, task, "data"),
                spec.key(model | {"weights": "v"}, task, "data"),
            }
        )
        == 6
    )


def test_a_patch_made_by_tuning_keeps_its_effect_when_merged() -> None:
    lm = tiny_lm("llama")
    patch = tune.tune(
        lm, [example("red?", "yes")], tuning("llama", epochs=3), Budget(progress=False)
    )
    assert set(patch.weights) == {
        f"model.layers.{layer}.self_attn.{name}"
        for layer in range(4)
        for name in ("q_proj", "v_proj")
    }
    assert all(isinstance(low, LowRank) and low.a.shape[0] == 8 for low in patch.weights.values())

"""CHAMELEON's steps on a tiny model, and the truths behind them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from conftest import task_named, tiny_lm

from bench.budget import Budget
from bench.data.retrieval import PCASelection
from bench.types import Item, MethodError, Query, Request, User
from methods.chameleon import insight, pairs
from methods.chameleon.insight import Insight
from methods.chameleon.method import Chameleon
from methods.chameleon.pairs import Question
from methods.instruct import Instruct

SELECT = PCASelection(n_items=4, embedder="hash")
FAST = {"epochs": 20, "restarts": 2, "folds": 2}
METHOD = Chameleon(SELECT, ccs=FAST, min_pairs=4, require_below_null=False, n_layers=1)
TASK = task_named("lamp3")


def people(count: int = 10) -> list[User]:
    return [
        User(
            f"u{n}",
            tuple(
                Item(f"{n}-{i}", {"text": f"thing {n} number {i} is fine", "score": str(1 + (n + i) % 5)})
                for i in range(6)
            ),
            (Query(f"q{n}", f"review: asked {n}", f"asked {n}", str(1 + n % 5)),),
            f"u{n}",
        )
        for n in range(count)
    ]  # fmt: skip


def budget() -> Budget:
    return Budget(progress=False)


def test_equal_pairs_are_dropped_and_counted(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from bench.types import Completion

    lm = tiny_lm()
    answers = ["5", " 5 ", "Four", "four", "4", "3", "", "2"]
    monkeypatch.setattr(lm, "answers", lambda requests, **_: [Completion(text, 1, 1) for text in answers])
    questions = [Question(user.queries[0], user.history, Insight("a", "b"), user.id) for user in people(4)]
    made = pairs.make(lm, TASK, questions, budget(), verbatim=False)
    assert [(pair.personal, pair.neutral) for pair in made.kept] == [("4", "3")]
    assert (len(made.equal), len(made.empty)) == (2, 1)


def test_no_gold_is_read() -> None:
    """Golds shuffled or gone: the same personalization."""
    lm, users = tiny_lm(), people()
    plain = METHOD.fit(lm, TASK, users, budget())
    hidden = METHOD.fit(lm, TASK, [user.hidden() for user in users], budget())
    assert plain.patches[0].id == hidden.patches[0].id and plain.facts == hidden.facts


def test_the_edit_is_the_only_difference_to_the_baseline() -> None:
    lm, users = tiny_lm(), people()
    shared = METHOD.fit(lm, TASK, users, budget())
    mine = METHOD.adapt(lm, TASK, users, shared, budget())
    theirs = Instruct(SELECT).adapt(lm, TASK, users, shared, budget())
    for user, one, other in zip(users, mine, theirs, strict=True):
        edited = METHOD.request(TASK, user, user.queries[0], one)
        assert replace(edited, patches=()) == Instruct(SELECT).request(TASK, user, user.queries[0], other)
        assert edited.patches == shared.patches != ()


def test_alpha_zero_and_no_layer_leave_the_model_alone() -> None:
    lm, users = tiny_lm(), people()
    asked = [["1", "5"]]
    [(_, plain)] = lm.likelihood([Request(TASK.render(users[0].queries[0], ()))], asked)
    shared = replace(METHOD, alpha_p=0.0, alpha_n=0.0).fit(lm, TASK, users, budget())
    [(_, same)] = lm.likelihood([Request(TASK.render(users[0].queries[0], ()), shared.patches)], asked)
    assert [total for total, _ in same] == [total for total, _ in plain]
    assert replace(METHOD, n_layers=0).fit(lm, TASK, users, budget()).patches == ()


def test_halves_of_the_edit_are_what_they_say() -> None:
    """P only doubles the theta_P component of the MLP's output; N only removes theta_N's."""
    lm, users = tiny_lm(), people()
    for half in ("personalized", "neutral"):
        shared = replace(METHOD, edit=half).fit(lm, TASK, users, budget())
        [(_, low)] = shared.patches[0].weights.items()
        change = low.b @ low.a
        assert torch.linalg.matrix_rank(change, rtol=1e-4) == 1
    both = METHOD.fit(lm, TASK, users, budget())
    [(_, low)] = both.patches[0].weights.items()
    assert torch.linalg.matrix_rank(low.b @ low.a, rtol=1e-4) == 2


@pytest.mark.parametrize("control", ["random_directions", "mean_activation", "rematched_pairs"])
def test_a_control_edits_the_same_layers_otherwise(control: str) -> None:
    lm, users = tiny_lm(), people()
    real = METHOD.fit(lm, TASK, users, budget())
    other = replace(METHOD, control=control).fit(lm, TASK, users, budget())
    assert other.facts["layers"] == real.facts["layers"]
    assert set(other.patches[0].weights) == set(real.patches[0].weights)
    if control != "mean_activation":
        assert other.patches[0].id != real.patches[0].id
    if control == "random_directions":
        assert (
            replace(METHOD, control=control, draw=1).fit(lm, TASK, users, budget()).patches[0].id != other.patches[0].id
        )


def test_too_few_pairs_fail_the_cell_and_say_what_to_do() -> None:
    with pytest.raises(MethodError, match=r"only \d+ of 3 pairs differ, fewer than min_pairs=16: take more users"):
        replace(METHOD, min_pairs=16).fit(tiny_lm(), TASK, people(3), budget())


def test_user_mode_edits_each_user_from_their_own_history() -> None:
    lm, users = tiny_lm(), people(3)
    method = replace(METHOD, mode="user")
    together = method.adapt(lm, TASK, users, method.fit(lm, TASK, users, budget()), budget())
    alone = [method.adapt(lm, TASK, [user], method.fit(lm, TASK, [user], budget()), budget())[0] for user in users]
    for one, other in zip(together, alone, strict=True):
        assert one.facts["pairs_kept"] == other.facts["pairs_kept"] > 1
        assert set(one.patches[0].weights) == set(other.patches[0].weights)
    ids = [one.patches[0].id for one in together]
    assert len(set(ids)) == 3
    no_history = method.adapt(lm, TASK, [replace(users[0], history=())], method.fit(lm, TASK, [], budget()), budget())
    assert no_history[0].patches == () and no_history[0].facts["edited"] is False


@pytest.mark.parametrize("family", ["mistral", "qwen2", "t5"])
def test_every_family_can_be_edited(family: str) -> None:
    shared = METHOD.fit(tiny_lm(family), TASK, people(6), budget())
    assert len(shared.patches[0].weights) == 1


@pytest.mark.parametrize("option", [
    {"layout": "history_query_y"}, {"layout": "history_y"}, {"layout": "y_history"}, {"pool": "mean_answer"},
    {"pool": "last_eos"}, {"space": "resid"}, {"svd_center": True}, {"svd_on": "P_minus_N"},
    {"ccs": FAST | {"conf_power": 1}}, {"ccs": FAST | {"norm": "per_class"}}, {"insights_per_user": 2},
])  # fmt: skip
def test_every_named_option_changes_the_edit(option: dict[str, object]) -> None:
    lm, users = tiny_lm(), people()
    plain = METHOD.fit(lm, TASK, users, budget())
    other = replace(METHOD, **option).fit(lm, TASK, users, budget())  # type: ignore[arg-type]
    assert other.patches[0].id != plain.patches[0].id


def test_encoder_side_of_t5_edits_the_encoder() -> None:
    shared = replace(METHOD, t5_side="encoder").fit(tiny_lm("t5"), TASK, people(6), budget())
    assert all(name.startswith("encoder.") for name in shared.patches[0].weights)


def test_insight_in_the_prompt_is_an_option() -> None:
    lm, users = tiny_lm(), people(4)
    method = replace(METHOD, insight_at_inference=True, min_pairs=1)
    shared = method.fit(lm, TASK, users, budget())
    personal = method.adapt(lm, TASK, users, shared, budget())[0]
    text = method.request(TASK, users[0], users[0].queries[0], personal).messages[0].text
    assert f"The user prefers {personal.text['insight']}." in text


@pytest.mark.parametrize(("text", "phrase"), [
    ('"The user prefers short, honest reviews."', "short, honest reviews"),
    ("Your answer should be neutral.\nAnd plain.", "be neutral. And plain"),
    ("word " * 60, " ".join(["word"] * 40)),
    ("", ""),
])  # fmt: skip
def test_an_insight_is_the_phrase_alone(text: str, phrase: str) -> None:
    assert insight.clean(text) == phrase


def test_activations_equal_a_plain_forward_pass() -> None:
    """The MLP's output at the answer's last token, read as a branch behind a prompt that two answers share."""
    for family in ("llama", "mistral", "qwen2"):
        lm = tiny_lm(family)
        request = Request(TASK.render(people(1)[0].queries[0], people(1)[0].history))
        states = lm.activations([request, request], ["4", "25"])
        for index, answer in enumerate(("4", "25")):
            seen: dict[int, torch.Tensor] = {}

            def keep(_module, _args, output, layer, seen=seen):  # type: ignore[no-untyped-def]
                seen[layer] = output[0, -1]

            handles = [
                module.register_forward_hook(partial(keep, layer=layer)) for layer, (_, module) in enumerate(lm.mlps())
            ]
            lm.model(torch.tensor([[*lm.encode(request).ids, *lm.answer_ids(answer, end=False)]]))
            for handle in handles:
                handle.remove()
            expected = torch.stack([seen[layer] for layer in range(4)])
            assert (states[:, index] - expected).abs().max() / expected.abs().max() < 1e-4

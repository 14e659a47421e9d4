"""CHAMELEON's steps on a tiny model, and the truths behind them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from conftest import task_named, tiny_lm

from bench.cost.budget import Budget
from bench.data.selection import PCASelection
from bench.errors import MethodError
from bench.lm.model import LM
from bench.types import Decoding, Item, Personalization, Query, Request, User
from methods.chameleon import directions, edit, insight, pairs
from methods.chameleon.chameleon import Chameleon
from methods.chameleon.insight import Insight, Writing
from methods.chameleon.pairs import PairQuestion
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
                Item(
                    f"{n}-{i}",
                    {"text": f"thing {n} number {i} is fine", "score": str(1 + (n + i) % 5)},
                )
                for i in range(6)
            ),
            (Query(f"q{n}", f"review: asked {n}", f"asked {n}", str(1 + n % 5)),),
            f"u{n}",
        )
        for n in range(count)
    ]


def budget() -> Budget:
    return Budget(progress=False)


def test_equal_pairs_are_dropped_and_counted(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from bench.types import Completion

    lm = tiny_lm()
    answers = ["5", " 5 ", "Four", "four", "4", "3", "", "2"]
    monkeypatch.setattr(
        lm, "answers", lambda requests, **_: [Completion(text, 1, 1) for text in answers]
    )
    questions = [
        PairQuestion(user.queries[0], user.history, Insight("a", "b"), user.id)
        for user in people(4)
    ]
    made = pairs.make(lm, TASK, questions, budget(), verbatim=False)
    assert [(pair.personal, pair.neutral) for pair in made.kept] == [("4", "3")]
    assert (len(made.equal), len(made.empty)) == (2, 1)


def test_as_printed_only_answers_alike_to_the_letter_make_no_pair(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from bench.types import Completion

    lm = tiny_lm()
    answers = ["5", "5", "Four", "four", "", "2"]
    monkeypatch.setattr(
        lm, "answers", lambda requests, **_: [Completion(text, 1, 1) for text in answers]
    )
    questions = [
        PairQuestion(user.queries[0], user.history, Insight("a", "b"), user.id)
        for user in people(3)
    ]
    made = pairs.make(lm, TASK, questions, budget(), verbatim=False, equal="exact")
    assert [(pair.personal, pair.neutral) for pair in made.kept] == [("Four", "four")]
    assert (len(made.equal), len(made.empty)) == (1, 1)


def test_each_user_has_a_neutral_insight_of_their_own_or_all_share_one() -> None:
    lm, readers = tiny_lm(), [insight.Author(user.id, user.history) for user in people(4)]
    drawing = Decoding("sample", temperature=0.7, top_p=0.9)
    costs, found = {}, {}
    for neutral in ("own", "shared"):
        spent = budget()
        lm.budget = spent
        found[neutral] = insight.write(
            lm, TASK, readers, Writing(drawing, neutral=neutral), spent, each=2
        )
        costs[neutral] = spent.costs["insights"]
    assert len({own[0].neutral for own in found["own"]}) == 4
    assert len({own[0].neutral for own in found["shared"]}) == 1
    personal = {
        kind: [[one.personal for one in own] for own in written] for kind, written in found.items()
    }
    assert personal["own"] == personal["shared"]
    alone = insight.write(lm, TASK, readers[2:3], Writing(drawing), budget(), each=2)
    assert alone[0] == found["own"][2], "no draw depends on who else is asked"
    asked = len(lm.network.encode(Request(TASK.ask_insight("neutral", ()))).ids)
    # two turns, three more users
    assert costs["own"].tokens_in - costs["shared"].tokens_in == 2 * 3 * asked


def test_an_insight_for_the_prompt_alone_asks_for_nothing_impersonal(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    lm, users, asked = tiny_lm(), people(3), []
    answers = lm.answers
    monkeypatch.setattr(
        lm, "answers", lambda requests, **how: asked.extend(requests) or answers(requests, **how)
    )
    replace(METHOD, insight_at_inference=True).adapt(lm, TASK, users, Personalization(), budget())
    assert [one.name for one in asked] == ["lamp3 insight"] * 3


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
    theirs = Instruct(SELECT).adapt(lm, TASK, users, Personalization(), budget())
    for user, one, other in zip(users, mine, theirs, strict=True):
        edited = METHOD.request(TASK, user, user.queries[0], one)
        assert replace(edited, patches=()) == Instruct(SELECT).request(
            TASK, user, user.queries[0], other
        )
        assert edited.patches == shared.patches != ()


def test_alpha_zero_and_no_layer_leave_the_model_alone() -> None:
    lm, users = tiny_lm(), people()
    asked = [["1", "5"]]
    [(_, plain)] = lm.likelihood([Request(TASK.render(users[0].queries[0], ()))], asked)
    shared = replace(METHOD, alpha_p=0.0, alpha_n=0.0).fit(lm, TASK, users, budget())
    assert shared.facts["edited"] is False and shared.facts["layers"] != []
    assert METHOD.fit(lm, TASK, users, budget()).facts["edited"] is True
    [(_, same)] = lm.likelihood(
        [Request(TASK.render(users[0].queries[0], ()), shared.patches)], asked
    )
    assert [total for total, _ in same] == [total for total, _ in plain]
    spent = budget()
    bare = replace(METHOD, n_layers=0).fit(lm, TASK, users, spent)
    assert bare.patches == () and bare.facts["edited"] is False
    assert not spent.report()  # and nothing is learnt for it


def test_halves_of_the_edit_are_what_they_say(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """P alone doubles theta_P's part of the MLP's output, N alone removes theta_N's, and neither
    touches the rest.
    """
    lm, users, used = tiny_lm(), people(), []
    as_patch = edit.as_patch
    monkeypatch.setattr(
        edit,
        "as_patch",
        lambda lm, found, **how: used.append(found) or as_patch(lm, found, **how),
    )
    factors = {"personalized": (2.0, None), "neutral": (None, 0.0)}
    for half, (of_p, of_n) in factors.items():
        shared = replace(METHOD, edit=half).fit(lm, TASK, users, budget())
        [(name, low)] = shared.patches[0].weights.items()
        weight = lm.network.model.get_submodule(name).weight.detach().float()
        found = used.pop()
        theta_p, theta_n = (theta[found.layers[0]] for theta in (found.theta_p, found.theta_n))
        theta, factor = (theta_p, of_p) if of_p is not None else (theta_n, of_n)
        edited = weight + low.b @ low.a
        assert torch.allclose(theta @ edited, factor * (theta @ weight), atol=1e-5)
        rest = torch.eye(len(theta)) - torch.outer(theta, theta)
        assert torch.allclose(rest @ edited, rest @ weight, atol=1e-5)
    both = METHOD.fit(lm, TASK, users, budget())
    [(_, low)] = both.patches[0].weights.items()
    assert torch.linalg.matrix_rank(low.b @ low.a, rtol=1e-4) == 2


def test_each_control_replaces_the_directions_that_it_names() -> None:
    names = ("theta_p", "theta_n", "theta_p_mean", "theta_n_rematched")
    tensors = {name: torch.nn.functional.normalize(torch.randn(4, 8), dim=-1) for name in names}
    found = directions.Directions(tensors["theta_p"], tensors["theta_n"], (2, 1), {})
    mean = directions.controlled(found, tensors, "mean_activation", 0)
    assert mean == replace(found, theta_p=tensors["theta_p_mean"])
    rematched = directions.controlled(found, tensors, "rematched_pairs", 0)
    assert rematched == replace(found, theta_n=tensors["theta_n_rematched"])
    drawn = [directions.controlled(found, tensors, "random_directions", seed) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0].theta_p, drawn[1].theta_p) and not torch.equal(
        drawn[0].theta_p, drawn[2].theta_p
    )
    assert not torch.equal(drawn[0].theta_p, drawn[0].theta_n)
    assert torch.allclose(drawn[0].theta_n.norm(dim=-1), torch.ones(4))
    assert directions.controlled(found, tensors, "none", 0) is found


def test_layers_at_the_ends_are_never_edited_unless_asked_for() -> None:
    """Of four layers: all that may be, with each end left out in turn."""
    lm, users = tiny_lm(), people()
    for first, last, layers in ((0, 0, {0, 1, 2, 3}), (2, 0, {2, 3}), (0, 2, {0, 1}), (3, 0, {3})):
        some = replace(METHOD, n_layers=9, exclude_first=first, exclude_last=last)
        assert set(some.fit(lm, TASK, users, budget()).facts["layers"]) == layers


@pytest.mark.parametrize("control", ["random_directions", "mean_activation", "rematched_pairs"])
def test_a_control_edits_the_same_layers_otherwise(control: str) -> None:
    lm, users = tiny_lm(), people()
    # uncentred, the top direction of alike prompts is their mean
    plain = replace(METHOD, svd_center=True)
    real = plain.fit(lm, TASK, users, budget())
    other = replace(plain, control=control).fit(lm, TASK, users, budget())
    assert other.facts["layers"] == real.facts["layers"]
    assert set(other.patches[0].weights) == set(real.patches[0].weights)
    assert other.patches[0].id != real.patches[0].id
    if control == "random_directions":
        assert (
            replace(plain, control=control, draw=1).fit(lm, TASK, users, budget()).patches[0].id
            != other.patches[0].id
        )


def test_too_few_pairs_fail_the_cell_and_say_what_to_do() -> None:
    with pytest.raises(
        MethodError, match=r"only \d+ of 3 pairs differ, fewer than min_pairs=16: take more users"
    ):
        replace(METHOD, min_pairs=16).fit(tiny_lm(), TASK, people(3), budget())


def test_user_mode_edits_each_user_from_their_own_history() -> None:
    lm, users = tiny_lm(), people(3)
    method = replace(METHOD, mode="user")
    together = method.adapt(lm, TASK, users, method.fit(lm, TASK, users, budget()), budget())
    alone = [
        method.adapt(lm, TASK, [user], method.fit(lm, TASK, [user], budget()), budget())[0]
        for user in users
    ]
    for one, other in zip(together, alone, strict=True):
        assert one.facts["pairs_kept"] == other.facts["pairs_kept"] > 1
        assert set(one.patches[0].weights) == set(other.patches[0].weights)
    ids = [one.patches[0].id for one in together]
    assert len(set(ids)) == 3
    no_history = method.adapt(
        lm, TASK, [replace(users[0], history=())], method.fit(lm, TASK, [], budget()), budget()
    )
    assert no_history[0].patches == () and no_history[0].facts["edited"] is False


@pytest.mark.parametrize("family", ["mistral", "qwen2", "t5"])
def test_every_family_can_be_edited(family: str) -> None:
    shared = METHOD.fit(tiny_lm(family), TASK, people(6), budget())
    assert len(shared.patches[0].weights) == 1


@pytest.mark.parametrize(
    "option",
    [
        {"layout": "history_query_y"},
        {"layout": "history_y"},
        {"layout": "y_history"},
        {"pool": "mean_answer"},
        {"pool": "last_eos"},
        {"space": "resid"},
        {"svd_center": True},
        {"svd_on": "P_minus_N"},
        {"ccs": FAST | {"conf_power": 1}},
        {"ccs": FAST | {"norm": "per_class"}},
        {"insights_per_user": 2},
        {"ccs": FAST | {"norm": "ccs"}},
        {"insight_neutral": "shared"},
    ],
)
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


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ('"The user prefers short, honest reviews."', "short, honest reviews"),
        ("Your answer should be neutral.\nAnd plain.", "be neutral. And plain"),
        ("word " * 60, " ".join(["word"] * 40)),
        ("", ""),
    ],
)
def test_an_insight_is_the_phrase_alone(text: str, phrase: str) -> None:
    assert insight.clean(text) == phrase


@pytest.mark.parametrize(
    ("family", "side"),
    [
        ("llama", "decoder"),
        ("mistral", "decoder"),
        ("qwen2", "decoder"),
        ("t5", "decoder"),
        ("t5", "encoder"),
    ],
)
@pytest.mark.parametrize("space", ["mlp", "resid"])
def test_activations_equal_a_plain_forward_pass(family: str, side: str, space: str) -> None:
    """Each pool of each space, read as a branch behind a prompt that two answers share, is what a
    hook sees alone.
    """
    lm = tiny_lm(family)
    request = Request(TASK.render(people(1)[0].queries[0], people(1)[0].history))
    for pool in ("last", "mean_answer", "last_eos"):
        states = lm.activations([request, request], ["4", "25"], space=space, pool=pool, side=side)  # type: ignore[arg-type]
        for index, answer in enumerate(("4", "25")):
            expected = alone(lm, request, answer, space, pool, side)
            assert (states[:, index] - expected).abs().max() / expected.abs().max() < 1e-4, pool


def alone(lm: LM, request: Request, answer: str, space: str, pool: str, side: str) -> torch.Tensor:
    """[layers, width] by hooks in one forward pass: the MLP's output, or the layer's."""
    seen: dict[int, torch.Tensor] = {}

    def keep(
        _module: object, _args: object, output: torch.Tensor | tuple[torch.Tensor, ...], layer: int
    ) -> None:
        seen[layer] = (output[0] if isinstance(output, tuple) else output)[0]

    names = [name for name, _ in lm.network.mlps(side)]  # type: ignore[arg-type]
    if space == "resid":
        names = [".".join(name.split(".")[: 4 if lm.network.seq2seq else 3]) for name in names]
        names = [name.removesuffix(".layer") if lm.network.seq2seq else name for name in names]
    modules = [lm.network.model.get_submodule(name) for name in names]
    handles = [
        module.register_forward_hook(partial(keep, layer=layer))
        for layer, module in enumerate(modules)
    ]
    ids = lm.network.answer_ids(answer, end=pool == "last_eos")
    prompt = list(lm.network.encode(request).ids)
    if side == "encoder":  # the answer stands behind the prompt, before the end token
        prompt = [*prompt[:-1], *ids]
        lm.network.model.get_encoder()(input_ids=torch.tensor([[*prompt, lm.network.end]]))
        seen.update({layer: states[: len(prompt)] for layer, states in seen.items()})
    elif lm.network.seq2seq:
        start = [lm.network.model.config.decoder_start_token_id]
        lm.network.model(
            input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([[*start, *ids]])
        )
    else:
        lm.network.model(torch.tensor([[*prompt, *ids]]))
    for handle in handles:
        handle.remove()
    states = torch.stack([seen[layer] for layer in range(len(modules))])
    return states[:, -len(ids) :].mean(1) if pool == "mean_answer" else states[:, -1]

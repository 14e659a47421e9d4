"""CHAMELEON's steps by themselves: who is kept out of what, which draw is whose, what the record
says of an directions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import task_named, tiny_lm
from torch.nn.functional import normalize

from bench.cost.budget import Budget
from bench.data.selection import PCASelection
from bench.errors import MethodError
from bench.types import Completion, Decoding, Item, Query, User
from methods.chameleon import ccs, directions, pairs
from methods.chameleon.chameleon import Chameleon
from methods.chameleon.insight import Insight, Writing
from methods.chameleon.pairs import Pair, PairQuestion, Pairs
from methods.chameleon.states import Reading, ReadPairs

TASK = task_named("lamp3")
FAST = {"epochs": 20, "restarts": 2, "folds": 2}
SELECT = PCASelection(n_items=4, embedder="hash")
METHOD = Chameleon(SELECT, ccs=FAST, min_pairs=4, require_below_null=False, n_layers=1)
RECIPE = directions.DirectionRecipe(FAST, False, "P", 1, "heldout", False, 0.1, (0, 0), 0)
ITEMS = tuple(Item(f"i{n}", {"text": f"thing {n}", "score": str(n + 1)}) for n in range(4))


def question(name: str = "q") -> PairQuestion:
    query = Query(name, "review: asked", "asked")
    return PairQuestion(query, ITEMS[:2], Insight("short words", "be plain"), name)


def people(count: int, *, groups: int | None = None) -> list[User]:
    return [
        User(
            f"u{n}",
            ITEMS,
            (Query(f"q{n}", f"review: asked {n}", f"asked {n}", "4"),),
            f"g{n % (groups or count)}",
        )
        for n in range(count)
    ]


# Pairs


def test_an_item_that_is_asked_is_not_shown_and_all_others_are() -> None:
    """Its answer stands in the history: what is shown would give it away."""
    asked = pairs.own_questions(TASK, ITEMS, [Insight("a", "b"), Insight("c", "d")])
    assert [one.query.id for one in asked] == ["i0", "i0", "i1", "i1", "i2", "i2", "i3", "i3"]
    for one in asked:
        assert [item.id for item in one.items] == [
            item.id for item in ITEMS if item.id != one.query.id
        ]
        assert one.query.text in one.query.input and "{" not in one.query.input
        assert one.person == one.query.id
    assert [one.insight.personal for one in asked[:2]] == ["a", "c"]


def test_pairs_are_counted_by_kind_added_and_told_apart_by_their_questions() -> None:
    one, two, three, four, five, six = (question(str(n)) for n in range(6))
    first = Pairs((Pair(one, "4", "3"),), (two, three), (four,))
    second = Pairs((Pair(five, "1", "2"),), (), (six,))
    both = first + second
    assert (first.asked, second.asked, both.asked) == (4, 2, 6)
    assert both.of([one, two, four]) == Pairs((Pair(one, "4", "3"),), (two,), (four,))
    assert both.of([five, six]) == second and both.of([]) == Pairs(())


@pytest.mark.parametrize(
    ("layout", "order"),
    [
        ("prompt_y", ["thing 0", "thing 1", "asked", "ANSWER"]),
        ("history_query_y", ["thing 0", "thing 1", "asked", "ANSWER"]),
        ("history_y", ["thing 0", "thing 1", "ANSWER"]),
        ("y_history", ["ANSWER", "thing 0", "thing 1"]),
    ],
)
def test_a_layout_is_read_in_the_order_of_its_name(layout: Any, order: list[str]) -> None:
    made = Pair(question(), "ANSWER-P", "ANSWER-N")
    texts = Reading(layout).texts(TASK, [made])
    read = []
    for request, ending in zip(texts.requests, texts.endings, strict=True):
        read.append(request.messages[0].text + ending)
    for text, answer, other in ((read[0], "-P", "-N"), (read[1], "-N", "-P")):
        places = [text.index(word) for word in order]
        assert places == sorted(places)
        assert text.count(f"ANSWER{answer}") == 1 and f"ANSWER{other}" not in text
        assert ("asked" in text) == (layout in ("prompt_y", "history_query_y"))
    assert texts.endings[0].endswith("\n") == (layout == "y_history")


# Draws


def test_no_two_insights_are_of_one_draw() -> None:
    seeds = [
        Writing(Decoding("sample", seed=seed)).draw(turn).seed
        for seed in range(3)
        for turn in range(50)
    ]
    assert len(set(seeds)) == len(seeds) and min(seeds) >= 0


def test_no_two_random_directions_are_the_same() -> None:
    found = directions.Directions(torch.zeros(2, 8), torch.zeros(2, 8), (1,), {})
    drawn = [directions.controlled(found, {}, "random_directions", seed) for seed in range(6)]
    rows = torch.cat([theta for one in drawn for theta in (one.theta_p, one.theta_n)])
    assert (rows @ rows.T - torch.eye(len(rows))).abs().max() < 0.999


def test_a_control_of_another_seed_or_draw_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []

    def drawn(
        found: directions.Directions, _: Any, control: str, seed: int
    ) -> directions.Directions:
        seeds.append(seed)
        return found

    tensors = {
        name: normalize(torch.randn(4, 8), dim=-1)
        for name in ("theta_p", "theta_n", "theta_p_mean", "theta_n_rematched")
    }
    thetas = directions.Directions(tensors["theta_p"], tensors["theta_n"], (), {})
    monkeypatch.setattr(directions, "controlled", drawn)
    monkeypatch.setattr(directions, "find", lambda *_: thetas)
    lm = tiny_lm()
    monkeypatch.setattr(lm, "remember", lambda *_: tensors)
    made = Pairs((Pair(question(), "4", "3"),))
    for seed in range(2):
        for draw in range(2):
            replace(METHOD, seed=seed, draw=draw)._directions(
                lm, TASK, ReadPairs(made), Budget(progress=False)
            )
    assert len(set(seeds)) == 4


# Directions


def activations(pairs_of: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Two layers; in the second, P and N lie apart along the first axis."""
    states = torch.randn(2, 2, pairs_of, 6, generator=torch.Generator().manual_seed(0))
    states[0, 1, :, 0] += 8
    return states[0], states[1]


@pytest.mark.parametrize(
    ("persons", "grouped"), [([0] * 12, False), ([0] * 6 + [1] * 6, True), (list(range(12)), True)]
)
def test_pairs_of_a_person_are_held_out_together_where_there_is_another(
    persons: list[int], grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = []
    probe = ccs.ccs
    monkeypatch.setattr(ccs, "ccs", lambda *states: configs.append(states[2]) or probe(*states))
    found = directions.fit_directions(*activations(), persons, RECIPE)
    assert configs[0].groups == (tuple(persons) if grouped else None)
    assert found["heldout"].isfinite().all()


def test_users_of_one_group_are_one_person(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a person's pairs would be held out of those that they were fitted on."""
    persons = []
    fit = directions.fit_directions
    monkeypatch.setattr(
        directions,
        "fit_directions",
        lambda p, n, people, recipe: persons.extend(people) or fit(p, n, people, recipe),
    )
    lm = tiny_lm()
    monkeypatch.setattr(lm, "remember", lambda _, compute: compute())
    shared = replace(METHOD, min_pairs=1).fit(lm, TASK, people(8, groups=2), Budget(progress=False))
    assert len(set(persons)) == 2 and shared.facts["pairs_kept"] > 2


def test_the_record_tells_of_every_layer_what_was_measured_there() -> None:
    personal, neutral = activations()
    tensors = directions.fit_directions(personal, neutral, list(range(12)), RECIPE)
    found = directions.find(tensors, RECIPE)
    facts, theta = found.facts, tensors["theta_p"]
    assert found.layers == (1,) == tuple(facts["layers"])
    for name, null in (
        ("ccs_null_rematched", "null_rematched"),
        ("ccs_null_random", "null_random"),
    ):
        for layer in range(2):
            assert facts[name][layer] == pytest.approx(
                float(tensors[null][:, layer].mean()), abs=1e-4
            )
    mean = normalize(personal.mean(1), dim=-1)
    for layer in range(2):
        along = abs(float(theta[layer] @ mean[layer]))
        assert abs(facts["cos_theta_p_mean"][layer]) == pytest.approx(along, abs=1e-3)
        both = abs(float(theta[layer] @ tensors["theta_n"][layer]))
        assert facts["cos_theta_p_theta_n"][layer] == pytest.approx(both, abs=1e-3)
        [top] = torch.linalg.svd(neutral[layer], full_matrices=False).Vh[:1]
        with_n = abs(float(theta[layer] @ top))
        assert abs(facts["cos_theta_p_top_n"][layer]) == pytest.approx(with_n, abs=1e-3)


def test_differences_are_of_the_answers_and_not_their_sum() -> None:
    personal, neutral = activations()
    found = directions.fit_directions(
        personal, neutral, list(range(12)), replace(RECIPE, svd_on="P_minus_N")
    )
    [top] = torch.linalg.svd((personal - neutral)[1], full_matrices=False).Vh[:1]
    assert abs(float(found["theta_p"][1] @ top)) == pytest.approx(1, abs=1e-4)


# Enough pairs


def answering(monkeypatch: pytest.MonkeyPatch, lm: Any, differ: int) -> None:
    """Of all questions the first `differ` are answered in two ways; all insights are alike."""

    def answers(requests: list[Any], **_: Any) -> list[Completion]:
        if "insight" in str(requests[0].name):
            return [Completion("plain", 1, 1) for _ in requests]
        return [
            Completion("5" if n % 2 and n < 2 * differ else "4", 1, 1) for n in range(len(requests))
        ]

    monkeypatch.setattr(lm, "answers", answers)


def test_as_many_pairs_as_are_asked_for_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_lm()
    answering(monkeypatch, lm, differ=5)
    shared = replace(METHOD, min_pairs=5).fit(lm, TASK, people(6), Budget(progress=False))
    said = [shared.facts[f"pairs_{name}"] for name in ("asked", "kept", "equal", "empty")]
    assert said == [6, 5, 1, 0] and shared.facts["questions"] == 6
    assert shared.facts["stopped_by_budget"] is False
    assert [who for who, *_ in shared.notes["pairs"]] == ["q0", "q1", "q2", "q3", "q4"]
    with pytest.raises(MethodError, match="only 5 of 6 pairs differ, fewer than min_pairs=6"):
        replace(METHOD, min_pairs=6).fit(lm, TASK, people(6), Budget(progress=False))


@pytest.mark.parametrize(("differ", "edited"), [(1, False), (2, True)])
def test_a_user_of_two_pairs_is_edited_and_one_of_a_single_pair_is_not(
    differ: int, edited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, method = tiny_lm(), replace(METHOD, mode="user", ccs=FAST | {"folds": 0}, rank_by="train")
    answering(monkeypatch, lm, differ)
    [user] = people(1)
    [one] = method._user_edits(lm, TASK, [user], [user.history], Budget(progress=False))
    assert (one.facts["pairs_kept"], one.facts["edited"], bool(one.patches)) == (
        differ,
        edited,
        edited,
    )

"""Pooled tuning learns from all fit users, with no more examples and time than it is given,
and says how much.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import cells
import pytest
from conftest import tiny_lm
from trained import TASK, budget, fields, gold_loss, people, weights

from bench.errors import InputError, MethodError, OverBudget
from methods.pooled import Pooled

FAST = {"learning_rate": 0.03, "epochs": 6, "rank": 4}


def pooled(**changes: object) -> Pooled:
    return Pooled(**fields("pooled", **{"tuning": FAST} | changes))


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_one_patch_for_all_learns_and_the_model_stays(family: str) -> None:
    lm, users = tiny_lm(family), people(6)
    before = weights(lm)
    method = pooled(leave_out=0, no_history_share=0.0)
    shared = method.fit(lm, TASK, users, budget())
    assert weights(lm) == before
    personals = method.adapt(lm, TASK, users, shared, budget())
    assert (
        all(personal.patches == shared.patches for personal in personals)
        and len(shared.patches) == 1
    )
    requests = [
        method.request(TASK, user, user.queries[0], personal)
        for user, personal in zip(users, personals, strict=True)
    ]
    golds = [str(user.queries[0].gold) for user in users]
    bare = [type(request)(request.messages) for request in requests]
    assert gold_loss(lm, requests, golds) < 0.7 * gold_loss(lm, bare, golds)


def test_all_examples_are_taken_and_a_fraction_is_part_of_them() -> None:
    lm, users = tiny_lm(), people(6)
    tuning = FAST | {"epochs": 1}
    whole = pooled(tuning=tuning).fit(lm, TASK, users, budget()).facts
    half = pooled(tuning=tuning, fraction=0.5).fit(lm, TASK, users, budget()).facts
    assert whole["examples"] == whole["examples_used"] >= len(users)
    assert half["examples_used"] == half["examples_chosen"] == round(whole["examples"] / 2)
    with pytest.raises(InputError, match="method.fraction=0"):
        pooled(fraction=0).fit(lm, TASK, users, budget())


def test_same_seed_same_patch() -> None:
    lm, users = tiny_lm(), people(4)
    one, two, other = (
        pooled(seed=seed, tuning=FAST | {"epochs": 1}).fit(lm, TASK, users, budget()).patches[0].id
        for seed in (0, 0, 1)
    )
    assert one == two != other


def test_past_the_budget_it_keeps_what_it_has_learnt() -> None:
    lm, users = tiny_lm(), people(6)
    shared = pooled().fit(lm, TASK, users, budget(minutes=1e-6))
    assert shared.facts["steps"] == 1 < shared.facts["steps_planned"]
    assert shared.facts["stopped_by_budget"] is True and shared.patches[0].changes
    assert 0 < shared.facts["examples_used"] < shared.facts["examples"] * FAST["epochs"]


def test_what_cannot_stop_half_way_still_says_over_budget() -> None:
    from bench.lm import base_examples, tune
    from bench.lm.base import BaseSpec

    lm = tiny_lm()
    examples = base_examples.examples(lm, TASK, people(6), BaseSpec(max_examples={"rating": None}))
    with pytest.raises(OverBudget, match="tuning: past its budget"):
        tune.tune(lm, examples, tune.Tuning(epochs=2), budget(minutes=1e-6))


def test_without_golds_there_is_nothing_to_learn() -> None:
    with pytest.raises(MethodError, match="none of the 3 fit users of lamp3"):
        pooled(leave_out=0).fit(tiny_lm(), TASK, [user.hidden() for user in people(3)], budget())


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_a_cell_from_the_command_line(family: str, tmp_path: Path) -> None:
    code, output = cells.run(
        *cells.TINY,
        "method=pooled",
        f"model.source=tiny:{family}",
        "limit=2",
        "protocol.group_size=3",
        "method.fraction=0.3",
        folder=tmp_path,
    )
    assert code == 0, output
    [path] = tmp_path.glob("runs/lamp3/pooled/*/record.json")
    record = json.loads(path.read_text())
    assert record["status"] == "ok" and record["counts"]["patches"] == 1
    assert (
        record["facts"]["steps"] == record["facts"]["steps_planned"]
        and record["facts"]["fraction"] == 0.3
    )


def test_cells_of_two_budgets_are_two_cells(tmp_path: Path) -> None:
    keys = []
    for words in ((), ("budget.minutes=1",), ("budget.minutes=2",)):
        code, said = cells.run(*cells.TINY, "method=pooled", "dry=true", *words, folder=tmp_path)
        assert code == 0, said
        keys.append(re.findall(r"runs/lamp3/pooled/(\w+)", said))
    assert len({key for [key] in keys}) == 3

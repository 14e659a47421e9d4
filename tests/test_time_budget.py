"""One clock for a cell: every method asks it, loading is free,
and what was kept counts with what it cost.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from cells import TINY, run
from conftest import ROOT, task_named, tiny_lm
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from trained import people

from bench.cost.bill import Bill
from bench.cost.budget import Budget, loading
from bench.data.sample import generator
from bench.data.selection import PCASelection
from bench.errors import OverBudget
from bench.lm.model import LM
from bench.lm.response_cache import ResponseCache, checksum
from bench.lm.spec import ModelSpec
from bench.method import Method, questions_with_items
from bench.types import Completion, Message, Request
from methods.chameleon.chameleon import Chameleon
from methods.chameleon.insight import Insight
from methods.chameleon.pairs import PairQuestion, Pairs

TASK = task_named("lamp3")


class Ticking(Budget):
    """A budget that is over after so many questions to it, however fast the machine."""

    def __init__(self, asked: int) -> None:
        super().__init__(1.0, progress=False)
        self.asked = asked

    def left(self) -> float:
        self.asked -= 1
        return float(self.asked)


def method(name: str, **changes: Any) -> Method:
    """As the command line makes it, small."""
    common = (
        "selection.embedder=hash",
        "selection.n_items=2",
        "profile.max_new_tokens=4",
        f"method={name}",
    )
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", overrides=list(common))
    return instantiate(config.method, _convert_="all", **changes)  # type: ignore[no-any-return]


# The clock


def test_what_is_loaded_inside_a_phase_counts_against_no_limit() -> None:
    budget = Budget(minutes=1.0, progress=False)
    with budget.phase("fit"), loading():
        time.sleep(0.03)
    with budget.phase("base"), budget.phase("pairs"):  # whatever training the base needs
        time.sleep(0.03)
    assert budget.limited < 0.02 and budget.report()["load"]["seconds"] >= 0.03  # type: ignore[operator]
    with loading():  # outside of any cell there is nothing to count
        pass


def test_a_kept_result_counts_with_what_it_took_but_takes_no_time() -> None:
    budget = Budget(minutes=0.5, progress=False)
    with budget.phase("load"):
        budget.charge(100.0)
        assert not budget.over()
    with budget.phase("pairs"):
        budget.charge(20.0)
        assert not budget.over()
        budget.charge(12.0)
        assert budget.over()
    cost = budget.report()["pairs"]
    assert cost["reused"] == 32.0 and float(cost["seconds"] or 0) < 1


def test_what_is_spent_past_the_limit_is_told() -> None:
    assert Budget(progress=False).spent() is None
    budget = Budget(minutes=0.2, progress=False)
    with budget.phase("fit"):
        budget.charge(14.5)
    assert budget.spent() == {
        "limit": 12.0,
        "spent": pytest.approx(14.5, abs=0.1),
        "overshoot": pytest.approx(2.5, abs=0.1),
    }


# The cache


def cached(folder: Path) -> LM:
    lm = LM(
        ModelSpec("tiny", "tiny:llama", dtype="float32", device="cpu"),
        cache=ResponseCache(folder / "a.sqlite"),
    )
    lm.budget = Budget(progress=False)
    return lm


def ask(lm: LM, budget: Budget) -> list[Completion]:
    lm.budget = budget
    with budget.phase("pairs"):
        return lm.answers(
            [Request((Message("user", (f"question {n}",)),)) for n in range(3)], max_new_tokens=4
        )


def test_cached_answers_cost_a_second_run_what_they_cost_the_first(tmp_path: Path) -> None:
    lm, first, second = cached(tmp_path), Budget(1.0, progress=False), Budget(1.0, progress=False)
    assert ask(lm, first) == ask(lm, second)
    assert lm.cache is not None and lm.cache.hits == 3
    made, reused = first.report()["pairs"], second.report()["pairs"]
    assert 0 < float(reused["reused"] or 0) <= float(made["seconds"] or 0)
    assert second.limited >= float(reused["reused"] or 0) > 0 and reused["tokens_out"] == 0


def test_the_test_is_answered_in_the_same_batches_with_and_without_a_limit() -> None:
    spec = ModelSpec("tiny", "tiny:llama", dtype="float32", device="cpu", batch_tokens=50)
    requests = [Request((Message("user", (f"question {n}",)),)) for n in range(12)]

    def batches(phase: str, minutes: float | None) -> list[list[int]]:
        lm = LM(spec)
        lm.budget = Budget(minutes, progress=False)
        with lm.budget.phase(phase):
            return [
                [index for index, _ in batch] for batch in lm.generate(requests, max_new_tokens=1)
            ]

    plain = batches("generate", None)
    assert batches("generate", 5.0) == plain == batches("fit", None)
    assert len(batches("fit", 5.0)) > len(plain), "where the limit counts, less is lost at it"


def test_an_answer_of_unknown_cost_is_made_again_where_there_is_a_limit(tmp_path: Path) -> None:
    lm = cached(tmp_path)
    ask(lm, Budget(progress=False))
    assert lm.cache is not None
    rows = lm.cache._connection.execute("SELECT key, value FROM texts").fetchall()
    for key, value in rows:  # as a version before wrote them
        old = json.dumps(
            {name: one for name, one in json.loads(value).items() if name != "seconds"}
        )
        lm.cache._connection.execute(
            "UPDATE texts SET value = ?, sum = ? WHERE key = ?", (old, checksum(key, old), key)
        )
    ask(lm, Budget(progress=False))
    assert lm.cache.hits == 3
    limited = Budget(1.0, progress=False)
    ask(lm, limited)
    assert lm.cache.hits == 3 and limited.report()["pairs"]["tokens_out"] != 0
    ask(lm, limited)
    assert lm.cache.hits == 6, "its cost is known from then on"


def test_remembered_tensors_cost_what_they_cost_when_made(tmp_path: Path) -> None:
    import torch

    lm = cached(tmp_path)
    lm.keep({"what": "x"}, {"x": torch.ones(2)}, seconds=7.5, bill=Bill())
    lm.budget = Budget(1.0, progress=False)
    with lm.budget.phase("directions"):
        assert lm.recall({"what": "x"}) is not None
    assert lm.budget.limited == pytest.approx(7.5, abs=0.5)


# Every method


@pytest.mark.parametrize(
    "name", ["chameleon", "dpo", "llm_rec", "oppu", "pag", "pooled", "rag", "aloe"]
)
def test_every_method_asks_the_budget(name: str) -> None:
    """With nothing left, what cannot end half-way raises."""
    lm, budget = tiny_lm(), Ticking(0)
    lm.budget = budget
    made, users = method(name), people(3)
    with pytest.raises(OverBudget), budget.phase("fit"):
        shared = made.fit(lm, TASK, users, budget)
        made.adapt(lm, TASK, [user.hidden() for user in users], shared, budget)


def chameleon(**changes: Any) -> Chameleon:
    ccs = {"epochs": 20, "restarts": 2, "folds": 2}
    found = method("chameleon", require_below_null=False, ccs=ccs, **changes)
    assert isinstance(found, Chameleon)
    return found


def asked(made: Chameleon, budget: Budget) -> tuple[Pairs, int]:
    """Pairs of twelve questions in parts of four, and how many activations were read."""
    lm, insight = tiny_lm(), Insight("short words", "be plain")
    lm.budget = budget
    questions = [
        PairQuestion(user.queries[0], user.history, insight, user.id) for user in people(12)
    ]
    with budget.phase("fit"):
        read = made._pairs(lm, TASK, questions, budget)
    return read.pairs, sum(states.shape[1] for states in read.states)


def test_chameleon_past_the_limit_keeps_the_pairs_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part of four asks the budget twice: before its answers,
    and before their activations are read.
    """
    monkeypatch.setattr("methods.chameleon.states.PART", 4)
    some, read = asked(chameleon(min_pairs=1), Ticking(5))
    assert some.asked == 8 and read == 2 * len(some.kept) > 0
    whole, read = asked(chameleon(min_pairs=1), Ticking(10**6))
    assert (
        whole.asked == 12
        and read == 2 * len(whole.kept)
        and whole.kept[: len(some.kept)] == some.kept
    )
    with pytest.raises(OverBudget):
        asked(chameleon(min_pairs=9), Ticking(5))


def test_a_chameleon_that_was_stopped_has_an_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("methods.chameleon.states.PART", 4)
    lm, budget, insight = tiny_lm(), Ticking(5), Insight("short words", "be plain")
    lm.budget = budget
    monkeypatch.setattr(
        "methods.chameleon.insight.write",
        lambda _lm, _task, chosen, *_, **_how: [[insight] for _ in chosen],
    )
    with budget.phase("fit"):
        shared = chameleon(min_pairs=2).fit(lm, TASK, people(12), budget)
    assert (
        shared.facts["stopped_by_budget"]
        and 0 < shared.facts["pairs_asked"] < shared.facts["questions"] == 12
    )
    assert shared.patches


def test_a_cell_tells_what_it_spent_and_a_training_that_stops_is_a_result(tmp_path: Path) -> None:
    root = tmp_path / "lamp"
    generator.write(root, train_users=20, dev_users=12)
    words = (
        *TINY,
        "limit=3",
        "data=lamp",
        f"data.root={root}",
        "method=pooled",
        "budget.minutes=0.02",
        "method.tuning.epochs=400",
    )
    code, said = run(*words, folder=tmp_path)
    assert code == 0, said
    [path] = (tmp_path / "runs").glob("*/pooled/*/record.json")
    record = json.loads(path.read_text())
    told = record["budget"]
    assert record["facts"]["stopped_by_budget"] and told["limit"] == pytest.approx(1.2)
    assert (
        told["overshoot"] == pytest.approx(told["spent"] - 1.2, abs=2e-3) and told["overshoot"] > 0
    )


# Choosing the history


def test_history_is_chosen_for_those_alone_who_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    users, select = people(8), PCASelection(n_items=2, embedder="hash")
    expected = dict(zip([user.id for user in users], select.select(TASK, users), strict=True))
    asked = [(user, user.queries[0]) for user in (users[5], users[2])]
    seen: list[str] = []
    real = PCASelection.select

    def spy(self: PCASelection, task: Any, some: Any, check: Any) -> Any:
        seen.extend(user.id for user in some)
        return real(self, task, some, check)

    monkeypatch.setattr(PCASelection, "select", spy)
    found = questions_with_items(select, TASK, users, asked, Budget(progress=False))
    assert found == [(query, expected[user.id]) for user, query in asked]
    assert seen == [users[2].id, users[5].id]


def test_the_budget_is_asked_while_history_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.data.selection.WINDOW", 2)
    users, select = people(8), PCASelection(n_items=2, embedder="hash")
    budget = Ticking(2)
    with pytest.raises(OverBudget), budget.phase("fit"):
        select.select(TASK, users, budget.check)
    whole = select.select(TASK, users)
    monkeypatch.setattr("bench.data.selection.WINDOW", 100)
    assert select.select(TASK, users) == whole

"""Cost belongs to what is kept: a cell that is killed at any write and resumed costs what an
undisturbed one does.
"""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from cells import BASE, CHAMELEON, TINY, run

from bench.cell import likelihoods
from bench.cost import ledger
from bench.cost.bill import Bill, Cost
from bench.cost.budget import Budget
from bench.cost.ledger import Ledger
from bench.data.sample import generator
from bench.disk import store
from bench.errors import InputError

SMALL = (*TINY, "limit=6", "protocol.group_size=8", "model.batch_tokens=1200")
PAG = (
    "method=oppu",
    "base.kind=instruct",
    "method.form=pag",
    "method.k=1",
    "profile.max_new_tokens=8",
)
TRAINED = ("task=lamp3", *PAG, "method.recipes.paper.epochs.lamp3=1")
CELLS = [
    pytest.param(
        ("task=lamp3", *CHAMELEON, *BASE), id="pairs on a base of its own", marks=pytest.mark.slow
    ),
    pytest.param(TRAINED, id="written profiles, trained users", marks=pytest.mark.slow),
    pytest.param(("task=lamp3", "method=llm_rec", "method.max_new_tokens=8"), id="summaries"),
    pytest.param(("task=lamp4", "method=instruct"), id="likelihood of golds"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "lamp"
    generator.write(root, train_users=40, dev_users=12)
    return root


def cost(folder: Path) -> dict[str, dict[str, Any]]:
    [path] = (folder / "runs").glob("*/*/*/record.json")
    record = json.loads(path.read_text())
    assert record["status"] == "ok"
    return record["cost"]  # type: ignore[no-any-return]


def killed_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on a process dies before (odd) or after (even) the write
    of that number that it makes sure of.
    """
    real, count = os.fsync, iter(range(10**9))

    def die_or_sync(fd: int) -> None:
        last = next(count) == number // 2
        if not last or number % 2 == 0:
            real(fd)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(os, "fsync", die_or_sync)


@pytest.mark.parametrize("words", CELLS)
def test_a_cell_killed_at_any_write_costs_the_tokens_of_an_undisturbed_one(
    words: tuple[str, ...], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*SMALL, "data=lamp", f"data.root={data}", *words)
    found, kills, stream = {}, 0, random.Random(7)
    for name in ("calm", "disturbed"):
        folder = tmp_path / name
        folder.mkdir()
        code, tries = 1, 0
        while code:
            with monkeypatch.context() as patch:
                if name == "disturbed" and tries < 6:
                    killed_at(stream.randrange(4, 16), patch)
                code, said = run(
                    *words, folder=folder, environment={"LAMPLIGHT_CACHE": str(folder / "cache")}
                )
            assert code in (0, -signal.SIGKILL), said
            kills, tries = kills + (code != 0), tries + 1
        found[name] = cost(folder)
    assert kills >= 2
    units = ("tokens_in", "tokens_out", "cache_hits")
    calm, disturbed = (
        {phase: [used[unit] for unit in units] for phase, used in one.items() if phase != "load"}
        for one in found.values()
    )
    assert disturbed == calm


@pytest.mark.parametrize("writes", [(store, "append"), (likelihoods.File, "add")])
def test_seconds_before_a_kill_belong_to_the_cell(
    writes: tuple[Any, str], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the second batch: what the first had taken is on disk,
    and is counted beside what comes after.
    """
    phase = "generate"
    words = (*SMALL, "data=lamp", f"data.root={data}", "task=lamp4", "method=instruct")
    real, count = getattr(*writes), iter(range(10**9))

    def write_or_die(*given: Any) -> None:
        if next(count) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(*writes, write_or_die)
        assert run(*words, folder=tmp_path)[0] == -signal.SIGKILL
    [artifacts] = (tmp_path / "runs").glob("*/*/*/artifacts")
    before = ledger.total(artifacts).phases[phase].seconds
    assert before > 0
    code, said = run(*words, folder=tmp_path)
    assert code == 0, said
    pieces = ledger._read(artifacts / ledger.NAME).pieces
    noted = [pieces[name].phases[phase].seconds for name in ("run-0", "run-1")]
    assert noted[0] == before and noted[1] > 0
    assert cost(tmp_path)[phase]["seconds"] >= sum(noted) - 0.01


# the ledger alone


def spend(budget: Budget, tokens: int) -> None:
    with budget.phase("pairs"):
        budget.count(tokens_in=tokens)


def test_a_piece_that_is_done_again_counts_once(tmp_path: Path) -> None:
    for attempt in (1, 2):  # the first is killed between its line and its result
        budget = Budget(progress=False)
        with Ledger(tmp_path, budget).piece("fit") as piece:
            spend(budget, 10)
            piece.write()
        assert budget.costs["pairs"].tokens_in == 10, attempt
    assert ledger.total(tmp_path).phases["pairs"].tokens_in == 10


def test_parts_of_an_unfinished_piece_cost_what_they_did_once(tmp_path: Path) -> None:
    first = Budget(progress=False)
    with Ledger(tmp_path, first).piece("fit"):
        first.keep("batch", Bill({"pairs": Cost(3.0, tokens_in=7)}, 3.0))
    second = Budget(progress=False)
    book = Ledger(tmp_path, second)
    assert second.costs == {}
    with book.piece("fit"):
        assert second.again("batch") and not second.again("batch") and not second.again("other")
        assert second.costs["pairs"].tokens_in == 7 and second.limited == 3.0
    with book.piece("adapt-00000"):
        assert not second.again("batch"), "another piece asked for it: it is used again there"


def test_an_inner_piece_is_not_the_outer_ones(tmp_path: Path) -> None:
    budget = Budget(progress=False)
    book = Ledger(tmp_path, budget)
    rest = book.begin()
    with book.piece("fit") as fit:
        spend(budget, 1)
        with book.piece("base") as base:
            spend(budget, 10)
            base.write()
        spend(budget, 2)
        fit.write()
    spend(budget, 100)
    rest.write()
    written = {
        name: bill.phases["pairs"].tokens_in
        for name, bill in ledger._read(tmp_path / ledger.NAME).pieces.items()
    }
    assert written == {"base": 10, "fit": 3, "run-0": 100}
    again = Budget(progress=False)
    Ledger(tmp_path, again)
    assert again.costs["pairs"].tokens_in == 113 and again.costs["pairs"].seconds == pytest.approx(
        budget.costs["pairs"].seconds, abs=0.05
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"tokens_in": 10', '"tokens_in": 99'),
        lambda text: text.replace("phases", "faces"),
        lambda text: text.replace("fit", "adapt-00000"),
        lambda text: "[]\n" + text,
        lambda text: '{"piece": "fit", "phases": {"pairs": {"seconds": "long"}}, "limited": 0}\n',
        lambda text: '{"piece": "fit", "phases": {"pairs": {"seconds": -1}}, "limited": 0}\n',
        lambda text: '{"piece": "fit", "phases": [], "limited": 0}\n',
        lambda text: "\n" + text,
    ],
)
def test_costs_that_were_changed_are_an_error_that_names_file_and_line(
    tmp_path: Path, change: Any
) -> None:
    artifacts = tmp_path / "cell" / "artifacts"
    budget = Budget(progress=False)
    with Ledger(artifacts, budget).piece("fit") as piece:
        spend(budget, 10)
        piece.write()
    path = artifacts / ledger.NAME
    path.write_text(change(path.read_text()))
    with pytest.raises(
        InputError, match=rf"^{path}: line 1 is no cost .*delete the line.*delete {tmp_path}/cell "
    ):
        Ledger(artifacts, Budget(progress=False))


def test_a_line_of_costs_that_a_crash_cut_off_is_left_out(tmp_path: Path) -> None:
    budget = Budget(progress=False)
    with Ledger(tmp_path, budget).piece("fit") as piece:
        spend(budget, 10)
        piece.write()
    path = tmp_path / ledger.NAME
    path.write_bytes(path.read_bytes() * 2)
    path.write_bytes(path.read_bytes()[:-9])
    assert ledger.total(tmp_path).phases["pairs"].tokens_in == 10

"""Arms of one row answered the same questions, or they are not in it: else a table would compare
users, not methods.
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

from bench.errors import InputError
from bench.report import scores
from bench.report.experiments import Experiment
from bench.report.runs import Results, Run


@dataclass(frozen=True)
class AskedRun:
    """A finished run, and its questions: their ids, or if its scores are not at hand how many it
    says there are.
    """

    run: Run
    questions: Hashable

    @property
    def count(self) -> int:
        return _count(self.questions)


def same(results: Results) -> Results:
    """The results in which every arm of a place and seed has the same questions; who has others is
    set `aside`.

    The questions of a place are those that most arms answered; of as many, those of the
    experiment's own cells.
    """
    rows: dict[Hashable, list[Run]] = defaultdict(list)
    for run in results.runs:
        if run.is_ok:
            rows[results.place(run), run.seed].append(run)

    aside: dict[int, str] = {}
    for runs in rows.values():
        aside |= _with_others(list(map(_asked, runs)))
    if not aside:
        return results
    kept = [replace(run, aside=aside.get(id(run), run.aside)) for run in results.runs]
    return replace(results, runs=tuple(kept))


def commands(experiment: Experiment, runs: Iterable[Run]) -> str:
    """How to run an experiment's cells,
    with the overrides of the command line that those at hand have.
    """
    words = ["python -m bench", f"experiment={experiment.name}"]
    if experiment.scale != "paper":
        words.append(f"scale={experiment.scale}")

    lines: dict[str, None] = {}
    for run in runs:
        if run.record and not run.aside:
            lines[" ".join([*words, *map(shlex.quote, run.extra)])] = None
    return "; or ".join(lines or [" ".join(words)])


def _with_others(row: Sequence[AskedRun]) -> dict[int, str]:
    """Of the runs of one row, by id, those with other questions than most, and the reason."""
    common = _of_most(row)
    aside = {}
    for asked in row:
        if asked.questions != common.questions:
            aside[id(asked.run)] = f"other questions ({asked.count}, not {common.count})"
    return aside


def _of_most(row: Sequence[AskedRun]) -> AskedRun:
    """A run with the questions of most."""
    counts = Counter(asked.questions for asked in row)
    own = {asked.questions for asked in row if not asked.run.extra}

    def rank(asked: AskedRun) -> tuple[int, bool, int]:
        return counts[asked.questions], asked.questions in own, asked.count

    return max(row, key=rank)


def _asked(run: Run) -> AskedRun:
    cell = run.finished
    try:
        rows = scores.read(cell.folder, cell.record)
    except InputError:  # said where the scores are used
        rows = []
    ids = frozenset(row["id"] for row in rows)
    return AskedRun(run, ids or cell.record["data"]["queries"])


def _count(questions: Hashable) -> int:
    return len(questions) if isinstance(questions, frozenset) else int(str(questions))

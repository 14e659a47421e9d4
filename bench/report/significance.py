"""Intervals and tests of finished cells, computed from scores.json when a report is made, by one
version of the code.

What a record says of intervals is what the code of its day made of them. Beside others it would
mislead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import InputError
from bench.report import scores
from bench.report.cells import Record, scored_rows, task_of
from bench.report.statistics_cache import digest, kept

if TYPE_CHECKING:
    from bench.score.metrics import Kind, Scored
    from bench.score.stats import Paired

Cell = tuple[Path, Record]
"""A cell's folder and its record."""
SCORES = "scores.json"
BARE = "no scores at hand, so no interval"


def fresh(folder: Path, record: Record) -> dict[str, Any]:
    """The record with metrics from the scores beside it;
    without scores its values stay, and no interval.
    """
    if not record["metrics"]:
        return dict(record)
    why = BARE
    if (folder / SCORES).exists():
        try:
            found = of_runs(*task_of(str(record["cell"]["task"])), [(folder, record)])
            return {**record, "metrics": {name: dict(one) for name, one in found.items()}}
        except InputError as error:  # of a task that is not here, or damaged scores
            why = str(error)
    bare = {name: {**one, "low": None, "high": None} for name, one in record["metrics"].items()}
    return {**record, "metrics": bare, "bare": why}


def of_runs(
    kind: Kind, labels: Sequence[str], runs: Sequence[Cell]
) -> Mapping[str, Mapping[str, Any]]:
    """Every metric with its interval, mean over runs: as JSON has them."""

    def compute() -> dict[str, Any]:
        from bench.score.stats import intervals_of_runs

        found = intervals_of_runs(kind, labels, [scored(*run) for run in runs])
        return {name: asdict(one) for name, one in found.items()}

    return kept(
        ["intervals", kind, list(labels), [digest(folder / SCORES) for folder, _ in runs]], compute
    )


def compared(
    kind: Kind, labels: Sequence[str], pairs: Sequence[tuple[Cell, Cell]], draws: int = 2000
) -> dict[str, Paired]:
    """Every metric of the first minus the second of each pair, mean over pairs. InputError where
    they do not fit.
    """
    from bench.score.stats import Paired, paired_runs

    def compute() -> dict[str, Any]:
        arms = [(scored(*one), scored(*other)) for one, other in pairs]
        return {
            name: asdict(one) for name, one in paired_runs(kind, labels, arms, draws=draws).items()
        }

    files = [[digest(folder / SCORES) for folder, _ in pair] for pair in pairs]
    found = kept(["paired", kind, list(labels), draws, files], compute)
    return {name: Paired(**one) for name, one in found.items()}


def scored(folder: Path, record: Record) -> list[Scored]:
    """The rows of a cell's scores.json; InputError where they are damaged,
    or of another version.
    """
    return scored_rows(record, scores.read(folder, record))

"""Intervals and tests of finished cells, computed from scores.json when a report is made, by one
version of the code.

What a record says of intervals is what the code of its day made of them. Beside others it would
mislead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import InputError
from bench.report import scores
from bench.report.cells import Record, TaskKind, recorded_task, scored_rows
from bench.report.statistics_cache import computed_once, digest

if TYPE_CHECKING:
    from bench.score.metrics import Scored
    from bench.score.stats import Interval, Paired

BARE = "no scores at hand, so no interval"


@dataclass(frozen=True)
class FinishedCell:
    """A cell's folder and its record."""

    folder: Path
    record: Record

    @property
    def path(self) -> Path:
        return self.folder / "scores.json"

    @property
    def task(self) -> TaskKind:
        return recorded_task(self.record)

    def scored(self) -> list[Scored]:
        """The rows of scores.json; InputError where they are damaged, or of another version."""
        return scored_rows(self.record, scores.read(self.folder, self.record))


def fresh(folder: Path, record: Record) -> dict[str, Any]:
    """The record with metrics from the scores beside it;
    without scores its values stay, and no interval.
    """
    cell = FinishedCell(folder, record)
    if not record["metrics"]:
        return dict(record)
    if not cell.path.exists():
        return _without_intervals(record, BARE)
    try:
        metrics = of_runs(cell.task, [cell])
    except InputError as error:  # of a task that is not here, or damaged scores
        return _without_intervals(record, str(error))
    return {**record, "metrics": dict(metrics)}


def _without_intervals(record: Record, why: str) -> dict[str, Any]:
    metrics = {}
    for name, metric in record["metrics"].items():
        metrics[name] = {**metric, "low": None, "high": None}
    return {**record, "metrics": metrics, "bare": why}


def of_runs(task: TaskKind, cells: Sequence[FinishedCell]) -> Mapping[str, Mapping[str, Any]]:
    """Every metric with its interval, mean over cells: as JSON has them."""

    def compute() -> dict[str, Any]:
        from bench.score.stats import intervals_of_runs

        arms = [cell.scored() for cell in cells]
        return _as_json(intervals_of_runs(task.kind, task.labels, arms))

    files = [digest(cell.path) for cell in cells]
    return computed_once(["intervals", task.kind, list(task.labels), files], compute)


def _as_json(metrics: Mapping[str, Interval] | Mapping[str, Paired]) -> dict[str, Any]:
    return {name: asdict(metric) for name, metric in metrics.items()}


@dataclass(frozen=True)
class CellPair:
    """Two cells that were asked the same: `cell` minus `base`."""

    cell: FinishedCell
    base: FinishedCell


def compared(task: TaskKind, pairs: Sequence[CellPair], draws: int = 2000) -> dict[str, Paired]:
    """Every metric of the first minus the second of each pair, mean over pairs. InputError where
    they do not fit.
    """
    from bench.score.stats import Paired, paired_runs

    def compute() -> dict[str, Any]:
        arms = [(pair.cell.scored(), pair.base.scored()) for pair in pairs]
        return _as_json(paired_runs(task.kind, task.labels, arms, draws=draws))

    files = [[digest(pair.cell.path), digest(pair.base.path)] for pair in pairs]
    values = computed_once(["paired", task.kind, list(task.labels), draws, files], compute)
    return {name: Paired(**fields) for name, fields in values.items()}

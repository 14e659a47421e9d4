"""What has been run of an experiment: the manifests of its cells, and their records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.disk import store
from bench.errors import InputError
from bench.report import manifest_entries, scores, significance
from bench.report.cells import Record
from bench.report.experiments import Experiment
from bench.report.inventory import outdated
from bench.report.significance import FinishedCell
from bench.sweep.design import REPEAT, repeat_of

SCALES = ("paper", "laptop", "smoke")
"""In this order; others after them."""
Place = tuple[tuple[str, str], ...]
"""Where a cell stands, without arm, seed and repeat: (axis, value), in the order of the
experiment's axes.
"""


def place_words(place: Place) -> str:
    """The values of a place, as a sentence names it."""
    return ", ".join(value for _, value in place)


def without_axes(place: Iterable[tuple[str, str]], axes: Sequence[str]) -> Place:
    """The rest of a place."""
    return tuple((axis, value) for axis, value in place if axis not in axes)


@dataclass(frozen=True)
class Run:
    """One cell: an arm at one place with one seed. `record`: None where it has not finished.

    `extra`: overrides from the command line beside the experiment's own. `aside`: why it is in no
    row.
    """

    arm: str
    at: Mapping[str, Any]
    folder: Path | None = None
    record: Mapping[str, Any] | None = None
    extra: tuple[str, ...] = ()
    aside: str = ""

    @property
    def seed(self) -> str:
        return str(self.at.get("seed", 0))

    @property
    def repeat(self) -> str:
        return repeat_of(self.at)

    @property
    def cell(self) -> tuple[str, ...]:
        """Task, method and key: the same in every results folder."""
        return self.folder.parts[-3:] if self.folder else ()

    @property
    def state(self) -> str:
        """`ok`, `not run`, `running`, or `failed: STATUS`."""
        if self.record is None:
            return "running" if self.folder and store.running(self.folder) else "not run"
        if self.aside:
            return self.aside
        status = str(self.record["status"])
        return "ok" if status == "ok" else f"failed: {status}"

    @property
    def is_ok(self) -> bool:
        return self.state == "ok"

    @property
    def finished(self) -> FinishedCell:
        """The cell that it is, for those who ask finished runs only."""
        assert self.folder is not None and self.record is not None
        return FinishedCell(self.folder, self.record)

    @property
    def scores(self) -> list[dict[str, Any]]:
        """The rows of scores.json; none where the cell has no golds,
        did not finish, or has a damaged file.
        """
        return self._read.rows

    @property
    def damage(self) -> str:
        """What is wrong with scores.json; empty where nothing is."""
        return self._read.damage

    @cached_property
    def _read(self) -> _Scores:
        if self.folder is None or self.record is None:
            return _Scores([])
        try:
            return _Scores(scores.read(self.folder, self.record))
        except InputError as error:
            return _Scores([], str(error))


@dataclass(frozen=True)
class _Scores:
    """The rows of scores.json, or what is wrong with it."""

    rows: list[dict[str, Any]]
    damage: str = ""


@dataclass(frozen=True)
class Results:
    """All cells of an experiment at one scale. `notes`: what a reader must know of how they were
    found in `roots`.
    """

    experiment: Experiment
    runs: tuple[Run, ...]
    notes: tuple[str, ...] = ()
    roots: tuple[Path, ...] = ()

    def place(self, run: Run) -> Place:
        # the experiment's axes in its order, then those that the command line added
        axes = dict.fromkeys([*self.experiment.axes, *run.at])
        whole = [(axis, str(run.at[axis])) for axis in axes if axis in run.at]
        return without_axes(whole, ("seed", REPEAT))

    @cached_property
    def cells(self) -> dict[tuple[Place, str], list[Run]]:
        """The runs (seeds, and repeats of them) of each place and arm."""
        cells = defaultdict(list)
        for run in self.runs:
            cells[self.place(run), run.arm].append(run)
        return dict(cells)

    @cached_property
    def places(self) -> list[Place]:
        return list(dict.fromkeys(map(self.place, self.runs)))

    def rests(self, axes: Sequence[str]) -> list[Place]:
        """The places without these axes, each once."""
        rests: dict[Place, None] = {}
        for place in self.places:
            rests[without_axes(place, axes)] = None
        return list(rests)

    @cached_property
    def arms(self) -> list[str]:
        """Trivial rules, which no configuration names, come first:
        they are what every method has to beat.
        """
        configured, others = self.experiment.arms, dict[str, None]()
        for run in self.runs:
            if run.arm not in configured:
                others[run.arm] = None
        return [*others, *configured]

    @cached_property
    def records(self) -> list[Record]:
        """The records of all cells that have ended."""
        return [run.record for run in self.runs if run.record]


def scales(name: str, roots: Sequence[Path]) -> list[str]:
    """The scales at which this experiment has been run: those with a manifest, or statistics."""
    names: set[str] = set()
    for root in roots:
        names |= manifest_entries.scales(root, name)
    known = [scale for scale in SCALES if scale in names]
    return [*known, *sorted(names - set(SCALES))]


def results(experiment: Experiment, roots: Sequence[Path]) -> Results:
    """The experiment's cells at its scale: those that it should have,
    and what has been run of them or beside them.
    """
    notes: list[str] = []
    cells: dict[tuple[str, Place], Run] = {}
    more = 0
    for run in _runs(experiment, roots, notes):
        key = (run.arm, _key(run.at))
        known = cells.setdefault(key, run)
        more += run.cell != known.cell
        cells[key] = max(known, run, key=_freshness)

    if more:
        notes.append(
            f"{more} more cells were run for these places with other overrides; shown are those"
            " without, or else the last finished."
        )
    extra = {" ".join(run.extra) for run in cells.values() if run.extra}
    if extra:
        notes.append(f"Overrides beside the experiment's own: {'; or '.join(sorted(extra))}.")

    for arm, at in experiment.expected:
        cells.setdefault((arm, _key(at)), Run(arm, at))
    ordered = _in_order(experiment, list(cells.values()))
    return Results(experiment, tuple(ordered), tuple(notes), tuple(roots))


def _runs(experiment: Experiment, roots: Sequence[Path], notes: list[str]) -> Iterator[Run]:
    """Each manifest of the roots as a run,
    with the record that any of the roots has of its cell.
    """
    for root in roots:
        for entry in manifest_entries.entries(root, experiment.name, experiment.scale, notes):
            folder = entry.folder(roots, root)
            yield Run(entry.arm, entry.at, folder, _record(folder, notes), entry.extra)


def _record(folder: Path, notes: list[str]) -> Mapping[str, Any] | None:
    path = folder / "record.json"
    if not path.exists():
        return None
    try:
        record = store.read_record(path)
    except InputError as error:
        notes.append(f"Left out: {error}.")
        return None
    if record.get("schema") == store.SCHEMA:
        return significance.fresh(folder, record)
    notes.append(f"Left out: {outdated(folder)}.")
    return None


def _key(at: Mapping[str, Any]) -> Place:
    """A place with its seed and repeat, whatever the order of its axes."""
    return tuple(sorted((axis, str(value)) for axis, value in at.items()))


def _freshness(run: Run) -> tuple[bool, bool, bool, str]:
    """What has ended before what has not, the experiment's own before a try with other overrides,
    finished before failed, the last before the first.
    """
    finished = str(run.record.get("finished", "")) if run.record else ""
    return (run.record is not None, not run.extra, run.is_ok, finished)


def _in_order(experiment: Experiment, runs: Sequence[Run]) -> list[Run]:
    """The runs by their values on each axis."""
    values = defaultdict(list)
    for run in runs:
        for axis, value in run.at.items():
            values[axis].append(value)
    ranks = {axis: _ranks(experiment.axes.get(axis, ()), at) for axis, at in values.items()}

    def order(run: Run) -> list[int]:
        return [ranks[axis][str(value)] for axis, value in run.at.items()]

    return sorted(runs, key=order)


def _ranks(of_experiment: Sequence[Any], of_runs: Sequence[Any]) -> dict[str, int]:
    """The rank of each value on an axis: numbers by size,
    all else as the experiment has it, then by name.
    """
    values = [*of_experiment, *sorted(of_runs, key=str)]
    if all(isinstance(value, int | float | None) for value in values):
        values.sort(key=lambda value: float("-inf") if value is None else value)
    names = dict.fromkeys(map(str, values))
    return {name: rank for rank, name in enumerate(names)}

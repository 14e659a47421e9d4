"""What has been run of an experiment: the manifests of its cells, and their records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.disk import manifest, store
from bench.errors import InputError
from bench.report import scores, significance
from bench.report.experiments import Experiment
from bench.report.inventory import outdated
from bench.sweep.design import REPEAT
from bench.terminal import escape

SCALES = ("paper", "laptop", "smoke")
"""In this order; others after them."""
Place = tuple[tuple[str, str], ...]
"""Where a cell stands, without arm, seed and repeat: (axis, value), in the order of the
experiment's axes.
"""


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
    def cell(self) -> tuple[str, ...]:
        """Task, method and key: the same in every results folder."""
        return self.folder.parts[-3:] if self.folder else ()

    @property
    def state(self) -> str:
        """`ok`, `not run`, `running`, or `failed: STATUS`."""
        if self.record is None:
            return "running" if self.folder and store.running(self.folder) else "not run"
        status = str(self.record["status"])
        if self.aside:
            return self.aside
        return "ok" if status == "ok" else f"failed: {status}"

    @property
    def scores(self) -> list[dict[str, Any]]:
        """The rows of scores.json; none where the cell has no golds,
        did not finish, or has a damaged file.
        """
        return self._read[0]

    @property
    def damage(self) -> str:
        """What is wrong with scores.json; empty where nothing is."""
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[list[dict[str, Any]], str]:
        if self.folder is None or self.record is None:
            return [], ""
        try:
            return scores.read(self.folder, self.record), ""
        except InputError as error:
            return [], str(error)


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
        known = [axis for axis in self.experiment.axes if axis in run.at]
        order = [*known, *(axis for axis in run.at if axis not in known)]
        return tuple((axis, str(run.at[axis])) for axis in order if axis not in ("seed", REPEAT))

    @cached_property
    def cells(self) -> dict[tuple[Place, str], list[Run]]:
        """The runs (seeds, and repeats of them) of each place and arm."""
        found: dict[tuple[Place, str], list[Run]] = {}
        for run in self.runs:
            found.setdefault((self.place(run), run.arm), []).append(run)
        return found

    @cached_property
    def places(self) -> list[Place]:
        return list(dict.fromkeys(place for place, _ in self.cells))

    @cached_property
    def arms(self) -> list[str]:
        """Trivial rules, which no configuration names, come first:
        they are what every method has to beat.
        """
        seen = dict.fromkeys(run.arm for run in self.runs)
        return [*(arm for arm in seen if arm not in self.experiment.arms), *self.experiment.arms]


def scales(name: str, roots: Sequence[Path]) -> list[str]:
    """The scales at which this experiment has been run: those with a manifest, or statistics."""
    folders = [root / manifest.FOLDER / name for root in roots]
    found = {path.parent.name for folder in folders for path in folder.glob("*/*.json")}
    found |= {
        path.stem.partition("-")[2]
        for folder in folders
        for path in folder.glob("statistics-*.json")
    }
    return sorted(
        found, key=lambda scale: (SCALES.index(scale) if scale in SCALES else len(SCALES), scale)
    )


def results(experiment: Experiment, roots: Sequence[Path]) -> Results:
    """The experiment's cells at its scale: those that it should have,
    and what has been run of them or beside them.
    """
    notes: list[str] = []
    cells: dict[tuple[str, Place], Run] = {}
    more = 0
    for run in _manifests(experiment, roots, notes):
        key = (run.arm, _key(run.at))
        more += key in cells and run.cell != cells[key].cell
        cells[key] = max(cells[key], run, key=_freshness) if key in cells else run
    if more:
        notes.append(
            f"{more} more cells were run for these places with other overrides; shown are those"
            " without, or else the last finished."
        )
    if extra := sorted({" ".join(run.extra) for run in cells.values() if run.extra}):
        notes.append(f"Overrides beside the experiment's own: {'; or '.join(extra)}.")
    for arm, at in experiment.expected:
        cells.setdefault((arm, _key(at)), Run(arm, at))
    axes = dict.fromkeys(axis for run in cells.values() for axis in run.at)
    ranks = {
        axis: _rank(experiment, axis, [run.at[axis] for run in cells.values() if axis in run.at])
        for axis in axes
    }
    ranked = sorted(
        cells.values(), key=lambda run: [ranks[axis][str(value)] for axis, value in run.at.items()]
    )
    return Results(experiment, tuple(ranked), tuple(notes), tuple(roots))


def _rank(experiment: Experiment, axis: str, found: Sequence[Any]) -> dict[str, int]:
    """The place of each value on an axis: numbers by size,
    all else as the experiment has it, then by name.
    """
    known = [*experiment.axes.get(axis, ()), *sorted(found, key=str)]
    if all(isinstance(value, int | float) or value is None for value in known):
        known.sort(key=lambda value: float("-inf") if value is None else value)
    return {value: place for place, value in enumerate(dict.fromkeys(map(str, known)))}


def _key(at: Mapping[str, Any]) -> Place:
    return tuple(sorted((axis, str(value)) for axis, value in at.items()))


def _freshness(run: Run) -> tuple[bool, bool, bool, str]:
    """What has ended before what has not, the experiment's own before a try with other overrides,
    finished before failed, the last before the first.
    """
    finished = str(run.record.get("finished", "")) if run.record else ""
    return (run.record is not None, not run.extra, run.state == "ok", finished)


def _manifests(experiment: Experiment, roots: Sequence[Path], notes: list[str]) -> Iterator[Run]:
    """Each manifest of the roots as a run,
    with the record that any of the roots has of its cell.
    """
    for root in roots:
        for path, said in manifest.each(root, experiment.name, experiment.scale):
            try:
                arm, at, cell, extra = _told(said)
            except (AttributeError, KeyError, TypeError, ValueError):
                notes.append(
                    f"Left out: {path}: no manifest with arm, at and cell; run the experiment"
                    " again."
                )
                continue
            folder = next(
                (one / cell for one in roots if (one / cell / "record.json").exists()), root / cell
            )
            yield Run(arm, at, folder, _record(folder, notes), extra)


def _told(said: Any) -> tuple[str, dict[str, Any], Path, tuple[str, ...]]:
    """A manifest's arm, place, cell and extra overrides.

    A cell is `task/method/key`: a path leads nowhere else.
    """
    arm, at, cell, extra = (
        said["arm"],
        dict(said["at"]),
        Path(said["cell"]),
        said.get("extra") or [],
    )
    plain = all(isinstance(value, str | int | float | None) for value in at.values())
    inside = not cell.is_absolute() and len(cell.parts) == 3 and ".." not in cell.parts
    if not (isinstance(arm, str) and plain and inside and isinstance(extra, list)):
        raise ValueError
    return escape.line(arm), escape.tree(at), cell, tuple(escape.line(str(word)) for word in extra)


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

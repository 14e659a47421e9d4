"""An experiment as the report sees it: conf/experiment/NAME.yaml, the manifests of its cells, and
their records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from bench import catalog
from bench.disk import manifest, store
from bench.errors import InputError, one_of
from bench.report import scores, significance
from bench.report.cells import task_of
from bench.report.inventory import outdated
from bench.sweep.design import REPEAT, Design, key_of
from bench.terminal import escape

CONF = Path(__file__).parents[2] / "conf"
FAMILIES = {
    "zero_shot": "CHAMELEON's base is zero-shot",
    "task_adapted": "OPPU's base is task-adapted",
}
KINDS = ("table", "lines", "bars", "similarity", "efficiency", "pareto", "statistics", "case")
SCALES = ("paper", "laptop", "smoke")  # in this order; others after them

Place = tuple[tuple[str, str], ...]
"""Where a cell stands, without arm, seed and repeat: (axis, value), in the order of the
experiment's axes.
"""


@dataclass(frozen=True)
class Show:
    """How an experiment is rendered.

    `baseline`: the arm that all others are compared with, but those that `baselines` (arm:
    baseline) names. `x`: the axis (or axes) on a figure's x. `y`: `value`, or `gain` over the
    baseline. `names`: names of the paper for values of axes and arms that are called otherwise
    here. `rows`: what a table calls a value of an axis. `unplaced`: rows of the paper that stand
    below the table, as it is not known which place of ours is theirs. `user`: of a case, whom it
    shows.
    """

    kind: str = "table"
    baseline: str | None = None
    baselines: Mapping[str, str] = field(default_factory=dict)
    x: str | Sequence[str] | None = None
    y: str = "value"
    names: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, str] = field(default_factory=dict)
    unplaced: Sequence[str] = ()
    user: str | None = None

    def __post_init__(self) -> None:
        one_of("experiment.show.kind", self.kind, KINDS)
        one_of("experiment.show.y", self.y, ("value", "gain"))

    def baseline_of(self, arm: str) -> str | None:
        """What the arm is compared with; None for a baseline itself that has no other."""
        found = self.baselines.get(arm, self.baseline)
        return None if found == arm else found


@dataclass(frozen=True)
class Experiment:
    """What conf/experiment/NAME.yaml says; `design`: its arms and axes, those of the scale in place
    of the paper's.
    """

    name: str
    title: str
    family: str
    paper: str | None
    show: Show
    design: Design

    @property
    def scale(self) -> str:
        return str(self.design.scale["name"])

    @cached_property
    def axes(self) -> dict[str, list[Any]]:
        return self.design.axes()

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(self.design.experiment.get("arms") or ())

    @property
    def expected(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every cell that it should have, trivial rules included: arm and place."""
        return ((cell.arm, cell.at) for cell in self.design.cells()) if self.arms else iter(())


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
        """The rows of scores.json; none where the cell has no golds, did not finish, or has a
        damaged file.
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
        """Trivial rules, which no configuration names, come first: they are what every method has
        to beat.
        """
        seen = dict.fromkeys(run.arm for run in self.runs)
        return [*(arm for arm in seen if arm not in self.experiment.arms), *self.experiment.arms]


def load(name: str, scale: str = "paper", conf: Path | None = None) -> Experiment:
    """The experiment of that name at a scale; InputError where there is none, or its file lacks a
    field.
    """
    conf, known = conf or CONF, names(conf)
    if name not in known:
        near = catalog.meant(catalog.near(name, known))
        raise InputError(
            f"{name}: no such experiment{near}; there are {', '.join(known) or 'none'}"
        )
    path, of_scale = conf / "experiment" / f"{name}.yaml", conf / "scale" / f"{scale}.yaml"
    one_of("scale", scale, sorted(one.stem for one in of_scale.parent.glob("*.yaml")))
    try:
        given = _yaml(path)["experiment"]
        one_of(f"{path}: experiment.family", given["family"], FAMILIES)
        at_scale = _yaml(of_scale) | {"name": scale}
        design = Design(
            given, at_scale, (), _yaml(conf / "config.yaml").get("rules") or {}, _kind_of
        )
        show = Show(**(given.get("show") or {}))
        return Experiment(
            given["name"], given["title"], given["family"], given.get("paper"), show, design
        )
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not an experiment with name, title, family, axes, arms and show ({error})"
        ) from None


def names(conf: Path | None = None) -> list[str]:
    """The experiments that there are."""
    return sorted(path.stem for path in ((conf or CONF) / "experiment").glob("*.yaml"))


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
    """The experiment's cells at its scale: those that it should have, and what has been run of them
    or beside them.
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
    """The place of each value on an axis: numbers by size, all else as the experiment has it, then
    by name.
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


def _kind_of(words: Sequence[str]) -> str:
    return task_of(next(word for word in words if key_of(word) == "task").partition("=")[2])[0]


def _manifests(experiment: Experiment, roots: Sequence[Path], notes: list[str]) -> Iterator[Run]:
    """Each manifest of the roots as a run, with the record that any of the roots has of its
    cell."""
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
    """A manifest's arm, place, cell and extra overrides. A cell is `task/method/key`: a path leads
    nowhere else.
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


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.load(
            path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: {error}") from None
    return found if isinstance(found, dict) else {}

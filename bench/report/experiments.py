"""An experiment as conf/experiment/NAME.yaml has it: its arms and axes, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.checks import catalog, conf_files
from bench.checks.conf_files import CONF
from bench.errors import InputError, one_of
from bench.report.cells import task_of
from bench.sweep.design import Design, key_of

FAMILIES = {
    "zero_shot": "CHAMELEON's base is zero-shot",
    "task_adapted": "OPPU's base is task-adapted",
    "ours": "no paper's: each model's own base",
}
KINDS = (
    "table",
    "standings",
    "lines",
    "bars",
    "similarity",
    "efficiency",
    "pareto",
    "statistics",
    "case",
)


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

    @property
    def axes(self) -> list[str]:
        """The axes on a figure's x."""
        return [self.x] if isinstance(self.x, str) else list(self.x or ())

    def baseline_of(self, arm: str) -> str | None:
        """What the arm is compared with; None for a baseline itself that has no other."""
        baseline = self.baselines.get(arm, self.baseline)
        return None if baseline == arm else baseline


@dataclass(frozen=True)
class Experiment:
    """What conf/experiment/NAME.yaml says; `design`: its arms and axes,
    those of the scale in place of the paper's.
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
        if self.arms:
            for cell in self.design.cells():
                yield cell.arm, cell.at


def load(name: str, scale: str = "paper", conf: Path | None = None) -> Experiment:
    """The experiment of that name at a scale; InputError where there is none,
    or its file lacks a field.
    """
    conf = conf or CONF
    known = names(conf)
    if name not in known:
        near = catalog.did_you_mean(catalog.near(name, known))
        raise InputError(
            f"{name}: no such experiment{near}; there are {', '.join(known) or 'none'}"
        )
    one_of("scale", scale, conf_files.names("scale", conf))

    path = conf / "experiment" / f"{name}.yaml"
    try:
        given = conf_files.option("experiment", name, conf)["experiment"]
        one_of(f"{path}: experiment.family", given["family"], FAMILIES)
        return Experiment(
            name=given["name"],
            title=given["title"],
            family=given["family"],
            paper=given.get("paper"),
            show=Show(**(given.get("show") or {})),
            design=_design(given, scale, conf),
        )
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not an experiment with name, title, family, axes, arms and show ({error})"
        ) from None


def names(conf: Path | None = None) -> list[str]:
    """The experiments that there are."""
    return conf_files.names("experiment", conf or CONF)


def _design(given: Mapping[str, Any], scale: str, conf: Path) -> Design:
    """The arms and axes, those of the scale in place of the paper's."""
    at_scale = {**conf_files.option("scale", scale, conf), "name": scale}
    rules = conf_files.config(conf).get("rules") or {}
    return Design(given, at_scale, (), rules, _kind_of)


def _kind_of(words: Sequence[str]) -> str:
    """Of which kind the task is that the overrides of a cell name."""
    tasks = [word.partition("=")[2] for word in words if key_of(word) == "task"]
    return task_of(tasks[0]).kind

"""Metrics of an experiment's arms as lines along an axis, or as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.report.base_results import Tables
from bench.report.plot_parts import WHISKERS, Heights, axis_words, caption, heights_of, label_axes
from bench.report.runs import Place, without_axes
from bench.report.style import Mark, finish, marks, panels
from bench.report.values import Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.score.stats import Paired

SHIFT = 0.006
"""How far apart the points of two arms stand at one value of x, as a share of the axis."""
WIDTH = 0.8
"""Of all bars at one value of x together."""


@dataclass(frozen=True)
class Point:
    """What an arm has at one value of x."""

    x: str
    value: Value | Paired


@dataclass(frozen=True)
class Panel:
    """One metric at one place, along the axis `x`; on no axis if it is None."""

    tables: Tables
    rest: Place
    metric: str
    x: str | None

    def points(self, arm: str) -> list[Point]:
        """What an arm has along x, in the order of the axis."""
        points = []
        for place in self.tables.results.places:
            if without_axes(place, [self.x or ""]) == self.rest:
                value = self._value(place, arm)
                if value:
                    points.append(Point(dict(place).get(self.x or "", ""), value))
        return points

    def _value(self, place: Place, arm: str) -> Value | Paired | None:
        if self.tables.experiment.show.y == "gain":
            return self.tables.comparisons.get((place, arm, self.metric))
        summary = self.tables.summaries.get((place, arm))
        return summary.values.get(self.metric) if summary else None


def lines(tables: Tables) -> Figure | None:
    """Each arm against the axis `show.x`, a panel for each other place and metric; with `y: gain`
    less the baseline.
    """
    x = tables.experiment.show.axes[0]
    shown = _panels(tables, x)
    if not shown:
        return None
    figure, axes = panels(len(shown))
    scale = AxisScale.of(tables, x)
    for axis, panel in zip(axes, shown, strict=True):
        for mark in _arm_marks(tables):
            _line(axis, scale, mark, panel.points(mark.arm))
        axis.set_xticks(scale.ticks, scale.names)
        axis.set_xlabel(axis_words(x))
        label_axes(tables, axis, panel.rest, panel.metric)
    return finish(figure, tables.experiment.title, caption(tables))


def bars(tables: Tables) -> Figure | None:
    """Arms side by side for every value of `show.x`,
    or on the axis themselves where it is null or `arm`.
    """
    x = next(iter(tables.experiment.show.axes), None)
    if x == "arm":
        x = None
    shown = _panels(tables, x)
    if not shown:
        return None
    figure, axes = panels(len(shown))
    names = _names(tables, x) if x else [""]
    for axis, panel in zip(axes, shown, strict=True):
        for mark in _arm_marks(tables):
            _bar(axis, names, mark, panel.points(mark.arm), len(tables.results.arms))
        axis.set_xticks(range(len(names)), names)
        axis.set_xlabel(axis_words(x) if x else "")
        label_axes(tables, axis, panel.rest, panel.metric)
    return finish(figure, tables.experiment.title, caption(tables))


def _panels(tables: Tables, x: str | None) -> list[Panel]:
    """A panel for each place without x, and each of the papers' two metrics there; none if no arm
    has anything to show.
    """
    every = []
    for rest in tables.results.rests([x] if x else []):
        whole = next(place for place in tables.results.places if set(rest) <= set(place))
        for metric in tables.metrics(whole)[:2]:
            every.append(Panel(tables, rest, metric, x))
    for panel in every:
        if any(map(panel.points, tables.results.arms)):
            return every
    return []


@dataclass(frozen=True)
class ArmMark:
    """How an arm is drawn, and how far from the middle, in steps of one arm."""

    arm: str
    mark: Mark
    step: float


def _arm_marks(tables: Tables) -> list[ArmMark]:
    arm_marks = []
    for index, (arm, mark) in enumerate(marks(tables.results.arms).items()):
        arm_marks.append(ArmMark(arm, mark, index - (len(tables.results.arms) - 1) / 2))
    return arm_marks


# Along an axis


@dataclass(frozen=True)
class AxisScale:
    """The values on an axis: as numbers where all of them are, else one after the other."""

    names: list[str]
    ticks: Sequence[float]
    span: float

    @classmethod
    def of(cls, tables: Tables, x: str) -> AxisScale:
        names = _names(tables, x)
        if not all(map(_is_number, names)):
            return cls(names, range(len(names)), len(names))
        ticks = list(map(float, names))
        return cls(names, ticks, max(ticks) - min(ticks))

    def at(self, name: str) -> float:
        return self.ticks[self.names.index(name)]


def _names(tables: Tables, x: str) -> list[str]:
    """The values of an axis, in the order of the places."""
    values = [dict(place)[x] for place in tables.results.places if x in dict(place)]
    return list(dict.fromkeys(values))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _line(axis: Any, scale: AxisScale, arm: ArmMark, points: Sequence[Point]) -> None:
    if not points:
        return
    # arms at one value stand a little apart, so that no interval hides another
    shift = arm.step * SHIFT * (scale.span or 1)
    at = [scale.at(point.x) + shift for point in points]
    heights = _heights(points)
    axis.errorbar(
        at,
        heights.values,
        heights.errors,
        label=arm.arm,
        color=arm.mark.colour,
        linestyle=arm.mark.dash,
        **arm.mark.point,
        **WHISKERS,
    )


def _heights(points: Sequence[Point]) -> Heights:
    return heights_of([point.value for point in points])


def _bar(axis: Any, names: Sequence[str], arm: ArmMark, points: Sequence[Point], arms: int) -> None:
    width = WIDTH / arms
    at = [names.index(point.x) + arm.step * width for point in points]
    heights = _heights(points)
    axis.bar(
        at,
        heights.values,
        width,
        yerr=heights.errors,
        label=arm.arm,
        color=arm.mark.colour + "55",
        hatch=arm.mark.hatch,
        edgecolor=arm.mark.colour,
        capsize=WHISKERS["capsize"],
        error_kw={"elinewidth": WHISKERS["elinewidth"]},
    )

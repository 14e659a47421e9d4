"""Figures of cost: seconds against quality, and seconds of training with their fit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.report import timing
from bench.report.base_results import Tables
from bench.report.grid_head import head
from bench.report.plot_parts import WHISKERS, axis_words, caption, heights_of, label_axes
from bench.report.runs import Place, place_words
from bench.report.style import Mark, finish, marks, panels
from bench.report.timing import FittedLine
from bench.report.values import Value
from bench.score.metrics import DIRECTION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SECONDS = (
    "Seconds: fitting, adapting and answering; without loading the model and adapting the base."
)
FITS = "Lines: least squares over the measured points. Time of this machine, not the paper's."
WIDE = 10
"""Times of which the largest is so many times the smallest stand on a logarithmic axis."""


@dataclass(frozen=True)
class CostPoint:
    """An arm at a place: its seconds per user, and its first metric."""

    arm: str
    seconds: float
    value: Value


def pareto(tables: Tables) -> Figure | None:
    """Seconds per user against the first metric;
    the line joins the arms that none beats in both.
    """
    places = {}
    for place in tables.results.places:
        points = _points(tables, place)
        if len(points) > 1:
            places[place] = points
    if not places:
        return None

    figure, axes = panels(len(places))
    style = marks(tables.results.arms)
    for axis, (place, points) in zip(axes, places.items(), strict=True):
        metric = tables.first_metric(place)
        _draw_points(axis, points, style)
        _draw_frontier(axis, points, higher=DIRECTION[metric])
        _set_seconds(axis, [point.seconds for point in points])
        label_axes(tables, axis, place, metric, gain=False)
    title = f"{tables.experiment.title}: cost against quality"
    return finish(figure, title, [*caption(tables), SECONDS])


def _points(tables: Tables, place: Place) -> list[CostPoint]:
    """The arms that have a cost and the first metric."""
    metric, points = tables.first_metric(place), []
    for arm in tables.results.arms:
        summary = tables.summaries.get((place, arm))
        if summary and summary.cost and metric in summary.values:
            points.append(CostPoint(arm, summary.cost.seconds, summary.values[metric]))
    return points


def _draw_points(axis: Any, points: Sequence[CostPoint], style: Mapping[str, Mark]) -> None:
    for point in points:
        heights, mark = heights_of([point.value]), style[point.arm]
        axis.errorbar(
            [point.seconds],
            heights.values,
            heights.errors,
            label=point.arm,
            color=mark.colour,
            linestyle="",
            **mark.point,
            **WHISKERS,
        )


def _draw_frontier(axis: Any, points: Sequence[CostPoint], *, higher: bool) -> None:
    best = frontier([(point.seconds, point.value.value) for point in points], higher=higher)
    axis.plot(
        *zip(*best, strict=True),
        color="#999999",
        linestyle=":",
        zorder=1,
        label="none is better in both",
    )


def frontier(points: Sequence[tuple[float, float]], *, higher: bool) -> list[tuple[float, float]]:
    """The points (cost, value) that no other beats in both: cheaper or as cheap, and better or as
    good. By cost.
    """
    sign = 1 if higher else -1
    best: list[tuple[float, float]] = []
    # of equal costs the best comes first, so a later point has to be better than the last
    for cost, value in sorted(points, key=lambda point: (point[0], -sign * point[1])):
        if not best or sign * value > sign * best[-1][1]:
            best.append((cost, value))
    return best


def _set_seconds(axis: Any, seconds: Sequence[float]) -> None:
    """Times of several orders of magnitude stand on a logarithmic axis."""
    if max(seconds) > WIDE * min(seconds) > 0:
        axis.set_xlabel("seconds per user (logarithmic)")
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
    else:
        axis.set_xlabel("seconds per user")
        axis.set_xlim(left=0)


def efficiency(tables: Tables) -> Figure | None:
    """Seconds of training per user against each axis of `show.x`,
    with the least-squares line of every arm.
    """
    by_panel: dict[tuple[str, Place], list[FittedLine]] = defaultdict(list)
    for line in timing.lines(tables):
        by_panel[line.x, line.place].append(line)
    if not by_panel:
        return None

    figure, axes = panels(len(by_panel))
    style = marks(tables.results.arms)
    for axis, ((x, place), lines) in zip(axes, by_panel.items(), strict=True):
        for line in lines:
            _draw_fit(axis, line, style[line.arm])
        axis.set_xlabel(axis_words(x))
        axis.set_ylabel("seconds of training per user")
        axis.set_ylim(bottom=0)
        axis.set_title(place_words(place), fontsize=9)
        axis.legend(fontsize=7)
    return finish(figure, tables.experiment.title, [*head(tables), FITS], legend=False)


def _draw_fit(axis: Any, line: FittedLine, mark: Mark) -> None:
    """The measured points, and the line through them."""
    at, seconds = zip(*line.points, strict=True)
    axis.plot(at, seconds, color=mark.colour, linestyle="", **mark.point)
    axis.plot(
        at,
        [line.at(x) for x in at],
        linestyle=mark.dash,
        color=mark.colour,
        label=f"{line.arm}: {line.fit}",
    )

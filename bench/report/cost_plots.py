"""Figures of cost: seconds against quality, and seconds of training with their fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.report import timing
from bench.report.base_results import Tables
from bench.report.grid_head import head
from bench.report.plot_parts import axis_words, caption, heights_of, label_axes, place_words
from bench.report.runs import Place
from bench.report.style import finish, marks, panels
from bench.score.metrics import DIRECTION

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pareto(tables: Tables) -> Figure | None:
    """Seconds per user against the first metric;
    the line joins the arms that none beats in both.
    """
    points = {
        place: [
            (arm, one.cost.seconds, one.values[metric])
            for arm in tables.results.arms
            if (one := tables.summaries.get((place, arm))) and one.cost and metric in one.values
        ]
        for place in tables.results.places
        for metric in tables.metrics(place)[:1]
    }
    points = {place: found for place, found in points.items() if len(found) > 1}
    if not points:
        return None
    figure, axes = panels(len(points))
    style = marks(tables.results.arms)
    for axis, (place, found) in zip(axes, points.items(), strict=True):
        metric = tables.metrics(place)[0]
        for arm, seconds, value in found:
            heights, errors = heights_of([value])
            axis.errorbar(
                [seconds],
                heights,
                errors,
                label=arm,
                color=style[arm].colour,
                **style[arm].point,
                linestyle="",
                capsize=2,
                elinewidth=0.8,
            )
        best = frontier(
            [(seconds, value.value) for _, seconds, value in found], higher=DIRECTION[metric]
        )
        axis.plot(
            *zip(*best, strict=True),
            color="#999999",
            linestyle=":",
            zorder=1,
            label="none is better in both",
        )
        _seconds(axis, [seconds for _, seconds, _ in found])
        label_axes(tables, axis, place, metric, gain=False)
    note = (
        "Seconds: fitting, adapting and answering; without loading the model and adapting the base."
    )
    return finish(
        figure, f"{tables.experiment.title}: cost against quality", [*caption(tables), note]
    )


def frontier(points: Sequence[tuple[float, float]], *, higher: bool) -> list[tuple[float, float]]:
    """The points that no other beats in both: cheaper or as cheap, and better or as good.

    By cost.
    """
    best: list[tuple[float, float]] = []
    for cost, value in sorted(
        points, key=lambda point: (point[0], -point[1] if higher else point[1])
    ):
        if not best or (value > best[-1][1] if higher else value < best[-1][1]):
            best.append((cost, value))
    return best


def efficiency(tables: Tables) -> Figure | None:
    """Seconds of training per user against each axis of `show.x`,
    with the least-squares line of every arm.
    """
    style = marks(tables.results.arms)
    found: dict[tuple[str, Place], list[timing.FittedLine]] = {}
    for line in timing.lines(tables):
        found.setdefault((line.x, line.place), []).append(line)
    if not found:
        return None
    figure, axes = panels(len(found))
    for axis, ((x, rest), lines) in zip(axes, found.items(), strict=True):
        for line in lines:
            mark, at = style[line.arm], [x for x, _ in line.points]
            axis.plot(
                at, [y for _, y in line.points], color=mark.colour, linestyle="", **mark.point
            )
            fitted = [line.start + line.slope * x for x in at]
            axis.plot(
                at, fitted, linestyle=mark.dash, color=mark.colour, label=f"{line.arm}: {line.fit}"
            )
        axis.set_xlabel(axis_words(x))
        axis.set_ylabel("seconds of training per user")
        axis.set_ylim(bottom=0)
        axis.set_title(place_words(rest), fontsize=9)
        axis.legend(fontsize=7)
    caption = [
        *head(tables),
        "Lines: least squares over the measured points. Time of this machine, not the paper's.",
    ]
    return finish(figure, tables.experiment.title, caption, legend=False)


def _seconds(axis: Any, seconds: Sequence[float]) -> None:
    """Times of several orders of magnitude stand on a logarithmic axis."""
    wide = max(seconds) > 10 * min(seconds) > 0
    axis.set_xlabel("seconds per user" + (" (logarithmic)" if wide else ""))
    if wide:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
    else:
        axis.set_xlim(left=0)

"""Metrics of an experiment's arms as lines along an axis, or as bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bench.report.base_results import Tables
from bench.report.cost_plots import efficiency, pareto
from bench.report.plot_parts import axis_words, caption, heights_of, label_axes
from bench.report.runs import Place
from bench.report.style import finish, marks, panels
from bench.report.values import Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.score.stats import Paired

Point = tuple[str, "Value | Paired"]


def lines(tables: Tables) -> Figure | None:
    """Each arm against the axis `show.x`, a panel for each other place and metric; with `y: gain`
    less the baseline.
    """
    x, arms = _x(tables)[0], tables.results.arms
    found = [(rest, metric) for rest in _rests(tables, (x,)) for metric in _metrics(tables, rest)]
    if not any(_points(tables, *panel, arm, x) for panel in found for arm in arms):
        return None
    figure, axes = panels(len(found))
    ticks = list(
        dict.fromkeys(dict(place)[x] for place in tables.results.places if x in dict(place))
    )
    numeric = all(map(_is_number, ticks))
    style = marks(arms)
    for axis, (rest, metric) in zip(axes, found, strict=True):
        for index, arm in enumerate(arms):
            points = _points(tables, rest, metric, arm, x)
            if not points:
                continue
            shift = (index - (len(arms) - 1) / 2) * 0.006
            span = max(map(float, ticks)) - min(map(float, ticks)) if numeric else len(ticks)
            at = [
                (float(name) if numeric else ticks.index(name)) + shift * (span or 1)
                for name, _ in points
            ]
            heights, errors = heights_of([value for _, value in points])
            axis.errorbar(
                at,
                heights,
                errors,
                label=arm,
                color=style[arm].colour,
                **style[arm].point,
                linestyle=style[arm].dash,
                capsize=2,
                elinewidth=0.8,
            )
        axis.set_xticks([float(one) for one in ticks] if numeric else range(len(ticks)), ticks)
        axis.set_xlabel(axis_words(x))
        label_axes(tables, axis, rest, metric)
    return finish(figure, tables.experiment.title, caption(tables))


def bars(tables: Tables) -> Figure | None:
    """Arms side by side for every value of `show.x`,
    or on the axis themselves where it is null or `arm`.
    """
    axes_x = _x(tables)
    x = axes_x[0] if axes_x and axes_x[0] != "arm" else None
    found = [
        (rest, metric)
        for rest in _rests(tables, (x,) if x else ())
        for metric in _metrics(tables, rest)
    ]
    arms, style = tables.results.arms, marks(tables.results.arms)
    if not any(_points(tables, *panel, arm, x) for panel in found for arm in arms):
        return None
    figure, axes = panels(len(found))
    ticks = (
        list(dict.fromkeys(dict(place)[x] for place in tables.results.places if x in dict(place)))
        if x
        else [""]
    )
    for axis, (rest, metric) in zip(axes, found, strict=True):
        for index, arm in enumerate(arms):
            points = _points(tables, rest, metric, arm, x)
            width = 0.8 / len(arms)
            at = [ticks.index(name) + (index - (len(arms) - 1) / 2) * width for name, _ in points]
            heights, errors = heights_of([value for _, value in points])
            axis.bar(
                at,
                heights,
                width,
                yerr=errors,
                label=arm,
                color=style[arm].colour + "55",
                hatch=style[arm].hatch,
                edgecolor=style[arm].colour,
                capsize=2,
                error_kw={"elinewidth": 0.8},
            )
        axis.set_xticks(range(len(ticks)), ticks)
        axis.set_xlabel(axis_words(x) if x else "")
        label_axes(tables, axis, rest, metric)
    return finish(figure, tables.experiment.title, caption(tables))


def _points(tables: Tables, rest: Place, metric: str, arm: str, x: str | None) -> list[Point]:
    """What an arm has along x at the rest of a place, in the order of the axis."""
    found: list[Point] = []
    for place in tables.results.places:
        if tuple(part for part in place if part[0] != x) != rest:
            continue
        one: Value | Paired | None
        if tables.experiment.show.y == "gain":
            one = tables.comparisons.get((place, arm, metric))
        else:
            summary = tables.summaries.get((place, arm))
            one = summary.values.get(metric) if summary else None
        if one:
            found.append((dict(place).get(x, "") if x else "", one))
    return found


def _rests(tables: Tables, without: Sequence[str]) -> list[Place]:
    """The places without these axes, each once."""
    places = (
        tuple(part for part in place if part[0] not in without) for place in tables.results.places
    )
    return list(dict.fromkeys(places))


def _metrics(tables: Tables, rest: Place) -> list[str]:
    """The two metrics of the papers."""
    full = next(place for place in tables.results.places if set(rest) <= set(place))
    return tables.metrics(full)[:2]


def _x(tables: Tables) -> list[str]:
    x = tables.experiment.show.x
    return [x] if isinstance(x, str) else list(x or ())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def kinds() -> Mapping[str, Callable[[Tables], Figure | None]]:
    """What draws an experiment of each `show.kind` that has a figure of its own."""
    return {"lines": lines, "bars": bars, "efficiency": efficiency}


def drawn(tables: Tables) -> Iterator[tuple[str, Figure]]:
    """The figures of an experiment but the similarity maps, by name;
    none where nothing has finished.
    """
    kind = tables.experiment.show.kind
    own = kinds()[kind](tables) if kind in kinds() else None
    if own is not None:
        yield kind, own
    if kind in ("table", "bars", "pareto") and (cost := pareto(tables)) is not None:
        yield "pareto", cost

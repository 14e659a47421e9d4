"""The kinds of figure: lines, bars, cost against quality, training time with its fit, similarity
maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.report import timing
from bench.report.base_results import Tables
from bench.report.experiments import Place
from bench.report.grid_head import head
from bench.report.style import finish, marks, panels
from bench.report.values import Value
from bench.score.metrics import DIRECTION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.score.stats import Paired

INTERVALS = "Whiskers: 95 % intervals over users; means over seeds."
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
            heights, errors = _heights([value for _, value in points])
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
        axis.set_xlabel(_words(x))
        _labelled(tables, axis, rest, metric)
    return finish(figure, tables.experiment.title, _caption(tables))


def bars(tables: Tables) -> Figure | None:
    """Arms side by side for every value of `show.x`, or on the axis themselves where it is null or
    `arm`.
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
            heights, errors = _heights([value for _, value in points])
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
        axis.set_xlabel(_words(x) if x else "")
        _labelled(tables, axis, rest, metric)
    return finish(figure, tables.experiment.title, _caption(tables))


def pareto(tables: Tables) -> Figure | None:
    """Seconds per user against the first metric; the line joins the arms that none beats in
    both."""
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
            heights, errors = _heights([value])
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
        _labelled(tables, axis, place, metric, gain=False)
    note = (
        "Seconds: fitting, adapting and answering; without loading the model and adapting the base."
    )
    return finish(
        figure, f"{tables.experiment.title}: cost against quality", [*_caption(tables), note]
    )


def frontier(points: Sequence[tuple[float, float]], *, higher: bool) -> list[tuple[float, float]]:
    """The points that no other beats in both: cheaper or as cheap, and better or as good. By
    cost."""
    best: list[tuple[float, float]] = []
    for cost, value in sorted(
        points, key=lambda point: (point[0], -point[1] if higher else point[1])
    ):
        if not best or (value > best[-1][1] if higher else value < best[-1][1]):
            best.append((cost, value))
    return best


def efficiency(tables: Tables) -> Figure | None:
    """Seconds of training per user against each axis of `show.x`, with the least-squares line of
    every arm.
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
        axis.set_xlabel(_words(x))
        axis.set_ylabel("seconds of training per user")
        axis.set_ylim(bottom=0)
        axis.set_title(_where(rest), fontsize=9)
        axis.legend(fontsize=7)
    caption = [
        *head(tables),
        "Lines: least squares over the measured points. Time of this machine, not the paper's.",
    ]
    return finish(figure, tables.experiment.title, caption, legend=False)


def similarity(tables: Tables, maps: Mapping[str, Mapping[str, Any]]) -> Figure | None:
    """Cosines of every two users' patches, a map for A, B and BA of each cell. `maps`: by the
    cell's name.
    """
    shown = [(cell, kind, matrix) for cell, kinds in maps.items() for kind, matrix in kinds.items()]
    if not shown:
        return None
    import numpy as np

    figure, axes = panels(len(shown), columns=3, width=3.1, height=2.9)
    for axis, (cell, kind, matrix) in zip(axes, shown, strict=True):
        values = np.array(matrix, dtype=float)
        image = axis.imshow(
            values,
            cmap="cividis",
            vmin=min(0.0, float(values.min())),
            vmax=1,
            interpolation="nearest",
        )
        apart = values[~np.eye(len(values), dtype=bool)]
        middle = (
            f"{np.median(apart):.2f} ({apart.min():.2f} to {apart.max():.2f})"
            if apart.size
            else "one user"
        )
        axis.set_title(f"{cell}: {kind}\nmedian {middle}", fontsize=8)
        axis.grid(False)
        axis.set_xlabel("user")
        figure.colorbar(image, ax=axis, shrink=0.8)
    note = (
        "Cosine per shared tensor, mean over tensors, of every two users; medians are of different"
        " users. The paper's range is about 0.4 to 0.7 (figure 7)."
    )
    return finish(figure, tables.experiment.title, [*head(tables), note], legend=False)


def _seconds(axis: Any, seconds: Sequence[float]) -> None:
    """Times of several orders of magnitude stand on a logarithmic axis."""
    wide = max(seconds) > 10 * min(seconds) > 0
    axis.set_xlabel("seconds per user" + (" (logarithmic)" if wide else ""))
    if wide:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
    else:
        axis.set_xlim(left=0)


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


def _heights(values: Sequence[Value | Paired]) -> tuple[list[float], list[list[float]]]:
    """Heights, and how far the interval reaches below and above (0 where there is none)."""
    heights = [one.value if isinstance(one, Value) else one.difference for one in values]
    bounds: list[list[float]] = [[], []]
    for height, one in zip(heights, values, strict=True):
        low, high = (
            (height if one.low is None else one.low),
            (height if one.high is None else one.high),
        )
        bounds[0].append(max(0.0, height - low))
        bounds[1].append(max(0.0, high - height))
    return heights, bounds


def _labelled(tables: Tables, axis: Any, place: Place, metric: str, *, gain: bool = True) -> None:
    less = gain and tables.experiment.show.y == "gain"
    name = f"{metric} minus {tables.experiment.show.baseline}" if less else metric
    axis.set_ylabel(f"{name} ({'higher' if DIRECTION[metric] else 'lower'} is better)")
    axis.set_title(_where(place), fontsize=9)
    if not axis.containers:
        axis.text(
            0.5, 0.5, "not run", ha="center", va="center", color="#555555", transform=axis.transAxes
        )
    if less:
        axis.axhline(0, color="#555555", linewidth=0.8)


def _x(tables: Tables) -> list[str]:
    x = tables.experiment.show.x
    return [x] if isinstance(x, str) else list(x or ())


def _caption(tables: Tables) -> list[str]:
    return [*head(tables), INTERVALS]


def _where(place: Place) -> str:
    return ", ".join(value for _, value in place)


def _words(axis: str) -> str:
    return axis.rpartition(".")[2].replace("_", " ")


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
    """The figures of an experiment but the similarity maps, by name; none where nothing has
    finished.
    """
    kind = tables.experiment.show.kind
    own = kinds()[kind](tables) if kind in kinds() else None
    if own is not None:
        yield kind, own
    if kind in ("table", "bars", "pareto") and (cost := pareto(tables)) is not None:
        yield "pareto", cost

"""What the kinds of figure share: heights with intervals, labels, captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.report.base_results import Tables
from bench.report.grid_head import head
from bench.report.runs import Place
from bench.report.values import Value
from bench.score.metrics import DIRECTION

if TYPE_CHECKING:
    from bench.score.stats import Paired

INTERVALS = "Whiskers: 95 % intervals over users; means over seeds."


def heights_of(values: Sequence[Value | Paired]) -> tuple[list[float], list[list[float]]]:
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


def label_axes(tables: Tables, axis: Any, place: Place, metric: str, *, gain: bool = True) -> None:
    less = gain and tables.experiment.show.y == "gain"
    name = f"{metric} minus {tables.experiment.show.baseline}" if less else metric
    axis.set_ylabel(f"{name} ({'higher' if DIRECTION[metric] else 'lower'} is better)")
    axis.set_title(place_words(place), fontsize=9)
    if not axis.containers:
        axis.text(
            0.5, 0.5, "not run", ha="center", va="center", color="#555555", transform=axis.transAxes
        )
    if less:
        axis.axhline(0, color="#555555", linewidth=0.8)


def caption(tables: Tables) -> list[str]:
    return [*head(tables), INTERVALS]


def place_words(place: Place) -> str:
    return ", ".join(value for _, value in place)


def axis_words(axis: str) -> str:
    return axis.rpartition(".")[2].replace("_", " ")

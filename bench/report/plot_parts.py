"""What the kinds of figure share: heights with intervals, labels, captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.report.base_results import Tables
from bench.report.grid_head import head
from bench.report.runs import Place, place_words
from bench.report.values import Value
from bench.score.metrics import DIRECTION

if TYPE_CHECKING:
    from bench.score.stats import Paired

INTERVALS = "Whiskers: 95 % intervals over users; means over seeds."
WHISKERS = {"capsize": 2, "elinewidth": 0.8}


@dataclass(frozen=True)
class Heights:
    """`errors`: how far the interval of each reaches below, and how far above; 0 where there is
    none.
    """

    values: list[float]
    errors: list[list[float]]


def heights_of(values: Sequence[Value | Paired]) -> Heights:
    """Values, or differences, with their intervals."""
    heights = []
    below, above = [], []
    for value in values:
        height = value.value if isinstance(value, Value) else value.difference
        low = height if value.low is None else value.low
        high = height if value.high is None else value.high
        heights.append(height)
        below.append(max(0.0, height - low))
        above.append(max(0.0, high - height))
    return Heights(heights, [below, above])


def label_axes(tables: Tables, axis: Any, place: Place, metric: str, *, gain: bool = True) -> None:
    """The names of the metric and of the place. `gain`: whether the height may be a gain over the
    baseline, as `show.y` says.
    """
    is_gain = gain and tables.experiment.show.y == "gain"
    name = f"{metric} minus {tables.experiment.show.baseline}" if is_gain else metric
    axis.set_ylabel(f"{name} ({'higher' if DIRECTION[metric] else 'lower'} is better)")
    axis.set_title(place_words(place), fontsize=9)
    if not axis.containers:
        axis.text(
            0.5, 0.5, "not run", ha="center", va="center", color="#555555", transform=axis.transAxes
        )
    if is_gain:
        axis.axhline(0, color="#555555", linewidth=0.8)


def caption(tables: Tables) -> list[str]:
    return [*head(tables), INTERVALS]


def axis_words(axis: str) -> str:
    return axis.rpartition(".")[2].replace("_", " ")

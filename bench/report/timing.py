"""Seconds of training against the size of a history (OPPU, figure 8): points and the least-squares
line of each arm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from bench.report.base_results import Tables
from bench.report.runs import Place

Point = tuple[float, float]
"""x, and the seconds before the test per user."""


@dataclass(frozen=True)
class FittedLine:
    """An arm along the axis `x` at the rest of a place; two points or more.

    `r2`: None for two points, through which a line always goes.
    """

    arm: str
    x: str
    place: Place
    points: tuple[Point, ...]
    start: float
    slope: float
    r2: float | None

    @property
    def fit(self) -> str:
        quality = f"R² {self.r2:.3f}" if self.r2 is not None else "two points, so no R²"
        return f"{self.start:.3g} + {self.slope:.3g} x, {quality}"

    def at(self, x: float) -> float:
        return self.start + self.slope * x


def lines(tables: Tables) -> Iterator[FittedLine]:
    """Every arm along every axis of `show.x` on which it has been timed at two values or more."""
    axes = tables.experiment.show.axes
    rests = tables.results.rests(axes)
    for axis, rest, arm in product(axes, rests, tables.results.arms):
        points = _points(tables, arm, axis, rest)
        if len({x for x, _ in points}) > 1:
            yield _fitted(arm, axis, rest, points)


def _points(tables: Tables, arm: str, axis: str, rest: Place) -> list[Point]:
    points = []
    for place in tables.results.places:
        summary = tables.summaries.get((place, arm))
        x = _number(dict(place).get(axis))
        # an arm that stands still on this axis has no number there
        if x is not None and summary and summary.cost and set(rest) <= set(place):
            seconds = summary.cost.fit_seconds
            if seconds:
                points.append((x, seconds))
    return sorted(points)


def _number(word: str | None) -> float | None:
    try:
        return None if word is None else float(word)
    except ValueError:
        return None


def _fitted(arm: str, axis: str, rest: Place, points: list[Point]) -> FittedLine:
    import numpy as np

    at, seconds = np.array(points).T
    slope, start = map(float, np.polyfit(at, seconds, 1))
    r2 = None
    if len(set(at)) > 2:
        spread = float(np.sum((seconds - seconds.mean()) ** 2))
        left = float(np.sum((seconds - start - slope * at) ** 2))
        r2 = 1 - left / spread if spread else 1.0
    return FittedLine(arm, axis, rest, tuple(points), start, slope, r2)

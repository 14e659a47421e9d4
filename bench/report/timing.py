"""Seconds of training against the size of a history (OPPU, figure 8): points and the least-squares
line of each arm.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from bench.report.base_results import Tables
from bench.report.runs import Place


@dataclass(frozen=True)
class FittedLine:
    """An arm along the axis `x` at the rest of a place; two points or more: (x, seconds before the
    test per user).

    `r2`: None for two points, through which a line always goes.
    """

    arm: str
    x: str
    place: Place
    points: tuple[tuple[float, float], ...]
    start: float
    slope: float
    r2: float | None

    @property
    def fit(self) -> str:
        quality = f"R² {self.r2:.3f}" if self.r2 is not None else "two points, so no R²"
        return f"{self.start:.3g} + {self.slope:.3g} x, {quality}"


def lines(tables: Tables) -> Iterator[FittedLine]:
    """Every arm along every axis of `show.x` on which it has been timed at two values or more."""
    x = tables.experiment.show.x
    axes = [x] if isinstance(x, str) else list(x or ())
    rests = dict.fromkeys(
        tuple(part for part in place if part[0] not in axes) for place in tables.results.places
    )
    for axis in axes:
        for rest in rests:
            for arm in tables.results.arms:
                points = _points(tables, arm, axis, rest)
                if len({at for at, _ in points}) > 1:
                    yield _fitted(arm, axis, rest, points)


def _points(tables: Tables, arm: str, axis: str, rest: Place) -> list[tuple[float, float]]:
    found = []
    for place in tables.results.places:
        one = tables.summaries.get((place, arm))
        if one and one.cost and one.cost.fit_seconds and set(rest) <= set(place):
            with suppress(KeyError, ValueError):  # an arm that stands still on this axis
                found.append((float(dict(place)[axis]), one.cost.fit_seconds))
    return sorted(found)


def _fitted(arm: str, axis: str, rest: Place, points: list[tuple[float, float]]) -> FittedLine:
    import numpy as np

    at, seconds = np.array(points).T
    slope, start = (float(value) for value in np.polyfit(at, seconds, 1))
    spread = float(np.sum((seconds - seconds.mean()) ** 2))
    r2 = 1 - float(np.sum((seconds - start - slope * at) ** 2)) / spread if spread else 1.0
    return FittedLine(
        arm, axis, rest, tuple(points), start, slope, r2 if len(set(at)) > 2 else None
    )

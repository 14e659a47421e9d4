"""How far repeats of a fit lie apart, and what that adds to an interval over users.

A repeat has the same users and another draw of everything that the method draws. The interval of
their mean then has two parts: other users, and other draws. Both are variances of the mean, so they
add; the degrees of freedom of the sum are Satterthwaite's. With three repeats the second part knows
little of itself, and its share of the interval is wide.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEVEL = 0.975
"""Share below the upper end of a 95 % interval."""


@dataclass(frozen=True)
class Ends:
    """The ends of an interval; None where none is known."""

    low: float | None
    high: float | None


@dataclass(frozen=True)
class StandardError:
    """A standard error, and its degrees of freedom."""

    error: float
    freedom: float


@dataclass(frozen=True)
class Spread:
    """`sd` of a metric over the repeats of a seed (pooled over seeds), and the `error` of the mean
    over all runs that comes from it, with its degrees of `freedom`.
    """

    sd: float
    error: float
    freedom: int

    def wider(self, value: float, low: float | None, high: float | None, users: int) -> Ends:
        """The interval over users with the repeats' part added;
        without one there is nothing to widen.
        """
        # half = t(f) sqrt(v_u + v_r): v_u = (half of users / t(users - 1))^2, v_r = sd^2 / runs; f
        # = (v_u + v_r)^2 / (v_u^2 / (users - 1) + v_r^2 / freedom). Each end by itself, and never
        # nearer.
        if low is None or high is None:
            return Ends(low, high)
        down, up = self._half(abs(low - value), users), self._half(abs(high - value), users)
        return Ends(value - down, value + up)

    def both(self, error: float, users: int) -> StandardError:
        """The standard error of both parts, users' and repeats', and its degrees of freedom
        (Satterthwaite 1946).
        """
        of_users, of_repeats = error**2, self.error**2
        total = of_users + of_repeats
        parts = of_users**2 / max(1, users - 1) + of_repeats**2 / max(1, self.freedom)
        return StandardError(math.sqrt(total), total**2 / parts if parts else users - 1.0)

    def p(self, difference: float, error: float, users: int) -> float:
        """Two-sided p of a mean difference, by both parts;
        1 where there is no spread to tell it from.
        """
        from scipy.special import stdtr

        both = self.both(error, users)
        if not both.error:
            return 1.0
        return float(2 * stdtr(both.freedom, -abs(difference) / both.error))

    def _half(self, half: float, users: int) -> float:
        both = self.both(half / _quantile(users - 1), users)
        return max(half, _quantile(both.freedom) * both.error)


def spread(values: Mapping[str, Sequence[float]]) -> Spread | None:
    """Of a metric's values by seed, each seed's repeats; None where no seed was repeated."""
    freedom, squares = 0, 0.0
    for repeats in values.values():
        if len(repeats) > 1:
            freedom += len(repeats) - 1
            squares += statistics.variance(repeats) * (len(repeats) - 1)
    if not freedom:
        return None
    variance = squares / freedom
    runs = sum(map(len, values.values()))
    return Spread(math.sqrt(variance), math.sqrt(variance / runs), freedom)


def on_scale(metric: str, ends: Ends, span: float) -> Ends:
    """An interval of a metric without what lies beyond the metric's ends. `span`: the largest error
    of a rating.
    """
    from bench.score.intervals import largest

    low, high, top = ends.low, ends.high, largest(metric, span)
    if low is not None:
        low = max(0.0, low)
    if high is not None and top is not None:
        high = min(top, high)
    return Ends(low, high)


def _quantile(freedom: float) -> float:
    """Student's t below which LEVEL lies."""
    from scipy.special import stdtrit

    return float(stdtrit(max(1.0, freedom), LEVEL))

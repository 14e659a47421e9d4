"""95 % intervals that cover with few users: each user left out in turn (the jackknife), and
quantiles of Student's t.

Resampled percentiles are too narrow with few users, and a metric at the end of its scale, such as
no right answer in 24, has no spread at all. `benchmarks/coverage.py` measures how often these
intervals cover.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from bench.score.sums import Floats

LEVEL = 0.95
STARS = 4.0
"""The largest error of a rating from 1 to 5, the scale of LaMP-3."""
NO_SPREAD = 1e-12


class Bounds(NamedTuple):
    """The two ends of an interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, its standard error over users, and the degrees of freedom of that error."""

    value: float
    error: float
    freedom: float


def jackknife(value: float, left_out: Floats, prior: float = 0.0) -> Estimate:
    """The standard error of a value from the values without each user, `left_out` [users], at least
    two.

    Where few users make all the difference, their spread says little of itself: the degrees of
    freedom come from the kurtosis of the users' influence (2n / (kurtosis - 1); n for a normal
    one), at most n - 1. `prior` is variance that no user shows and that adds to the error.
    """
    users = len(left_out)
    squares = (left_out - left_out.mean()) ** 2
    variance = float((users - 1) / users * squares.sum())
    if variance < NO_SPREAD**2:
        return Estimate(value, math.sqrt(prior), users - 1)
    kurtosis = float((squares**2).mean() / squares.mean() ** 2)
    freedom = min(users - 1.0, 2 * users / max(kurtosis - 1, NO_SPREAD))
    return Estimate(value, math.sqrt(variance + prior), max(1.0, freedom))


def quantile(share: float, freedom: float) -> float:
    """Student's t below which this share lies."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share))


def largest(metric: str, span: float = STARS) -> float | None:
    """The end of the metric's scale; None where it has none. `span`: the largest error of a
    rating.
    """
    if metric.startswith("nll"):
        return None
    return span if metric.endswith(("mae", "rmse")) else 1.0


def of_metric(metric: str, estimate: Estimate, users: int, span: float = STARS) -> Bounds:
    """The interval of one arm's metric.

    On a scale with two ends it is Wilson's score interval, with as many trials as the error stands
    for: it never leaves the scale, and has a width at the ends. NLL and RMSE, which a few users
    make large, have theirs on the logarithm; an RMSE without spread has that of its square.
    """
    top = largest(metric, span)
    # A share is as uneven as its value says, and Wilson's interval knows that already.
    t = quantile(0.5 + LEVEL / 2, users - 1 if _is_share(metric) else estimate.freedom)
    if top is None or (metric.endswith("rmse") and estimate.error > NO_SPREAD):
        low, high = _on_logarithm(estimate, t)
        return Bounds(low, high if top is None or estimate.value > top else min(high, top))
    if estimate.value > top:  # answers beyond the scale count as they are
        return Bounds(estimate.value - t * estimate.error, estimate.value + t * estimate.error)
    return _on_scale(metric, estimate, t, users, top)


def between(least: Estimate, most: Estimate, users: int) -> Bounds:
    """The interval of a share that may lie anywhere between two estimates of it (Imbens and Manski,
    Econometrica 2004).

    Half as wide errors would do at either end where the two are far apart: the truth cannot be
    beyond both.
    """
    if most.value < least.value:
        least, most = most, least
    critical = _critical(least, most, users - 1)
    lower = _on_scale("", least, critical, users, 1.0)
    upper = _on_scale("", most, critical, users, 1.0)
    return Bounds(min(lower.low, upper.low), max(lower.high, upper.high))


def _is_share(metric: str) -> bool:
    return largest(metric) == 1


def of_difference(
    metric: str, point: float, estimate: Estimate, users: int, span: float = STARS
) -> Bounds | None:
    """The interval of a difference between two arms; it holds the `point` that is printed.

    Where no user differs (no error): as much as so many users may hide, which is a share of users
    that would all be alike by chance once in twenty, times the scale. None without a scale.
    """
    if estimate.error < NO_SPREAD:
        top = largest(metric, span)
        if top is None:
            return None
        hidden = top * (1 - (1 - LEVEL) ** (1 / users))
        return Bounds(point - hidden, point + hidden)
    reach = quantile(0.5 + LEVEL / 2, estimate.freedom) * estimate.error
    return Bounds(min(estimate.value - reach, point), max(estimate.value + reach, point))


def _on_scale(metric: str, estimate: Estimate, t: float, users: int, top: float) -> Bounds:
    share, error = min(max(estimate.value / top, 0.0), 1.0), estimate.error / top
    if metric.endswith("rmse"):  # without spread, so that the error stays 0
        share = share**2
    spread = 0 < share < 1 and error > NO_SPREAD
    trials = share * (1 - share) / error**2 if spread else float(users)
    shift, stretch = t * t / trials, 1 + t * t / trials
    half = t * math.sqrt(share * (1 - share) / trials + (shift / 2) ** 2 / t**2)
    low = max(0.0, (share + shift / 2 - half) / stretch)
    high = min(1.0, (share + shift / 2 + half) / stretch)
    if metric.endswith("rmse"):
        low, high = math.sqrt(low), math.sqrt(high)
    return Bounds(low * top, high * top)


def _on_logarithm(estimate: Estimate, t: float) -> Bounds:
    if estimate.value <= 0:
        return Bounds(estimate.value, estimate.value)
    reach = math.exp(t * estimate.error / estimate.value)
    return Bounds(estimate.value / reach, estimate.value * reach)


def _critical(least: Estimate, most: Estimate, freedom: float) -> float:
    """Standard errors to go beyond both ends: between the one-sided and the two-sided quantile."""
    from scipy.special import stdtr

    apart = (most.value - least.value) / max(least.error, most.error, NO_SPREAD)
    low, high = quantile(LEVEL, freedom), quantile(0.5 + LEVEL / 2, freedom)
    for _ in range(30):  # halving: coverage grows with the critical value
        middle = (low + high) / 2
        enough = stdtr(freedom, middle + apart) - stdtr(freedom, -middle) >= LEVEL
        low, high = (low, middle) if enough else (middle, high)
    return high

"""Repeats of a fit in one row: how far they lie apart, and what that adds to an interval over
users.

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

from bench.report.cells import COSTS, Record, cost, overlap, run_name, unedited

LEVEL = 0.975
"""Share below the upper end of a 95 % interval."""


@dataclass(frozen=True)
class Spread:
    """`sd` of a metric over the repeats of a seed (pooled over seeds), and the `error` of the mean
    over all runs that comes from it, with its degrees of `freedom`.
    """

    sd: float
    error: float
    freedom: int

    def wider(
        self, value: float, low: float | None, high: float | None, users: int
    ) -> tuple[float | None, float | None]:
        """The interval over users with the repeats' part added;
        without one there is nothing to widen.
        """
        # half = t(f) sqrt(v_u + v_r): v_u = (half of users / t(users - 1))^2, v_r = sd^2 / runs; f
        # = (v_u + v_r)^2 / (v_u^2 / (users - 1) + v_r^2 / freedom). Each end by itself, and never
        # nearer.
        if low is None or high is None:
            return low, high
        down, up = (self._half(abs(end - value), users) for end in (low, high))
        return value - down, value + up

    def both(self, error: float, users: int) -> tuple[float, float]:
        """The standard error of both parts, users' and repeats', and its degrees of freedom
        (Satterthwaite 1946).
        """
        variances = (error**2, users - 1), (self.error**2, self.freedom)
        total = sum(variance for variance, _ in variances)
        parts = sum(variance**2 / max(1, freedom) for variance, freedom in variances)
        return math.sqrt(total), total**2 / parts if parts else users - 1.0

    def p(self, difference: float, error: float, users: int) -> float:
        """Two-sided p of a mean difference, by both parts;
        1 where there is no spread to tell it from.
        """
        from scipy.special import stdtr

        total, freedom = self.both(error, users)
        return float(2 * stdtr(freedom, -abs(difference) / total)) if total else 1.0

    def _half(self, half: float, users: int) -> float:
        total, freedom = self.both(half / _quantile(users - 1), users)
        return max(half, _quantile(freedom) * total)


def spread(values: Mapping[str, Sequence[float]]) -> Spread | None:
    """Of a metric's values by seed, each seed's repeats; None where no seed was repeated."""
    repeated = [own for own in values.values() if len(own) > 1]
    if not repeated:
        return None
    freedom = sum(len(own) - 1 for own in repeated)
    variance = sum(statistics.variance(own) * (len(own) - 1) for own in repeated) / freedom
    runs = sum(map(len, values.values()))
    return Spread(math.sqrt(variance), math.sqrt(variance / runs), freedom)


def in_one_row(arm: Sequence[Record]) -> list[Record]:
    """The cells of an arm, repeats of a seed as one (`as_one`). Failed cells stand alone, and so do
    cells that differ in something no label names.
    """
    seeds: dict[tuple[str, str], list[Record]] = {}
    for record in arm:
        twice = [one for one in arm if run_name(one) == run_name(record)]
        alone = record["status"] != "ok" or not record["metrics"] or len(twice) > 1
        seeds.setdefault((str(record["cell"]["seed"]), record["key"] if alone else ""), []).append(
            record
        )
    return [as_one(members) for members in seeds.values()]


def as_one(records: Sequence[Record]) -> Record:
    """The repeats of one seed as a record-like row: means, with `apart` (the standard deviation)
    beside each metric, and costs of one repeat. A single record is itself.

    The part of the interval that other users make is the mean of the repeats' own, which is not
    less than their mean's.
    """
    first = records[0]
    if len(records) == 1:
        return first
    names = [name for name in first["metrics"] if all(name in one["metrics"] for one in records)]
    metrics = {name: _mean(name, [one["metrics"][name] for one in records]) for name in names}
    spent = {what: statistics.fmean(cost(one, what) for one in records) for what in COSTS}
    return {
        **first,
        "key": "",
        "cell": {
            **first["cell"],
            "repeat": 0,
            "seed": f"{first['cell']['seed']}, {len(records)} repeats",
        },
        "metrics": metrics,
        "cost": {"mean": spent},
        "counts": {},
        "unedited": unedited(records),
        "overlap": overlap(records),
        "overlap_of": "repeats",
    }


def on_scale(
    metric: str, low: float | None, high: float | None
) -> tuple[float | None, float | None]:
    """An interval of a metric without what lies beyond the metric's ends."""
    from bench.score.intervals import largest

    top = largest(metric)
    return (
        None if low is None else max(0.0, low),
        high if high is None or top is None else min(top, high),
    )


def _mean(name: str, metrics: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
    values = [one["value"] for one in metrics]
    value, users, apart = statistics.fmean(values), int(metrics[0]["users"]), spread({"": values})
    low, high = (_offset(metrics, end) for end in ("low", "high"))
    ends = (None if low is None else value + low), (None if high is None else value + high)
    low, high = on_scale(name, *apart.wider(value, *ends, users)) if apart else ends
    return {
        "value": value,
        "low": low,
        "high": high,
        "users": users,
        "apart": apart.sd if apart else 0.0,
    }


def _offset(metrics: Sequence[Mapping[str, float | None]], end: str) -> float | None:
    """Mean distance of an end of the interval from the value."""
    pairs = [(one[end], one["value"]) for one in metrics]
    known = [bound - value for bound, value in pairs if bound is not None and value is not None]
    return statistics.fmean(known) if len(known) == len(metrics) else None


def _quantile(freedom: float) -> float:
    """Student's t below which LEVEL lies."""
    from scipy.special import stdtrit

    return float(stdtrit(max(1.0, freedom), LEVEL))

"""How sure we are: intervals over users, paired tests between two arms, Holm's correction.

Queries of one user depend on each other, so the unit is always the cluster (`Scored.group`). Every
metric, macro-F1 and RMSE included, is a function of sums over clusters: one product makes all swaps
of a permutation test, one difference leaves each user out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import InputError
from bench.score import intervals as bounds
from bench.score import power, rare_labels
from bench.score.intervals import Estimate, jackknife
from bench.score.metrics import DIRECTION, Kind, Scored, value_names
from bench.score.sums import (
    Floats,
    Sums,
    cluster_numbers,
    left_out,
    mean_over_runs,
    metrics_of,
    sums_of,
    whole,
)

CHUNK = 256  # swaps in memory at once
WEIGHTS = 2**19  # and so many numbers of theirs: fewer swaps at once for more than 2,048 clusters
TIE = 1e-12  # differences below this are rounding
MACRO = {"f1": "", "lenient_f1": "lenient_"}
"""Metrics that a small sample understates, for want of the labels it has not
(`bench.score.rare_labels`).
"""


@dataclass(frozen=True, slots=True)
class Interval:
    """A metric and its 95 % interval over `users` clusters; None where one user alone says nothing
    of others.
    """

    value: float
    low: float | None
    high: float | None
    users: int


@dataclass(frozen=True, slots=True)
class Paired:
    """Arm a minus arm b on their common queries: difference, its 95 % interval, the p of a
    permutation test.

    `low` and `high` are None where there is nothing to tell them from: a single user, or no
    difference at all in a metric without ends. `detectable` is the smallest difference that so many
    users would show (`bench.score.power`; None where no two users differ). `error`: the standard
    error over users. `helped` and `harmed` are the shares of users for whom a is better or worse
    than b (ties are neither): by the metric's own mean, for f1 by accuracy, for rmse by squared
    error. `left_out`: queries that only one arm answered.
    """

    difference: float
    low: float | None
    high: float | None
    p_permutation: float
    detectable: float | None
    error: float
    helped: float
    harmed: float
    users: int
    queries: int
    left_out: int


def intervals(kind: Kind, labels: Sequence[str], scored: Sequence[Scored]) -> dict[str, Interval]:
    """Every metric of `aggregate` with its interval, whole clusters being what was drawn from all
    users.
    """
    return intervals_of_runs(kind, labels, [scored])


def intervals_of_runs(
    kind: Kind, labels: Sequence[str], runs: Sequence[Sequence[Scored]]
) -> dict[str, Interval]:
    """The mean over runs (seeds, or sets of users) of every metric that all have, each run's
    computed alone.

    Runs depend on each other where they share users, so a user is left out of every run at once.
    """
    clusters, users = cluster_numbers(runs)
    sums = [
        sums_of(kind, labels, run, numbers, value_names(run), users)
        for run, numbers in zip(runs, clusters, strict=True)
    ]
    values = whole(kind, sums)
    if users < 2:
        return {name: Interval(value, None, None, users) for name, value in values.items()}
    without = left_out(kind, sums)
    found = {}
    for name, value in values.items():
        plain = jackknife(value, without[name])
        if name in MACRO:
            low, high = bounds.between(plain, rare_labels.of_arm(MACRO[name], sums), users)
        else:
            low, high = bounds.of_metric(name, plain, users)
        found[name] = Interval(value, min(low, value), max(high, value), users)
    return found


def paired(
    kind: Kind,
    labels: Sequence[str],
    a: Sequence[Scored],
    b: Sequence[Scored],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Paired]:
    """Compare two arms on the queries and metrics both have.

    `p_permutation`: share of draws, arms swapped user by user at random, with a difference at least
    as large; two-sided, with one added to both counts. Raises InputError where no query is common,
    an id occurs twice in an arm, or the arms disagree on gold or group.
    """
    return paired_runs(kind, labels, [(a, b)], draws=draws, seed=seed)


def paired_runs(
    kind: Kind,
    labels: Sequence[str],
    runs: Sequence[tuple[Sequence[Scored], Sequence[Scored]]],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Paired]:
    """The same for arms with several runs (a run: both arms on one seed or set of users):
    differences are means over runs, a draw swaps a user in all of them, and a user is helped whom a
    serves better on their mean.
    """
    common = [_common(a, b) for a, b in runs]
    names = [
        name
        for name in value_names(common[0][0])
        if all(name in value_names(arm) for both in common for arm in both)
    ]
    clusters, users = cluster_numbers([left for left, _ in common])
    first, second = (
        [
            sums_of(kind, labels, both[arm], own, names, users)
            for both, own in zip(common, clusters, strict=True)
        ]
        for arm in (0, 1)
    )
    values = [whole(kind, arm) for arm in (first, second)]
    without = [left_out(kind, arm) for arm in (first, second)] if users > 1 else []
    permuted = _permuted(kind, first, second, draws, seed)
    queries = sum(len(left) for left, _ in common)
    apart = sum(len(a) + len(b) for a, b in runs) - 2 * queries
    result = {}
    for name in values[0]:
        difference = values[0][name] - values[1][name]
        left = without[0][name] - without[1][name] if without else None
        low, high, error, detectable = _sureness(name, difference, left, first, second)
        gains = _user_gains(name, first, second)
        extreme = int(np.sum(np.abs(permuted[name]) >= abs(difference) - TIE))
        result[name] = Paired(
            difference,
            low,
            high,
            p_permutation=(1 + extreme) / (draws + 1),
            detectable=detectable,
            error=error,
            helped=float(np.mean(gains > TIE)),
            harmed=float(np.mean(gains < -TIE)),
            users=users,
            queries=queries,
            left_out=apart,
        )
    return result


def holm(pvalues: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjusted p-values (family-wise error), in the order given; ValueError
    outside 0..1.
    """
    if not all(0 <= p <= 1 for p in pvalues.values()):
        raise ValueError(f"p-values must lie in 0..1: {dict(pvalues)}")
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(pvalues, key=lambda name: pvalues[name])):
        largest = max(largest, min(1.0, (len(pvalues) - rank) * pvalues[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in pvalues}


def _sureness(
    name: str, difference: float, left: Floats | None, first: list[Sums], second: list[Sums]
) -> tuple[float | None, float | None, float, float | None]:
    """Interval, standard error and smallest effect to be seen of a difference, from the values
    without each user.
    """
    if left is None:  # one user
        return None, None, 0.0, None
    plain = jackknife(difference, left)
    seen = plain.error > TIE
    interval: Estimate = (
        rare_labels.of_difference(MACRO[name], first, second) if seen and name in MACRO else plain
    )
    low, high = bounds.of_difference(name, difference, interval, len(left)) or (None, None)
    return low, high, plain.error, power.detectable(plain.error, plain.freedom) if seen else None


def _permuted(
    kind: Kind, first: list[Sums], second: list[Sums], draws: int, seed: int
) -> dict[str, Floats]:
    """The difference of every metric in each draw, in which the arms of a user are swapped or not:
    [draws].
    """
    if draws < 1:
        raise InputError(f"draws is {draws}, must be at least 1")
    rng, users = np.random.default_rng(seed), len(first[0].rows)
    changes = [two.rows - one.rows for one, two in zip(first, second, strict=True)]
    totals = [[one.rows.sum(axis=0) for one in arm] for arm in (first, second)]

    def swapped(count: int) -> dict[str, Floats]:
        swaps = rng.integers(2, size=(count, users)).astype(np.float64)
        moved = [swaps @ change for change in changes]
        a = [
            one.with_rows(total + move)
            for one, total, move in zip(first, totals[0], moved, strict=True)
        ]
        b = [
            one.with_rows(total - move)
            for one, total, move in zip(second, totals[1], moved, strict=True)
        ]
        left, right = (mean_over_runs([metrics_of(kind, one) for one in arm]) for arm in (a, b))
        return {name: left[name] - right[name] for name in left}

    step = max(1, min(CHUNK, WEIGHTS // users))
    chunks = [swapped(min(step, draws - start)) for start in range(0, draws, step)]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _common(a: Sequence[Scored], b: Sequence[Scored]) -> tuple[list[Scored], list[Scored]]:
    arm_a, arm_b = ({one.id: one for one in arm} for arm in (a, b))
    for arm, by_id in ((a, arm_a), (b, arm_b)):
        if len(arm) != len(by_id):
            raise InputError(
                f"paired comparison: {len(arm) - len(by_id)} query ids occur twice in one arm"
            )
    ids = [id for id in arm_a if id in arm_b]
    if not ids:
        raise InputError(
            f"paired comparison: the arms ({len(a)} and {len(b)} queries) have no query id in"
            " common"
        )
    for one, other in ((arm_a[id], arm_b[id]) for id in ids):
        if (one.gold, one.group) != (other.gold, other.group):
            raise InputError(
                f"query {one.id}: the two arms differ in gold or group, so they ran on different"
                " data"
            )
    return [arm_a[id] for id in ids], [arm_b[id] for id in ids]


def _user_gains(name: str, a: Sequence[Sums], b: Sequence[Sums]) -> Floats:
    """How much better a is than b for each cluster, by the additive value that stands for the
    metric: [clusters].
    """
    additive = name.removeprefix("user_mean_")
    for part, stand_in in (("f1_present", "accuracy"), ("f1", "accuracy"), ("rmse", "mse")):
        additive = additive.replace(part, stand_in)
    # 0 / 0 of a user whom a run has not: nan, and no part of their mean
    with np.errstate(invalid="ignore"):
        gains = [
            (one[additive] - two[additive])[:, 0] / one["queries"][:, 0]
            for one, two in zip(a, b, strict=True)
        ]
    gain: Floats = np.nanmean(gains, axis=0)
    return gain if DIRECTION[name] else -gain

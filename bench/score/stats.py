"""How sure we are: intervals that resample users, paired tests between two arms, Holm's correction.

Queries of one user depend on each other, so the unit is always the cluster (`Scored.group`). Every metric, macro-F1
and RMSE included, is a function of sums over clusters; a draw is a row of weights, and all draws are one product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.score.metrics import DIRECTION, Kind, Scored, aggregate, value_names
from bench.score.sums import Floats, Sums, cluster_numbers, metrics_of, sums_of
from bench.types import InputError

CHUNK = 256  # draws in memory at once
WEIGHTS = 2**19  # and so many numbers of theirs: fewer draws at once for more than 2,048 clusters
TIE = 1e-12  # differences below this are rounding


@dataclass(frozen=True, slots=True)
class Interval:
    """A metric and its 95 % percentile bootstrap interval over `users` clusters (no width at all for one user).

    Macro-F1 is lower in nearly every draw than in the data, for want of the labels that were not drawn, so its draws
    are first moved by their mean bias (Davison and Hinkley 1997, section 5.2): the interval then lies around the value.
    """

    value: float
    low: float
    high: float
    users: int


@dataclass(frozen=True, slots=True)
class Paired:
    """Arm a minus arm b on their common queries: difference, its 95 % bootstrap interval, two p-values.

    `helped` and `harmed` are the shares of users for whom a is better or worse than b (ties are neither): by the
    metric's own mean, for f1 by accuracy, for rmse by squared error. `left_out`: queries that only one arm answered.
    """

    difference: float
    low: float
    high: float
    p_bootstrap: float
    p_permutation: float
    helped: float
    harmed: float
    users: int
    queries: int
    left_out: int


def bootstrap(
    kind: Kind, labels: Sequence[str], scored: Sequence[Scored], *, draws: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """Every metric of `aggregate` with its interval, resampling whole clusters with replacement.

    Clusters are numbered in order of appearance; the draws are `default_rng(seed).integers(clusters)`, row by row.
    """
    return bootstrap_runs(kind, labels, [scored], draws=draws, seed=seed)


def bootstrap_runs(
    kind: Kind, labels: Sequence[str], runs: Sequence[Sequence[Scored]], *, draws: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """The mean over runs (seeds, or sets of users) of every metric that all have, each run's computed alone.

    Runs depend on each other where they share users, so a draw takes a user in every run or in none.
    """
    every = [aggregate(kind, labels, run) for run in runs]
    clusters, users = cluster_numbers(runs)
    sums = [
        sums_of(kind, labels, run, numbers, value_names(run), users)
        for run, numbers in zip(runs, clusters, strict=True)
    ]
    rng = np.random.default_rng(seed)

    def resampled(count: int) -> dict[str, Floats]:
        weights = _resample(rng, count, users)
        return _mean([metrics_of(kind, one.with_rows(weights @ one.rows)) for one in sums])

    drawn = _over_draws(draws, users, resampled)
    means = {
        name: float(np.mean([values[name] for values in every]))
        for name in every[0]
        if all(name in values for values in every)
    }
    return {
        name: Interval(value, *_bounds(_unbiased(name, drawn[name], value)), users=users)
        for name, value in means.items()
    }


def paired(
    kind: Kind, labels: Sequence[str], a: Sequence[Scored], b: Sequence[Scored], *, draws: int = 2000, seed: int = 0
) -> dict[str, Paired]:
    """Compare two arms on the queries and metrics both have; every draw takes the same users for both.

    `p_bootstrap`: twice the smaller share of draws on one side of 0. `p_permutation`: share of draws, arms swapped
    user by user at random, with a difference at least as large. Both two-sided, with one added to both counts.
    Raises InputError where no query is common, an id occurs twice in an arm, or the arms disagree on gold or group.
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
    """The same for arms with several runs (a run: both arms on one seed or set of users): differences are means over
    runs, a draw takes or swaps a user in all of them, and a user is helped whom a serves better on their mean.
    """
    common = [_common(a, b) for a, b in runs]
    names = [
        name for name in value_names(common[0][0]) if all(name in value_names(arm) for both in common for arm in both)
    ]
    clusters, users = cluster_numbers([left for left, _ in common])
    first, second = (
        [sums_of(kind, labels, both[arm], own, names, users) for both, own in zip(common, clusters, strict=True)]
        for arm in (0, 1)
    )
    rng = np.random.default_rng(seed)

    def arms(change: Callable[[Sums, Sums], tuple[Floats, Floats]]) -> dict[str, Floats]:  # [draws, 2]
        changed = [(one, change(one, two)) for one, two in zip(first, second, strict=True)]
        a, b = (_mean([metrics_of(kind, one.with_rows(rows[arm])) for one, rows in changed]) for arm in (0, 1))
        return {name: np.stack([a[name], b[name]], axis=1) for name in a}

    def resampled(count: int) -> dict[str, Floats]:
        weights = _resample(rng, count, users)
        return arms(lambda one, two: (weights @ one.rows, weights @ two.rows))

    def swapped(count: int) -> dict[str, Floats]:
        swaps = rng.integers(2, size=(count, users)).astype(np.float64)

        def swap(one: Sums, two: Sums) -> tuple[Floats, Floats]:
            change = swaps @ (two.rows - one.rows)
            return one.rows.sum(axis=0) + change, two.rows.sum(axis=0) - change

        return arms(swap)

    bootstrapped, permuted = _over_draws(draws, users, resampled), _over_draws(draws, users, swapped)
    values = [tuple(aggregate(kind, labels, arm) for arm in both) for both in common]
    queries = sum(len(left) for left, _ in common)
    result = {}
    for name in (name for name in values[0][0] if name in bootstrapped):
        means = np.mean([[arm[name] for arm in both] for both in values], axis=0)
        value, drawn = float(means[0] - means[1]), bootstrapped[name]
        unbiased = [_unbiased(name, drawn[:, arm], means[arm]) for arm in (0, 1)]
        low, high = _bounds(unbiased[0] - unbiased[1])
        gains = _user_gains(name, first, second)
        extreme = int(np.sum(np.abs(permuted[name] @ (1, -1)) >= abs(value) - TIE))
        result[name] = Paired(
            value, low, high, _p_bootstrap(drawn @ (1, -1)), p_permutation=(1 + extreme) / (draws + 1),
            helped=float(np.mean(gains > TIE)), harmed=float(np.mean(gains < -TIE)), users=users, queries=queries,
            left_out=sum(len(a) + len(b) for a, b in runs) - 2 * queries,
        )  # fmt: skip
    return result


def holm(pvalues: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjusted p-values (family-wise error), in the order given; ValueError outside 0..1."""
    if not all(0 <= p <= 1 for p in pvalues.values()):
        raise ValueError(f"p-values must lie in 0..1: {dict(pvalues)}")
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(pvalues, key=lambda name: pvalues[name])):
        largest = max(largest, min(1.0, (len(pvalues) - rank) * pvalues[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in pvalues}


def _common(a: Sequence[Scored], b: Sequence[Scored]) -> tuple[list[Scored], list[Scored]]:
    arm_a, arm_b = ({one.id: one for one in arm} for arm in (a, b))
    for arm, by_id in ((a, arm_a), (b, arm_b)):
        if len(arm) != len(by_id):
            raise InputError(f"paired comparison: {len(arm) - len(by_id)} query ids occur twice in one arm")
    ids = [id for id in arm_a if id in arm_b]
    if not ids:
        raise InputError(f"paired comparison: the arms ({len(a)} and {len(b)} queries) have no query id in common")
    for one, other in ((arm_a[id], arm_b[id]) for id in ids):
        if (one.gold, one.group) != (other.gold, other.group):
            raise InputError(f"query {one.id}: the two arms differ in gold or group, so they ran on different data")
    return [arm_a[id] for id in ids], [arm_b[id] for id in ids]


def _mean(runs: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    """Mean over the runs; a draw that has no user of a run (nan) has no say in it."""
    shared = [name for name in runs[0] if all(name in run for run in runs)]
    return {
        name: runs[0][name] if len(runs) == 1 else np.nanmean([run[name] for run in runs], axis=0) for name in shared
    }


def _resample(rng: np.random.Generator, draws: int, clusters: int) -> Floats:
    """How often each draw takes each cluster: [draws, clusters], rows sum to `clusters`."""
    picks = rng.integers(clusters, size=(draws, clusters)) + np.arange(draws)[:, None] * clusters
    return np.bincount(picks.ravel(), minlength=draws * clusters).reshape(draws, clusters).astype(np.float64)


def _over_draws(draws: int, clusters: int, compute: Callable[[int], dict[str, Floats]]) -> dict[str, Floats]:
    if draws < 1:
        raise InputError(f"draws is {draws}, must be at least 1")
    step = max(1, min(CHUNK, WEIGHTS // clusters))
    chunks = [compute(min(step, draws - start)) for start in range(0, draws, step)]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _unbiased(name: str, drawn: Floats, value: float) -> Floats:
    """Draws of one arm's macro-F1 scaled so that their mean is the value: labels go missing in a draw.

    A draw without a right answer stays 0. Other metrics are as they are.
    """
    mean = drawn.mean() if name in ("f1", "lenient_f1") else 0.0
    return np.minimum(drawn * (value / mean), 1.0) if mean else drawn


def _bounds(drawn: Floats) -> tuple[float, float]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _p_bootstrap(differences: Floats) -> float:
    one_side = min(np.sum(differences <= TIE), np.sum(differences >= -TIE))
    return min(1.0, 2 * (1 + int(one_side)) / (len(differences) + 1))


def _user_gains(name: str, a: Sequence[Sums], b: Sequence[Sums]) -> Floats:
    """How much better a is than b for each cluster, by the additive value that stands for the metric: [clusters]."""
    additive = name.removeprefix("user_mean_")
    for part, stand_in in (("f1_present", "accuracy"), ("f1", "accuracy"), ("rmse", "mse")):
        additive = additive.replace(part, stand_in)
    with np.errstate(invalid="ignore"):  # 0 / 0 of a user whom a run has not: nan, and no part of their mean
        gains = [(one[additive] - two[additive])[:, 0] / one["queries"][:, 0] for one, two in zip(a, b, strict=True)]
    gain: Floats = np.nanmean(gains, axis=0)
    return gain if DIRECTION[name] else -gain

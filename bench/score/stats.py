"""How sure we are: intervals that resample users, paired tests between two arms, Holm's correction.

Queries of one user depend on each other, so the unit is always the cluster (`Scored.group`). Every metric, macro-F1
and RMSE included, is a function of sums over clusters; a draw is a row of weights, and all draws are one product.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.score.metrics import DIRECTION, USER_MEANS, Kind, Scored, aggregate, value_names
from bench.types import InputError

Floats = NDArray[np.float64]

CHUNK = 256  # draws in memory at once
WEIGHTS = 2**21  # and so many numbers of theirs: fewer draws at once for more than 8,192 clusters
TIE = 1e-12  # differences below this are rounding


@dataclass(frozen=True, slots=True)
class Interval:
    """A metric and its 95 % percentile bootstrap interval over `users` clusters (no width at all for one user)."""

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


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums that determine every metric: rows are clusters or draws, `columns` name the parts of `rows`."""

    columns: Mapping[str, slice]
    rows: Floats  # [clusters or draws, width]

    def __getitem__(self, name: str) -> Floats:
        return self.rows[:, self.columns[name]]

    def with_rows(self, rows: Floats) -> _Sums:
        return _Sums(self.columns, rows)


def bootstrap(
    kind: Kind, labels: Sequence[str], scored: Sequence[Scored], *, draws: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """Every metric of `aggregate` with its interval, resampling whole clusters with replacement.

    Clusters are numbered in order of appearance; the draws are `default_rng(seed).integers(clusters)`, row by row.
    """
    values = aggregate(kind, labels, scored)
    clusters = _cluster_numbers(scored)
    sums = _sums(kind, labels, scored, clusters, value_names(scored))
    users = len(sums.rows)
    rng = np.random.default_rng(seed)

    def resampled(count: int) -> dict[str, Floats]:
        return _metrics(kind, sums.with_rows(_resample(rng, count, users) @ sums.rows))

    drawn = _over_draws(draws, users, resampled)
    return {name: Interval(value, *_bounds(drawn[name]), users=users) for name, value in values.items()}


def paired(
    kind: Kind, labels: Sequence[str], a: Sequence[Scored], b: Sequence[Scored], *, draws: int = 2000, seed: int = 0
) -> dict[str, Paired]:
    """Compare two arms on the queries and metrics both have; every draw takes the same users for both.

    `p_bootstrap`: twice the smaller share of draws on one side of 0. `p_permutation`: share of draws, arms swapped
    user by user at random, with a difference at least as large. Both two-sided, with one added to both counts.
    Raises InputError where no query is common, an id occurs twice in an arm, or the arms disagree on gold or group.
    """
    left, right = _common(a, b)
    names = tuple(name for name in value_names(left) if name in value_names(right))
    clusters = _cluster_numbers(left)
    first = _sums(kind, labels, left, clusters, names)
    second = _sums(kind, labels, right, clusters, names)
    users = len(first.rows)
    rng = np.random.default_rng(seed)

    def difference(rows_a: Floats, rows_b: Floats) -> dict[str, Floats]:
        metrics_a, metrics_b = (_metrics(kind, first.with_rows(rows)) for rows in (rows_a, rows_b))
        return {name: metrics_a[name] - metrics_b[name] for name in metrics_a}

    def resampled(count: int) -> dict[str, Floats]:
        weights = _resample(rng, count, users)
        return difference(weights @ first.rows, weights @ second.rows)

    def swapped(count: int) -> dict[str, Floats]:
        change = rng.integers(2, size=(count, users)).astype(np.float64) @ (second.rows - first.rows)
        return difference(first.rows.sum(axis=0) + change, second.rows.sum(axis=0) - change)

    bootstrapped, permuted = _over_draws(draws, users, resampled), _over_draws(draws, users, swapped)
    values_a, values_b = aggregate(kind, labels, left), aggregate(kind, labels, right)
    result = {}
    for name in (name for name in values_a if name in bootstrapped):
        value = values_a[name] - values_b[name]
        low, high = _bounds(bootstrapped[name])
        gains = _user_gains(name, first, second)
        result[name] = Paired(
            difference=value,
            low=low,
            high=high,
            p_bootstrap=_p_bootstrap(bootstrapped[name]),
            p_permutation=(1 + int(np.sum(np.abs(permuted[name]) >= abs(value) - TIE))) / (draws + 1),
            helped=float(np.mean(gains > TIE)),
            harmed=float(np.mean(gains < -TIE)),
            users=users,
            queries=len(left),
            left_out=len(a) + len(b) - 2 * len(left),
        )
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


def _cluster_numbers(scored: Sequence[Scored]) -> NDArray[np.intp]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(one.group, len(numbers)) for one in scored], dtype=np.intp)


def _sums(
    kind: Kind, labels: Sequence[str], scored: Sequence[Scored], clusters: NDArray[np.intp], names: Collection[str]
) -> _Sums:
    count: Floats = np.bincount(clusters).astype(np.float64)
    parts: dict[str, Floats] = {"queries": count[:, None], "users": np.ones((len(count), 1))}
    for name in names:
        values = np.array([one.values[name] for one in scored], dtype=np.float64)
        parts[name] = np.bincount(clusters, weights=values)[:, None].astype(np.float64)
    for name in USER_MEANS[kind]:
        parts[f"user_mean_{name}"] = parts[name] / count[:, None]
    if kind == "classification":
        gold = np.array([one.gold for one in scored], dtype=np.intp)
        parts["gold"] = _label_counts(clusters, gold, len(labels))
        for prefix, indices in (("", [one.official for one in scored]), ("lenient_", [one.lenient for one in scored])):
            answers = np.array(indices, dtype=np.intp)
            parts[prefix + "answered"] = _label_counts(clusters, answers, len(labels))
            parts[prefix + "right"] = _label_counts(clusters, np.where(answers == gold, gold, -1), len(labels))
    columns, start = {}, 0
    for name, part in parts.items():
        columns[name] = slice(start, start + part.shape[1])
        start += part.shape[1]
    return _Sums(columns, np.concatenate(list(parts.values()), axis=1))


def _label_counts(clusters: NDArray[np.intp], indices: NDArray[np.intp], labels: int) -> Floats:
    size = (int(clusters.max()) + 1) * labels
    valid = indices >= 0
    return np.bincount(clusters[valid] * labels + indices[valid], minlength=size).reshape(-1, labels).astype(np.float64)


def _metrics(kind: Kind, sums: _Sums) -> dict[str, Floats]:
    """The metrics of `aggregate` for each row of sums, as metric name -> [rows]."""
    metrics: dict[str, Floats] = {}
    counts = {"queries", "users", "gold", "answered", "right", "lenient_answered", "lenient_right"}
    for name in (name for name in sums.columns if name not in counts):
        mean = sums[name] / sums["users" if name.startswith("user_mean_") else "queries"]
        metrics[name] = mean[:, 0]
    for prefix in ("", "lenient_"):
        if kind == "rating":
            metrics[prefix + "rmse"] = np.sqrt(metrics.pop(prefix + "mse"))
        if kind == "classification":
            both = sums["gold"] + sums[prefix + "answered"]
            f1 = 2 * sums[prefix + "right"] / np.maximum(both, 1)  # no gold and no answer: 0, as LaMP has it
            metrics[prefix + "f1"] = f1.mean(axis=1)
            metrics[prefix + "f1_present"] = f1.sum(axis=1) / (sums["gold"] > 0).sum(axis=1)  # f1 is 0 for the absent
    return metrics


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


def _bounds(drawn: Floats) -> tuple[float, float]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _p_bootstrap(differences: Floats) -> float:
    one_side = min(np.sum(differences <= TIE), np.sum(differences >= -TIE))
    return min(1.0, 2 * (1 + int(one_side)) / (len(differences) + 1))


def _user_gains(name: str, a: _Sums, b: _Sums) -> Floats:
    """How much better a is than b for each cluster, by the additive value that stands for the metric."""
    additive = name.removeprefix("user_mean_")
    for part, stand_in in (("f1_present", "accuracy"), ("f1", "accuracy"), ("rmse", "mse")):
        additive = additive.replace(part, stand_in)
    gain = (a[additive] - b[additive])[:, 0] / a["queries"][:, 0]
    return gain if DIRECTION[name] else -gain

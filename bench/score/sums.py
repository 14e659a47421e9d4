"""Sums over users that determine every metric, macro-F1 and RMSE included:
what `bench.score.stats` leaves out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.score.metrics import USER_MEANS, Kind, Scored

Floats = NDArray[np.float64]
AT_ONCE = 4096  # users left out in one go, for the memory's sake
_COUNTS = frozenset(
    {"queries", "users", "gold", "answered", "right", "lenient_answered", "lenient_right"}
)


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums that determine every metric: rows are clusters or draws,
    `columns` name the parts of `rows`.
    """

    columns: Mapping[str, slice]
    rows: Floats  # [clusters or draws, width]

    def __getitem__(self, name: str) -> Floats:
        return self.rows[:, self.columns[name]]

    def with_rows(self, rows: Floats) -> Sums:
        return Sums(self.columns, rows)


@dataclass(frozen=True, slots=True)
class Clusters:
    """The number of each query's user, `[queries]` for each run, and how many users there are."""

    numbers: Sequence[NDArray[np.intp]]
    users: int


def clusters_of(runs: Sequence[Sequence[Scored]]) -> Clusters:
    """A user has one number in all runs."""
    known: dict[str, int] = {}
    numbers = []
    for run in runs:
        of_run = [known.setdefault(scored.group, len(known)) for scored in run]
        numbers.append(np.array(of_run, dtype=np.intp))
    return Clusters(numbers, len(known))


def sums_of(
    kind: Kind,
    labels: Sequence[str],
    scored: Sequence[Scored],
    clusters: NDArray[np.intp],
    names: Collection[str],
    users: int,
) -> Sums:
    """One row for each of the `users`, numbered by `clusters`;
    zeros for a user without a query here.
    """
    count: Floats = np.bincount(clusters, minlength=users).astype(np.float64)
    parts: dict[str, Floats] = {
        "queries": count[:, None],
        "users": (count > 0).astype(np.float64)[:, None],
    }
    for name in names:
        values = np.array([query.values[name] for query in scored], dtype=np.float64)
        total = np.bincount(clusters, weights=values, minlength=users)
        parts[name] = total[:, None].astype(np.float64)
    for name in USER_MEANS[kind]:
        parts[f"user_mean_{name}"] = parts[name] / np.maximum(count, 1)[:, None]
    if kind == "classification":
        parts |= _label_parts(scored, clusters, len(labels), users)

    columns, start = {}, 0
    for name, part in parts.items():
        columns[name] = slice(start, start + part.shape[1])
        start += part.shape[1]
    return Sums(columns, np.concatenate(list(parts.values()), axis=1))


def _label_parts(
    scored: Sequence[Scored], clusters: NDArray[np.intp], labels: int, users: int
) -> dict[str, Floats]:
    """What macro-F1 is made of: how often each label is the gold, the answer, and both."""
    gold, official, lenient = [], [], []
    for query in scored:
        gold.append(query.gold)
        official.append(query.official)
        lenient.append(query.lenient)
    truth = np.array(gold, dtype=np.intp)
    parts = {"gold": _label_counts(clusters, truth, labels, users)}
    for prefix, answers in (("", official), ("lenient_", lenient)):
        answered = np.array(answers, dtype=np.intp)
        right = np.where(answered == truth, truth, -1)
        parts[prefix + "answered"] = _label_counts(clusters, answered, labels, users)
        parts[prefix + "right"] = _label_counts(clusters, right, labels, users)
    return parts


def whole(kind: Kind, runs: Sequence[Sums]) -> dict[str, float]:
    """Every metric of all users, mean over runs."""
    metrics = []
    for run in runs:
        total = run.with_rows(run.rows.sum(axis=0, keepdims=True))
        metrics.append(metrics_of(kind, total))
    return {name: float(values[0]) for name, values in mean_over_runs(metrics).items()}


def left_out(kind: Kind, runs: Sequence[Sums]) -> dict[str, Floats]:
    """Every metric without each user in turn, mean over runs: [users].

    A run that has no other user has no say.
    """
    totals = [run.rows.sum(axis=0) for run in runs]
    parts = []
    for start in range(0, len(runs[0].rows), AT_ONCE):
        metrics = []
        for run, total in zip(runs, totals, strict=True):
            rest = run.with_rows(total - run.rows[start : start + AT_ONCE])
            metrics.append(metrics_of(kind, rest))
        parts.append(mean_over_runs(metrics))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def mean_over_runs(runs: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    """Mean over the runs of the metrics that all have;
    a row without any user of a run (nan) has no say in it.
    """
    if len(runs) == 1:
        return dict(runs[0])
    means = {}
    for name in runs[0]:
        if all(name in run for run in runs):
            means[name] = np.nanmean([run[name] for run in runs], axis=0)
    return means


def _label_counts(
    clusters: NDArray[np.intp], indices: NDArray[np.intp], labels: int, users: int
) -> Floats:
    """How often each user has each label, [users, labels]; an index of -1 is no label."""
    valid = indices >= 0
    # User u and label l are cell u * labels + l: one count over all of them.
    cells = clusters[valid] * labels + indices[valid]
    counts = np.bincount(cells, minlength=users * labels)
    return counts.reshape(-1, labels).astype(np.float64)


def metrics_of(kind: Kind, sums: Sums) -> dict[str, Floats]:
    """The metrics of `aggregate` for each row of sums, as metric name -> [rows]."""
    metrics: dict[str, Floats] = {}
    sums = sums.with_rows(np.where(sums["queries"] > 0, sums.rows, np.nan))  # no query, no metric
    for name in sums.columns:
        if name in _COUNTS:
            continue
        mean = sums[name] / sums["users" if name.startswith("user_mean_") else "queries"]
        metrics[name] = mean[:, 0]
    for prefix in ("", "lenient_"):
        if kind == "rating":
            metrics[prefix + "rmse"] = np.sqrt(metrics.pop(prefix + "mse"))
        if kind == "classification":
            both = sums["gold"] + sums[prefix + "answered"]
            # No gold and no answer: 0, as LaMP has it.
            f1 = 2 * sums[prefix + "right"] / np.maximum(both, 1)
            metrics[prefix + "f1"] = f1.mean(axis=1)
            # The f1 of an absent label is 0, so the sum is that of the others.
            metrics[prefix + "f1_present"] = f1.sum(axis=1) / (sums["gold"] > 0).sum(axis=1)
    return metrics

"""Sums over users that determine every metric, macro-F1 and RMSE included: what `bench.score.stats`
leaves out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.score.metrics import USER_MEANS, Kind, Scored

Floats = NDArray[np.float64]
AT_ONCE = 4096  # users left out in one go, for the memory's sake


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums that determine every metric: rows are clusters or draws, `columns` name the parts of
    `rows`.
    """

    columns: Mapping[str, slice]
    rows: Floats  # [clusters or draws, width]

    def __getitem__(self, name: str) -> Floats:
        return self.rows[:, self.columns[name]]

    def with_rows(self, rows: Floats) -> Sums:
        return Sums(self.columns, rows)


def cluster_numbers(runs: Sequence[Sequence[Scored]]) -> tuple[list[NDArray[np.intp]], int]:
    """The number of each query's user, the same in all runs; and how many users there are."""
    numbers: dict[str, int] = {}
    found = [
        np.array([numbers.setdefault(one.group, len(numbers)) for one in run], dtype=np.intp)
        for run in runs
    ]
    return found, len(numbers)


def sums_of(
    kind: Kind,
    labels: Sequence[str],
    scored: Sequence[Scored],
    clusters: NDArray[np.intp],
    names: Collection[str],
    users: int,
) -> Sums:
    """One row per user (`users` of them, numbered by `clusters`; zeros for who has no query
    here)."""
    count: Floats = np.bincount(clusters, minlength=users).astype(np.float64)
    parts: dict[str, Floats] = {
        "queries": count[:, None],
        "users": (count > 0).astype(np.float64)[:, None],
    }
    for name in names:
        values = np.array([one.values[name] for one in scored], dtype=np.float64)
        parts[name] = np.bincount(clusters, weights=values, minlength=users)[:, None].astype(
            np.float64
        )
    for name in USER_MEANS[kind]:
        parts[f"user_mean_{name}"] = parts[name] / np.maximum(count, 1)[:, None]
    if kind == "classification":
        gold = np.array([one.gold for one in scored], dtype=np.intp)
        parts["gold"] = _label_counts(clusters, gold, len(labels), users)
        for prefix, indices in (
            ("", [one.official for one in scored]),
            ("lenient_", [one.lenient for one in scored]),
        ):
            answers = np.array(indices, dtype=np.intp)
            parts[prefix + "answered"] = _label_counts(clusters, answers, len(labels), users)
            parts[prefix + "right"] = _label_counts(
                clusters, np.where(answers == gold, gold, -1), len(labels), users
            )
    columns, start = {}, 0
    for name, part in parts.items():
        columns[name] = slice(start, start + part.shape[1])
        start += part.shape[1]
    return Sums(columns, np.concatenate(list(parts.values()), axis=1))


def whole(kind: Kind, runs: Sequence[Sums]) -> dict[str, float]:
    """Every metric of all users, mean over runs."""
    found = mean_over_runs(
        [metrics_of(kind, one.with_rows(one.rows.sum(axis=0, keepdims=True))) for one in runs]
    )
    return {name: float(values[0]) for name, values in found.items()}


def left_out(kind: Kind, runs: Sequence[Sums]) -> dict[str, Floats]:
    """Every metric without each user in turn, mean over runs: [users]. A run that has no other user
    has no say.
    """
    totals = [one.rows.sum(axis=0) for one in runs]

    def part(users: slice) -> dict[str, Floats]:
        rest = [
            one.with_rows(total - one.rows[users]) for one, total in zip(runs, totals, strict=True)
        ]
        return mean_over_runs([metrics_of(kind, one) for one in rest])

    parts = [part(slice(start, start + AT_ONCE)) for start in range(0, len(runs[0].rows), AT_ONCE)]
    return {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}


def mean_over_runs(runs: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    """Mean over the runs of the metrics that all have; a row without any user of a run (nan) has no
    say in it.
    """
    shared = [name for name in runs[0] if all(name in run for run in runs)]
    if len(runs) == 1:
        return {name: runs[0][name] for name in shared}
    return {name: np.nanmean([run[name] for run in runs], axis=0) for name in shared}


def _label_counts(
    clusters: NDArray[np.intp], indices: NDArray[np.intp], labels: int, users: int
) -> Floats:
    size = users * labels
    valid = indices >= 0
    return (
        np.bincount(clusters[valid] * labels + indices[valid], minlength=size)
        .reshape(-1, labels)
        .astype(np.float64)
    )


def metrics_of(kind: Kind, sums: Sums) -> dict[str, Floats]:
    """The metrics of `aggregate` for each row of sums, as metric name -> [rows]."""
    metrics: dict[str, Floats] = {}
    sums = sums.with_rows(np.where(sums["queries"] > 0, sums.rows, np.nan))  # no query, no metric
    counts = {"queries", "users", "gold", "answered", "right", "lenient_answered", "lenient_right"}
    for name in (name for name in sums.columns if name not in counts):
        mean = sums[name] / sums["users" if name.startswith("user_mean_") else "queries"]
        metrics[name] = mean[:, 0]
    for prefix in ("", "lenient_"):
        if kind == "rating":
            metrics[prefix + "rmse"] = np.sqrt(metrics.pop(prefix + "mse"))
        if kind == "classification":
            both = sums["gold"] + sums[prefix + "answered"]
            # no gold and no answer: 0, as LaMP has it
            f1 = 2 * sums[prefix + "right"] / np.maximum(both, 1)
            metrics[prefix + "f1"] = f1.mean(axis=1)
            # f1 is 0 for the absent
            metrics[prefix + "f1_present"] = f1.sum(axis=1) / (sums["gold"] > 0).sum(axis=1)
    return metrics

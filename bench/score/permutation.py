"""The permutation test of two arms:
what their difference would be if a user's arms were swapped at random.
"""

from __future__ import annotations

import numpy as np

from bench.errors import InputError
from bench.score.metrics import Kind
from bench.score.sums import Floats, Sums, mean_over_runs, metrics_of

CHUNK = 256  # swaps in memory at once
WEIGHTS = 2**19  # and so many numbers of theirs: fewer swaps at once for more than 2,048 clusters


def swapped_differences(
    kind: Kind, first: list[Sums], second: list[Sums], draws: int, seed: int
) -> dict[str, Floats]:
    """The difference of every metric in each draw,
    in which the arms of a user are swapped or not: [draws].
    """
    if draws < 1:
        raise InputError(f"draws is {draws}, must be at least 1")
    rng, users = np.random.default_rng(seed), len(first[0].rows)
    totals_a = [run.rows.sum(axis=0) for run in first]
    totals_b = [run.rows.sum(axis=0) for run in second]
    changes = [b.rows - a.rows for a, b in zip(first, second, strict=True)]

    def swapped(count: int) -> dict[str, Floats]:
        # A user who is swapped takes their sums to the other arm. So all draws of all users are one
        # product: swaps [draws, users] @ change [users, width].
        swaps = rng.integers(2, size=(count, users)).astype(np.float64)
        metrics_a, metrics_b = [], []
        for run, change in enumerate(changes):
            moved = swaps @ change
            rows_a, rows_b = totals_a[run] + moved, totals_b[run] - moved
            metrics_a.append(metrics_of(kind, first[run].with_rows(rows_a)))
            metrics_b.append(metrics_of(kind, second[run].with_rows(rows_b)))
        mean_a, mean_b = mean_over_runs(metrics_a), mean_over_runs(metrics_b)
        return {name: mean_a[name] - mean_b[name] for name in mean_a}

    chunks: dict[str, list[Floats]] = {}
    step = max(1, min(CHUNK, WEIGHTS // users))
    for start in range(0, draws, step):
        for name, differences in swapped(min(step, draws - start)).items():
            chunks.setdefault(name, []).append(differences)
    return {name: np.concatenate(parts) for name, parts in chunks.items()}

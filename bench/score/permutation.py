"""The permutation test of two arms:
what their difference would be if a user's arms were swapped at random.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    rng = np.random.default_rng(seed)
    users = len(first[0].rows)
    runs = [_Run(a, b) for a, b in zip(first, second, strict=True)]
    chunks: dict[str, list[Floats]] = {}
    step = max(1, min(CHUNK, WEIGHTS // users))
    for start in range(0, draws, step):
        count = min(step, draws - start)
        swaps = rng.integers(2, size=(count, users)).astype(np.float64)
        for name, differences in _differences(kind, runs, swaps).items():
            chunks.setdefault(name, []).append(differences)
    return {name: np.concatenate(parts) for name, parts in chunks.items()}


class _Run:
    """One run of both arms: their sums over users, and what each user's swap moves."""

    def __init__(self, a: Sums, b: Sums) -> None:
        self.a = a
        self.b = b
        self.total_a = a.rows.sum(axis=0)
        self.total_b = b.rows.sum(axis=0)
        self.change = b.rows - a.rows


def _differences(kind: Kind, runs: Sequence[_Run], swaps: Floats) -> dict[str, Floats]:
    """Arm a minus arm b, mean over runs, in each draw; `swaps` [draws, users] are 0 or 1."""
    metrics_a, metrics_b = [], []
    for run in runs:
        # A user who is swapped takes their sums to the other arm. So all draws of all users are one
        # product: swaps [draws, users] @ change [users, width].
        moved = swaps @ run.change
        metrics_a.append(metrics_of(kind, run.a.with_rows(run.total_a + moved)))
        metrics_b.append(metrics_of(kind, run.b.with_rows(run.total_b - moved)))
    mean_a, mean_b = mean_over_runs(metrics_a), mean_over_runs(metrics_b)
    return {name: mean_a[name] - mean_b[name] for name in mean_a}

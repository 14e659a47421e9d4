"""What an arm costs per tested user, mean over its cells."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from bench.report.cells import Record

NO_COST = ("load", "base", "score")
"""Phases that are no cost of personalizing or answering."""
BEFORE = (*NO_COST, "generate")
"""Phases that are none of what comes before the test."""


@dataclass(frozen=True)
class CostSummary:
    """Per tested user, mean over seeds: seconds (without loading, the base and scoring), bytes of
    patches, tokens.
    """

    seconds: float
    fit_seconds: float  # of those, the seconds before the test
    bytes: float
    tokens: float


def mean(records: Sequence[Record]) -> CostSummary:
    """Of the records of an arm's cells."""
    return CostSummary(
        seconds=_per_user(records, _seconds),
        fit_seconds=_per_user(records, _fit_seconds),
        bytes=_per_user(records, _bytes),
        tokens=_per_user(records, _tokens),
    )


def _per_user(records: Sequence[Record], cost: Callable[[Record], float]) -> float:
    """The mean over cells of what each of them costs per user."""
    costs = []
    for record in records:
        users = max(1, record["data"]["users"])
        costs.append(cost(record) / users)
    return statistics.fmean(costs)


# Of a whole cell, over all users


def _seconds(record: Record) -> float:
    return _total(record, ("seconds", "reused"), NO_COST)


def _fit_seconds(record: Record) -> float:
    return _total(record, ("seconds", "reused"), BEFORE)


def _bytes(record: Record) -> float:
    return float(record["counts"].get("patch_bytes", 0))


def _tokens(record: Record) -> float:
    return _total(record, ("tokens_in", "tokens_out"), NO_COST)


def _total(record: Record, names: Sequence[str], without: Container[str]) -> float:
    total = 0.0
    for phase, cost in record["cost"].items():
        if phase not in without:
            for name in names:
                total += cost.get(name) or 0
    return total

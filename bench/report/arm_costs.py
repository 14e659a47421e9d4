"""What an arm costs per tested user, mean over its cells."""

from __future__ import annotations

import statistics
from collections.abc import Container, Sequence
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
    users = [max(1, record["data"]["users"]) for record in records]
    costs = [_of_cell(record) for record in records]

    def per_user(values: Sequence[float]) -> float:
        return statistics.fmean(value / each for value, each in zip(values, users, strict=True))

    return CostSummary(
        seconds=per_user([cost.seconds for cost in costs]),
        fit_seconds=per_user([cost.fit_seconds for cost in costs]),
        bytes=per_user([cost.bytes for cost in costs]),
        tokens=per_user([cost.tokens for cost in costs]),
    )


def _of_cell(record: Record) -> CostSummary:
    """Of a whole cell, over all users."""
    return CostSummary(
        seconds=_total(record, ("seconds", "reused"), NO_COST),
        fit_seconds=_total(record, ("seconds", "reused"), BEFORE),
        bytes=float(record["counts"].get("patch_bytes", 0)),
        tokens=_total(record, ("tokens_in", "tokens_out"), NO_COST),
    )


def _total(record: Record, names: Sequence[str], without: Container[str]) -> float:
    total = 0.0
    for phase, cost in record["cost"].items():
        if phase not in without:
            for name in names:
                total += cost.get(name) or 0
    return total

"""Which 95 % intervals do not hold the truth in 95 % of samples: said below their tables.

Measured by benchmarks/coverage.py (docs/benchmarks.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bench.report.cells import ENOUGH

if TYPE_CHECKING:
    from bench.score.stats import Paired

FEW = (
    f"^: fewer than {ENOUGH} users, where an interval may hold the truth less often than 95 %"
    " (docs/benchmarks.md)."
)
MACRO = (
    "f1: its interval also reaches what labels that few or no questions have may add: it may be off"
    " centre, and holds the truth more often than 95 % (docs/benchmarks.md)."
)
ROUGE = (
    f"rouge: with {ENOUGH} users an arm's interval held the truth in 92.7 % of samples"
    " (docs/benchmarks.md)."
)
ALIKE = (
    "Of arms that differ for few users: the interval of their difference is too wide, and held the"
    " truth in up to 99.8 % of samples (docs/benchmarks.md)."
)
FEW_DIFFER = 0.2
"""The share of users below which two arms answer nearly alike."""


def of_arms(shown: str) -> list[str]:
    """The lines for a table of arms, by what its text shows."""
    with_rouge = re.search(r"\brouge(1|L)\b", shown) and "[" in shown
    return of_intervals(shown) + ([ROUGE] if with_rouge else [])


def of_differences(shown: str, comparisons: Iterable[Paired]) -> list[str]:
    """The lines for a table of differences between arms."""
    alike = any(_nearly_alike(comparison) for comparison in comparisons)
    return of_intervals(shown) + ([ALIKE] if alike else [])


def of_intervals(shown: str) -> list[str]:
    """The lines for intervals of either kind."""
    lines = [FEW] if "]^" in shown else []
    if re.search(r"\bf1\b", shown) and "[" in shown:
        lines.append(MACRO)
    return lines


def _nearly_alike(comparison: Paired) -> bool:
    return comparison.low is not None and comparison.helped + comparison.harmed < FEW_DIFFER

"""A row of a comparison: one metric of arm A minus arm B, and how sure the difference is.

Two cells (`compare A B`, the end of a run) and the arms of an experiment are compared in the same
rows, with the same corrections of p.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from bench.report.cells import interval

if TYPE_CHECKING:
    from bench.score.stats import Paired

SURENESS = ("detects", "helped", "harmed")
DETECTS = (
    "detects: the smallest true difference that so many users would show in four of five such tests"
    " at .05."
)

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class ComparisonRow:
    """One metric. `holm`: p, corrected (Holm) over the metrics of the same comparison;
    `holm_table`: over all rows of the table that the row stands in, if it stands in one.
    """

    metric: str
    paired: Paired
    holm: float
    holm_table: float | None = None

    @property
    def bounds(self) -> str:
        """The interval of the difference; `-` if there is none."""
        return interval(self.paired.low, self.paired.high, self.paired.users) or "-"

    @property
    def detects(self) -> str:
        return "-" if self.paired.detectable is None else f"{self.paired.detectable:.3f}"

    @property
    def sureness(self) -> list[str]:
        """The cells below p, its corrections and the columns SURENESS."""
        ps = [f"{self.paired.p_permutation:.4f}", f"{self.holm:.4f}"]
        if self.holm_table is not None:
            ps.append(f"{self.holm_table:.4f}")
        helped, harmed = self._users(self.paired.helped), self._users(self.paired.harmed)
        return [*ps, self.detects, helped, harmed]

    def _users(self, share: float) -> str:
        return f"{round(share * self.paired.users)} ({share:.0%})"


def rows_of(differences: Mapping[str, Paired]) -> list[ComparisonRow]:
    """The metrics of one comparison, a row for each."""
    from bench.score.stats import holm

    corrected = holm({metric: paired.p_permutation for metric, paired in differences.items()})
    rows = []
    for metric, paired in differences.items():
        rows.append(ComparisonRow(metric, paired, corrected[metric]))
    return rows


def in_one_table(rows: Mapping[Key, ComparisonRow]) -> dict[Key, ComparisonRow]:
    """The rows of one table, each p corrected over all of them too."""
    from bench.score.stats import holm

    numbers = {key: str(number) for number, key in enumerate(rows)}
    corrected = holm({numbers[key]: row.paired.p_permutation for key, row in rows.items()})
    return {key: replace(row, holm_table=corrected[numbers[key]]) for key, row in rows.items()}


def metrics_line(metrics: Sequence[str]) -> str:
    """What p is, and over which metrics it is corrected."""
    return (
        "p: two-sided, users swapped between the arms. Holm: over the comparison's metrics"
        f" ({', '.join(metrics)})."
    )

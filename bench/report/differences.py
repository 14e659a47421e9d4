"""Two cells, metric by metric: their difference, how sure it is,
what it could have shown, and whom it helped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import InputError
from bench.report import coverage_notes
from bench.report.cells import Record, TaskKind, label, recorded_task, scored_rows
from bench.report.comparison_rows import (
    DETECTS,
    SURENESS,
    ComparisonRow,
    metrics_line,
    rows_of,
)
from bench.report.render import aligned
from bench.report.width import limit, prose
from bench.score.metrics import Scored, aggregate

if TYPE_CHECKING:
    from bench.score.stats import Paired

HELPED = "helped, harmed: users whom A serves better, worse."


@dataclass(frozen=True)
class ScoredCell:
    """A cell that was scored: its record, and the rows of its scores.json."""

    record: Record
    rows: Sequence[Record]

    @property
    def scored(self) -> list[Scored]:
        return scored_rows(self.record, self.rows)

    @property
    def name(self) -> str:
        return f"{label(self.record)}, key {self.record['key'][:8]}"


@dataclass(frozen=True)
class Comparison:
    """Cell A minus cell B on the questions that both answered: a row for each metric."""

    task: TaskKind
    a: list[Scored]
    b: list[Scored]
    rows: list[ComparisonRow]

    @property
    def metrics(self) -> list[str]:
        return [row.metric for row in self.rows]

    @property
    def any_metric(self) -> Paired:
        """All metrics have the same questions and users."""
        return self.rows[0].paired

    @property
    def counts(self) -> str:
        """What was compared, in words."""
        both = self.any_metric
        return (
            f"{both.queries} common queries of {both.users} users, {both.left_out} left out (in one"
            " cell only)"
        )

    @property
    def table(self) -> list[list[str]]:
        """The head and the rows as words."""
        common = _ids(self.a) & _ids(self.b)
        value_a, value_b = self._values(self.a, common), self._values(self.b, common)
        table = [["metric", "A", "B", "A - B", "95 %", "p", "Holm", *SURENESS]]
        for row in self.rows:
            name = row.metric
            values = [f"{value_a[name]:z.3f}", f"{value_b[name]:z.3f}"]
            difference = f"{row.paired.difference:+z.3f}"
            table.append([name, *values, difference, row.bounds, *row.sureness])
        return table

    def _values(self, arm: Sequence[Scored], common: set[str]) -> dict[str, float]:
        answers = [answer for answer in arm if answer.id in common]
        return aggregate(self.task.kind, self.task.labels, answers)

    @property
    def legend(self) -> list[str]:
        """What the columns mean, in lines of the terminal's width."""
        lines = [metrics_line(self.metrics), DETECTS, HELPED, *self.notes(self.table)]
        return prose(lines, limit() - 2)

    def notes(self, table: Sequence[Sequence[str]]) -> list[str]:
        """Which intervals of the table do not hold what they promise."""
        differences = [row.paired for row in self.rows]
        return coverage_notes.of_differences(_text(table), differences)


def compare(a: ScoredCell, b: ScoredCell) -> Comparison:
    """Raises InputError where the tasks or the golds of a query differ."""
    from bench.score.stats import paired

    name, other = a.record["cell"]["task"], b.record["cell"]["task"]
    if name != other:
        raise InputError(f"cells of different tasks cannot be compared: {name} and {other}")
    task, scored_a, scored_b = recorded_task(a.record), a.scored, b.scored
    if task != recorded_task(b.record):
        raise InputError(f"cells of {name} with other labels cannot be compared")
    of_all = paired(task.kind, task.labels, scored_a, scored_b)
    differences = {metric: of_all[metric] for metric in task.metrics if metric in of_all}
    return Comparison(task, scored_a, scored_b, rows_of(differences))


def power(a: ScoredCell, b: ScoredCell, effect: float) -> str:
    """How many users like those of two cells it takes to see an effect of that size,
    for each metric.
    """
    comparison = compare(a, b)
    table = [["metric", "A - B", "95 %", "users", "detects", f"users for {effect:g}"]]
    for row in comparison.rows:
        difference, users = f"{row.paired.difference:+z.3f}", str(row.paired.users)
        needed = _users_needed(row.paired, effect)
        table.append([row.metric, difference, row.bounds, users, row.detects, needed])

    both = comparison.any_metric
    each = both.queries / both.users
    units = "Users, not questions, are counted: users like these, with as many questions each."
    lines = [
        f"A  {a.name}",
        f"B  {b.name}",
        f"{both.queries} common queries of {both.users} users ({each:.1f} each)",
        "",
        *aligned(table),
        "",
        *prose([DETECTS, units, *comparison.notes(table)]),
    ]
    return "\n".join(lines)


def _users_needed(difference: Paired, effect: float) -> str:
    from bench.score.power import users_needed

    try:
        return f"{users_needed(difference.error, difference.users, effect):,}"
    except InputError:
        if difference.detectable is not None:
            raise
        return "not known: no two users differ"


def _ids(answers: Sequence[Scored]) -> set[str]:
    return {answer.id for answer in answers}


def _text(rows: Sequence[Sequence[str]]) -> str:
    return " ".join(map(" ".join, rows))

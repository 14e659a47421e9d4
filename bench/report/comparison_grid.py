"""Every arm of an experiment minus its baseline."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report import coverage_notes, footnotes
from bench.report.base_results import Tables
from bench.report.cells import with_direction
from bench.report.comparison_rows import DETECTS, SURENESS, ComparisonRow
from bench.report.grid_head import axes_of, head, labels, short_names, title
from bench.report.render import Grid

COMPARED = (
    (
        "Mean over seeds, on the questions that both answered. p: two-sided, users swapped between"
        " the arms."
    ),
    (
        "Holm: over the comparison's own metrics, as a run prints it; Holm table: over all rows of"
        " this table."
    ),
    DETECTS,
    "helped, harmed: users whom the arm serves better, worse.",
)
COLUMNS = ("arm", "metric", "difference", "95 %", "p", "Holm", "Holm table", *SURENESS, "users")


def comparisons(tables: Tables) -> Grid:
    """Every arm minus its baseline, with Holm's correction over its metrics and over all rows."""
    show, axes = tables.experiment.show, axes_of(tables)
    rows = []
    for (place, arm, _), row in tables.rows.items():
        name = f"{arm} (minus {show.baselines[arm]})" if arm in show.baselines else arm
        rows.append([*labels(tables, place, axes), name, *_cells(row)])
    return Grid(
        title=f"{title(tables)}: each arm minus {show.baseline}",
        head=[*short_names(axes), *COLUMNS],
        rows=rows,
        above=head(tables)[:1],
        below=[
            *COMPARED,
            *footnotes.rows_named(tables),
            *footnotes.few_users(tables),
            *_coverage(tables, rows),
        ],
        labels=len(axes) + 2,
    )


def _cells(row: ComparisonRow) -> list[str]:
    """The row without its labels."""
    difference = f"{row.paired.difference:+.3f}"
    users = str(row.paired.users)
    return [with_direction(row.metric), difference, row.bounds, *row.sureness, users]


def _coverage(tables: Tables, rows: Sequence[Sequence[str]]) -> list[str]:
    words = " ".join(map(" ".join, rows))
    return coverage_notes.of_differences(words, tables.comparisons.values())

"""Every arm of an experiment minus its baseline."""

from __future__ import annotations

from bench.report import coverage_notes, footnotes
from bench.report.base_results import Tables
from bench.report.cells import interval
from bench.report.differences import DETECTS, sureness
from bench.report.grid_head import axes_of, head, short_names, title
from bench.report.render import Grid
from bench.score.metrics import DIRECTION

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


def comparisons(tables: Tables) -> Grid:
    """Every arm minus its baseline, with Holm's correction over its metrics and over all rows."""
    found, axes, show = tables.comparisons, axes_of(tables), tables.experiment.show
    rows = []
    for (place, arm, metric), one in found.items():
        bounds = interval(one.low, one.high, one.users) or "-"
        change = [
            f"{one.difference:+.3f}",
            bounds,
            *sureness(one, *tables.corrected[place, arm, metric]),
        ]
        where = [tables.words(place).get(axis, "") for axis in axes]
        named = f"{arm} (minus {show.baselines[arm]})" if arm in show.baselines else arm
        rows.append(
            [
                *where,
                named,
                f"{metric} {'↑' if DIRECTION[metric] else '↓'}",
                *change,
                str(one.users),
            ]
        )
    change = [
        "difference",
        "95 %",
        "p",
        "Holm",
        "Holm table",
        "detects",
        "helped",
        "harmed",
        "users",
    ]
    return Grid(
        title=f"{title(tables)}: each arm minus {show.baseline}",
        head=[*short_names(axes), "arm", "metric", *change],
        rows=rows,
        above=head(tables)[:1],
        below=[
            *COMPARED,
            *footnotes.rows_named(tables),
            *footnotes.few_users(tables),
            *coverage_notes.of_differences(
                " ".join(word for row in rows for word in row), tables.comparisons.values()
            ),
        ],
        labels=len(axes) + 2,
    )

"""Finished cells as text: one line per cell, and tables in which every row may be compared.

Works on records (`record.json` as read) alone. Loads no torch and no numpy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import filterfalse
from typing import Any

from bench.report import caveats, comparability, coverage_notes
from bench.report.cells import (
    Record,
    cost,
    directions,
    flat,
    kind_of,
    label,
    note,
    run_name,
    users,
)
from bench.report.comparability import is_rule
from bench.report.record_means import with_means
from bench.report.render import Format, aligned, flat_csv, piped
from bench.report.table_rows import Row, primary_metrics, rows_of_cells, with_interval
from bench.report.width import NOTHING, prose
from bench.score.metrics import Kind
from bench.terminal import escape

FIRST = ("majority", "instruct")  # what every other row has to beat
LEGEND = (
    (
        "[low, high]: 95 % interval over users, of repeats over users and repeats; ±: standard"
        " deviation over repeats; sd: over seeds; seconds and tokens: the whole cell, fitting"
        " included."
    ),
    "lenient_ metrics forgive the form of an answer and are not comparable with published numbers.",
)
CSV = ("key", "status", "error", "unscored", "data", "cell", "metrics", "counts", "leaks", "cost")
LABELS = ("method", "variant", "decoding", "seed")  # columns that say which row it is
NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:e-?\d+)?)")


def line(record: Record) -> str:
    """One finished cell in one line: method, task and data, primary metrics with intervals or why
    not, users, seconds, and what makes the number doubtful: unparsed answers, leaks.
    """
    cell, metrics, why = record["cell"], record["metrics"], note(record)
    results = []
    for name in primary_metrics(kind_of(metrics)):
        if name in metrics:
            results.append(f"{name} {with_interval(metrics[name])}")
    if why or not results:
        results.append(why)

    where = f"{cell['task']} ({record['data']['name']}/{record['data']['split']})"
    arm = f"{label(record)} on {where}, seed {run_name(record)}"
    cost_words = f"{users(record)} users, {cost(record, 'seconds'):.1f} s"
    return "; ".join([f"{arm}: {', '.join(results)}", cost_words, *caveats.warnings(record)])


def table(records: Iterable[Record], format: Format = "text") -> str:
    """All records, one table per data, task, questions, model, base and protocol; trivial rules
    first, in every table of their questions; failed cells as rows, their errors below.

    Seeds of one method and variant get a row each and a row with the mean of their metrics. `csv`
    is for further work: one row per cell with every metric, count and cost, not rounded, and no
    means.
    """
    ordered = sorted(records, key=_order)
    if format == "csv":
        return _csv(sorted(ordered, key=lambda record: comparability.head([record])))

    sections = []
    for group in comparability.groups(ordered):
        section = _section(group)
        sections.append(_markdown(section) if format == "md" else _plain_text(section))

    legend = [*LEGEND, *coverage_notes.of_arms("".join(sections))]
    if format != "md":
        legend = prose(legend)
    return "\n\n".join([*sections, "\n".join(legend)])


def _order(record: Record) -> tuple[Any, ...]:
    cell = record["cell"]
    method = cell["method"]
    rank = FIRST.index(method) if method in FIRST else len(FIRST)
    variant = _natural(cell["variant"])
    return (rank, method, variant, cell["decoding"], cell["seed"], record["key"])


def _natural(variant: str) -> list[tuple[float, str]]:
    """Words and numbers by turns, so that k=4 stands before k=10."""
    parts = []
    for index, part in enumerate(NUMBER.split(variant)):
        is_number = index % 2 == 1
        parts.append((float(part), "") if is_number else (-1.0, part))
    return parts


def _csv(records: Iterable[Record]) -> str:
    rows = []
    for record in records:
        sections = {name: record.get(name) for name in CSV}
        rows.append(flat(sections))
    return flat_csv(rows)


# A section: one table with its head and what is said of it


@dataclass(frozen=True)
class Section:
    """`above`: what leaks in its rows. `below`: what the cells themselves have to say."""

    head: str
    above: list[str]
    columns: list[str]
    rows: list[Row]
    below: list[str]

    @property
    def cells(self) -> list[list[str]]:
        """The table, its head the first row."""
        cells = [self.columns]
        for row in self.rows:
            cells.append([row[column] for column in self.columns])
        return cells


def _section(group: comparability.Group) -> Section:
    records = with_means(group.records)
    common, decoding = _common_words(records), _decoding(records)
    rows = rows_of_cells(records, _kind(records), common=common, with_decoding=decoding is None)
    columns = [column for column in rows[0] if _is_filled(column, rows)]
    return Section(
        head=group.head + (f", decoding {decoding}" if decoding else ""),
        above=[*_above(records, common), *directions(columns)],
        columns=columns,
        rows=rows,
        below=_below(records),
    )


def _is_filled(column: str, rows: Sequence[Row]) -> bool:
    """Whether one of the rows says something there."""
    return any(row[column] not in NOTHING for row in rows)


def _plain_text(section: Section) -> str:
    labels = len(set(section.columns) & set(LABELS))
    above = list(map(escape.line, [section.head, *section.above]))
    below = list(map(escape.line, section.below))
    return "\n".join([*prose(above), *aligned(section.cells, labels), *prose(below)])


def _markdown(section: Section) -> str:
    above, below = map(escape.prose, section.above), map(escape.prose, section.below)
    head = f"### {escape.markdown(section.head)}"
    parts = [head, "  \n".join(above), "\n".join(piped(section.cells)), "  \n".join(below)]
    return "\n\n".join(filter(None, parts))


def _decoding(records: Sequence[Record]) -> str | None:
    """How the models of a table wrote; None if they did it in several ways. Rules write nothing, so
    theirs counts only if there is nothing else.
    """
    of_models = list(filterfalse(is_rule, records)) or records
    decodings = {record["cell"]["decoding"] for record in of_models}
    return str(decodings.pop()) if len(decodings) == 1 else None


def _common_words(records: Sequence[Record]) -> list[str]:
    """The overrides that every row has: said once, above the table."""
    common: list[str] = records[0]["cell"]["variant"].split() if len(records) > 1 else []
    for record in records:
        variant = record["cell"]["variant"].split()
        common = [word for word in common if word in variant]
    return common


def _above(records: Sequence[Record], common: Sequence[str]) -> list[str]:
    """What all rows share, and what leaks in the cells among them."""
    cells = []
    for record in records:
        if record["key"]:
            cells.append(caveats.NamedRecord(_short(record), record))
    shared = [f"all rows: {' '.join(common)}"] if common else []
    return [*shared, *caveats.of_rows(cells)]


def _below(records: Sequence[Record]) -> list[str]:
    """What the cells have to say of themselves, and that a rule is missing."""
    lines = []
    for record in records:
        if why := note(record):
            lines.append(f"{_short(record)}: {why}")
    if _kind(records) and not any(map(is_rule, records)):
        task = records[0]["cell"]["task"]
        lines.append(
            f"no trivial rule is among these rows: method=majority task={task} says what to beat"
        )
    return lines


def _short(record: Record) -> str:
    """A row by its method and key, or where it has none its seeds."""
    cell = record["cell"]
    return f"{cell['method']} {record['key'][:8] or cell['seed']}"


def _kind(records: Sequence[Record]) -> Kind | None:
    """What the first of the records that has metrics measures."""
    for record in records:
        kind = kind_of(record["metrics"])
        if kind:
            return kind
    return None

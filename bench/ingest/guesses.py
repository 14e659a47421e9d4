"""What the first rows of a file say of it: its columns, the kind of its answers, the form of its
dates. A guess is shown, and any of them can be given instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from bench.data.task import Kind
from bench.errors import InputError
from bench.ingest.bad_rows import BadRows
from bench.ingest.columns import Columns, columns_of
from bench.ingest.log_rows import RowReader, number_of
from bench.ingest.table import TableFile, TableRow, column_names, value_of
from bench.ingest.timestamps import form_of

FIRST = 1000
"""Rows that are looked at."""
DATES = 200
FEW_RATINGS = 21
"""Different numbers that may be a scale: from 0 to 10 with half points."""
FEW_LABELS = 50
SHARE_LABELS = 0.2
"""Of the rows: texts of so few kinds are labels."""
LONGEST_LABEL = 40
FEW_BAD = 0.05
"""Of the rows: so many may be wrong."""
SEPARATORS = "|;,"
MANY_LISTS = 0.05
"""Of the rows: so many answers with a separator are lists of labels."""


@dataclass(frozen=True)
class Wishes:
    """What the command line says of the file; None or empty is guessed."""

    columns: Mapping[str, str | None]
    kind: Kind | None = None
    date_form: str | None = None
    no_date: bool = False
    separator: str = ""


@dataclass(frozen=True)
class Guess:
    """How to read the file, and which of it nobody has said."""

    reader: RowReader
    kind_guessed: bool
    date_guessed: bool


def guess(file: TableFile, wishes: Wishes) -> Guess:
    """Raises InputError if something can neither be guessed nor was given."""
    first = list(islice(file.rows(BadRows(skip=True)), FIRST))
    if not first:
        for row in file.rows(BadRows()):  # raises what is wrong with the first row
            first.append(row)
        raise InputError(f"{file.path.name}: no rows below the names of the columns")
    columns = columns_of(wishes.columns, _names(first), file.path.name)
    if wishes.no_date:
        columns = Columns(columns.user, columns.input, columns.output, None, columns.guessed)

    outputs = _values(first, columns.output)
    kind = wishes.kind or _kind(outputs)
    if kind == "classification" and not wishes.separator:
        _refuse_lists(file.path.name, columns.output, outputs)
    form = _date_form(first, columns, wishes)
    reader = RowReader(columns, kind, form, wishes.separator)
    return Guess(reader, wishes.kind is None, form is not None and wishes.date_form is None)


def _names(rows: Sequence[TableRow]) -> list[str]:
    """The columns of all these rows; an object may lack some."""
    names: dict[str, None] = {}
    for row in rows:
        names |= dict.fromkeys(column_names(row.values))
    return list(names)


def _values(rows: Sequence[TableRow], column: str) -> list[object]:
    values = [value_of(row.values, column) for row in rows]
    return [value for value in values if value is not None and str(value).strip()]


def _kind(outputs: Sequence[object]) -> Kind:
    """Few numbers are a rating, few short texts labels, and else it is text."""
    distinct = Counter(str(value) for value in outputs)
    numbers = Counter(number_of(value) for value in outputs)
    # One value that is no number is a mistake in its row, and does not make ratings labels.
    words = numbers.pop(None, 0)
    if words <= FEW_BAD * len(outputs) and len(numbers) <= FEW_RATINGS:
        return "rating"
    few = len(distinct) <= min(FEW_LABELS, max(2, SHARE_LABELS * len(outputs)))
    if few and max(map(len, distinct), default=0) <= LONGEST_LABEL:
        return "classification"
    return "generation"


def _refuse_lists(file: str, column: str, outputs: Sequence[object]) -> None:
    """Raises InputError for answers such as `drama|comedy`, which are no one label."""
    for separator in SEPARATORS:
        lists = [text for text in map(str, outputs) if separator in text]
        parts = {part.strip() for text in lists for part in text.split(separator)}
        # Labels come again, alone or in other lists; the parts of a sentence do not.
        if len(lists) > MANY_LISTS * len(outputs) and len(parts) < len(lists):
            raise InputError(
                f"{file}: column {column} has several labels in a row, as in {lists[0]:.60}: give"
                f" --separator '{separator}', and the first of each row counts"
            )


def _date_form(rows: Sequence[TableRow], columns: Columns, wishes: Wishes) -> str | None:
    if columns.date is None or wishes.date_form:
        return wishes.date_form if columns.date else None
    values = _values(rows, columns.date)[:DATES]
    return form_of(values, columns.date) if values else None

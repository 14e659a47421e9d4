"""One row as an example: who, when, what was written, and the answer, as text."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from typing import Any

from bench.data.parse import in_words
from bench.data.task import Kind
from bench.errors import InputError
from bench.ingest.columns import Columns
from bench.ingest.table import TableRow, value_of
from bench.ingest.timestamps import time_of

LONGEST_ID = 100
"""Characters of a user's name that LaMP's reader takes."""

_BAD_CHARACTERS = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class LogRow:
    """`order`: seconds, or None for a row without a time, which counts as the oldest. `day`: for
    LaMP's files, empty without a time.
    """

    user: str
    order: float | None
    day: str
    input: str
    output: str


@dataclass(frozen=True)
class RowReader:
    """How rows are read. `date_form`: of FORMS, or of strptime; None: rows have no time.
    `separator`: of answers with several labels, of which the first counts.
    """

    columns: Columns
    kind: Kind
    date_form: str | None
    separator: str = ""

    def example(self, row: TableRow) -> LogRow:
        """Raises InputError with file, line and column if a value cannot be used."""
        order, day = self._time(row)
        return LogRow(
            user=user_name(self._text(row, self.columns.user)),
            order=order,
            day=day,
            input=self._text(row, self.columns.input),
            output=self._output(row),
        )

    def _text(self, row: TableRow, column: str) -> str:
        value = value_of(row.values, column)
        if isinstance(value, list | dict | bool):
            raise InputError(f"{row.place}: column {column}: {in_words(value)} (need text)")
        text = "" if value is None or value != value else _BAD_CHARACTERS.sub("\ufffd", str(value))
        if not text.strip():
            raise InputError(
                f"{row.place}: column {column} is empty: fill it in or take the row out"
            )
        return text.strip()

    def _output(self, row: TableRow) -> str:
        column = self.columns.output
        value = value_of(row.values, column)
        if self.kind == "classification" and isinstance(value, bool):
            return "yes" if value else "no"
        if self.kind == "rating":
            rating = number_of(value)
            if rating is None:
                raise InputError(
                    f"{row.place}: column {column}: {in_words(value)} is no number: mend it, or"
                    " give --kind classification"
                )
            return f"{rating:.10g}"
        text = self._text(row, column)
        if self.separator:
            text = text.split(self.separator)[0].strip() or text
        # An answer is one line of a prompt, and so is a label in the list of all.
        return " ".join(text.split())

    def _time(self, row: TableRow) -> tuple[float | None, str]:
        if self.date_form is None or self.columns.date is None:
            return None, ""
        value = value_of(row.values, self.columns.date)
        if value is None or value != value or not str(value).strip():
            return None, ""
        time = time_of(value, self.date_form)
        if time is None:
            raise InputError(
                f"{row.place}: column {self.columns.date}: {in_words(value)} is no date of the form"
                f" {self.date_form}: mend it, or leave it empty for a row of unknown age"
            )
        return time.order, time.day


def number_of(value: Any) -> float | None:
    """A number, also with a decimal comma (`4,5`); None if it is none."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(str(value).strip().replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def user_name(text: str) -> str:
    """A user's name as an id. One that is long, or that no terminal prints (such as a family of
    emoji, which is several signs joined by an invisible one), has a digest in its place.
    """
    if len(text) <= LONGEST_ID and text.isprintable():
        return text
    return f"user-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

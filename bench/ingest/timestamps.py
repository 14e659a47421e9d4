"""Times as files have them: ISO, seconds or milliseconds since 1970, days written in many ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from bench.errors import InputError

NUMBERS = {"seconds": 1.0, "milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
"""Units of a number, counted from 1970, by how many make a second."""
EARLIEST, LATEST = 10**8, 10**10
"""Seconds between 1973 and 2286: a number of a unit in here is a time of that unit."""

FEW_BAD = 0.05
"""Of the values: so many may be no dates, each a bad row."""

DAYS = (
    *("%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%Y%m%d", "%Y"),
)
CLOCKS = ("", " %H:%M", " %H:%M:%S", ", %H:%M", ", %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
FORMS = ("iso", *NUMBERS, *(day + clock for day in DAYS for clock in CLOCKS))


@dataclass(frozen=True, slots=True)
class Time:
    """`order`: seconds, to sort by. `day`: as LaMP's files have it, `2024-01-31` or `2024`."""

    order: float
    day: str


def time_of(value: Any, form: str) -> Time | None:
    """A value in a form of FORMS or of strptime; None if it has another one."""
    if isinstance(value, datetime | date):
        return _time(value)
    try:
        if form in NUMBERS:
            seconds = float(value) / NUMBERS[form]
            if not EARLIEST <= abs(seconds) < LATEST:
                return None
            return _time(datetime.fromtimestamp(seconds, UTC))
        text = str(value).strip()
        if form == "iso":
            return None if text.isdigit() else _time(datetime.fromisoformat(text))
        moment = datetime.strptime(text, form)
    except (ValueError, TypeError, OverflowError, OSError):
        return None
    if form == "%Y":
        return Time(_time(moment).order, text)
    return _time(moment)


def _time(moment: date) -> Time:
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    # A time without a zone is taken as one of Greenwich, so that all of a file compare.
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return Time((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds(), f"{moment:%Y-%m-%d}")


def form_of(values: Sequence[Any], column: str) -> str:
    """The form of a column's first values. Raises InputError if none fits, or if two fit that say
    different days.
    """
    most = (1 - FEW_BAD) * len(values)
    fitting: dict[tuple[str, ...], str] = {}
    for form in FORMS:
        days = _days(values, form)
        if len(days) >= most:
            # A form that fits more values than all before it is the better one.
            most = len(days)
            fitting = {known: other for known, other in fitting.items() if len(known) == most}
            fitting.setdefault(days, form)
    if not fitting:
        raise InputError(_no_form(values, column))
    if len(fitting) > 1:
        ways = " or ".join(f'"{form}"' for form in fitting.values())
        raise InputError(
            f"column {column}: {values[0]!s:.40} may be read in two ways: give --date-format {ways}"
        )
    return next(iter(fitting.values()))


def _days(values: Sequence[Any], form: str) -> tuple[str, ...]:
    """The days of all values that have this form."""
    times = [time_of(value, form) for value in values]
    return tuple(time.day for time in times if time)


def _no_form(values: Sequence[Any], column: str) -> str:
    odd = values[0]
    for value in values:
        if not any(time_of(value, form) for form in FORMS):
            odd = value
            break
    return (
        f"column {column}: {odd!s:.40} is no date that is known: give --date-format, as in"
        ' --date-format "%d.%m.%Y %H:%M" (or leave dates out: --no-date)'
    )

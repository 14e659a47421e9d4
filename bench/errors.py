"""Every error that a user can cause, and how a value is written in one.

Exit codes of every command: 0 done, 1 a cell failed, 2 bad input, 130 stopped by hand, 143 stopped
by TERM.
"""

from __future__ import annotations

from collections.abc import Iterable


class InputError(Exception):
    """The user's data or configuration is wrong: one line that names the file, the id and the
    field. Exit code 2.
    """


class MethodError(Exception):
    """A method cannot be fitted on this data; one line says why. The cell's status is `error`."""


class OverBudget(Exception):
    """A method ran past its wall-clock budget where it cannot stop half-way.

    The cell's status is `over_budget`.
    """


def input_error_in(error: BaseException) -> InputError | None:
    """The InputError that a library's error was raised for, if there is one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def as_text(value: object) -> str:
    """A value as an error says it: on one line, and not all of a long one."""
    text = str(value)
    if value is None:
        text = "null"
    elif isinstance(value, bool):
        text = text.lower()
    text = " ".join(text.split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= 60 else f"{text[:57]}..."


def one_of(field: str, value: object, choices: Iterable[object]) -> None:
    """Raises InputError if a setting is none of its choices; `field` as the command line has it."""
    known = list(choices)
    if any(value == choice and type(value) is type(choice) for choice in known):
        return
    *others, last = [as_text(choice) for choice in known]
    names = f"{', '.join(others)} or {last}" if others else last
    raise InputError(f"{field}={as_text(value)}: choose {names}")

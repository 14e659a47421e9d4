"""Which column is the user, what was written, the answer, the time: as given, or by usual names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.checks.catalog import did_you_mean, near
from bench.errors import InputError

ROLES: Mapping[str, tuple[str, ...]] = {
    "user": (
        *("user", "user id", "user name", "reviewer", "reviewer id", "author", "author id"),
        *("customer", "customer id", "account", "account id", "uid", "member", "sender", "from"),
    ),
    "input": (
        *("text", "review text", "review body", "review", "body", "content", "message", "comment"),
        *("description", "question", "prompt", "input", "article", "abstract"),
    ),
    "output": (
        *("stars", "star rating", "rating", "overall", "score", "label", "category", "class"),
        *("tag", "tags", "answer", "reply", "response", "output", "target", "title", "headline"),
        "subject",
    ),
    "date": (
        *("date", "time", "timestamp", "datetime", "created at", "created", "when", "ts"),
        *("sent at", "review date", "review time", "unix review time", "submitted at"),
    ),
}
"""Usual names of each column, the likeliest first."""

QUESTIONS = {
    "user": "who wrote each row",
    "input": "what the user wrote or saw",
    "output": "the rating, label or text that is to be predicted",
    "date": "when it was",
}


@dataclass(frozen=True)
class Columns:
    """A column for each role. No date: rows have no order in time. `guessed`: roles that nobody
    has given.
    """

    user: str
    input: str
    output: str
    date: str | None
    guessed: frozenset[str]

    def as_words(self) -> str:
        """`--user reviewer --input text (guessed) ...`: what a command line would say."""
        words = []
        for role in ROLES:
            column = getattr(self, role)
            if column is None:
                words.append("no --date")
                continue
            words.append(f"--{role} {column}" + (" (guessed)" if role in self.guessed else ""))
        return ", ".join(words)


def columns_of(given: Mapping[str, str | None], names: Sequence[str], file: str) -> Columns:
    """The columns to use. `given`: what the command line says of each role. `names`: the columns of
    the file. Raises InputError if one is not there, or cannot be guessed.
    """
    columns: dict[str, str | None] = {}
    for role in ROLES:
        column = given.get(role)
        if column is not None and column not in names:
            raise InputError(_no_column(role, column, names, file))
        columns[role] = column

    guessed = set()
    for role in ROLES:
        if columns[role] is not None:
            continue
        left = [name for name in names if name not in columns.values()]
        columns[role] = _usual(role, left)
        guessed.add(role)
        if columns[role] is None and role != "date":
            raise InputError(
                f"{file}: which column is {QUESTIONS[role]}? Give --{role} NAME; there are"
                f" {', '.join(names)}"
            )

    user, text, output = (str(columns[role]) for role in ("user", "input", "output"))
    if len({user, text, output, columns["date"]}) < 4:
        raise InputError(
            f"--user {user} --input {text} --output {output}: each is a column of its own"
        )
    return Columns(user, text, output, columns["date"], frozenset(guessed))


def _usual(role: str, names: Sequence[str]) -> str | None:
    """The first of the usual names that there is; of a path such as `author.id` any end counts."""
    for usual in ROLES[role]:
        for name in names:
            parts = name.split(".")
            ends = [_letters("".join(parts[start:])) for start in range(len(parts))]
            if _letters(usual) in ends:
                return name
    return None


def _no_column(role: str, column: str, names: Sequence[str], file: str) -> str:
    hint = did_you_mean(near(column, names))
    return f"--{role} {column}: {file} has no such column{hint}; there are {', '.join(names)}"


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())

"""All examples in a database on disk, to be asked for user by user: memory stays flat however many
there are.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.ingest.log_rows import LogRow

BATCH = 5000
CACHE = 64 * 1024
"""Kilobytes of the database that are held in memory."""

_INSERT = "INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)"
_REPEATED = "DELETE FROM rows WHERE number NOT IN (SELECT min(number) FROM rows GROUP BY digest)"


@dataclass(frozen=True, slots=True)
class SpooledRow:
    """An example with its number among all rows, counted from 1."""

    number: int
    day: str
    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Count:
    """A value and how many rows have it."""

    value: str
    rows: int


class Spool:
    """Examples by user. `fill` once, then ask."""

    def __init__(self, path: Path) -> None:
        self._base = sqlite3.connect(path)
        # Nothing is written twice: if the command is stopped, the file is thrown away.
        for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{CACHE}"):
            self._base.execute(f"PRAGMA {setting}")
        self._base.execute(
            'CREATE TABLE rows (number INTEGER PRIMARY KEY, user TEXT, "order" REAL, day TEXT,'
            " input TEXT, output TEXT, digest INTEGER)"
        )

    def fill(self, examples: Iterable[LogRow]) -> int:
        """Take all examples; of equal ones (user, time, input, answer) the first. How many were
        equal to an earlier one.
        """
        batch: list[tuple[object, ...]] = []
        number = 0
        for number, example in enumerate(examples, 1):
            fields = (example.user, example.order, example.day, example.input, example.output)
            batch.append((number, *fields, _digest(example)))
            if len(batch) == BATCH:
                self._base.executemany(_INSERT, batch)
                batch.clear()
        self._base.executemany(_INSERT, batch)
        repeated = self._base.execute(_REPEATED).rowcount
        self._base.execute('CREATE INDEX by_user ON rows (user, "order", number)')
        self._base.execute(
            "CREATE TABLE users AS SELECT user, count(*) AS rows FROM rows GROUP BY user"
        )
        return max(0, repeated)

    def outputs(self) -> list[Count]:
        """The different answers, the most frequent first."""
        found = self._base.execute(
            "SELECT output, count(*) FROM rows GROUP BY output ORDER BY 2 DESC, 1"
        )
        return [Count(value, rows) for value, rows in found]

    def different_outputs(self) -> int:
        """How many different answers there are."""
        return self._number("SELECT count(DISTINCT output) FROM rows")

    def rename_output(self, old: str, new: str) -> None:
        """Write one answer in place of another."""
        self._base.execute("UPDATE rows SET output = ? WHERE output = ?", (new, old))

    def draw(self, draw: Callable[[str], int]) -> None:
        """Put the users in the order of a number that is drawn for each."""
        self._base.create_function("draw", 1, draw, deterministic=True)
        self._base.execute(
            "CREATE TABLE drawn AS SELECT user, rows FROM users ORDER BY draw(user), user"
        )

    def users(self) -> Iterator[Count]:
        """The users and how many rows each has, in the order that was drawn."""
        for user, rows in self._base.execute("SELECT user, rows FROM drawn ORDER BY rowid"):
            yield Count(user, rows)

    def entries(self, user: str) -> Iterator[SpooledRow]:
        """A user's rows, newest first; those without a time come last, and of one time the last of
        the file first.
        """
        rows = self._base.execute(
            "SELECT number, day, input, output FROM rows WHERE user = ?"
            ' ORDER BY "order" DESC, number DESC',
            (user,),
        )
        for number, day, text, output in rows:
            yield SpooledRow(number, day, text, output)

    def user_count(self) -> int:
        """How many users there are."""
        return self._number("SELECT count(*) FROM users")

    def row_count(self) -> int:
        """How many rows there are, equal ones once."""
        return self._number("SELECT count(*) FROM rows")

    def undated_count(self) -> int:
        """How many rows have no time."""
        return self._number("SELECT count(*) FROM rows WHERE day = ''")

    def alike_users(self) -> int:
        """How many users have the name of another one but for capitals."""
        return self._number("SELECT count(*) - count(DISTINCT lower(user)) FROM users")

    def close(self) -> None:
        self._base.close()

    def _number(self, question: str) -> int:
        return int(self._base.execute(question).fetchone()[0])


def _digest(example: LogRow) -> int:
    text = "\0".join((example.user, str(example.order), example.input, example.output))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)

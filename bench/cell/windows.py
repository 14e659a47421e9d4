"""A cell's users, a window at a time: what is in memory does not grow with the number of users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from bench.cell.artifacts import CHUNK, chunk_name, load_personalizations
from bench.data.dates import as_of
from bench.errors import InputError
from bench.types import Personalization, Query, Request, User, Weights

T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """One question as the model is asked it: the user as of the question, and the request."""

    user: User
    query: Query
    request: Request

    @property
    def id(self) -> str:
        return self.query.id


@dataclass(frozen=True)
class Window:
    """Some users in a row, with golds.

    `number` counts the windows, `start` is the index of the first user.
    """

    number: int
    start: int
    users: Sequence[User]

    @property
    def ids(self) -> list[str]:
        """The ids of its questions, in their order."""
        return [query.id for query in self.queries]

    @property
    def queries(self) -> list[Query]:
        """Its questions, user by user."""
        queries: list[Query] = []
        for user in self.users:
            queries += user.queries
        return queries

    def personals(
        self, artifacts: Path, shared: Personalization, cell: str
    ) -> list[Personalization]:
        """What the users' chunks on disk hold; a patch of several users is read once."""
        known: dict[str, Weights] = {patch.id: patch for patch in shared.patches}
        personals: list[Personalization] = []
        for start in range(self.start, self.start + len(self.users), CHUNK):
            ids = [user.id for user in self.users[start - self.start :][:CHUNK]]
            name = chunk_name(start)
            chunk = load_personalizations(artifacts, name, known, cell=cell, users=ids)
            if chunk is None:
                raise InputError(f"{artifacts}: {name}.json is gone; run the cell again")
            for personal in chunk:
                known |= {patch.id: patch for patch in personal.patches}
            personals += chunk
        return personals

    def asked(
        self, personals: Sequence[Personalization]
    ) -> list[tuple[User, Query, Personalization]]:
        """Every question with its user, as of the question, and personalization;
        the golds are hidden.
        """
        asked = []
        for user, personal in zip(self.users, personals, strict=True):
            hidden = user.hidden()
            for query in hidden.queries:
                asked.append((as_of(hidden, query), query, personal))
        return asked


def windows(users: Sequence[User], size: int) -> Iterator[Window]:
    """All windows, each read from the data when it is asked for."""
    for number, start in enumerate(range(0, len(users), size)):
        yield Window(number, start, list(users[start : start + size]))


def checked_size(size: int) -> int:
    """The setting `window`; InputError if it is no multiple of a chunk."""
    if size < CHUNK or size % CHUNK:
        raise InputError(
            f"window={size}: give a multiple of {CHUNK}, the users whose artifacts are one file"
        )
    return size


class Ahead(Generic[T]):
    """Values by id out of a stream that has them about in the order in which they are asked for.

    What comes too early is stored, so that a stream in another order costs memory and no error. If
    an id comes again, the first value counts.
    """

    def __init__(self, stream: Iterator[tuple[str, T]]) -> None:
        self._stream = stream
        self._early: dict[str, T] = {}

    def take(self, ids: Sequence[str]) -> list[T]:
        """The values of these ids, which are forgotten here.

        KeyError if the stream ends without one of them.
        """
        missing = set(ids).difference(self._early)
        while missing:
            name, value = self._next(missing)
            self._early.setdefault(name, value)
            missing.discard(name)
        return [self._early.pop(name) for name in ids]

    def _next(self, missing: set[str]) -> tuple[str, T]:
        for pair in self._stream:
            return pair
        raise KeyError(f"{len(missing)} values are missing, that of {min(missing)} among them")

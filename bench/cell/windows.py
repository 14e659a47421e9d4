"""A cell's users, a window at a time: what is in memory does not grow with the number of users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from bench.data.dates import as_of
from bench.errors import InputError
from bench.types import Personalization, Query, User

if TYPE_CHECKING:
    from bench.lm.patch import Patch

CHUNK = 128
"""Users adapted before their artifacts are written."""

T = TypeVar("T")


@dataclass(frozen=True)
class Window:
    """So many users in a row, with golds. `number` counts the windows, `start` is the place of the
    first user.
    """

    number: int
    start: int
    users: Sequence[User]

    @property
    def ids(self) -> list[str]:
        """Of its questions, in their order."""
        return [query.id for user in self.users for query in user.queries]

    def personals(
        self, artifacts: Path, shared: Personalization, cell: str
    ) -> list[Personalization]:
        """What the users' chunks on disk hold; a patch of several users is read once."""
        from bench.cell.artifacts import load_personalizations

        known: dict[str, Patch] = {patch.id: patch for patch in shared.patches}
        found: list[Personalization] = []
        for at in range(self.start, self.start + len(self.users), CHUNK):
            ids = [user.id for user in self.users[at - self.start :][:CHUNK]]
            chunk = load_personalizations(artifacts, chunk_name(at), known, cell=cell, users=ids)
            if chunk is None:
                raise InputError(f"{artifacts}: {chunk_name(at)}.json is gone; run the cell again")
            known |= {patch.id: patch for one in chunk for patch in one.patches}
            found += chunk
        return found

    def asked(
        self, personals: Sequence[Personalization]
    ) -> list[tuple[User, Query, Personalization]]:
        """Every question with its user, as of the question, and personalization; the golds are
        hidden.
        """
        hidden = (user.hidden() for user in self.users)
        return [
            (as_of(user, query), query, personal)
            for user, personal in zip(hidden, personals, strict=True)
            for query in user.queries
        ]


def windows(users: Sequence[User], size: int) -> Iterator[Window]:
    """All windows, each read from the data when it is asked for."""
    for number, start in enumerate(range(0, len(users), size)):
        yield Window(number, start, list(users[start : start + size]))


def checked_size(size: int) -> int:
    """The setting `window`; InputError where it is no multiple of a chunk."""
    if size < CHUNK or size % CHUNK:
        raise InputError(
            f"window={size}: give a multiple of {CHUNK}, the users whose artifacts are one file"
        )
    return size


def chunk_name(start: int) -> str:
    """The artifact that holds the users from this place on."""
    return f"adapt-{start // CHUNK:05d}"


class Ahead(Generic[T]):
    """Values by id out of a stream that has them about in the order in which they are asked for.

    What comes too early is kept, so that a stream in another order costs memory and no error; of an
    id that comes again the first counts.
    """

    def __init__(self, stream: Iterator[tuple[str, T]]) -> None:
        self._stream = stream
        self._early: dict[str, T] = {}

    def take(self, ids: Sequence[str]) -> list[T]:
        """The values of these ids, which are forgotten here. KeyError where the stream ends without
        one.
        """
        missing = set(ids).difference(self._early)
        while missing:
            name, value = self._next(missing)
            self._early.setdefault(name, value)
            missing.discard(name)
        return [self._early.pop(name) for name in ids]

    def _next(self, missing: set[str]) -> tuple[str, T]:
        for found in self._stream:
            return found
        raise KeyError(f"{len(missing)} values are missing, that of {min(missing)} among them")

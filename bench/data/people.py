"""Who a protocol tests and who is left to fit: two splits pooled by person, the longest histories,
levels of activity.

Files may be large, so users are looked up when they are needed and never all kept.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import overload

from bench.data.dates import before_all
from bench.data.parse import common_history
from bench.errors import InputError, one_of
from bench.types import Query, User


@dataclass(frozen=True)
class People:
    """The tested users and those who may fit.

    `away`: ids of the fit split's users who may not fit, because they are tested (a pool names
    none). `counts`: of the choice, for the record.
    """

    tested: Sequence[User]
    fitting: Sequence[User]
    away: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)


class Lazy(Sequence[User]):
    """Users by their place, each built when asked for; a slice is a list."""

    @abstractmethod
    def one(self, place: int) -> User:
        """The user at a place, counted from 0."""

    @overload
    def __getitem__(self, index: int) -> User: ...
    @overload
    def __getitem__(self, index: slice) -> list[User]: ...
    def __getitem__(self, index: int | slice) -> User | list[User]:
        places = range(len(self))[index]
        if isinstance(places, int):
            return self.one(places)
        return [self.one(place) for place in places]


@dataclass(frozen=True)
class Some(Lazy):
    """Those who stand at these places."""

    users: Sequence[User]
    places: Sequence[int]

    def __len__(self) -> int:
        return len(self.places)

    def one(self, place: int) -> User:
        return self.users[self.places[place]]


@dataclass(frozen=True)
class Pool(Lazy):
    """Everybody of two splits, each person once: with their places in both (None: not in it)."""

    splits: tuple[Sequence[User], Sequence[User]]
    rows: Sequence[tuple[int | None, int | None]]

    def __len__(self) -> int:
        return len(self.rows)

    def one(self, place: int) -> User:
        return joined(self.parts(place)).user

    def parts(self, place: int) -> list[User]:
        """The person as each split has them."""
        parts = []
        for users, index in zip(self.splits, self.rows[place], strict=True):
            if index is not None:
                parts.append(users[index])
        return parts


@dataclass(frozen=True, slots=True)
class Person:
    """One person of two splits as one user, and how many items of their history were left out."""

    user: User
    left_out: int


def pool(first: Sequence[User], second: Sequence[User]) -> Pool:
    """Two splits as one, by user id. Raises InputError where a question is in both."""
    rows: dict[str, list[int | None]] = {}
    asked = set[str]()
    for side, users in enumerate((first, second)):
        for index, user in enumerate(users):
            rows.setdefault(user.id, [None, None])[side] = index
            for query in user.queries:
                if query.id in asked:
                    raise InputError(
                        f"question {query.id} is in both splits, so they cannot be pooled"
                        " (protocol.pool)"
                    )
                asked.add(query.id)
    return Pool((first, second), [(one, other) for one, other in rows.values()])


def joined(parts: Sequence[User]) -> Person:
    """One person with all their questions.

    What is kept stands in the profile of every question and is not newer than any of them, so that
    nothing in the history comes after a question (docs/choices.md, A27).
    """
    profiles = []
    queries: list[Query] = []
    for part in parts:
        profiles.append({item.id: item for item in part.history})
        queries += part.queries
    common = common_history(profiles)
    user = before_all(replace(parts[0], history=common.items, queries=tuple(queries)))
    return Person(user, common.left_out + len(common.items) - len(user.history))


def longest(users: Sequence[User], count: int) -> list[int]:
    """Indices of the `count` longest histories, longest first;
    of equal ones the first in the file.
    """
    sizes = [len(user.history) for user in users]
    if count >= len(sizes):
        raise InputError(
            f"protocol.n_test={count} of {len(sizes)} users leaves nobody to fit: lower"
            " protocol.n_test"
        )
    return sorted(range(len(sizes)), key=lambda index: -sizes[index])[:count]


@dataclass(frozen=True)
class Level:
    """A level of activity: the places of those drawn from it,
    and its smallest and largest history, in items.
    """

    places: tuple[int, ...]
    smallest: int
    largest: int


def levels(users: Sequence[User], bins: int, count: int, seed: int) -> list[Level]:
    """`bins` levels with equally many users by size of history, least active first; `count` users
    drawn from each.

    A larger draw contains the smaller one of the same seed. Users without history are in none.
    """
    sizes = [len(user.history) for user in users]
    with_history = [index for index, size in enumerate(sizes) if size]
    order = sorted(with_history, key=sizes.__getitem__)
    if not 1 <= bins <= len(order):
        raise InputError(
            f"protocol.n_bins={bins}: need 1 to {len(order)} bins for {len(order)} users with"
            " history"
        )
    by_activity = []
    for number in range(bins):
        inside = order[len(order) * number // bins : len(order) * (number + 1) // bins]
        drawn = random.Random(f"activity/{seed}/{number}").sample(inside, len(inside))[:count]
        by_activity.append(Level(tuple(sorted(drawn)), sizes[inside[0]], sizes[inside[-1]]))
    return by_activity


def level(by_activity: Sequence[Level], number: int) -> Level:
    """One of the levels; InputError where there is none of this number."""
    one_of("protocol.bin", number, range(len(by_activity)))
    return by_activity[number]


@dataclass(frozen=True, slots=True)
class Apart:
    """Users who are none of the tested people, and the ids of those who are."""

    users: Sequence[User]
    away: tuple[str, ...]


def without(users: Sequence[User], tested: Iterable[User]) -> Apart:
    """The users apart from the tested people, by id and by group."""
    names = set[str]()
    for user in tested:
        names |= {user.id, user.group}
    names.discard("")

    left = []
    away = []
    for index, user in enumerate(users):
        if names.isdisjoint((user.id, user.group)):
            left.append(index)
        else:
            away.append(user.id)
    return Apart(Some(users, left) if away else users, tuple(away))

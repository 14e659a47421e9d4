"""What a question may see: of a dated history, the items that are not later than the question. One
rule for all.

It holds where a prompt is rendered (`Task.render`) and in the user that a method's `request` is
given, so no method can forget it; selection, retrieval and draws choose among these items alone, so
that a prompt does not lack items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from bench.types import Item, Query, User

Places = tuple[int, ...]
"""Positions in a list of items, in the order of a ranking or of a prompt."""


def day(date: str) -> tuple[int, ...]:
    """A date as LaMP's rankers compare it: `2018-03-01` -> (2018, 3, 1), `2015` -> (2015,)."""
    return tuple(int(part) for part in date.split("-"))


def later(date: str, other: str) -> bool:
    """Whether a date is later than another one, as far as both are given:
    `2018` is not later than `2018-03-01`.
    """
    one, two = day(date), day(other)
    return one[: len(two)] > two[: len(one)]


def not_newer(items: Sequence[Item], query: Query) -> Places:
    """Where the items stand that are not newer than the query; undated ones count as older.

    A year and a day of that year are the same time. An undated query may see every item.
    """
    asked = query.date
    if not asked:
        return tuple(range(len(items)))
    return tuple(
        place for place, item in enumerate(items) if not (item.date and later(item.date, asked))
    )


def past(items: Sequence[Item], query: Query) -> tuple[Item, ...]:
    """The items that the query may see, in their order."""
    return tuple(items[place] for place in not_newer(items, query))


def as_of(user: User, query: Query) -> User:
    """The user with the history that this one question may see."""
    return replace(user, history=past(user.history, query)) if query.date else user


def before_all(user: User) -> User:
    """The user with the history that all their questions may see:
    what is written once for the user reads no more.
    """
    common = set(range(len(user.history)))
    for query in user.queries:
        common.intersection_update(not_newer(user.history, query))
    return replace(user, history=tuple(user.history[place] for place in sorted(common)))


class Withheld(NamedTuple):
    """Questions that may not see the whole history, and the items that this is over them all."""

    questions: int
    items: int


def withheld(user: User) -> Withheld:
    """What dates keep from the user's questions."""
    questions = items = 0
    for query in user.queries:
        missing = len(user.history) - len(not_newer(user.history, query))
        questions += missing > 0
        items += missing
    return Withheld(questions, items)

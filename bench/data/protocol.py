"""Who fits, who is tested, and what history the tested users keep (`conf/protocol/*.yaml`,
docs/protocols.md).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Annotated, Any, ClassVar, Literal

from bench.checks.bounds import COUNT, NAME, PLACE, Range
from bench.data import histories, people
from bench.data.dates import day, later
from bench.data.people import People
from bench.data.task import Task
from bench.errors import InputError
from bench.types import Item, User

SIZE = Range(1, 10**5)
"""Of a history that is made for measuring time: it is held in memory."""

Choice = Literal["all", "longest", "bin"]

OFF = {
    "pool": False,
    "choose": "all",
    "least_similar": None,
    "history_format": "full",
    "items": None,
    "words": None,
}
"""Switches as they stand where a protocol does not use them: then they are in no key."""


@dataclass(frozen=True)
class Protocol:
    """A protocol of the CHAMELEON paper (section 4; docs/choices.md, A14 and A15) or of OPPU's
    (section 4; A27).

    `group_size`: so many random users of those who may fit do fit what is shared; None takes all.
    `history`: the tested users show their `own` history, `none`, or that of `other` tested users (a
    control: is there personalization in the prompt at all?).

    `pool`: the users of both splits, each person once, with the history that precedes all their
    questions. `choose`: who of them is tested: `all` of the test split, the `n_test` with the
    `longest` histories, or `n_users` drawn from level `bin` of `n_bins` levels of activity. Whoever
    is chosen never fits, nor who might be drawn from another level.

    `least_similar`: only so many history items are kept, those least like the user's questions to
    `encoder`. `history_format`: items are shown and learnt `full`, with `no_input` or with
    `no_output`. `items`, `words`: exactly so many items of so many words, for measuring time.
    """

    ONLY_WITH: ClassVar = {
        "n_test": ("choose", ("longest",)),
        "n_bins": ("choose", ("bin",)),
        "bin": ("choose", ("bin",)),
        "n_users": ("choose", ("bin",)),
    }

    name: Annotated[str, NAME]
    fit_split: Annotated[str, NAME] = "train"
    test_split: Annotated[str, NAME] = "dev"
    group_size: Annotated[int, COUNT] | None = 100
    history: Literal["own", "none", "other"] = "own"
    pool: bool = False
    choose: Choice = "all"
    n_test: Annotated[int, COUNT] = 100
    n_bins: Annotated[int, COUNT] = 5
    bin: int = 0
    n_users: Annotated[int, COUNT] = 20
    least_similar: Annotated[int, COUNT] | None = None
    encoder: Annotated[str, PLACE] = "microsoft/deberta-v3-base"
    history_format: histories.Format = "full"
    items: Annotated[int, SIZE] | None = None
    words: Annotated[int, SIZE] | None = None

    def __post_init__(self) -> None:
        if self.pool and self.choose == "all":
            raise InputError(
                "protocol.pool=true needs protocol.choose=longest or bin: who of the pool is"
                " tested?"
            )
        for name in ("group_size", "n_test", "n_users", "least_similar", "items", "words"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"protocol.{name}={value}: must be at least 1")

    def identity(self) -> dict[str, Any]:
        """The fields that can change an answer: what a switch that is off would say is left out."""
        fields = asdict(self)
        unsaid = {name for name, off in OFF.items() if fields[name] == off}
        if self.choose != "longest":
            unsaid.add("n_test")
        if self.choose != "bin":
            unsaid |= {"n_bins", "bin", "n_users"}
        if self.least_similar is None:
            unsaid.add("encoder")
        return {name: value for name, value in fields.items() if name not in unsaid}

    def people(self, fitted: Sequence[User], tested: Sequence[User], seed: int) -> People:
        """Who is tested and who may fit, of the fit split and the test split."""
        if self.choose == "all":
            if self.history != "none":
                return People(tested, fitted)
            # LaMP's time-based splits hold the same people.
            unseen = people.without(fitted, tested)
            return People(tested, unseen.users, unseen.away)
        pooled = people.pool(fitted, tested) if self.pool else None
        candidates = tested if pooled is None else pooled
        if self.choose == "longest":
            indices = people.longest(candidates, self.n_test)
            away = indices
            counts = {}
        else:
            levels = people.levels(candidates, self.n_bins, self.n_users, seed)
            level = people.level(levels, self.bin)
            indices = list(level.places)
            away = list(chain.from_iterable(level.places for level in levels))
            counts = {"smallest_history": level.smallest, "largest_history": level.largest}

        if pooled is not None:
            counts["users_in_both_splits"] = sum(None not in row for row in pooled.rows)
            counts["items_left_out"] = 0
            for index in indices:
                counts["items_left_out"] += people.joined(pooled.parts(index)).left_out

        everybody = fitted if pooled is None else pooled
        left = people.without(everybody, people.Some(candidates, away))
        tested = [candidates[index] for index in indices]
        return People(tested, left.users, left.away, counts)

    def learnt(self, fitted: str, tested: str, seed: int) -> str:
        """What an adapted base learns from, by the hashes of the splits:
        the fit split, or the pool but the tested.
        """
        if not self.pool:
            return fitted
        but = [self.choose, self.n_bins, self.n_users, seed]
        if self.choose == "longest":
            but = [self.choose, self.n_test]
        return f"{fitted} and {tested} but {but}"

    def group(self, users: Sequence[User], seed: int) -> list[User]:
        """The fit users: a random group,
        the larger groups of a seed containing the smaller ones.
        """
        order = list(range(len(users)))
        random.Random(f"group/{seed}").shuffle(order)
        return [users[index] for index in sorted(order[: self.group_size])]

    def exchanged(self, users: Sequence[User], seed: int) -> Sequence[User]:
        """With `history=other`, every user with the history of the next user, in a random circle,
        who is not the same person (group): of a dated one, what is no later than the user's own
        last item.
        """
        if self.history != "other":
            return users
        order = list(range(len(users)))
        random.Random(f"other/{seed}").shuffle(order)
        changed = list(users)
        for place, index in enumerate(order):
            user = users[index]
            history: tuple[Item, ...] = ()
            for other in order[place + 1 :] + order[:place]:
                if users[other].group != user.group:
                    history = users[other].history
                    break
            changed[index] = replace(user, history=_until(user.history, history))
        return changed

    def tested(self, task: Task, users: Sequence[User]) -> Sequence[User]:
        """The tested users, with the history that the protocol lets them keep."""
        if self.history == "none":
            users = [replace(user, history=()) for user in users]
        if self.least_similar is not None:
            users = histories.least_similar(task, users, self.least_similar, self.encoder)
        if self.items is not None or self.words is not None:
            users = histories.sized(task, users, self.items, self.words)
        return self.fitting(task, users)

    def fitting(self, task: Task, users: Sequence[User]) -> Sequence[User]:
        """The fit users, with items of the form in which the tested users' are shown."""
        if self.history_format == "full":
            return users
        return histories.formatted(task, users, self.history_format)


def _until(own: Sequence[Item], other: tuple[Item, ...]) -> tuple[Item, ...]:
    """The other's items up to the date of the last of one's own; all, where these have no dates."""
    dates = [item.date for item in own if item.date]
    if not dates:
        return other
    last = max(dates, key=day)
    items = []
    for item in other:
        if not item.date or not later(item.date, last):
            items.append(item)
    return tuple(items)

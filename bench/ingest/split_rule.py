"""Who is tested, and which of a user's rows are asked: the newest, with what came before as the
history; at random where rows have no dates. Nobody is in two splits.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from bench.errors import InputError
from bench.ingest.spool import Spool, SpooledRow


@dataclass(frozen=True)
class SplitRule:
    """`questions`: the share of a user's rows that is asked, at most `most`. `last`: so many rows
    in its place. `least`: who has less history than so many items takes no part. `history`: only
    so many items are kept, the newest. `dev`: the share of users who are tested, at most
    `most_dev`; the others are for training. `users`: only so many users take part, drawn at random.
    `dated`: rows have times.
    """

    questions: float = 0.2
    last: int | None = None
    most: int = 5
    least: int = 3
    history: int = 500
    dev: float = 0.2
    most_dev: int = 1000
    users: int | None = None
    seed: int = 0
    dated: bool = True

    def asked(self, rows: int) -> int:
        """How many of a user's rows are questions."""
        if self.last is not None:
            return min(self.last, rows)
        return min(self.most, max(1, round(self.questions * rows)))

    def is_enough(self, rows: int) -> bool:
        """Whether a user with so many rows takes part."""
        return rows - self.asked(rows) >= self.least

    def draw(self, user: str) -> int:
        """The number that a user is drawn by; it does not depend on who else there is."""
        digest = hashlib.blake2b(f"{self.seed}/{user}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big", signed=True)


@dataclass(frozen=True, slots=True)
class Part:
    """One user: history and questions, both oldest first."""

    user: str
    history: tuple[SpooledRow, ...]
    questions: tuple[SpooledRow, ...]
    cut: int = 0
    """Items of the history that were left out because there are more than are kept."""


def part_of(user: str, rows: int, newest_first: Iterable[SpooledRow], rule: SplitRule) -> Part:
    """The user's rows as history and questions."""
    asked = rule.asked(rows)
    places = set(range(asked))
    if not rule.dated:
        places = set(random.Random(f"{rule.seed}/{user}").sample(range(rows), asked))

    history: list[SpooledRow] = []
    questions: list[SpooledRow] = []
    # No more is read than is kept: one user may have millions of rows.
    for place, entry in enumerate(islice(newest_first, rule.history + asked)):
        if place in places:
            questions.append(entry)
        elif len(history) < rule.history:
            history.append(entry)
    history.reverse()
    questions.reverse()
    cut = rows - asked - len(history)
    return Part(user, tuple(history), tuple(questions), cut)


@dataclass(frozen=True)
class Takers:
    """How many users are tested, are for training, and have too few rows."""

    dev: int
    train: int
    too_few: int


def takers(spool: Spool, rule: SplitRule) -> Takers:
    """Raises InputError if fewer than two users have enough history."""
    enough = too_few = 0
    for user in spool.users():
        if rule.is_enough(user.rows):
            enough += 1
        else:
            too_few += 1
    if enough < 2:
        raise InputError(
            f"{enough} of {enough + too_few} users have a question and {rule.least} earlier rows,"
            " and two are needed, one to test and one to train on: lower --least, or give another"
            " --user"
        )
    part = enough if rule.users is None else min(enough, max(2, rule.users))
    dev = min(rule.most_dev, max(1, round(rule.dev * part)), part - 1)
    return Takers(dev, part - dev, too_few)

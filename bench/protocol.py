"""Who fits, who is tested, and what history the tested users keep (`conf/protocol/*.yaml`)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.types import User


@dataclass(frozen=True)
class Protocol:
    """A protocol of the CHAMELEON paper (section 4; reference 3.9, ambiguities A14 and A15).

    `group_size`: so many random users of `fit_split` fit what is shared. `history`: the tested users show their `own`
    history, `none`, or that of `other` tested users (a control: is there personalization in the prompt at all?).
    """

    name: str
    fit_split: str = "train"
    test_split: str = "dev"
    group_size: int = 100
    history: Literal["own", "none", "other"] = "own"

    def group(self, users: Sequence[User], seed: int) -> list[User]:
        """The fit users: a random group, the larger groups of a seed containing the smaller ones."""
        order = list(range(len(users)))
        random.Random(f"group/{seed}").shuffle(order)
        return [users[index] for index in sorted(order[: self.group_size])]

    def tested(self, users: Sequence[User], seed: int) -> Sequence[User]:
        """The tested users, with the history that the protocol lets them keep."""
        if self.history == "none":
            return [replace(user, history=()) for user in users]
        if self.history == "other":
            return _exchanged(users, seed)
        return users


def _exchanged(users: Sequence[User], seed: int) -> list[User]:
    """Every user with the history of the next user, in a random circle, who is not the same person (group)."""
    order = list(range(len(users)))
    random.Random(f"other/{seed}").shuffle(order)
    changed = list(users)
    for place, index in enumerate(order):
        circle = (order[(place + step) % len(order)] for step in range(1, len(order)))
        donor = next((users[other] for other in circle if users[other].group != users[index].group), None)
        changed[index] = replace(users[index], history=donor.history if donor else ())
    return changed

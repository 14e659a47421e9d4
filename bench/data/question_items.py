"""Which items a user's questions show: the selection, made for each question that may not see the
whole history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.data.dates import Places, not_newer
from bench.data.retrieval import showing
from bench.data.selection import PCASelection
from bench.data.task import Task
from bench.types import Item, Personalization, Query, User


@dataclass(frozen=True)
class Selected:
    """A user's selected items. `choices`: one for each set of items that a question may see, by
    question in `of`.

    `embedder_cut`: items of the history whose end the sentence embedder did not read.
    """

    user: User
    choices: Mapping[Places, tuple[Item, ...]]
    of: Mapping[str, Places]
    embedder_cut: int

    def items(self, query: Query) -> tuple[Item, ...]:
        """What the question shows."""
        return self.choices[self.of[query.id]]

    @property
    def common(self) -> tuple[Item, ...]:
        """What is chosen from the items that all the user's questions may see, for texts that are
        written once.
        """
        return self.choices[min(self.choices, key=len)]

    @property
    def facts(self) -> dict[str, Any]:
        """What the record counts."""
        return {"embedder_cut": self.embedder_cut}

    @property
    def personal(self) -> Personalization:
        """The selected items, and by question those that it shows."""
        if len(self.choices) == 1:
            return Personalization(items=self.common, facts=self.facts)
        place = {id(item): index for index, item in enumerate(self.user.history)}
        rows = [tuple(place[id(item)] for item in self.items(query)) for query in self.user.queries]
        # "lamp" keeps the order of the rows, which is the selection's own
        kept = showing(self.user.queries, self.user.history, rows, "lamp")
        return replace(kept, facts=self.facts)


def selected(
    select: PCASelection,
    task: Task,
    users: Sequence[User],
    check: Callable[[], object] = lambda: None,
) -> list[Selected]:
    """The selection of every user. `check` is called now and then; what it raises ends the
    selection.

    A user whose questions all may see the same items, as undated ones do, has one choice.
    """
    groups = [_groups(user) for user in users]
    asking = [
        (
            user
            if len(places) == len(user.history)
            else replace(user, history=tuple(user.history[at] for at in places))
        )
        for user, own in zip(users, groups, strict=True)
        for places in dict.fromkeys(own.values())
    ]
    made = iter(select.select(task, asking, check))
    found = []
    for user, own, cut in zip(users, groups, select.cut(task, users), strict=True):
        choices = {places: next(made) for places in dict.fromkeys(own.values())}
        found.append(Selected(user, choices, own, cut))
    return found


def _groups(user: User) -> dict[str, Places]:
    """By question, where the items stand that it may see. A user without questions may see them
    all.
    """
    return {query.id: not_newer(user.history, query) for query in user.queries} or {
        "": tuple(range(len(user.history)))
    }

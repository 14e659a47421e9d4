"""Which items a user's questions show: the selection,
made for each question that may not see the whole history.
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
        """What is chosen from the items that all the user's questions may see,
        for texts that are written once.
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

        # By identity: two items of a history may be equal.
        index = {id(item): number for number, item in enumerate(self.user.history)}
        rows = []
        for query in self.user.queries:
            rows.append(tuple(index[id(item)] for item in self.items(query)))
        # "lamp" keeps the order of the rows, which is the selection's own.
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
    visible = [_visible(user) for user in users]
    asking = []
    for user, of in zip(users, visible, strict=True):
        for places in _distinct(of):
            asking.append(_with_history(user, places))

    # One call for all: embeddings are made in batches.
    selections = iter(select.select(task, asking, check))
    found = []
    for user, of, cut in zip(users, visible, select.cut(task, users), strict=True):
        choices = {places: next(selections) for places in _distinct(of)}
        found.append(Selected(user, choices, of, cut))
    return found


def _visible(user: User) -> dict[str, Places]:
    """By question, the places of the items that it may see. A user without questions sees all."""
    if not user.queries:
        return {"": tuple(range(len(user.history)))}
    return {query.id: not_newer(user.history, query) for query in user.queries}


def _distinct(visible: Mapping[str, Places]) -> list[Places]:
    """Each set of visible items once, in the order of the questions."""
    return list(dict.fromkeys(visible.values()))


def _with_history(user: User, places: Places) -> User:
    if len(places) == len(user.history):
        return user
    return replace(user, history=tuple(user.history[place] for place in places))

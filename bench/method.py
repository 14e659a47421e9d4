"""The Method interface: a method turns users into personalizations, and a question into a request.
It never runs the test.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bench.data.question_items import selected
from bench.data.selection import PCASelection
from bench.data.task import Task
from bench.types import Item, Personalization, Query, Request, User

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.backend import Capability
    from bench.lm.model import LM


class Method(ABC):
    """One way to personalize a frozen language model. Fields are hyper-parameters; a method keeps
    no state.

    `needs_model`: False for a rule, which runs without any weights. `ONLY_WITH`: fields that are
    read only if another field has one of these values, as in `{"draw": ("control",
    ("random_directions",))}`.
    """

    needs_model: ClassVar[bool] = True
    ONLY_WITH: ClassVar[Mapping[str, Any]] = {}

    @property
    def needs(self) -> frozenset[Capability]:
        """What the model must be able to do besides answering, with these settings. A cell whose
        model cannot is refused before anything is loaded.
        """
        return frozenset()

    def check(self, task: Task) -> None:
        """Raise InputError if the settings do not go with the task.

        Called before any model is loaded.
        """
        return

    def reads_fit_users(self, task: Task) -> bool:
        """Whether `fit` reads the fit users. If not, the cell runs without a fit split."""
        return type(self).fit is not Method.fit

    def fit(self, lm: LM, task: Task, users: Sequence[User], budget: Budget) -> Personalization:
        """What all users share, learnt from the fit users (with their golds). Default: nothing."""
        return Personalization()

    def adapt(
        self, lm: LM, task: Task, users: Sequence[User], shared: Personalization, budget: Budget
    ) -> Sequence[Personalization]:
        """One personalization for each user of a chunk; the users' golds are hidden.

        Default: the shared one.
        """
        return [shared] * len(users)

    @abstractmethod
    def request(self, task: Task, user: User, query: Query, personal: Personalization) -> Request:
        """The request for one question. The user's history holds only what the question may see.

        Pure and cheap.
        """


class BaselinePrompt(Method):
    """A method with the instruct baseline's prompt: selected history, or none.

    `fit` may learn a patch for all.
    """

    ONLY_WITH: ClassVar[Mapping[str, Any]] = {"select": ("history", ("selected",))}

    select: PCASelection
    history: Literal["selected", "none"] = "selected"

    def adapt(
        self, lm: LM, task: Task, users: Sequence[User], shared: Personalization, budget: Budget
    ) -> Sequence[Personalization]:
        if self.history == "none":
            return [Personalization(items=(), patches=shared.patches)] * len(users)
        return [
            replace(one.personal, patches=shared.patches)
            for one in selected(self.select, task, users)
        ]

    def request(self, task: Task, user: User, query: Query, personal: Personalization) -> Request:
        return Request(task.render(query, personal.items_for(query)), personal.patches)


def questions_with_items(
    select: PCASelection,
    task: Task,
    users: Sequence[User],
    asked: Sequence[tuple[User, Query]],
    budget: Budget,
) -> list[tuple[Query, tuple[Item, ...]]]:
    """Each asked question with the history items that its prompt shows. Items are selected for
    the users who are asked something, and for no others.
    """
    wanted = {user.id for user, _ in asked}
    some = [user for user in users if user.id in wanted]
    chosen = {one.user.id: one for one in selected(select, task, some, budget.check)}
    return [(query, chosen[user.id].items(query)) for user, query in asked]

"""The Method interface: a method turns users into personalizations, and a question into a request. It never runs the
test.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.types import Personalization, Query, Request, User

if TYPE_CHECKING:
    from bench.budget import Budget
    from bench.data.task import Task
    from bench.lm.model import LM


class Method(ABC):
    """One way to personalize a frozen language model. Fields are hyper-parameters; a method keeps no state."""

    def fit(self, lm: LM, task: Task, users: Sequence[User], budget: Budget) -> Personalization:
        """What all users share, learnt from the fit users (with their golds). Default: nothing."""
        return Personalization()

    def adapt(
        self, lm: LM, task: Task, users: Sequence[User], shared: Personalization, budget: Budget
    ) -> Sequence[Personalization]:
        """One personalization for each user of a chunk; the users' golds are hidden. Default: the shared one."""
        return [shared] * len(users)

    @abstractmethod
    def request(self, task: Task, user: User, query: Query, personal: Personalization) -> Request:
        """The request for one question. Pure and cheap."""

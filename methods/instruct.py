"""The instruct baseline: the task's prompt with the user's selected history, no insight, no change to the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.data.retrieval import PCASelection
from bench.data.task import Task
from bench.method import Method
from bench.types import Personalization, Query, Request, User

if TYPE_CHECKING:
    from bench.budget import Budget
    from bench.lm.model import LM


@dataclass(frozen=True)
class Instruct(Method):
    """CHAMELEON's baseline (section 4.1; reference 4.1). `history=none` is the floor without any personalization."""

    select: PCASelection
    history: Literal["selected", "none"] = "selected"

    def adapt(
        self, lm: LM, task: Task, users: Sequence[User], shared: Personalization, budget: Budget
    ) -> list[Personalization]:
        chosen = self.select.select(task, users) if self.history == "selected" else [()] * len(users)
        return [Personalization(items=items) for items in chosen]

    def request(self, task: Task, user: User, query: Query, personal: Personalization) -> Request:
        return Request(task.render(query, personal.items or ()))

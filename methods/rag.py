"""Retrieval: the prompt shows the k history items nearest to the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.data.retrieval import Retriever, showing
from bench.data.task import Task
from bench.method import Method
from bench.types import Personalization, Query, Request, User

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.model import LM


@dataclass(frozen=True)
class RAG(Method):
    """LaMP, section 3; OPPU's retrieval baseline.

    `style`: CHAMELEON's A.3 prompt (`personalized`), LaMP's own (`lamp`) or OPPU's (`oppu`). A
    user without history gets the prompt without history.
    """

    retriever: Retriever
    k: int = 4
    style: Literal["personalized", "lamp", "oppu"] = "personalized"

    def adapt(
        self, lm: LM, task: Task, users: Sequence[User], shared: Personalization, budget: Budget
    ) -> list[Personalization]:
        ranked = self.retriever.top(task, users, self.k, budget=budget)
        return [
            showing(user.queries, user.history, one.places, self.style, one.facts)
            for user, one in zip(users, ranked, strict=True)
        ]

    def request(self, task: Task, user: User, query: Query, personal: Personalization) -> Request:
        return Request(task.render(query, personal.items_for(query), style=self.style))

"""PAG: the prompt begins with a written profile of the user, and may show retrieved history items
too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from bench.data.retrieval import Retriever, showing
from bench.data.task import Task
from bench.lm.profile import Profile, facts
from bench.method import Method
from bench.types import Personalization, Query, Request, User

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.model import LM


@dataclass(frozen=True)
class PAG(Method):
    """Richardson et al. 2023, as OPPU runs it.

    A user without history has no profile and no items.
    """

    retriever: Retriever
    profile: Profile = field(default_factory=Profile)
    k: int = 1
    style: Literal["personalized", "oppu"] = "personalized"

    def adapt(
        self, lm: LM, task: Task, users: Sequence[User], shared: Personalization, budget: Budget
    ) -> list[Personalization]:
        ranked = self.retriever.top(task, users, self.k, budget=budget)
        profiles = self.profile.write(lm, task, users, budget)
        personals = []
        for user, ranking in zip(users, ranked, strict=True):
            prompt = showing(user.queries, user.history, ranking.places, self.style, ranking.facts)
            profile = profiles.get(user.id)
            text = {} if profile is None else {"profile": profile.text}
            counts = {**prompt.facts, **facts(profile)}
            personals.append(replace(prompt, text=text, facts=counts, notes=text))
        return personals

    def request(self, task: Task, user: User, query: Query, personal: Personalization) -> Request:
        profile = personal.text.get("profile")
        items = personal.items_for(query)
        return Request(task.render(query, items, style=self.style, profile=profile))

"""The random baseline: the prompt shows k history items drawn at random, a user's or anybody's."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from bench.checks.bounds import COUNT, SEED, Range
from bench.data.dates import Places, not_newer
from bench.data.retrieval import showing
from bench.data.task import Task
from bench.errors import MethodError
from bench.method import Method
from bench.types import Item, Personalization, Query, Request, User

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.model import LM


@dataclass(frozen=True)
class RandomHistory(Method):
    """OPPU's "Random" (docs/choices.md, A20), LaMP's random ranker with `replacement`.

    `scope`: the draw is from the user's own history (`user`), or from `pool` items of the fit
    users' histories (`global`; all of them if they are fewer). Every user and question has a draw
    of its own. An item newer than the question is never drawn.
    """

    ONLY_WITH: ClassVar = {"pool": ("scope", ("global",))}

    k: Annotated[int, Range(0, 10**4)] = 1
    scope: Literal["user", "global"] = "user"
    replacement: bool = False
    pool: Annotated[int, COUNT] = 1000
    style: Literal["personalized", "lamp", "oppu"] = "personalized"
    seed: Annotated[int, SEED] = 0

    def reads_fit_users(self, task: Task) -> bool:
        return self.scope == "global"

    def fit(self, lm: LM, task: Task, users: Sequence[User], budget: Budget) -> Personalization:
        """The pool of a global draw."""
        if self.scope == "user":
            return Personalization()
        items = [item for user in users for item in user.history]
        if not items:
            raise MethodError(
                "method.scope=global: none of the fit users has a history to draw from"
            )
        places = random.Random(f"pool/{self.seed}").sample(
            range(len(items)), min(self.pool, len(items))
        )
        return Personalization(items=tuple(items[place] for place in sorted(places)))

    def adapt(
        self, lm: LM, task: Task, users: Sequence[User], shared: Personalization, budget: Budget
    ) -> list[Personalization]:
        found = []
        for user in users:
            items = user.history if self.scope == "user" else shared.items or ()
            places = [self._draw(user, query, items) for query in user.queries]
            found.append(showing(user.queries, items, places, self.style))
        return found

    def request(self, task: Task, user: User, query: Query, personal: Personalization) -> Request:
        return Request(task.render(query, personal.items_for(query), style=self.style))

    def _draw(self, user: User, query: Query, items: Sequence[Item]) -> Places:
        places = not_newer(items, query)
        stream = random.Random(f"random history/{self.seed}/{user.id}/{query.id}")
        if self.replacement:
            return tuple(stream.choices(places, k=self.k)) if places else ()
        return tuple(stream.sample(places, min(self.k, len(places))))

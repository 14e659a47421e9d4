"""The trivial rules, without a model: what a table must beat before it speaks of
personalization."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from bench.data.task import Task
from bench.errors import InputError, MethodError
from bench.method import Method
from bench.types import Item, Personalization, Query, Request, User

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.model import LM


RULES = {
    "rating": ("global", "user", "median"),
    "classification": ("global", "user"),
    "generation": ("query", "nearest"),
}


@dataclass(frozen=True)
class Majority(Method):
    """Rules without a model. `auto`: `user` if the task has labels, else `query`.

    `global`: the fit users' most frequent answer. `user`: the most frequent in the user's own
    history. `median`: the user's own median score. `query`: a copy of the question's text.
    `nearest`: the answer of the history item that shares most words with the question. A user
    without a usable history gets the global answer.
    """

    needs_model: ClassVar[bool] = False

    rule: Literal["auto", "global", "user", "median", "query", "nearest"] = "auto"

    def check(self, task: Task) -> None:
        rules = RULES[task.kind]
        if self.rule not in ("auto", *rules):
            raise InputError(
                f"method.rule={self.rule}: {task.name} ({task.kind}) has {', '.join(rules)}"
            )

    def reads_fit_users(self, task: Task) -> bool:
        """For the most frequent answer, which every rule of a task with labels falls back on."""
        return bool(task.labels)

    def fit(self, lm: LM, task: Task, users: Sequence[User], budget: Budget) -> Personalization:
        golds = [query.gold for user in users for query in user.queries if query.gold is not None]
        if task.labels and not golds:
            raise MethodError(
                f"majority: no question of the {len(users)} fit users of {task.name} has an answer"
            )
        return Personalization(text={"global": _most(golds) if task.labels else ""})

    def request(self, task: Task, user: User, query: Query, personal: Personalization) -> Request:
        return Request((), answer=self._answer(task, user, query) or personal.text["global"])

    def _answer(self, task: Task, user: User, query: Query) -> str | None:
        rule = ("user" if task.labels else "query") if self.rule == "auto" else self.rule
        if rule == "query":
            return query.text
        if rule == "nearest":
            return _nearest(task, user, query)
        answers = list(filter(None, map(task.answer, user.history)))
        if rule == "global" or not answers:
            return None
        if rule == "median":
            return sorted(answers, key=float)[(len(answers) - 1) // 2]
        return _most(answers)


def _most(answers: Iterable[str]) -> str:
    """The most frequent; of equally frequent ones the first seen."""
    counted = Counter(answers).most_common(1)
    return counted[0][0] if counted else ""


def _nearest(task: Task, user: User, query: Query) -> str | None:
    """The answer of the item that shares most words with the question, of several the last one."""
    words = set(query.text.lower().split())

    def overlap(item: Item) -> float:
        """Shared words, as a share of all words of both."""
        text = item.fields.get(task.source) or task.answer(item) or ""
        others = set(text.lower().split())
        return len(words & others) / max(1, len(words | others))

    if not user.history:
        return query.text
    # `max` takes the first of equals, so the last comes first.
    nearest = max(reversed(user.history), key=overlap)
    return task.answer(nearest) or nearest.fields[task.source]

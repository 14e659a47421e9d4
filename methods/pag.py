"""PAG: the prompt begins with a written profile of the user and may show retrieved history items as well."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from bench.data.rank import Retriever, before_all, chosen, shown
from bench.data.task import Task
from bench.lm.spec import ModelSpec
from bench.lm.write import Writer, write
from bench.method import Method
from bench.types import Completion, Decoding, Item, Personalization, Query, Request, User, one_of

if TYPE_CHECKING:
    from bench.budget import Budget
    from bench.lm.model import LM


@dataclass(frozen=True)
class PAG(Method):
    """Richardson et al. 2023, as OPPU runs it (reference 2.4, 2.7, 2.8; ambiguity A24).

    The summary is written once for a user, from up to `profile_items` random history items that are not newer than any
    of the user's questions, each field cut to `profile_words` words. `writer`: the model as it was before its base was
    adapted (`instruct`), or the base. `writer_model`: another model in its place. A user without history has neither
    summary nor items.
    """

    retriever: Retriever
    k: int = 1
    style: Literal["personalized", "oppu"] = "personalized"
    profile_items: int = 10
    profile_words: int = 200
    writer: Writer = "instruct"
    writer_model: ModelSpec | None = None
    decoding: Decoding = field(default_factory=lambda: Decoding("sample", temperature=0.6, top_p=0.9, top_k=10))
    max_new_tokens: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        one_of("method.style", self.style, ("personalized", "oppu"))
        one_of("method.writer", self.writer, ("instruct", "base"))

    def adapt(
        self, lm: LM, task: Task, users: Sequence[User], shared: Personalization, budget: Budget
    ) -> list[Personalization]:
        ranked = self.retriever.top(task, users, self.k)
        profiles = self._profiles(lm, task, users, budget)
        found = []
        for user, places in zip(users, ranked, strict=True):
            one, profile = chosen(user.queries, user.history, places, self.style), profiles.get(user.id)
            if profile is None:
                found.append(replace(one, facts={**one.facts, "without_profile": True}))
                continue
            facts = {"profile_empty": not profile.text, "profile_unfinished": not profile.finished}
            text = {**one.text, "profile": profile.text}
            found.append(replace(one, text=text, facts={**one.facts, **facts}, notes={"profile": profile.text}))
        return found

    def request(self, task: Task, user: User, query: Query, personal: Personalization) -> Request:
        profile = personal.text.get("profile")
        return Request(task.render(query, shown(personal, query), style=self.style, profile=profile))

    def _profiles(self, lm: LM, task: Task, users: Sequence[User], budget: Budget) -> dict[str, Completion]:
        """The summary of every user who has something to summarize, by user id."""
        readable = [user for user in map(before_all, users) if user.history]
        requests = []
        for user in readable:
            # The same draw as a base with form=profile makes.
            stream = random.Random(f"profile/{self.seed}/{user.id}")
            places = stream.sample(range(len(user.history)), min(self.profile_items, len(user.history)))
            items = [_short(user.history[place], self.profile_words) for place in sorted(places)]
            requests.append(Request(task.ask_profile(items), name=f"{task.name} profile of {user.id}"))
        answers = write(
            lm, requests, writer=self.writer, model=self.writer_model, max_new_tokens=self.max_new_tokens,
            decoding=replace(self.decoding, seed=self.seed), budget=budget, phase="profiles",
        )  # fmt: skip
        return {user.id: answer for user, answer in zip(readable, answers, strict=True)}


def _short(item: Item, words: int) -> Item:
    """The item with at most so many words of each field; like OPPU's code it loses line breaks."""
    return replace(item, fields={name: " ".join(text.split()[:words]) for name, text in item.fields.items()})

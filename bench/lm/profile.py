"""Profile summaries: what a model writes about a user from their
history (PAG; OPPU with profiles).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

from bench.checks.bounds import COUNT, SEED
from bench.data.dates import before_all
from bench.data.task import Task
from bench.data.truncation import shortened
from bench.lm.spec import ModelSpec
from bench.lm.texts import Writer, write
from bench.types import Completion, Decoding, Request, User

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.model import LM


@dataclass(frozen=True)
class Profile:
    """How summaries are written (Richardson et al. 2023 as OPPU's code runs it; docs/choices.md,
    A24).

    Once for a user, from up to `items` random history items that are not newer than any of the
    user's questions, each field cut to `words` words. `writer`: the model as it was before its base
    was adapted (`instruct`), or the base. `model`: another model in its place.
    """

    items: Annotated[int, COUNT] = 10
    words: Annotated[int, COUNT] = 200
    writer: Writer = "instruct"
    model: ModelSpec | None = None
    decoding: Decoding = field(
        default_factory=lambda: Decoding("sample", temperature=0.6, top_p=0.9, top_k=10)
    )
    max_new_tokens: Annotated[int, COUNT] = 64
    seed: Annotated[int, SEED] = 0

    def write(
        self, lm: LM, task: Task, users: Sequence[User], budget: Budget, *, phase: str = "profiles"
    ) -> dict[str, Completion]:
        """The summary of every user who has something to summarize, by user id;
        its cost is counted under `phase`.
        """
        readable = [user for user in map(before_all, users) if user.history]
        requests = []
        for user in readable:
            # The same draw as a base with form=profile makes.
            stream = random.Random(f"profile/{self.seed}/{user.id}")
            indices = stream.sample(range(len(user.history)), min(self.items, len(user.history)))
            items = [shortened(user.history[index], self.words) for index in sorted(indices)]
            name = f"{task.name} profile of {user.id}"
            requests.append(Request(task.ask_profile(items), name=name))
        answers = write(
            lm,
            requests,
            writer=self.writer,
            model=self.model,
            max_new_tokens=self.max_new_tokens,
            decoding=replace(self.decoding, seed=self.seed),
            budget=budget,
            phase=phase,
        )
        return {user.id: answer for user, answer in zip(readable, answers, strict=True)}


def facts(profile: Completion | None) -> Mapping[str, Any]:
    """What the record counts of one user's summary."""
    if profile is None:
        return {"without_profile": True}
    return {"profile_empty": not profile.text, "profile_unfinished": not profile.finished}

"""Step 2, insights: the model says what a user prefers (c^P) and how an impersonal answer sounds
(c^N). Section 3.1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from bench.data.task import Task
from bench.types import Decoding, Item, Request

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.model import LM
    from bench.lm.patch import Patch

MAX_WORDS = 40

Writer = Literal["instruct", "base"]
Neutral = Literal["own", "shared"]


@dataclass(frozen=True, slots=True)
class Insight:
    """One pair of insights: a noun phrase after "The user prefers",
    a verb phrase after "Your answer should".
    """

    personal: str
    neutral: str


@dataclass(frozen=True, slots=True)
class Author:
    """Somebody to write insights about: who, and the history to write them from."""

    id: str
    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Writing:
    """How insights are written. `neutral`: each user has one `own`, as section 3.1 has it, or all
    share one; its prompt shows no history, so users' own differ by the draw alone.
    """

    decoding: Decoding
    writer: Writer = "instruct"
    neutral: Neutral = "own"

    def draw(self, turn: int) -> Decoding:
        """The decoding of one insight of several."""
        return replace(self.decoding, seed=self.decoding.seed * 1000 + turn)


def write(
    lm: LM, task: Task, people: Sequence[Author], how: Writing, budget: Budget, *, each: int
) -> list[list[Insight]]:
    """`each` insights for every person, in their order."""
    neutrals = [person.id for person in people] if how.neutral == "own" else [""]
    insights: list[list[Insight]] = [[] for _ in people]
    with budget.phase("insights", total=each * (len(people) + len(neutrals))) as progress:
        for turn in range(each):
            requests = [_personal(lm, task, person, how.writer) for person in people]
            requests += [_neutral(lm, task, whose, how.writer) for whose in neutrals]
            answers = lm.answers(
                requests, max_new_tokens=64, decoding=how.draw(turn), advance=progress.advance
            )
            texts = [clean(answer.text) for answer in answers]
            personal, neutral = texts[: len(people)], texts[len(people) :]
            if how.neutral == "shared":
                neutral = neutral * len(people)
            for index, of_person in enumerate(insights):
                of_person.append(Insight(personal[index], neutral[index]))
    return insights


def preferences(
    lm: LM, task: Task, people: Sequence[Author], how: Writing, budget: Budget
) -> list[str]:
    """One personal insight for every person, for a prompt at the test:
    nothing impersonal is written.
    """
    with budget.phase("insights", total=len(people)) as progress:
        requests = [_personal(lm, task, person, how.writer) for person in people]
        answers = lm.answers(
            requests, max_new_tokens=64, decoding=how.draw(0), advance=progress.advance
        )
    return [clean(answer.text) for answer in answers]


def _personal(lm: LM, task: Task, person: Author, writer: Writer) -> Request:
    return Request(
        task.ask_insight("personal", person.items),
        _patches(lm, writer),
        name=f"{task.name} insight",
    )


def _neutral(lm: LM, task: Task, whose: str, writer: Writer) -> Request:
    name = f"{task.name} neutral insight"
    return Request(task.ask_insight("neutral", ()), _patches(lm, writer), name=name, draw=whose)


def _patches(lm: LM, writer: Writer) -> tuple[Patch, ...]:
    return lm.as_instruct if writer == "instruct" else ()


def clean(text: str) -> str:
    """The phrase alone: no quotes, no repeated sentence beginning,
    no final period, at most forty words.
    """
    line = re.sub(r"\s+", " ", text).strip().strip("\"'“”‘’`").strip()
    line = re.sub(
        r"^(the user prefers|your answer should)\b[:,]?\s*", "", line, flags=re.IGNORECASE
    )
    return " ".join(line.split(" ")[:MAX_WORDS]).strip("\"'“”‘’` ").rstrip(".").strip()

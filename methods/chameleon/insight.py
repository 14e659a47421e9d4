"""Step 2, insights: the model says what a user prefers (c^P) and how an impersonal answer sounds (c^N). Section 3.1."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.data.task import Task
from bench.types import Decoding, Item, Request

if TYPE_CHECKING:
    from bench.budget import Budget
    from bench.lm.model import LM

MAX_WORDS = 40

Writer = Literal["instruct", "base"]


@dataclass(frozen=True, slots=True)
class Insight:
    """One pair of insights: a noun phrase after "The user prefers", a verb phrase after "Your answer should"."""

    personal: str
    neutral: str


def write(
    lm: LM,
    task: Task,
    histories: Sequence[Sequence[Item]],
    each: int,
    decoding: Decoding,
    writer: Writer,
    budget: Budget,
) -> list[list[Insight]]:
    """`each` insights for every history. The neutral prompt shows no history, so its answers are everyone's."""
    patches = lm.as_instruct if writer == "instruct" else ()
    found: list[list[Insight]] = [[] for _ in histories]
    with budget.phase("insights", total=each * (len(histories) + 1)) as progress:
        for turn in range(each):
            draw = Decoding(
                decoding.rule, decoding.temperature, decoding.top_p, decoding.top_k, decoding.seed * 1000 + turn
            )
            requests = [
                Request(task.ask_insight("personal", items), patches, name=f"{task.name} insight")
                for items in histories
            ]
            requests.append(Request(task.ask_insight("neutral", ()), patches, name=f"{task.name} neutral insight"))
            answers = lm.answers(requests, max_new_tokens=64, decoding=draw, advance=progress.advance)
            neutral = clean(answers[-1].text)
            for own, answer in zip(found, answers, strict=False):
                own.append(Insight(clean(answer.text), neutral))
    return found


def clean(text: str) -> str:
    """The phrase alone: no quotes, no repeated sentence beginning, no final period, at most forty words."""
    line = re.sub(r"\s+", " ", text).strip().strip("\"'“”‘’`").strip()
    line = re.sub(r"^(the user prefers|your answer should)\b[:,]?\s*", "", line, flags=re.IGNORECASE)
    return " ".join(line.split(" ")[:MAX_WORDS]).strip("\"'“”‘’` ").rstrip(".").strip()

"""Section 3.2, Phi_l(p): what the model's layers hold at the end of each answer of a pair."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from bench.data.task import Task
from bench.errors import OverBudget
from bench.types import Message, Request
from methods.chameleon.pairs import Pair, PairQuestion, Pairs

if TYPE_CHECKING:
    from torch import Tensor

    from bench.cost.budget import Budget
    from bench.lm.model import LM

Layout = Literal["prompt_y", "history_query_y", "history_y", "y_history"]
Pool = Literal["last", "mean_answer", "last_eos"]
Space = Literal["mlp", "resid"]
T5Side = Literal["decoder", "encoder"]

PART = 16
"""Questions whose pairs are made and read before the budget is asked again, if there is a limit."""


@dataclass(frozen=True, slots=True)
class PairTexts:
    """What the model reads of the pairs, as prompts and what follows each: p^P, then p^N of the
    first pair, and so on.
    """

    requests: list[Request]
    endings: list[str]


@dataclass(frozen=True, slots=True)
class ReadPairs:
    """Pairs, and what was read of them on the way: `[layers, 2 pairs, width]` for each part.

    `states` is empty if nothing was read yet.
    """

    pairs: Pairs
    states: tuple[Tensor, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of a pair, and where in the model (docs/choices.md, A5 to A7 and A16).

    `layout`: the order of history, question and answer. `prompt_y`: history, question, then y, so
    that only the answer differs and it stands last. `history_query_y`: history, the bare question,
    y. `history_y`: history, y. `y_history`: y, then the history.
    """

    layout: Layout = "prompt_y"
    pool: Pool = "last"
    space: Space = "mlp"
    side: T5Side = "decoder"

    def texts(self, task: Task, pairs: Sequence[Pair]) -> PairTexts:
        """The texts p^P and p^N of every pair."""
        texts = PairTexts([], [])
        for pair in pairs:
            query, items = pair.question.query, pair.question.items
            name = f"{task.name} pair of question {query.id}"
            lines = []
            for line in task.history_lines(items):
                lines.append(replace(line, after=line.after + "\n"))

            for answer in (pair.personal, pair.neutral):
                ending = answer
                if self.layout == "prompt_y":
                    messages = task.render(query, items)
                elif self.layout == "history_query_y":
                    messages = (Message("user", (*lines, query.text)),)
                elif self.layout == "history_y":
                    messages = (Message("user", tuple(lines)),)
                else:
                    messages = (Message("user", (answer,)),)
                    ending = "".join(map(str, lines))
                texts.requests.append(Request(messages, name=name))
                texts.endings.append(ending)
        return texts

    def states(self, lm: LM, texts: PairTexts, budget: Budget) -> Tensor:
        """Activations of all layers, `[layers, texts, width]` float32."""
        with budget.phase("activations", total=len(texts.requests)) as progress:
            states = lm.activations(
                texts.requests, texts.endings, space=self.space, pool=self.pool, side=self.side
            )
            progress.advance(len(texts.requests))
        return states


def read_in_parts(
    lm: LM,
    task: Task,
    questions: Sequence[PairQuestion],
    budget: Budget,
    make: Callable[[Sequence[PairQuestion]], Pairs],
    reading: Reading,
    *,
    seed: int,
    fewest: int,
) -> ReadPairs:
    """Pairs of as many questions, in random order, as the budget has time for, read part by part.

    Each part's activations are read before the next part is asked, so that past the limit only the
    directions are left to do. Raises OverBudget if the limit leaves fewer than `fewest` pairs.
    """
    order = list(questions)
    random.Random(f"chameleon/{seed}/part").shuffle(order)
    pairs, states = Pairs(()), []
    try:
        for start in range(0, len(order), PART):
            part = make(order[start : start + PART])
            if part.kept:
                states.append(reading.states(lm, reading.texts(task, part.kept), budget))
            pairs += part
    except OverBudget:
        if len(pairs.kept) < fewest:
            raise
    return ReadPairs(pairs, tuple(states))

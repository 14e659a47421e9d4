"""Steps 3 and 4, preference pairs: a question answered in the user's manner (y^P) and impersonally
(y^N). Section 3.1.

No gold is read. A pair of equal answers says nothing and is dropped and counted. Answers count as
equal (`Equal`) when they are once case and blanks are folded, "5" and " 5" or "Four" and "four";
or, as the paper prints, only when they are the same to the letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from bench.data.task import Task
from bench.types import Item, Message, Query, Request
from methods.chameleon.insight import Insight

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.model import LM

Equal = Literal["folded", "exact"]
Layout = Literal["prompt_y", "history_query_y", "history_y", "y_history"]


@dataclass(frozen=True, slots=True)
class PairQuestion:
    """A question to make a pair from, with the history that its prompt shows."""

    query: Query
    items: tuple[Item, ...]
    insight: Insight
    person: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two different answers to one question."""

    question: PairQuestion
    personal: str
    neutral: str


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs that were kept, and the questions that gave none because the answers were equal or
    empty.
    """

    kept: tuple[Pair, ...]
    equal: tuple[PairQuestion, ...] = ()
    empty: tuple[PairQuestion, ...] = ()

    @property
    def asked(self) -> int:
        """Questions that were answered twice."""
        return len(self.kept) + len(self.equal) + len(self.empty)

    def __add__(self, other: Pairs) -> Pairs:
        return Pairs(self.kept + other.kept, self.equal + other.equal, self.empty + other.empty)

    def of(self, questions: Sequence[PairQuestion]) -> Pairs:
        """Those of some of the questions."""
        asked = set(map(id, questions))
        return Pairs(
            tuple(pair for pair in self.kept if id(pair.question) in asked),
            tuple(question for question in self.equal if id(question) in asked),
            tuple(question for question in self.empty if id(question) in asked),
        )


def make(
    lm: LM,
    task: Task,
    questions: Sequence[PairQuestion],
    budget: Budget,
    *,
    verbatim: bool,
    equal: Equal = "folded",
) -> Pairs:
    """Answer every question twice, greedily, and keep what differs, by `equal`. An empty answer
    makes no pair.
    """
    requests = []
    for question in questions:
        name = f"{task.name} pair of question {question.query.id}"
        own = task.render(question.query, question.items, insight=question.insight.personal)
        plain = task.render(
            question.query,
            question.items,
            style="neutral",
            insight=question.insight.neutral,
            verbatim=verbatim,
        )
        requests += [Request(own, name=name), Request(plain, name=name)]
    with budget.phase("pairs", total=len(requests)) as progress:
        # The two prompts of a question have history and question alike: read once.
        made = lm.answers(requests, max_new_tokens=task.max_new_tokens, advance=progress.advance)
        answers = [answer.text for answer in made]
    same = _folded if equal == "folded" else str
    kept, alike, empty = [], [], []
    for question, own_answer, plain_answer in zip(
        questions, answers[::2], answers[1::2], strict=True
    ):
        if not _folded(own_answer) or not _folded(plain_answer):
            empty.append(question)
        elif same(own_answer) == same(plain_answer):
            alike.append(question)
        else:
            kept.append(Pair(question, own_answer, plain_answer))
    return Pairs(tuple(kept), tuple(alike), tuple(empty))


def readings(task: Task, pairs: Sequence[Pair], layout: Layout) -> tuple[list[Request], list[str]]:
    """What the model reads to embed the pairs: for each pair the P and the N text, as a prompt and
    what follows it.

    `prompt_y` (A5, default): history, question, then y, so that only the answer differs and it
    stands last. `history_query_y`: history, the bare question, y. `history_y`: history, y.
    `y_history`: y, then the history.
    """
    requests, endings = [], []
    for pair in pairs:
        question = pair.question
        lines = [
            replace(line, after=line.after + "\n") for line in task.history_lines(question.items)
        ]
        for answer in (pair.personal, pair.neutral):
            name = f"{task.name} pair of question {question.query.id}"
            if layout == "prompt_y":
                messages = task.render(question.query, question.items)
            elif layout == "history_query_y":
                messages = (Message("user", (*lines, question.query.text)),)
            else:
                messages = (Message("user", tuple(lines) if layout == "history_y" else (answer,)),)
            requests.append(Request(messages, name=name))
            endings.append("".join(map(str, lines)) if layout == "y_history" else answer)
    return requests, endings


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())

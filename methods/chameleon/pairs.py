"""Section 3.1, preference pairs: a question answered in the user's manner (y^P) and impersonally
(y^N), with the prompts of appendix A.3.

No gold is read. A pair of equal answers says nothing and is dropped and counted. Answers count as
equal (`Equal`) when they are once case and blanks are folded, "5" and " 5" or "Four" and "four";
or, as the paper prints, only when they are the same to the letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.data.task import Task
from bench.types import Item, Query, Request, User
from methods.chameleon.insight import Insight

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.model import LM

Equal = Literal["folded", "exact"]


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
    """The pairs that were kept,
    and the questions that gave none because the answers were equal or empty.
    """

    kept: tuple[Pair, ...]
    equal: tuple[PairQuestion, ...] = ()
    empty: tuple[PairQuestion, ...] = ()

    @property
    def asked(self) -> int:
        """Questions that were answered twice."""
        return len(self.kept) + len(self.equal) + len(self.empty)

    @property
    def counts(self) -> dict[str, Any]:
        """What the record counts."""
        return {
            "pairs_asked": self.asked,
            "pairs_kept": len(self.kept),
            "pairs_equal": len(self.equal),
            "pairs_empty": len(self.empty),
        }

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
    """Answer every question twice, greedily, and keep what differs, by `equal`.

    An empty answer makes no pair.
    """
    requests: list[Request] = []
    for question in questions:
        requests += _prompts(task, question, verbatim)
    with budget.phase("pairs", total=len(requests)) as progress:
        # The two prompts of a question have history and question alike: read once.
        answers = lm.answers(requests, max_new_tokens=task.max_new_tokens, advance=progress.advance)
        texts = [answer.text for answer in answers]

    comparable = _folded if equal == "folded" else str
    kept, alike, empty = [], [], []
    for question, personal, neutral in zip(questions, texts[::2], texts[1::2], strict=True):
        if not _folded(personal) or not _folded(neutral):
            empty.append(question)
        elif comparable(personal) == comparable(neutral):
            alike.append(question)
        else:
            kept.append(Pair(question, personal, neutral))
    return Pairs(tuple(kept), tuple(alike), tuple(empty))


def own_questions(
    task: Task, items: Sequence[Item], insights: Sequence[Insight]
) -> list[PairQuestion]:
    """Each item asked as a question, without its answer and with the others shown,
    once for each insight.
    """
    questions = []
    for index, item in enumerate(items):
        text = item.fields[task.source]
        others = tuple(items[:index]) + tuple(items[index + 1 :])
        query = Query(item.id, task.input_template.replace("{" + task.source + "}", text), text)
        for insight in insights:
            questions.append(PairQuestion(query, others, insight, item.id))
    return questions


def _prompts(task: Task, question: PairQuestion, verbatim: bool) -> tuple[Request, Request]:
    """The personalized and the neutral prompt of a question."""
    query, items, insight = question.query, question.items, question.insight
    name = f"{task.name} pair of question {query.id}"
    personal = task.render(query, items, insight=insight.personal)
    neutral = task.render(query, items, style="neutral", insight=insight.neutral, verbatim=verbatim)
    return Request(personal, name=name), Request(neutral, name=name)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def notes_of(
    users: Sequence[User], insights: Sequence[Sequence[Insight]], made: Pairs
) -> dict[str, Any]:
    """The texts that the model wrote, to be read beside the record."""
    written = {}
    for user, own in zip(users, insights, strict=True):
        written[user.id] = [[phrase.personal, phrase.neutral] for phrase in own]
    kept = [[pair.question.query.id, pair.personal, pair.neutral] for pair in made.kept]
    return {"insights": written, "pairs": kept}

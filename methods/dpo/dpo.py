"""DPO with QLoRA: preference pairs, one adapter for all users (CHAMELEON's appendix A.5).

docs/choices.md, A17.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from bench.checks.bounds import ABOVE, COUNT, SEED, SOME, Fields
from bench.data.selection import PCASelection
from bench.data.task import Task
from bench.errors import InputError, MethodError
from bench.lm.recipes import TrainingFields
from bench.method import BaselinePrompt, questions_with_items
from bench.types import Item, Personalization, Query, Request, User

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.backend import Capability
    from bench.lm.model import LM
    from methods.dpo.preference import Preference

Question = tuple[Query, tuple[Item, ...]]
"""A question, and the items that its prompt shows."""


@dataclass(frozen=True, slots=True)
class RankedPair:
    """A question with the history its prompt shows,
    the answer to prefer and the answer to avoid.
    """

    query: Query
    items: tuple[Item, ...]
    chosen: str
    rejected: str


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Pairs; how many questions gave none (`dropped`), and how many of the pairs got another answer
    to avoid (`replaced`).
    """

    pairs: list[RankedPair]
    dropped: int
    replaced: int


@dataclass(frozen=True, slots=True)
class _Tokens:
    """A pair as token ids, and whether its history was shortened further than in the model's own
    prompts.
    """

    row: Preference
    shortened: bool


@dataclass(frozen=True)
class DPO(BaselinePrompt):
    """One adapter trained to prefer an answer over another (A17).

    `pairs`: `gold_vs_neutral` prefers the gold to the frozen model's impersonal answer, or where
    that is the gold (or empty) to another label or the gold of another question. `self` prefers the
    model's personal answer to its impersonal one, reads no gold, and drops equal pairs. `fraction`:
    share of the questions, taken before anything is generated. `max_length`: tokens of prompt and
    answer. `training`: see `bench.lm.trainer.Training`.
    """

    select: PCASelection
    pairs: Literal["gold_vs_neutral", "self"] = "gold_vs_neutral"
    beta: Annotated[float, ABOVE] = 0.1
    disable_dropout: bool = True
    quantize: Literal["nf4", "none"] = "nf4"
    max_length: Annotated[int, COUNT] = 1536
    fraction: Annotated[float, SOME] = 1.0
    training: Annotated[Mapping[str, Any], Fields(TrainingFields, ("seed",))] = field(
        default_factory=dict
    )
    seed: Annotated[int, SEED] = 0

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset({"training", "patches"})

    def fit(self, lm: LM, task: Task, users: Sequence[User], budget: Budget) -> Personalization:
        if lm.network.seq2seq:
            raise MethodError(
                f"dpo: {lm.spec.name} is an encoder-decoder model; the paper names causal models"
                " only and TRL's DPOTrainer trains no others (method=pooled and method=aloe do)"
            )
        with budget.phase("load"):
            from bench.lm.trainer import Training
            from bench.lm.tune import share
            from methods.dpo import preference

        asked = []
        for user in users:
            for query in user.queries:
                if self.pairs == "self" or query.gold is not None:
                    asked.append((user, query))
        random.Random(f"dpo/{self.seed}").shuffle(asked)
        if not asked:
            raise MethodError(
                f"dpo: none of the {len(users)} fit users of {task.name} has a question to learn"
                " from"
            )
        part = share(asked, self.fraction)
        questions = questions_with_items(self.select, task, users, part, budget)
        ranked = self._ranked(lm, task, questions, budget)
        if not ranked.pairs:
            raise MethodError(
                f"dpo: all {len(questions)} pairs of {task.name} are equal or empty: take more"
                " users"
            )
        how = preference.DPOTuning(self.beta, self.disable_dropout, self.quantize, self.max_length)
        rows: list[Preference] = []
        shortened = 0
        for pair in ranked.pairs:
            budget.check()
            tokens = self._tokens(lm, task, pair)
            rows.append(tokens.row)
            shortened += tokens.shortened
        training = Training.of(self.training, self.seed)
        trained = preference.train(lm, rows, how, training, budget)
        notes = {"pairs": [[pair.query.id, pair.chosen, pair.rejected] for pair in ranked.pairs]}
        counts = {
            "pairs_asked": len(questions),
            "pairs_dropped": ranked.dropped,
            "rejected_replaced": ranked.replaced,
            "prompts_shortened": shortened,
        }
        facts = {"fraction": self.fraction} | counts | trained.facts
        return Personalization(patches=(trained.patch,), facts=facts, notes=notes)

    def _ranked(self, lm: LM, task: Task, questions: Sequence[Question], budget: Budget) -> _Ranked:
        """A pair for each question, unless its two answers are the same and there is no other."""
        neutral = self._answers(lm, task, questions, "neutral", budget)
        golds = [query.gold or "" for query, _ in questions]
        preferred = golds
        if self.pairs == "self":
            preferred = self._answers(lm, task, questions, "personalized", budget)

        stream = random.Random(f"dpo/{self.seed}/rejected")
        known = sorted(task.labels or set(golds))
        pairs: list[RankedPair] = []
        dropped = replaced = 0
        for (query, items), chosen, rejected in zip(questions, preferred, neutral, strict=True):
            alike = not _folded(rejected) or _folded(rejected) == _folded(chosen)
            others = [answer for answer in known if _folded(answer) != _folded(chosen)]
            if not _folded(chosen) or (alike and (self.pairs == "self" or not others)):
                dropped += 1
                continue
            if alike:
                replaced += 1
                rejected = stream.choice(others)
            pairs.append(RankedPair(query, items, chosen, rejected))
        return _Ranked(pairs, dropped, replaced)

    def _answers(
        self,
        lm: LM,
        task: Task,
        questions: Sequence[Question],
        style: Literal["neutral", "personalized"],
        budget: Budget,
    ) -> list[str]:
        """The frozen model's own answers; their time counts in the budget."""
        requests = []
        for query, items in questions:
            name = f"{task.name} pair of question {query.id}"
            requests.append(Request(task.render(query, items, style=style), name=name))
        with budget.phase("pairs", total=len(requests)) as progress:
            answers = lm.answers(
                requests, max_new_tokens=task.max_new_tokens, advance=progress.advance
            )
        return [answer.text for answer in answers]

    def _tokens(self, lm: LM, task: Task, pair: RankedPair) -> _Tokens:
        """The pair as the model reads it.

        TRL cuts what is too long from the end, where the answer is.
        """
        from methods.dpo.preference import Preference

        request = Request(
            task.render(pair.query, pair.items), name=f"{task.name} question {pair.query.id}"
        )
        chosen, rejected = lm.network.answer_ids(pair.chosen), lm.network.answer_ids(pair.rejected)
        room = self.max_length - max(len(chosen), len(rejected))
        prompt = lm.network.encode(request)
        too_long = len(prompt.ids) > room
        if too_long:
            try:
                prompt = lm.network.encode(request, max(1, room))
            except InputError:
                raise MethodError(
                    f"{request.name}: without any history the question and its answer have more"
                    f" tokens than method.max_length={self.max_length}: raise it"
                ) from None
        return _Tokens(Preference(prompt.ids, chosen, rejected), too_long)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())

"""Answers through the response cache: what it has is not written again, and costs what it took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.lm.backend import Backend, Batch, Prompt, Wanted
from bench.lm.response_cache import ResponseCache
from bench.types import Completion, Weights

if TYPE_CHECKING:
    from bench.cost.budget import Budget

Known = tuple[Completion, float | None]
"""A cached answer, and the seconds that it took where that is known."""


@dataclass(frozen=True)
class Asked:
    """Prompts that are handed over together, the patches of each, and what is wanted of them."""

    prompts: Sequence[Prompt]
    patches: Sequence[tuple[Weights, ...]]
    wanted: Wanted

    def of(self, rows: Sequence[int]) -> Asked:
        """The same of some prompts alone."""
        golds = [self.wanted.golds[row] for row in rows] if self.wanted.golds else ()
        return Asked(
            [self.prompts[row] for row in rows],
            [self.patches[row] for row in rows],
            replace(self.wanted, golds=golds),
        )


@dataclass(frozen=True)
class CachedAnswers:
    """A backend behind a response cache. `budget` counts what each answer took, also an old one."""

    backend: Backend
    cache: ResponseCache
    budget: Budget

    def answer(self, asked: Asked, keys: Sequence[str]) -> Iterator[Batch[Completion]]:
        """The answers to one batch; `keys`: of each prompt's answer.

        If an answer depends on the prompts beside it, the batch comes from the cache if that has
        all of it. Otherwise all of it is written, with the same neighbours as ever, and an answer
        that the cache had stays what it was.
        """
        known = [self.cache.get(key, self.budget.damaged) for key in keys]
        ready: dict[int, Completion] = {}
        left: list[int] = []
        for rows in self._groups(range(len(keys))):
            again = self._used_again([known[row] for row in rows], [keys[row] for row in rows])
            if again is None:
                left += rows
            else:
                ready.update(zip(rows, again, strict=True))
        if ready:
            yield Batch(ready)
        if not left:
            return
        keys_left, known_left = [keys[row] for row in left], [known[row] for row in left]
        for batch in self._written(asked.of(left), keys_left, known_left):
            yield Batch({left[index]: answer for index, answer in batch})

    def _written(
        self, asked: Asked, keys: Sequence[str], known: Sequence[Known | None]
    ) -> Iterator[Batch[Completion]]:
        """Answers that the backend writes, stored batch by batch with what each took."""
        before, started = self.budget.bill(), time.monotonic()
        for batch in answered(self.backend, asked, self.budget, known):
            seconds = (time.monotonic() - started) / len(batch)
            # The cost first: an answer without one would look free to a run that goes on from here.
            if self.backend.independent:
                for index, answer in batch:
                    bill = self.budget.share(
                        seconds, tokens_in=answer.tokens_in, tokens_out=answer.tokens_out
                    )
                    self.budget.keep(_part([keys[index]]), bill)
            else:
                self.budget.keep(_part(keys), self.budget.bill() - before)
            self.cache.put({keys[index]: answer for index, answer in batch}, seconds)
            yield batch
            before, started = self.budget.bill(), time.monotonic()

    def _groups(self, rows: Sequence[int]) -> list[list[int]]:
        """Which answers are used again together."""
        return [[row] for row in rows] if self.backend.independent else [list(rows)]

    def _used_again(
        self, known: Sequence[Known | None], keys: Sequence[str]
    ) -> list[Completion] | None:
        """Answers from the cache, charged with the seconds that they took; None if one is missing.

        Under a limit also if an answer's seconds are not known: it would look free. What a killed
        run of this very work had written costs what it did cost.
        """
        answers: list[Completion] = []
        total = 0.0
        for entry in known:
            if entry is None or (entry[1] is None and self.budget.minutes is not None):
                return None
            answers.append(entry[0])
            total += entry[1] or 0.0
        if not self.budget.again(_part(keys)):
            self.cache.hits += len(answers)
            self.budget.charge(total, cache_hits=len(answers))
        return answers


def answered(
    backend: Backend, asked: Asked, budget: Budget, known: Sequence[Known | None] = ()
) -> Iterator[Batch[Completion]]:
    """What the backend answers, its tokens counted. An answer that is `known` stays what it was."""
    for batch in backend.answer(asked.prompts, asked.patches, asked.wanted, budget.within):
        answers = dict(batch)
        for index in answers:
            entry = known[index] if known else None
            if entry is not None:
                answers[index] = entry[0]
        budget.count(
            tokens_in=sum(answer.tokens_in for answer in answers.values()),
            tokens_out=sum(answer.tokens_out for answer in answers.values()),
        )
        yield Batch(answers)


def _part(keys: Sequence[str]) -> str:
    """The name of a part of a piece of work (bench/cost/ledger.py): answers stored together."""
    return ResponseCache.key({"batch": list(keys)})

"""One cell at work: fit -> adapt -> answer -> score, on its base. Every step goes on where a killed
run stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from bench.cell import adaptation, generation, likelihoods, scoring
from bench.cell import record as records
from bench.cell.cell_model import CellModel
from bench.cell.cohort import Cohort
from bench.cell.windows import Question, Window, windows
from bench.cost.budget import Budget
from bench.cost.ledger import Ledger
from bench.disk import store
from bench.types import Personalization, User


@dataclass(frozen=True)
class _AtHand:
    """The questions of the window at work: several steps ask for them, and they are built once."""

    window: int
    questions: list[Question]


class Job:
    """One cell at work, or one shard of it: `users` (with golds) are those to be answered for, in
    `cell`'s folder. `dropped`: lines of its files that a crash had cut off.
    """

    def __init__(
        self,
        cohort: Cohort,
        budget: Budget,
        cell: store.Cell,
        users: Sequence[User],
        dropped: int = 0,
    ) -> None:
        self.cohort, self.plan = cohort, cohort.plan
        self.budget, self.cell, self.users, self.dropped = budget, cell, users, dropped
        self.ledger = Ledger(cell.artifacts, budget)
        self.run = self.ledger.begin()
        self.model = CellModel(cohort, budget, self.ledger, cell.artifacts)
        self._at_hand: _AtHand | None = None

    @property
    def salt(self) -> str:
        """Another composition of the batches, for the noise floor."""
        return "noise floor" if self.plan.config["noise_floor"] else ""

    def part(self) -> dict[str, Any]:
        """All that needs the model; nothing for the record yet."""
        self._steps()
        return {}

    def whole(self) -> dict[str, Any]:
        """All steps; the part of the record that only a finished cell has."""
        plan, shared = self.plan, self._steps()
        with self.budget.phase("score", total=self.questions) as progress:
            tally = scoring.tally(
                plan.task,
                self.cell,
                self.windows(),
                lambda window: self._personals(window, shared),
                golds=plan.tested.golds,
                advance=progress.advance,
            )
        scoring.write(plan.task, self.cell, tally, golds=plan.tested.golds, model=plan.spec.name)
        return records.results(self.cohort, tally, shared, self.dropped)

    def _steps(self) -> Personalization:
        """What the users are given, their answers and the likelihood of their golds, on disk; what
        all users share.
        """
        shared = adaptation.fit(self)
        adaptation.adapt(self, shared)
        generation.answer(self, shared)
        likelihoods.work_out(self, shared)
        self._at_hand = None
        return shared

    def windows(self) -> Iterator[Window]:
        return windows(self.users, self.plan.config["window"])

    @cached_property
    def questions(self) -> int:
        """How many questions the users ask."""
        return sum(len(user.queries) for user in self.users)

    def asked(self, window: Window, shared: Personalization) -> list[Question]:
        """The window's questions as they are asked."""
        if self._at_hand is None or self._at_hand.window != window.number:
            self._at_hand = _AtHand(window.number, self._build(window, shared))
        return self._at_hand.questions

    def _build(self, window: Window, shared: Personalization) -> list[Question]:
        """Requests whose names, for errors, begin with the file that holds the question."""
        plan = self.plan
        splits = (plan.tested, plan.fitted) if plan.protocol.pool else (plan.tested,)
        where = " or ".join(next(iter(split.files), split.split) for split in splits)

        questions = []
        for user, query, personal in window.asked(self._personals(window, shared)):
            request = plan.method.request(plan.task, user, query, personal)
            request = replace(request, name=f"{where}: question {query.id}")
            questions.append(Question(user, query, request))
        return questions

    def _personals(self, window: Window, shared: Personalization) -> list[Personalization]:
        return window.personals(self.cell.artifacts, shared, self.plan.cell.key)

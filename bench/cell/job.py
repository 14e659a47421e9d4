"""What the steps of one cell share: its users, its model, its costs, and the window at work.

The steps themselves: bench/cell/steps.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

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
        for user, query, personal in window.asked(self.personals(window, shared)):
            request = plan.method.request(plan.task, user, query, personal)
            request = replace(request, name=f"{where}: question {query.id}")
            questions.append(Question(user, query, request))
        return questions

    def forget_window(self) -> None:
        """Nobody asks for the questions of the window at work any more."""
        self._at_hand = None

    def personals(self, window: Window, shared: Personalization) -> list[Personalization]:
        """What each user of the window is given."""
        return window.personals(self.cell.artifacts, shared, self.plan.cell.key)

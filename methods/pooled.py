"""Pooled tuning: one LoRA on all fit users' examples.

A user's own patch must beat it before it counts as personal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from bench.checks.bounds import COUNT, SEED, SHARE, SOME, Fields
from bench.data.selection import PCASelection
from bench.data.task import Task
from bench.errors import MethodError
from bench.lm.base import BaseSpec
from bench.lm.base_examples import examples
from bench.lm.recipes import Tuning
from bench.method import BaselinePrompt
from bench.types import Personalization, User

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.backend import Capability
    from bench.lm.model import LM


@dataclass(frozen=True)
class Pooled(BaselinePrompt):
    """One adapter for all users. OPPU's section 3.2 trains its base in this way.

    The examples are those of an adapted base: the fit users' questions, and up to `leave_out` items
    of their own history asked while others are shown. `history=none` trains and asks without any.
    `balance`, `repeats`, `no_history_share`: as in `conf/base/task_adapted.yaml`. `fraction`: share
    of the examples. `tuning`: the LoRA.
    """

    select: PCASelection
    history: Literal["selected", "none"] = "selected"
    leave_out: int = 8
    no_history_share: Annotated[float, SHARE] = 0.1
    repeats: Annotated[int, COUNT] = 4
    balance: Annotated[float, SHARE] = 1.0
    fraction: Annotated[float, SOME] = 1.0
    tuning: Annotated[Mapping[str, Any], Fields(Tuning, ("seed",))] = field(default_factory=dict)
    seed: Annotated[int, SEED] = 0

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset({"training", "patches"})

    def fit(self, lm: LM, task: Task, users: Sequence[User], budget: Budget) -> Personalization:
        with budget.phase("load"):
            from bench.lm.tune import recipe, share, train

        found = examples(lm, task, users, self._spec(task))
        if not found:
            raise MethodError(
                f"pooled: none of the {len(users)} fit users of {task.name} has a question with an"
                " answer"
            )
        chosen = share(found, self.fraction)
        tuned = train(lm, chosen, recipe(lm, self.tuning, self.seed), budget)
        counts = {"examples": len(found), "examples_chosen": len(chosen), "fraction": self.fraction}
        return Personalization(patches=(tuned.patch,), facts=counts | tuned.spent.facts())

    def _spec(self, task: Task) -> BaseSpec:
        """Which examples: as for an adapted base, all of them,
        showing as many items as the test's prompts do.
        """
        return BaseSpec(
            form="history" if self.history == "selected" else "plain",
            n_items=self.select.n_items,
            no_history_share=self.no_history_share,
            leave_out=self.leave_out,
            repeats=self.repeats,
            balance=self.balance,
            max_examples={task.kind: None},
            seed=self.seed,
        )

"""Any PEFT adapter as a method: `method=adapter adapter.path=FOLDER`. One adapter for all users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.data.selection import PCASelection
from bench.data.task import Task
from bench.errors import InputError
from bench.lm.spec import AdapterFolder
from bench.method import BaselinePrompt
from bench.types import Personalization, User

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.backend import Capability
    from bench.lm.model import LM


@dataclass(frozen=True)
class Adapter(BaselinePrompt):
    """An adapter trained elsewhere (LoRA, IA3, prompt tuning) on the base of the cell, with
    `instruct`'s prompt.
    """

    adapter: AdapterFolder
    select: PCASelection
    history: Literal["selected", "none"] = "selected"

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset({"patches"})

    def reads_fit_users(self, task: Task) -> bool:
        return False

    def fit(self, lm: LM, task: Task, users: Sequence[User], budget: Budget) -> Personalization:
        """The adapter as a patch.

        Raises InputError where it does not fit the model, or changes nothing.
        """
        from bench.lm.peft_folders import from_peft, refuse_partial, trained_on_another

        patch = from_peft(self.adapter.folder)
        if not patch.changes:
            raise InputError(
                f"{self.adapter.folder}: the adapter changes nothing (was it saved before"
                " training?)"
            )
        try:
            patch.check(lm.network.model)
            refuse_partial(self.adapter.folder, patch, lm.network.model)
        except InputError as error:
            raise InputError(f"{self.adapter.folder}: {error}") from error
        facts = {
            "adapter_modules": len(patch.weights) + len(patch.scales),
            "adapter_virtual_tokens": patch.virtual,
            "adapters_of_another_model": int(trained_on_another(self.adapter.folder, lm.spec)),
        }
        return Personalization(patches=(patch,), facts=facts)

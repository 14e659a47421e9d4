"""The model of a cell on its base, loaded, and its base trained, when something first needs it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cell import model_note
from bench.cell.cell_claim import claimed
from bench.cell.cohort import Cohort
from bench.cost.budget import Budget
from bench.cost.ledger import Ledger
from bench.disk import sources, store
from bench.disk.env import cache_folder
from bench.lm import base as bases
from bench.lm import base_training

if TYPE_CHECKING:
    from bench.lm.model import LM

_retrained: set[str] = set()
"""Keys of the adapted bases that this process has trained."""


class CellModel:
    """The model of one cell. `artifacts`: the cell's folder that remembers a base trained anew."""

    def __init__(self, cohort: Cohort, budget: Budget, ledger: Ledger, artifacts: Path) -> None:
        self._cohort, self._plan = cohort, cohort.plan
        self._budget, self._ledger = budget, ledger
        self._note = artifacts / "base.json"

    @cached_property
    def lm(self) -> LM:
        """The model on its base.

        Where the base is not there yet, one process trains it and others wait.
        """
        key = self._cohort.base_key
        base = self._base_at_hand()
        if key is None or base is not None:
            return self._load(base)

        folder = bases.place(self._plan.spec.name, self._plan.task, key)
        claim = store.Cell(cache_folder() / "bases", "claims", self._plan.task.name, key)
        with claimed(claim, also=[folder]):
            # another cell may have trained it meanwhile
            base = self._base_at_hand()
            lm = self._load(base)
            if base is None:
                self._train_base(lm, key)
            return lm

    @property
    def lazy(self) -> Any:
        """What stands for the model in fit and adapt."""
        return LazyModel(lambda: self.lm)

    def _base_at_hand(self) -> Path | None:
        return None if self._to_train_anew else self._cohort.base()

    @property
    def _to_train_anew(self) -> bool:
        """Whether `base.retrain` is still to be done: a process does it once, and a cell that goes
        on does not do it again.
        """
        trained = self._cohort.base_key in _retrained or self._note.exists()
        return self._plan.base.retrain and not trained

    def _train_base(self, lm: LM, key: str) -> None:
        from bench.lm import model_pool

        plan = self._plan
        with self._ledger.piece("base") as piece, self._budget.phase("base"):
            path = base_training.adapt(
                lm,
                plan.task,
                self._cohort.trainers,
                plan.base,
                self._budget,
                key=key,
                before=piece.write,
            )
            model_pool.adopt(lm, path)
        _retrained.add(key)
        if plan.base.retrain:
            store.write_json(self._note, {"key": key})

    def _load(self, base: Path | None) -> LM:
        from bench.lm import model_pool
        from bench.lm.response_cache import ResponseCache

        plan = self._plan
        # Each phase `load` of a record is a load that took place: a worker that has the model from
        # the cell before opens none.
        at_hand = model_pool.holds(plan.spec, base)
        with nullcontext() if at_hand else self._budget.phase("load"):
            cache = ResponseCache(plan.cell.root / "cache" / "answers.sqlite")
            lm = model_pool.model(plan.spec, base, budget=self._budget, cache=cache)
        lm.code = sources.digest(sources.of(plan.method, plan.spec.engine))
        model_note.write(plan.cell, lm.backend.facts)
        return lm


class LazyModel:
    """Stands for the model in fit and adapt: a method that never asks for it never loads it.

    It holds a function and not the job: through the job's attributes a method would reach the
    tested users' golds.
    """

    __slots__ = ("_load",)

    def __init__(self, load: Callable[[], LM]) -> None:
        self._load = load

    def __getattr__(self, name: str) -> Any:
        return getattr(self._load(), name)

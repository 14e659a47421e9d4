"""Train an adapted base: one LoRA on the training users, as `BaseSpec` says."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.task import Task
from bench.disk import sources
from bench.errors import InputError
from bench.lm import base as bases
from bench.lm.base import BaseSpec
from bench.lm.base_examples import examples
from bench.types import User

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.model import LM
    from bench.lm.patch import Patch


def adapt(
    lm: LM,
    task: Task,
    users: Sequence[User],
    spec: BaseSpec,
    budget: Budget,
    *,
    key: str,
    before: Callable[[], None],
) -> Path:
    """Train the adapted base on the users and keep it in the cache; `before` is called when it is
    about to be kept.
    """
    import torch

    from bench.lm.layers import refuse_unmergeable
    from bench.lm.tune import recipe, train, whole

    for name, module in lm.network.linears().items():
        refuse_unmergeable(name, module)
    chosen = examples(lm, task, users, spec)
    how = recipe(lm, spec.tuning, spec.seed)
    tuned = whole(train(lm, chosen, how, budget, phase="base"), budget, "base")
    patch: Patch = tuned.patch.rounded(torch.bfloat16)
    path = bases.place(lm.spec.name, task, key)
    if not patch.finite:
        raise InputError(
            f"the base of {task.name} diverged while it was trained: lower"
            " base.tuning.learning_rate"
        )
    notes = {
        "examples": str(len(chosen)),
        "task": task.name,
        "model": lm.spec.name,
        "patch": patch.id,
        "seconds": f"{tuned.spent.seconds:.0f}",
        "losses": json.dumps([round(loss, 3) for loss in _tenths(tuned.losses)]),
    }
    notes["sources"] = json.dumps(sources.training())
    before()
    patch.save(path, dtype=torch.bfloat16, notes=notes)
    return path


def _tenths(losses: Sequence[float]) -> list[float]:
    """The mean loss of each tenth of the steps; of each step if there are fewer than ten."""
    parts = min(10, len(losses))
    means = []
    for part in range(parts):
        steps = losses[part * len(losses) // parts : (part + 1) * len(losses) // parts]
        means.append(sum(steps) / len(steps))
    return means

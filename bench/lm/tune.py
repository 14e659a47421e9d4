"""Supervised LoRA tuning of one patch: the task-adapted base, and pooled tuning with one adapter
for all users.

The loss is on the answer's tokens alone (with the end token), and logits are computed at those
positions only. Examples of one group begin alike (one user's history, several questions): what they
share is read once, for all of them.

`bench.lm.bank` trains many adapters in the same passes. It packs rows of different users by their
length, while here a batch is one group behind one cache, and a training that is stopped keeps what
it has learnt: two loops with one schedule, start and order (`schedule`, `fresh`, `planned`).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from bench.cost.budget import Budget, Spent
from bench.errors import InputError, MethodError, OverBudget
from bench.lm.loss import total_loss
from bench.lm.patch import LowRank, Patch
from bench.lm.recipes import Tuning as Tuning
from bench.types import Request

if TYPE_CHECKING:
    from bench.lm.model import LM

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and the answer to learn. Examples of one `group` are learnt in one step and share
    what they have alike.
    """

    request: Request
    answer: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Tuned:
    """A trained patch, and what its training used."""

    patch: Patch
    spent: Spent


def recipe(lm: LM, values: Mapping[str, Any], seed: int) -> Tuning:
    """The hyper-parameters of a configuration, with the target modules as this model calls them."""
    targets = module_names(lm, values.get("targets", Tuning.targets))
    return Tuning(**{**values, "targets": targets, "seed": seed})


def module_names(lm: LM, targets: Sequence[str]) -> tuple[str, ...]:
    """Ends of module names: T5 has `q` where others have `q_proj`."""
    return tuple(name.removesuffix("_proj") if lm.seq2seq else name for name in targets)


def share(rows: Sequence[T], fraction: float) -> Sequence[T]:
    """The first part of the rows, at least one; larger fractions contain the smaller ones."""
    if not 0 < fraction <= 1:
        raise InputError(f"method.fraction={fraction}: must be above 0 and at most 1")
    return rows[: max(1, round(fraction * len(rows)))]


def tune(
    lm: LM, examples: Sequence[Example], tuning: Tuning, budget: Budget, *, phase: str = "tuning"
) -> Patch:
    """Train one low-rank patch on all the examples; raises OverBudget where time does not suffice,
    else as `train`.
    """
    tuned = train(lm, examples, tuning, budget, phase=phase)
    if tuned.spent.stopped:
        raise OverBudget(f"{phase}: past its budget of {budget.minutes} minutes")
    return tuned.patch


def train(
    lm: LM, examples: Sequence[Example], tuning: Tuning, budget: Budget, *, phase: str = "tuning"
) -> Tuned:
    """Train one low-rank patch until the examples or the budget end; the model's own weights never
    change.

    Past the budget it stops after the step under way. Raises InputError without examples, and where
    the model has none of the target modules.
    """
    if not examples:
        raise InputError("no examples to tune on")
    encoded = []
    for example in examples:
        budget.check()
        encoded.append((lm.encode(example.request).ids, lm.answer_ids(example.answer)))
    factors, weights = fresh(lm, tuning), list[Tensor]()
    for low in factors.values():
        weights += [low.a, low.b]
    optimizer = torch.optim.AdamW(
        weights, lr=tuning.learning_rate, weight_decay=tuning.weight_decay
    )
    groups = [example.group for example in examples]
    steps = list(planned(groups, [len(prompt) for prompt, _ in encoded], tuning))
    pace = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule(len(steps), tuning.warmup))
    scale = tuning.alpha / tuning.rank
    done, seen, started = 0, 0, time.monotonic()
    with budget.phase(phase, total=len(steps)) as progress, _training(lm.model, factors, scale):
        for step in steps:
            batches = [[encoded[index] for index in batch] for batch in step]
            total = sum(len(answer) for rows in batches for _, answer in rows)
            for rows in batches:
                # Divided by the step's tokens, not the batch's: the gradients of its batches then
                # add up to that of one mean over the step, however it was cut.
                loss = total_loss(lm, rows) / total
                loss.backward()  # type: ignore[no-untyped-call]
                budget.count(tokens_in=sum(len(prompt) + len(answer) for prompt, answer in rows))
            torch.nn.utils.clip_grad_norm_(weights, tuning.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            pace.step()
            done, seen = done + 1, seen + sum(map(len, step))
            progress.advance()
            if budget.over():
                break
    if all(float(low.b.detach().abs().max()) == 0 for low in factors.values()):
        raise InputError("tuning changed nothing: every adapter is still zero")
    changes = {}
    for name, low in factors.items():
        changes[name] = LowRank(low.a.detach().cpu(), low.b.detach().cpu() * scale)
    patch = Patch(changes)
    if not patch.finite:
        raise MethodError(
            f"{phase} diverged: the adapter has numbers that are not finite; lower the learning"
            " rate"
        )
    return Tuned(patch, Spent(done, len(steps), seen, time.monotonic() - started))


def fresh(lm: LM, tuning: Tuning) -> dict[str, LowRank]:
    """LoRA's start: A uniform (Kaiming), B zero, for every target module;
    drawn in the order of the names.
    """
    generator = torch.Generator().manual_seed(tuning.seed)
    factors = {}
    for name, module in sorted(lm.model.named_modules()):
        if isinstance(module, nn.Linear) and name.rsplit(".", 1)[-1] in tuning.targets:
            # On the CPU and in the order of names, so that every device starts from the same
            # numbers.
            bound = 1 / math.sqrt(module.in_features)
            a = (torch.rand(tuning.rank, module.in_features, generator=generator) * 2 - 1) * bound
            b = torch.zeros(module.out_features, tuning.rank)
            factors[name] = LowRank(
                a.to(lm.device).requires_grad_(), b.to(lm.device).requires_grad_()
            )
    if not factors:
        raise InputError(f"{lm.spec.name}: no module named {' or '.join(tuning.targets)} to tune")
    return factors


def planned(
    groups: Sequence[str], lengths: Sequence[int], tuning: Tuning
) -> Iterator[list[list[int]]]:
    """Every epoch all examples once. A step is a list of batches with about `tuning.batch` examples
    in all.

    A batch is a group (or a part of one), or examples without a group of similar length.
    """
    stream = random.Random(tuning.seed)
    for _ in range(tuning.epochs):
        order = list(range(len(groups)))
        stream.shuffle(order)
        together: dict[str, list[int]] = {}
        alone: list[int] = []
        for index in order:
            if groups[index]:
                together.setdefault(groups[index], []).append(index)
            else:
                alone.append(index)

        # Sorted by length within spans of 16 batches: little padding, and still another mixture in
        # every epoch.
        pools, span = list(together.values()), tuning.batch * 16
        for start in range(0, len(alone), span):
            pools.append(sorted(alone[start : start + span], key=lengths.__getitem__))
        batches = []
        for pool in pools:
            for start in range(0, len(pool), tuning.batch):
                batches.append(pool[start : start + tuning.batch])
        stream.shuffle(batches)
        step: list[list[int]] = []
        for batch in batches:
            step.append(batch)
            if sum(map(len, step)) >= tuning.batch:
                yield step
                step = []
        if step:
            yield step


def schedule(steps: int, warmup: float) -> Callable[[int], float]:
    """Up over the warm-up share, then down to zero."""
    first = max(1, round(steps * warmup))
    return lambda step: (
        (step + 1) / first if step < first else max(0.0, (steps - step) / max(1, steps - first))
    )


@contextmanager
def _training(model: nn.Module, factors: Mapping[str, LowRank], scale: float) -> Iterator[None]:
    """Inside, the model answers with the (trainable) factors applied."""
    modules = dict(model.named_modules())

    def hook(pair: LowRank) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
        def change(_module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            # In float32: in bfloat16 a small step of training would be rounded away.
            low = nn.functional.linear(nn.functional.linear(args[0].float(), pair.a), pair.b)
            return output + (scale * low).to(output.dtype)

        return change

    handles = [modules[name].register_forward_hook(hook(pair)) for name, pair in factors.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

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
from bench.lm.loss import Row, length, total_loss
from bench.lm.patch import LowRank, Patch
from bench.lm.recipes import Tuning as Tuning
from bench.types import Request

if TYPE_CHECKING:
    from bench.lm.model import LM
    from bench.lm.network import Network

T = TypeVar("T")

SPAN = 16
"""Batches whose examples are sorted by length together."""


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
    """A trained patch, and what its training used. `losses`: of each step, the mean negative
    log-likelihood of an answer's token (nats), before the step changed anything.
    """

    patch: Patch
    spent: Spent
    losses: tuple[float, ...] = ()


def recipe(lm: LM, values: Mapping[str, Any], seed: int) -> Tuning:
    """The hyper-parameters of a configuration, with the target modules as this model calls them."""
    targets = module_names(lm, values.get("targets", Tuning.targets))
    return Tuning(**{**values, "targets": targets, "seed": seed})


def module_names(lm: LM, targets: Sequence[str]) -> tuple[str, ...]:
    """Ends of module names: T5 has `q` where others have `q_proj`."""
    ends = {name.rpartition(".")[2] for name in lm.network.linears()}
    if not lm.network.seq2seq or ends.intersection(targets):
        return tuple(targets)
    return tuple(name.removesuffix("_proj") for name in targets)


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
    return whole(train(lm, examples, tuning, budget, phase=phase), budget, phase).patch


def whole(tuned: Tuned, budget: Budget, phase: str) -> Tuned:
    """The training itself; raises OverBudget if its time did not suffice."""
    if tuned.spent.stopped:
        raise OverBudget(f"{phase}: past its budget of {budget.minutes} minutes")
    return tuned


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
    network = lm.network
    rows: list[Row] = []
    for example in examples:
        budget.check()
        rows.append((network.encode(example.request).ids, network.answer_ids(example.answer)))
    factors = fresh(network, tuning)
    weights: list[Tensor] = []
    for low in factors.values():
        weights += [low.a, low.b]
    optimizer = torch.optim.AdamW(
        weights, lr=tuning.learning_rate, weight_decay=tuning.weight_decay
    )
    groups = [example.group for example in examples]
    steps = list(planned(groups, [len(prompt) for prompt, _ in rows], tuning))
    pace = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule(len(steps), tuning.warmup))

    scale = tuning.alpha / tuning.rank
    done = seen = 0
    losses = list[float]()
    started = time.monotonic()
    with (
        budget.phase(phase, total=len(steps)) as progress,
        _training(network.model, factors, scale),
    ):
        for step in steps:
            batches = [[rows[index] for index in batch] for batch in step]
            losses.append(_backward(network, batches, budget))
            torch.nn.utils.clip_grad_norm_(weights, tuning.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            pace.step()
            done += 1
            seen += sum(map(len, step))
            progress.advance()
            if budget.over():
                break
    spent = Spent(done, len(steps), seen, time.monotonic() - started)
    return Tuned(_patch(factors, scale, phase), spent, tuple(losses))


def _backward(network: Network, batches: Sequence[Sequence[Row]], budget: Budget) -> float:
    """The gradient of one step: of the mean loss over the answer tokens of all its batches. Gives
    that loss.
    """
    mean = 0.0
    answer_tokens = 0
    for rows in batches:
        answer_tokens += sum(len(answer) for _, answer in rows)
    for rows in batches:
        # Divided by the step's tokens, not the batch's: the gradients of its batches then add up
        # to that of one mean over the step, however it was cut.
        loss = total_loss(network, rows) / answer_tokens
        loss.backward()  # type: ignore[no-untyped-call]
        mean += float(loss.detach())
        budget.count(tokens_in=sum(map(length, rows)))
    return mean


def _patch(factors: Mapping[str, LowRank], scale: float, phase: str) -> Patch:
    """What was learnt, with alpha / rank in B, so that whoever applies it need not know it."""
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
    return patch


def fresh(network: Network, tuning: Tuning) -> dict[str, LowRank]:
    """LoRA's start: A uniform (Kaiming), B zero, for every target module;
    drawn in the order of the names.
    """
    # On the CPU and in the order of names, so that every device starts from the same numbers.
    generator = torch.Generator().manual_seed(tuning.seed)
    factors = {}
    for name, module in network.linears_named(tuning.targets).items():
        bound = 1 / math.sqrt(module.in_features)
        a = (torch.rand(tuning.rank, module.in_features, generator=generator) * 2 - 1) * bound
        # B is zero, so that training begins at the model as it is.
        b = torch.zeros(module.out_features, tuning.rank)
        factors[name] = LowRank(
            a.to(network.device).requires_grad_(), b.to(network.device).requires_grad_()
        )
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
        batches = []
        for pool in _pools(order, groups, lengths, SPAN * tuning.batch):
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


def _pools(
    order: Sequence[int], groups: Sequence[str], lengths: Sequence[int], span: int
) -> list[list[int]]:
    """The examples, in this order, as pools that batches are cut from: each group, then spans of
    examples without one, by length.
    """
    together: dict[str, list[int]] = {}
    alone: list[int] = []
    for index in order:
        if groups[index]:
            together.setdefault(groups[index], []).append(index)
        else:
            alone.append(index)
    pools = list(together.values())
    # Sorted by length within a span alone: little padding, and still another mixture each epoch.
    for start in range(0, len(alone), span):
        pools.append(sorted(alone[start : start + span], key=lengths.__getitem__))
    return pools


def schedule(steps: int, warmup: float) -> Callable[[int], float]:
    """The share of the learning rate at each step: up over the warm-up, then down to zero."""
    first = max(1, round(steps * warmup))

    def share_at(step: int) -> float:
        if step < first:
            return (step + 1) / first
        return max(0.0, (steps - step) / max(1, steps - first))

    return share_at


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

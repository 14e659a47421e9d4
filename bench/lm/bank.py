"""The bank: many users' patches trained on one frozen model in the same forward passes, each as if it were alone.

Every user has an adapter of their own, stacked over users: LoRA factors, IA3 scales, or a soft prompt. The rows of a
batch belong to different users and meet their own adapter (`bmm`). A user's loss is the mean over the answer tokens of
that user's step; the sum over users is what is differentiated, so no gradient crosses from one user to another.
Clipping, the schedule and AdamW's state are kept per user. OPPU (Tan et al. 2024) section 3.3; reference.md 2.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from bench.budget import Budget
from bench.lm.loss import Row, answer_losses
from bench.lm.memory import free_bytes, kept_bytes
from bench.lm.patch import LowRank, Patch, Scale, embedding
from bench.lm.tune import Example, Tuning, fresh, planned, schedule
from bench.types import InputError

if TYPE_CHECKING:
    from bench.lm.model import LM

Peft = Literal["lora", "ia3", "prompt_tuning"]
Rows = Sequence[Row]

STATE_SHARE, PASS_SHARE = 0.3, 0.4
"""Of the free memory: for the users' adapters with their optimizer, and for what one pass keeps for its gradient."""


@dataclass(frozen=True)
class Adapter:
    """What each user trains. `feedforward`: the targets of IA3 whose input is scaled, not their output (PEFT's
    convention). `virtual_tokens`: length of a soft prompt.
    """

    peft: Peft = "lora"
    tuning: Tuning = field(default_factory=Tuning)
    feedforward: tuple[str, ...] = ("down_proj", "wo")
    virtual_tokens: int = 20


@dataclass(frozen=True, slots=True)
class Job:
    """One user's training: the examples, and the seed of the adapter's start and of the order."""

    name: str
    examples: Sequence[Example]
    seed: int = 0


def train_all(lm: LM, jobs: Sequence[Job], adapter: Adapter, budget: Budget) -> list[Patch]:
    """One patch for each job, in the order of the jobs; the model's weights never change.

    Users with much to read are trained together, as many at once as memory holds. Each finished group is kept on disk
    (`LM.remember`), so that a killed run goes on with the next. Raises InputError for a user without examples, and
    OverBudget past the limit.
    """
    for job in jobs:
        if not job.examples:
            raise InputError(f"{job.name}: no examples to train on")
    read = [[_encoded(lm, one, adapter) for one in job.examples] for job in jobs]
    found: dict[int, Patch] = {}
    with budget.phase("training", total=sum(map(len, read))) as progress:
        for group in grouped(lm, read, adapter):
            work = _Group(lm, [jobs[index] for index in group], [read[index] for index in group], adapter)
            tensors = lm.remember(work.parts(), lambda work=work: work.train(budget))  # type: ignore[misc]
            found |= dict(zip(group, work.patches(tensors), strict=True))
            progress.advance(sum(len(read[index]) for index in group))
    return [found[index] for index in range(len(jobs))]


def grouped(lm: LM, read: Sequence[Rows], adapter: Adapter) -> list[list[int]]:
    """Users by what they read (tokens), the most first, in groups whose adapters and optimizer states fit in memory."""
    one = _start(lm, adapter, [0])
    room = STATE_SHARE * free_bytes(lm.device)
    size = max(1, int(room / (4 * sum(tensor.nbytes for tensor in one.values()))))  # weight, gradient, two moments
    order = sorted(range(len(read)), key=lambda index: (-sum(map(_length, read[index])), index))
    return [order[at : at + size] for at in range(0, len(order), size)]


class _Group:
    """Users who are trained together."""

    def __init__(self, lm: LM, jobs: Sequence[Job], read: Sequence[Rows], adapter: Adapter) -> None:
        self.lm, self.jobs, self.read, self.adapter = lm, jobs, read, adapter
        self.tunings = [replace(adapter.tuning, seed=job.seed) for job in jobs]

    def parts(self) -> dict[str, Any]:
        """What the result depends on, for `LM.remember`."""
        texts = [[[list(prompt), list(answer)] for prompt, answer in rows] for rows in self.read]
        digest = hashlib.sha256(repr(texts).encode()).hexdigest()
        return {"what": "bank", "read": digest, "seeds": [job.seed for job in self.jobs], "adapter": repr(self.adapter)}

    def train(self, budget: Budget) -> dict[str, Tensor]:
        """The trained tensors, stacked over the users."""
        lm, tuning = self.lm, self.adapter.tuning
        weights = _start(lm, self.adapter, [job.seed for job in self.jobs])
        plans = [
            list(planned([""] * len(rows), [len(prompt) for prompt, _ in rows], own))
            for rows, own in zip(self.read, self.tunings, strict=True)
        ]
        rates = [schedule(len(plan), tuning.warmup) for plan in plans]
        optimizer = _AdamW(weights, tuning)
        room = min(lm.spec.batch_tokens, int(PASS_SHARE * free_bytes(lm.device) / self._bytes_per_token(weights)))
        for number in range(max(map(len, plans))):
            step = [
                (user, self.read[user][index])
                for user, plan in enumerate(plans)
                if number < len(plan)
                for batch in plan[number]
                for index in batch
            ]
            self._backward(weights, step, room, budget)
            optimizer.step(
                [rate(number) if number < len(plan) else 0.0 for plan, rate in zip(plans, rates, strict=True)]
            )
            budget.check()
        return {name: tensor.detach().cpu() for name, tensor in weights.items()}

    def patches(self, tensors: Mapping[str, Tensor]) -> list[Patch]:
        """Each user's slice as a patch. Raises InputError where training has changed nothing."""
        names = sorted({name.rpartition(".")[0] for name in tensors if name != "prompt"})
        made = []
        for user, job in enumerate(self.jobs):
            own = {name: tensor[user].clone() for name, tensor in tensors.items()}
            made.append(_patch(own, names, self.adapter))
            if not made[-1].changes:
                raise InputError(f"{job.name}: training changed nothing: the adapter is as it was")
        return made

    def _backward(
        self, weights: Mapping[str, Tensor], step: Sequence[tuple[int, Row]], room: int, budget: Budget
    ) -> None:
        """Add the gradient of one step of all users: (user, row) pairs, of which a pass reads `room` padded tokens."""
        total = torch.zeros(len(self.jobs), device=self.lm.device)
        for user, (_, answer) in step:
            total[user] += len(answer)
        for batch in _passes(step, room):
            users = torch.tensor([user for user, _ in batch], device=self.lm.device)
            with _meeting(self.lm, weights, users, self.adapter):
                losses = answer_losses(self.lm, [row for _, row in batch])
                (losses / total[users]).sum().backward()  # type: ignore[no-untyped-call]
            budget.count(tokens_in=sum(_length(row) for _, row in batch))

    def _bytes_per_token(self, weights: Mapping[str, Tensor]) -> float:
        """Measured on the shortest example: what a pass keeps for its gradient, for each token read."""
        shortest = min((row for rows in self.read for row in rows), key=_length)

        def once() -> Tensor:
            with _meeting(self.lm, weights, torch.zeros(1, dtype=torch.long, device=self.lm.device), self.adapter):
                return answer_losses(self.lm, [shortest])

        return kept_bytes(once, self.lm.model.parameters()) / _length(shortest)


def _passes(step: Sequence[tuple[int, Row]], room: int) -> list[list[tuple[int, Row]]]:
    """The step in passes of at most `room` padded tokens, rows of one length together."""
    passes: list[list[tuple[int, Row]]] = []
    for user, row in sorted(step, key=lambda one: _length(one[1])):
        if not passes or (len(passes[-1]) + 1) * _length(row) > room:
            passes.append([])
        passes[-1].append((user, row))
    return passes


def _encoded(lm: LM, example: Example, adapter: Adapter) -> Row:
    """Prompt and answer as token ids; placeholders stand where the soft prompt will."""
    virtual = adapter.virtual_tokens if adapter.peft == "prompt_tuning" else 0
    return (*[lm.pad] * virtual, *lm.encode(example.request).ids), lm.answer_ids(example.answer)


def _length(row: Row) -> int:
    return len(row[0]) + len(row[1])


class _AdamW:
    """AdamW on tensors stacked over users [users, ...]: each user has a learning rate and a gradient norm of their own.

    The same arithmetic as torch.optim.AdamW's. A user with a rate of zero has finished and stays as they are.
    """

    def __init__(self, weights: Mapping[str, Tensor], tuning: Tuning) -> None:
        self.weights, self.tuning, self.count = list(weights.values()), tuning, 0
        self.first = [torch.zeros_like(tensor) for tensor in self.weights]
        self.second = [torch.zeros_like(tensor) for tensor in self.weights]

    @torch.no_grad()
    def step(self, rates: Sequence[float], betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        self.count += 1
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in self.weights]
        norms = torch.stack([one.flatten(1).square().sum(1) for one in gradients]).sum(0).sqrt()
        clip = (self.tuning.max_grad_norm / (norms + 1e-6)).clamp(max=1.0)
        lr = torch.tensor(rates, device=norms.device) * self.tuning.learning_rate
        one, two = (1 - beta**self.count for beta in betas)
        for weight, gradient, first, second in zip(self.weights, gradients, self.first, self.second, strict=True):
            shape = (-1, *[1] * (weight.dim() - 1))
            gradient = gradient * clip.view(shape)
            first.lerp_(gradient, 1 - betas[0])
            second.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
            weight.mul_(1 - lr.view(shape) * self.tuning.weight_decay)
            weight.sub_(lr.view(shape) / one * first / (second.sqrt() / two**0.5 + eps))
            weight.grad = None


def _start(lm: LM, adapter: Adapter, seeds: Sequence[int]) -> dict[str, Tensor]:
    """Every user's adapter before training, stacked [users, ...] float32: LoRA's B zero, IA3's scales one, a soft
    prompt of random words of the vocabulary.
    """
    found: dict[str, Tensor] = {}
    if adapter.peft == "lora":
        drawn = [fresh(lm, replace(adapter.tuning, seed=seed)) for seed in seeds]
        for name in drawn[0]:
            found[f"{name}.a"] = torch.stack([one[name].a.detach() for one in drawn])
            found[f"{name}.b"] = torch.stack([one[name].b.detach() for one in drawn])
    elif adapter.peft == "ia3":
        for name, module in sorted(lm.model.named_modules()):
            end = name.rsplit(".", 1)[-1]
            if isinstance(module, nn.Linear) and end in adapter.tuning.targets:
                width = module.in_features if end in adapter.feedforward else module.out_features
                side = "in" if end in adapter.feedforward else "out"
                found[f"{name}.{side}"] = torch.ones(len(seeds), width, device=lm.device)
        if not found:
            raise InputError(f"{lm.spec.name}: no module named {' or '.join(adapter.tuning.targets)} to tune")
    else:
        table = embedding(lm.model).weight
        words = [
            random.Random(f"soft prompt/{seed}").choices(range(len(table)), k=adapter.virtual_tokens) for seed in seeds
        ]
        found["prompt"] = torch.stack([table[own].detach().float() for own in words])
    return {name: tensor.requires_grad_() for name, tensor in found.items()}


def _patch(own: Mapping[str, Tensor], names: Sequence[str], adapter: Adapter) -> Patch:
    """One user's tensors as a patch."""
    if adapter.peft == "prompt_tuning":
        return Patch(prompt=own["prompt"])
    if adapter.peft == "lora":
        scale = adapter.tuning.alpha / adapter.tuning.rank
        return Patch({name: LowRank(own[f"{name}.a"], own[f"{name}.b"] * scale) for name in names})
    sides: tuple[Literal["in", "out"], ...] = ("in", "out")
    found = {name: Scale(own[f"{name}.{side}"], side) for name in names for side in sides if f"{name}.{side}" in own}
    return Patch(scales=found)


@contextmanager
def _meeting(lm: LM, weights: Mapping[str, Tensor], users: Tensor, adapter: Adapter) -> Iterator[None]:
    """Inside, row i of what the model reads meets the adapter of `users[i]`; gradients reach the stacked weights."""
    modules = dict(lm.model.named_modules())
    scale = adapter.tuning.alpha / adapter.tuning.rank

    def low_rank(name: str) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
        a, b = weights[f"{name}.a"][users], weights[f"{name}.b"][users]

        def change(_module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            low = torch.bmm(torch.bmm(args[0].float(), a.mT), b.mT)
            return output + (scale * low).to(output.dtype)

        return change

    def scaled(key: str, x: Tensor) -> Tensor:
        return (x.float() * weights[key][users][:, None, :]).to(x.dtype)

    def begun(_module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        prompts = weights["prompt"][users].to(output.dtype)
        return torch.cat([prompts, output[:, prompts.shape[1] :]], dim=1)

    handles = []
    for key in weights:
        name, _, what = key.rpartition(".")
        if what == "b":
            handles.append(modules[name].register_forward_hook(low_rank(name)))
        elif what == "out":
            handles.append(modules[name].register_forward_hook(lambda _m, _a, output, key=key: scaled(key, output)))
        elif what == "in":
            handles.append(modules[name].register_forward_pre_hook(lambda _m, args, key=key: (scaled(key, args[0]),)))
        elif key == "prompt":
            handles.append(embedding(lm.model).register_forward_hook(begun))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

"""The bank: many users' patches trained on one frozen model in the same forward passes, each as if
it were alone.

Every user has an adapter of their own, stacked over users: LoRA factors, IA3 scales, or a soft
prompt. The rows of a batch belong to different users and meet their own adapter (`bmm`). A user's
loss is the mean over the answer tokens of that user's step; the sum over users is what is
differentiated, so no gradient crosses from one user to another. Clipping, the schedule and AdamW's
state are kept per user. OPPU (Tan et al. 2024) section 3.3.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.cost.budget import Budget
from bench.errors import InputError, MethodError
from bench.lm.loss import Row, answer_losses
from bench.lm.memory import free_bytes, kept_bytes, out_of_memory
from bench.lm.multi_lora import StackedAdapters, as_patch, meeting, start
from bench.lm.patch import Patch
from bench.lm.tune import Example, Tuning, planned, schedule

if TYPE_CHECKING:
    from bench.lm.model import LM

Rows = Sequence[Row]
Step = Sequence[tuple[int, Row]]

STATE_SHARE, PASS_SHARE = 0.3, 0.4
"""Of the free memory: for the users' adapters with their optimizer, and for what one pass keeps for
its gradient.
"""


@dataclass(frozen=True, slots=True)
class UserTuning:
    """One user's training: the examples, and the seed of the adapter's start and of the order."""

    name: str
    examples: Sequence[Example]
    seed: int = 0


def train_all(
    lm: LM, jobs: Sequence[UserTuning], adapter: StackedAdapters, budget: Budget
) -> list[Patch]:
    """One patch for each job, in the order of the jobs; the model's weights never change.

    Users with much to read are trained together, as many at once as memory holds. Every user of a
    finished group is kept on disk (`LM.keep`), so that a killed run goes on with the next group.
    Raises InputError for a user without examples, MethodError where training diverged or changed
    nothing, and OverBudget past the limit.
    """
    for job in jobs:
        if not job.examples:
            raise InputError(f"{job.name}: no examples to train on")
    read = [[encoded(lm, one, adapter) for one in job.examples] for job in jobs]
    parts = [_parts(rows, job.seed, adapter) for rows, job in zip(read, jobs, strict=True)]
    examples = [len(rows) * adapter.tuning.epochs for rows in read]
    with budget.phase("training", total=sum(examples)) as progress:
        found = {
            index: known
            for index, part in enumerate(parts)
            if (known := lm.recall(part, of=jobs[index].name))
        }
        progress.advance(sum(examples[index] for index in found))
        for group in grouped(
            lm, {index: rows for index, rows in enumerate(read) if index not in found}, adapter
        ):
            budget.check()
            started = time.monotonic()
            work = _Group(
                lm, [read[index] for index in group], [jobs[index].seed for index in group], adapter
            )
            trained = work.train(budget, progress.advance)
            each = (time.monotonic() - started) / len(group)
            for place, (index, own) in enumerate(zip(group, trained, strict=True)):
                _check(jobs[index], own, start(lm, adapter, [jobs[index].seed]), adapter)
                bill = budget.share(each, tokens_in=work.tokens(place))
                lm.keep(parts[index], own, seconds=each, bill=bill, of=jobs[index].name)
                found[index] = own
    return [as_patch(found[index], adapter) for index in range(len(jobs))]


def grouped(lm: LM, read: Mapping[int, Rows], adapter: StackedAdapters) -> list[list[int]]:
    """Users by what they read (tokens), the most first, in groups whose adapters and optimizer
    states fit in memory.
    """
    one = start(lm, adapter, [0])
    room = STATE_SHARE * free_bytes(lm.device)
    # weight, gradient, two moments
    size = max(1, int(room / (4 * sum(tensor.nbytes for tensor in one.values()))))
    order = sorted(read, key=lambda index: (-sum(map(_length, read[index])), index))
    return [order[at : at + size] for at in range(0, len(order), size)]


class _Group:
    """Users who are trained together: what each reads, and their seeds."""

    def __init__(
        self, lm: LM, read: Sequence[Rows], seeds: Sequence[int], adapter: StackedAdapters
    ) -> None:
        self.lm, self.read, self.adapter = lm, read, adapter
        self.weights = start(lm, adapter, seeds)
        self.plans = [
            list(
                planned(
                    [""] * len(rows),
                    [len(prompt) for prompt, _ in rows],
                    replace(adapter.tuning, seed=seed),
                )
            )
            for rows, seed in zip(read, seeds, strict=True)
        ]

    def train(self, budget: Budget, advance: Callable[[int], None]) -> list[dict[str, Tensor]]:
        """The trained tensors of each user; `advance` hears of each step's examples."""
        tuning = self.adapter.tuning
        rates = [schedule(len(plan), tuning.warmup) for plan in self.plans]
        optimizer = _AdamW(self.weights, tuning)
        room = min(
            self.lm.spec.batch_tokens,
            int(PASS_SHARE * free_bytes(self.lm.device) / self._bytes_per_token()),
        )
        for number in range(max(map(len, self.plans))):
            step = [
                (user, self.read[user][index])
                for user, plan in enumerate(self.plans)
                if number < len(plan)
                for batch in plan[number]
                for index in batch
            ]
            room = self._backward(step, room, budget)
            paces = zip(self.plans, rates, strict=True)
            optimizer.step([rate(number) if number < len(plan) else 0.0 for plan, rate in paces])
            advance(len(step))
            if number + 1 < max(map(len, self.plans)):
                budget.check()
        trained = {name: tensor.detach().cpu() for name, tensor in self.weights.items()}
        return [
            {name: tensor[user].clone() for name, tensor in trained.items()}
            for user in range(len(self.read))
        ]

    def tokens(self, user: int) -> int:
        """How many tokens a user's training reads."""
        return sum(
            _length(self.read[user][index])
            for step in self.plans[user]
            for batch in step
            for index in batch
        )

    def _backward(self, step: Step, room: int, budget: Budget) -> int:
        """The gradient of one step of all users, in passes of `room` padded tokens; with less room
        where memory ends.

        Returns the room that sufficed. Raises MemoryError where one row alone does not fit.
        """
        while True:
            try:
                self._passes(step, room)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                if room < min(_length(row) for _, row in step):
                    raise MemoryError(
                        "training: one example alone does not fit into memory"
                    ) from error
                for tensor in self.weights.values():
                    tensor.grad = None
                room //= 2
            else:
                budget.count(tokens_in=sum(_length(row) for _, row in step))
                return room
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _passes(self, step: Step, room: int) -> None:
        total = torch.zeros(len(self.read), device=self.lm.device)
        for user, (_, answer) in step:
            total[user] += len(answer)
        for batch in _batches(step, room):
            users = torch.tensor([user for user, _ in batch], device=self.lm.device)
            with meeting(self.lm, self.weights, users, self.adapter):
                losses = answer_losses(self.lm, [row for _, row in batch])
                (losses / total[users]).sum().backward()  # type: ignore[no-untyped-call]

    def _bytes_per_token(self) -> float:
        """Measured on the longest example: what a pass keeps for its gradient, for each
        token read."""
        longest = max((row for rows in self.read for row in rows), key=_length)

        def once() -> Tensor:
            with meeting(
                self.lm,
                self.weights,
                torch.zeros(1, dtype=torch.long, device=self.lm.device),
                self.adapter,
            ):
                return answer_losses(self.lm, [longest])

        return kept_bytes(once, self.lm.model.parameters()) / _length(longest)


def _batches(step: Step, room: int) -> list[list[tuple[int, Row]]]:
    """The step in passes of at most `room` padded tokens, rows of one length together."""
    passes: list[list[tuple[int, Row]]] = []
    for user, row in sorted(step, key=lambda one: _length(one[1])):
        if not passes or (len(passes[-1]) + 1) * _length(row) > room:
            passes.append([])
        passes[-1].append((user, row))
    return passes


def encoded(lm: LM, example: Example, adapter: StackedAdapters) -> Row:
    """Prompt and answer as token ids; placeholders stand where the soft prompt will.

    Raises InputError where a question is longer than what the model reads beside the soft prompt.
    """
    request = example.request
    if adapter.peft == "prompt_tuning":
        request = replace(request, patches=(Patch(prompt=torch.zeros(adapter.virtual_tokens, 1)),))
    return lm.encode(request).ids, lm.answer_ids(example.answer)


def _length(row: Row) -> int:
    return len(row[0]) + len(row[1])


def _parts(rows: Rows, seed: int, adapter: StackedAdapters) -> dict[str, Any]:
    """What a user's patch depends on, beside the model."""
    read = hashlib.sha256(
        repr([(list(prompt), list(answer)) for prompt, answer in rows]).encode()
    ).hexdigest()
    return {"what": "bank", "read": read, "seed": seed, "adapter": repr(adapter)}


def _check(
    job: UserTuning,
    own: Mapping[str, Tensor],
    before: Mapping[str, Tensor],
    adapter: StackedAdapters,
) -> None:
    patch = as_patch(own, adapter)
    if not patch.finite:
        raise MethodError(
            f"{job.name}: training diverged: the adapter has numbers that are not finite; train"
            " slower"
        )
    same = all(torch.equal(tensor, before[name][0].detach().cpu()) for name, tensor in own.items())
    if same or not patch.changes:  # decay alone moves a LoRA's A
        raise MethodError(f"{job.name}: training changed nothing: the adapter is as it was")


class _AdamW:
    """AdamW on tensors stacked over users [users, ...]: each user has a learning rate and a
    gradient norm of their own.

    The same arithmetic as torch.optim.AdamW's. A user with a rate of zero has finished and stays as
    they are.
    """

    def __init__(self, weights: Mapping[str, Tensor], tuning: Tuning) -> None:
        self.weights, self.tuning, self.count = list(weights.values()), tuning, 0
        self.first = [torch.zeros_like(tensor) for tensor in self.weights]
        self.second = [torch.zeros_like(tensor) for tensor in self.weights]

    @torch.no_grad()
    def step(
        self, rates: Sequence[float], betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        self.count += 1
        gradients = [
            torch.zeros_like(one) if one.grad is None else one.grad for one in self.weights
        ]
        norms = torch.stack([one.flatten(1).square().sum(1) for one in gradients]).sum(0).sqrt()
        clip = (self.tuning.max_grad_norm / (norms + 1e-6)).clamp(max=1.0)
        lr = torch.tensor(rates, device=norms.device) * self.tuning.learning_rate
        one, two = (1 - beta**self.count for beta in betas)
        for weight, gradient, first, second in zip(
            self.weights, gradients, self.first, self.second, strict=True
        ):
            shape = (-1, *[1] * (weight.dim() - 1))
            gradient = gradient * clip.view(shape)
            first.lerp_(gradient, 1 - betas[0])
            second.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
            weight.mul_(1 - lr.view(shape) * self.tuning.weight_decay)
            weight.sub_(lr.view(shape) / one * first / (second.sqrt() / two**0.5 + eps))
            weight.grad = None

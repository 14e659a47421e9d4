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
from bench.lm.adamw import UserAdamW
from bench.lm.loss import Row, answer_losses
from bench.lm.memory import free_bytes, kept_bytes, out_of_memory
from bench.lm.multi_lora import StackedAdapters, as_patch, meeting, start
from bench.lm.patch import Patch
from bench.lm.tune import Example, planned, schedule

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
    read, parts, examples = list[Rows](), [], []
    for job in jobs:
        rows = [encoded(lm, example, adapter) for example in job.examples]
        read.append(rows)
        parts.append(_parts(rows, job.seed, adapter))
        examples.append(len(rows) * adapter.tuning.epochs)

    trained, missing = dict[int, Mapping[str, Tensor]](), dict[int, Rows]()
    with budget.phase("training", total=sum(examples)) as progress:
        for index, job in enumerate(jobs):
            known = lm.recall(parts[index], of=job.name)
            if known:
                trained[index] = known
                progress.advance(examples[index])
            else:
                missing[index] = read[index]

        for group in grouped(lm, missing, adapter):
            budget.check()
            started = time.monotonic()
            seeds = [jobs[index].seed for index in group]
            work = _Group(lm, [read[index] for index in group], seeds, adapter)
            of_group = work.train(budget, progress.advance)
            # Users of a group are trained in the same passes: each has an equal part of the time.
            seconds = (time.monotonic() - started) / len(group)
            for user, (index, own) in enumerate(zip(group, of_group, strict=True)):
                job = jobs[index]
                _check(job, own, start(lm, adapter, [job.seed]), adapter)
                bill = budget.share(seconds, tokens_in=work.tokens(user))
                lm.keep(parts[index], own, seconds=seconds, bill=bill, of=job.name)
                trained[index] = own
    return [as_patch(trained[index], adapter) for index in range(len(jobs))]


def grouped(lm: LM, read: Mapping[int, Rows], adapter: StackedAdapters) -> list[list[int]]:
    """Users by what they read (tokens), the most first, in groups whose adapters and optimizer
    states fit in memory.
    """
    adapter_bytes = sum(tensor.nbytes for tensor in start(lm, adapter, [0]).values())
    # Of each number: weight, gradient, and AdamW's two moments.
    size = max(1, int(STATE_SHARE * free_bytes(lm.device) / (4 * adapter_bytes)))
    # Users with as much to read finish together: a group takes as many steps as its longest user.
    order = sorted(read, key=lambda index: (-sum(map(_length, read[index])), index))
    return [order[start : start + size] for start in range(0, len(order), size)]


class _Group:
    """Users who are trained together: what each reads, and their seeds."""

    def __init__(
        self, lm: LM, read: Sequence[Rows], seeds: Sequence[int], adapter: StackedAdapters
    ) -> None:
        self.lm, self.read, self.adapter = lm, read, adapter
        self.weights = start(lm, adapter, seeds)
        self.plans = []
        for rows, seed in zip(read, seeds, strict=True):
            lengths = [len(prompt) for prompt, _ in rows]
            tuning = replace(adapter.tuning, seed=seed)
            self.plans.append(list(planned([""] * len(rows), lengths, tuning)))

    def train(self, budget: Budget, advance: Callable[[int], None]) -> list[dict[str, Tensor]]:
        """The trained tensors of each user; `advance` hears of each step's examples."""
        tuning = self.adapter.tuning
        rates = [schedule(len(plan), tuning.warmup) for plan in self.plans]
        optimizer = UserAdamW(self.weights, tuning)
        memory = PASS_SHARE * free_bytes(self.lm.device)
        room = min(self.lm.spec.batch_tokens, int(memory / self._bytes_per_token()))
        last = max(map(len, self.plans)) - 1
        for number in range(last + 1):
            step = self._step(number)
            room = self._backward(step, room, budget)
            # A user whose steps are done has rate 0, and stays as they are.
            paces = zip(self.plans, rates, strict=True)
            optimizer.step([rate(number) if number < len(plan) else 0.0 for plan, rate in paces])
            advance(len(step))
            if number < last:
                budget.check()

        trained = {name: tensor.detach().cpu() for name, tensor in self.weights.items()}
        users = []
        for user in range(len(self.read)):
            # A copy: a view would keep the tensors of all users in memory and in every file.
            users.append({name: tensor[user].clone() for name, tensor in trained.items()})
        return users

    def _step(self, number: int) -> Step:
        """The rows of all users whose training has a step of this number, each with its user."""
        step = []
        for user, plan in enumerate(self.plans):
            if number < len(plan):
                for batch in plan[number]:
                    step += [(user, self.read[user][index]) for index in batch]
        return step

    def tokens(self, user: int) -> int:
        """How many tokens a user's training reads."""
        total = 0
        for step in self.plans[user]:
            for batch in step:
                total += sum(_length(self.read[user][index]) for index in batch)
        return total

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
                # What the passes before have added is dropped, and the step is done anew.
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
                # Each row by its own user's tokens, so that a user's loss is their mean over the
                # step, whoever else is in the batch and however the step is cut.
                (losses / total[users]).sum().backward()  # type: ignore[no-untyped-call]

    def _bytes_per_token(self) -> float:
        """Measured on the longest example: what a pass keeps for its gradient,
        for each token read.
        """
        longest = max((row for rows in self.read for row in rows), key=_length)

        first = torch.zeros(1, dtype=torch.long, device=self.lm.device)

        def once() -> Tensor:
            with meeting(self.lm, self.weights, first, self.adapter):
                return answer_losses(self.lm, [longest])

        return kept_bytes(once, self.lm.model.parameters()) / _length(longest)


def _batches(step: Step, room: int) -> list[list[tuple[int, Row]]]:
    """The step in passes of at most `room` padded tokens, rows of one length together."""
    passes: list[list[tuple[int, Row]]] = []
    # Shortest first: a row that is added is the longest of its pass, so the pass is as wide as it.
    for user, row in sorted(step, key=lambda user_row: _length(user_row[1])):
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
    tokens = [(list(prompt), list(answer)) for prompt, answer in rows]
    read = hashlib.sha256(repr(tokens).encode()).hexdigest()
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

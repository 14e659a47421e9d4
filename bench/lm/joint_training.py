"""The training of several users' adapters at once: a pass of the model reads rows of different
users, and each user's step is what it would be if they were alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.cost.budget import Budget
from bench.lm.adamw import UserAdamW
from bench.lm.loss import Row, answer_losses, length
from bench.lm.memory import free_bytes, kept_bytes, out_of_memory
from bench.lm.multi_lora import StackedAdapters, meeting, start
from bench.lm.tune import planned, schedule

if TYPE_CHECKING:
    from bench.lm.network import Network

Rows = Sequence[Row]
UserRow = tuple[int, Row]
"""A row, behind the number of the user whose it is."""
Step = Sequence[UserRow]

PASS_SHARE = 0.4
"""Of the free memory, for what one pass keeps for its gradient."""


class JointTraining:
    """Users who are trained in the same passes: what each reads (`read`), and their seeds."""

    def __init__(
        self, network: Network, read: Sequence[Rows], seeds: Sequence[int], adapter: StackedAdapters
    ) -> None:
        self.network = network
        self.read = read
        self.adapter = adapter
        self.weights = start(network, adapter, seeds)
        self.plans: list[list[list[list[int]]]] = []
        for rows, seed in zip(read, seeds, strict=True):
            # The order that `tune` would take if this user were alone.
            lengths = [len(prompt) for prompt, _ in rows]
            tuning = replace(adapter.tuning, seed=seed)
            self.plans.append(list(planned([""] * len(rows), lengths, tuning)))
        self.schedules = [schedule(len(plan), adapter.tuning.warmup) for plan in self.plans]

    def train(self, budget: Budget, advance: Callable[[int], None]) -> list[dict[str, Tensor]]:
        """The trained tensors of each user; `advance` hears of each step's examples."""
        optimizer = UserAdamW(self.weights, self.adapter.tuning)
        memory = PASS_SHARE * free_bytes(self.network.device)
        room = min(self.network.spec.batch_tokens, int(memory / self._bytes_per_token()))
        last = max(map(len, self.plans)) - 1
        for number in range(last + 1):
            step = self._step(number)
            room = self._backward(step, room, budget)
            optimizer.step(self._rates(number))
            advance(len(step))
            if number < last:
                budget.check()

        # To the CPU all at once: a copy for each user and tensor would be many small ones.
        trained = {name: tensor.detach().cpu() for name, tensor in self.weights.items()}
        users = []
        for user in range(len(self.read)):
            # A copy: a view would keep the tensors of all users in memory and in every file.
            users.append({name: tensor[user].clone() for name, tensor in trained.items()})
        return users

    def _rates(self, number: int) -> list[float]:
        """Each user's share of the learning rate in this step."""
        rates = []
        for plan, rate in zip(self.plans, self.schedules, strict=True):
            # A user whose steps are done has rate 0, and stays as they are.
            rates.append(rate(number) if number < len(plan) else 0.0)
        return rates

    def _step(self, number: int) -> Step:
        """The rows of all users whose training has a step of this number, each with its user."""
        step = []
        for user, plan in enumerate(self.plans):
            if number < len(plan):
                for index in chain(*plan[number]):
                    step.append((user, self.read[user][index]))
        return step

    def tokens(self, user: int) -> int:
        """How many tokens a user's training reads."""
        total = 0
        for step in self.plans[user]:
            for index in chain(*step):
                total += length(self.read[user][index])
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
                shortest = min(length(row) for _, row in step)
                if room < shortest:
                    raise MemoryError(
                        "training: one example alone does not fit into memory"
                    ) from error
                # What the passes before have added is dropped, and the step is done anew.
                for tensor in self.weights.values():
                    tensor.grad = None
                room //= 2
            else:
                budget.count(tokens_in=sum(length(row) for _, row in step))
                return room
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _passes(self, step: Step, room: int) -> None:
        answer_tokens = torch.zeros(len(self.read), device=self.network.device)
        for user, (_, answer) in step:
            answer_tokens[user] += len(answer)
        for batch in _batches(step, room):
            users = torch.tensor([user for user, _ in batch], device=self.network.device)
            with meeting(self.network, self.weights, users, self.adapter):
                losses = answer_losses(self.network, [row for _, row in batch])
                # Each row by its own user's tokens, so that a user's loss is their mean over the
                # step, whoever else is in the batch and however the step is cut.
                (losses / answer_tokens[users]).sum().backward()  # type: ignore[no-untyped-call]

    def _bytes_per_token(self) -> float:
        """Measured on the longest example: what a pass keeps for its gradient,
        for each token read.
        """
        longest = max(chain(*self.read), key=length)
        first = torch.zeros(1, dtype=torch.long, device=self.network.device)

        def once() -> Tensor:
            with meeting(self.network, self.weights, first, self.adapter):
                return answer_losses(self.network, [longest])

        return kept_bytes(once, self.network.model.parameters()) / length(longest)


def _batches(step: Step, room: int) -> list[list[UserRow]]:
    """The step in passes of at most `room` padded tokens, rows of one length together."""
    passes: list[list[UserRow]] = []
    # Shortest first: a row that is added is the longest of its pass, so the pass is as wide as it.
    for user, row in sorted(step, key=lambda user_row: length(user_row[1])):
        if not passes or (len(passes[-1]) + 1) * length(row) > room:
            passes.append([])
        passes[-1].append((user, row))
    return passes

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
from bench.lm.joint_training import JointTraining, Rows
from bench.lm.loss import Row, length
from bench.lm.memory import free_bytes
from bench.lm.multi_lora import StackedAdapters, as_patch, start
from bench.lm.patch import Patch
from bench.lm.tune import Example

if TYPE_CHECKING:
    from bench.lm.model import LM

STATE_SHARE = 0.3
"""Of the free memory, for the users' adapters with their optimizer."""


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
    users = [_user(lm, job, adapter) for job in jobs]
    total = sum(user.examples for user in users)
    trained: dict[int, Mapping[str, Tensor]] = {}
    missing: dict[int, Rows] = {}
    with budget.phase("training", total=total) as progress:
        for index, user in enumerate(users):
            known = lm.recall(user.parts, of=user.name)
            if known:
                trained[index] = known
                progress.advance(user.examples)
            else:
                missing[index] = user.rows

        for group in grouped(lm, missing, adapter):
            budget.check()
            members = [users[index] for index in group]
            weights = _train_group(lm, members, adapter, budget, progress.advance)
            trained.update(zip(group, weights, strict=True))
    return [as_patch(trained[index], adapter) for index in range(len(users))]


@dataclass(frozen=True)
class _User:
    """A job whose examples are read: `parts` is what the patch depends on beside the model, and
    `examples` how many are learnt over all epochs.
    """

    name: str
    rows: Rows
    seed: int
    parts: Mapping[str, Any]
    examples: int


def _user(lm: LM, job: UserTuning, adapter: StackedAdapters) -> _User:
    if not job.examples:
        raise InputError(f"{job.name}: no examples to train on")
    rows = [encoded(lm, example, adapter) for example in job.examples]
    parts = _parts(rows, job.seed, adapter)
    return _User(job.name, rows, job.seed, parts, len(rows) * adapter.tuning.epochs)


def _train_group(
    lm: LM,
    users: Sequence[_User],
    adapter: StackedAdapters,
    budget: Budget,
    advance: Callable[[int], None],
) -> list[dict[str, Tensor]]:
    """Train these users in the same passes, check what each has learnt, and keep it on disk."""
    started = time.monotonic()
    group = JointTraining(
        lm.network, [user.rows for user in users], [user.seed for user in users], adapter
    )
    trained = group.train(budget, advance)
    # Users of a group are trained in the same passes: each has an equal part of the time.
    seconds = (time.monotonic() - started) / len(users)
    for index, (user, weights) in enumerate(zip(users, trained, strict=True)):
        _check(user.name, weights, start(lm.network, adapter, [user.seed]), adapter)
        bill = budget.share(seconds, tokens_in=group.tokens(index))
        lm.keep(user.parts, weights, seconds=seconds, bill=bill, of=user.name)
    return trained


def grouped(lm: LM, read: Mapping[int, Rows], adapter: StackedAdapters) -> list[list[int]]:
    """Users by what they read (tokens), the most first, in groups whose adapters and optimizer
    states fit in memory.
    """
    adapter_bytes = sum(tensor.nbytes for tensor in start(lm.network, adapter, [0]).values())
    # Of each number: weight, gradient, and AdamW's two moments.
    size = max(1, int(STATE_SHARE * free_bytes(lm.network.device) / (4 * adapter_bytes)))
    # Users with as much to read finish together: a group takes as many steps as its longest user.
    lengths = {index: sum(map(length, rows)) for index, rows in read.items()}
    order = sorted(read, key=lambda index: (-lengths[index], index))
    return [order[start : start + size] for start in range(0, len(order), size)]


def encoded(lm: LM, example: Example, adapter: StackedAdapters) -> Row:
    """Prompt and answer as token ids; placeholders stand where the soft prompt will.

    Raises InputError where a question is longer than what the model reads beside the soft prompt.
    """
    request = example.request
    if adapter.peft == "prompt_tuning":
        request = replace(request, patches=(Patch(prompt=torch.zeros(adapter.virtual_tokens, 1)),))
    return lm.network.encode(request).ids, lm.network.answer_ids(example.answer)


def _parts(rows: Rows, seed: int, adapter: StackedAdapters) -> dict[str, Any]:
    """What a user's patch depends on, beside the model."""
    tokens = [(list(prompt), list(answer)) for prompt, answer in rows]
    read = hashlib.sha256(repr(tokens).encode()).hexdigest()
    return {"what": "bank", "read": read, "seed": seed, "adapter": repr(adapter)}


def _check(
    name: str,
    weights: Mapping[str, Tensor],
    before: Mapping[str, Tensor],
    adapter: StackedAdapters,
) -> None:
    """Raises MethodError unless training has changed the weights, into numbers that are finite."""
    patch = as_patch(weights, adapter)
    if not patch.finite:
        raise MethodError(
            f"{name}: training diverged: the adapter has numbers that are not finite; train slower"
        )
    same = all(torch.equal(weights[key], before[key][0].detach().cpu()) for key in weights)
    # The second, because decay alone moves a LoRA's A.
    if same or not patch.changes:
        raise MethodError(f"{name}: training changed nothing: the adapter is as it was")

"""Hyper-parameters of trainings, as data: what is checked before torch or a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from bench.checks.bounds import ABOVE, COUNT, SEED, SHARE, Range
from bench.errors import InputError

Rank = Annotated[int, Range(1, 2**16)]
Epochs = Annotated[int, Range(1, 10**6)]


@dataclass(frozen=True)
class LoRA:
    """One low-rank adapter. `targets`: ends of module names (T5: `q`, `v`)."""

    rank: Rank = 8
    alpha: Annotated[float, ABOVE] = 16
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    learning_rate: Annotated[float, ABOVE] = 5e-4
    weight_decay: Annotated[float, Range()] = 0.0
    warmup: Annotated[float, SHARE] = 0.05
    max_grad_norm: Annotated[float, ABOVE] = 1.0


@dataclass(frozen=True)
class Tuning(LoRA):
    """Hyper-parameters of one LoRA's training. `batch`: examples a step."""

    epochs: Epochs = 1
    batch: Annotated[int, COUNT] = 6
    seed: Annotated[int, SEED] = 0


@dataclass(frozen=True)
class PatchKind(LoRA):
    """OPPU's adapter of one user, of any PEFT kind: epochs and batch go by task. `virtual_tokens`:
    of a soft prompt.
    """

    virtual_tokens: Annotated[int, Range(1, 10**4)] = 20


@dataclass(frozen=True)
class TrainingFields:
    """Hyper-parameters of one training with a library's trainer.

    `targets`: ends of module names, or `all-linear` (all but the output layer). `warmup`: share of
    the steps. `batch`: examples a step; `micro_batch` of them are in memory at once, which changes
    nothing else. `checkpointing`: compute activations again in the backward pass (less memory,
    about a fifth slower).
    """

    rank: Rank
    alpha: Annotated[float, ABOVE]
    dropout: Annotated[float, Range(0, 0.99)]
    targets: tuple[str, ...] | Literal["all-linear"]
    learning_rate: Annotated[float, ABOVE]
    weight_decay: Annotated[float, Range()]
    scheduler: Literal["linear", "cosine", "constant"]
    warmup: Annotated[float, SHARE]
    max_grad_norm: Annotated[float, Range()]
    epochs: Epochs
    batch: Annotated[int, COUNT]
    micro_batch: Annotated[int, COUNT]
    checkpointing: bool
    seed: Annotated[int, SEED] = 0

    def __post_init__(self) -> None:
        if self.batch % self.micro_batch:
            raise InputError(
                f"method.training.micro_batch={self.micro_batch} does not divide"
                f" method.training.batch={self.batch}"
            )

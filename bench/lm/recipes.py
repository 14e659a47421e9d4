"""Hyper-parameters of trainings and probes, as data: what is checked before torch or a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from bench.bounds import ABOVE, COUNT, SEED, SHARE, Range
from bench.types import InputError

Rank = Annotated[int, Range(1, 2**16)]
Epochs = Annotated[int, Range(1, 10**6)]

PLATEAU = {1: 0.4375, 2: 0.2}
"""The least CCS loss of a constant answer g by `conf_power`, min of (2g - 1)^2 + g^power: at g = 3/8 and at g = .4."""

Norm = Literal["pooled", "none", "per_class", "ccs"]


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
class Kind(LoRA):
    """OPPU's adapter of one user, of any PEFT kind: epochs and batch go by task. `virtual_tokens`: of a soft prompt."""

    virtual_tokens: Annotated[int, Range(1, 10**4)] = 20


@dataclass(frozen=True)
class TrainingFields:
    """Hyper-parameters of one training with a library's trainer.

    `targets`: ends of module names, or `all-linear` (all but the output layer). `warmup`: share of the steps. `batch`:
    examples a step; `micro_batch` of them are in memory at once, which changes nothing else. `checkpointing`: compute
    activations again in the backward pass (less memory, about a fifth slower).
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
                f"method.training.micro_batch={self.micro_batch} does not divide method.training.batch={self.batch}"
            )


@dataclass(frozen=True, slots=True)
class CCSConfig:
    """How the CCS probes are trained (CHAMELEON section 3.2; Burns et al. 2023 where it is silent).

    `conf_power`: 2 squares the confidence term as the CCS code does, 1 is CHAMELEON's print.
    `norm`: `none` takes the activations as they are, the printed loss. `pooled` shifts by the mean of P and N together
    and divides by one number, which bias and theta absorb: the printed loss in other units (the optimiser's steps and
    its weight decay are then those of these units). `ccs` shifts each class by its own mean and does nothing else, as
    the CCS code does by default (it can divide by each feature's deviation too, which is not offered); that removes
    any offset between P and N. `per_class` does the same and then divides both classes by one number, as CCS does not.
    `lr` x `epochs` bounds how far a coordinate of theta moves: CCS's 1e-3 x 1000 in 400 epochs is about 3e-3. On
    planted data 1e-3 stopped short of the direction; 1e-2 found it too, with twice the held-out loss on noise.
    `folds`: at most this many, never fewer than two pairs each; 0 skips the held-out fits. `groups`: the person of each
    pair; one person's pairs are never in two folds, or held-out pairs would have near-twins among the others.
    """

    conf_power: Literal[1, 2] = 2
    norm: Norm = "pooled"
    epochs: Epochs = 400
    lr: Annotated[float, ABOVE] = 3e-3
    weight_decay: Annotated[float, Range()] = 0.01
    restarts: Annotated[int, Range(1, 10**4)] = 10
    folds: Annotated[int, Range(0, 10**4)] = 5
    seed: Annotated[int, SEED] = 0
    groups: tuple[int, ...] | None = None

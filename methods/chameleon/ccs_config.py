"""Hyper-parameters of the CCS probes, as data: checked before torch or a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from bench.checks.bounds import ABOVE, SEED, Range
from bench.lm.recipes import Epochs

PLATEAU = {1: 0.4375, 2: 0.2}
"""The least CCS loss of a constant answer g by `conf_power`, min of (2g - 1)^2 + g^power: at g =
3/8 and at g = .4.
"""

Norm = Literal["pooled", "none", "per_class", "ccs"]


@dataclass(frozen=True, slots=True)
class CCSConfig:
    """How the CCS probes are trained (CHAMELEON section 3.2; Burns et al. 2023 where it is silent).

    `conf_power`: 2 squares the confidence term as the CCS code does, 1 is CHAMELEON's print.
    `norm`: `none` takes the activations as they are, the printed loss. `pooled` shifts by the mean
    of P and N together and divides by one number, which bias and theta absorb: the printed loss in
    other units (the optimiser's steps and its weight decay are then those of these units). `ccs`
    shifts each class by its own mean and does nothing else, as the CCS code does by default (it can
    divide by each feature's deviation too, which is not offered); that removes any offset between P
    and N. `per_class` does the same and then divides both classes by one number, as CCS does not.
    `lr` x `epochs` bounds how far a coordinate of theta moves: CCS's 1e-3 x 1000 in 400 epochs is
    about 3e-3. On planted data 1e-3 stopped short of the direction; 1e-2 found it too, with twice
    the held-out loss on noise. `folds`: at most this many, never fewer than two pairs each; 0 skips
    the held-out fits. `groups`: the person of each pair; one person's pairs are never in two folds,
    or held-out pairs would have near-twins among the others.
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

"""Steps 5 to 7: from activations to directions, layers, and the edit as a patch. Sections 3.2 and
3.3.

At a chosen layer the MLP output x becomes x1 = x + <x,p>p, then x1 - <x1,n>n, with unit p = theta^P
and n = theta^N. That is linear, so it is folded into the last linear layer of the MLP as a change
of rank 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from bench.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from bench.lm.model import LM, Side
    from bench.lm.patch import Patch, Positions

Control = Literal["none", "random_directions", "mean_activation", "rematched_pairs"]


@dataclass(frozen=True)
class EditRecipe:
    """How directions are found (ambiguities A8 to A11) and which control stands in for them.

    `ccs`: fields of methods.chameleon.ccs.CCSConfig. `rank_by`: held-out or training loss.
    `require_below_null`: a layer counts only where its held-out loss is below both nulls, by the
    share `margin`. `exclude`: so many layers at the input's and at the output's end are never
    edited.
    """

    ccs: Mapping[str, Any]
    svd_center: bool
    svd_on: Literal["P", "P_minus_N"]
    n_layers: int
    rank_by: Literal["heldout", "train"]
    require_below_null: bool
    margin: float
    exclude: tuple[int, int]
    seed: int

    def __post_init__(self) -> None:
        if self.rank_by == "train" and self.require_below_null and self.ccs.get("folds") == 0:
            raise InputError(
                "method.rank_by=train with ccs.folds=0 has no held-out loss: set"
                " require_below_null=false"
            )


@dataclass(frozen=True)
class Directions:
    """`theta_p`, `theta_n` [layers, width], unit; the layers to edit, best first; facts for the
    record.
    """

    theta_p: Tensor
    theta_n: Tensor
    layers: tuple[int, ...]
    facts: Mapping[str, Any]


def find(tensors: Mapping[str, Tensor], recipe: EditRecipe) -> Directions:
    """Rank the layers and collect the facts; `tensors` is what `fit_directions` made."""
    from methods.chameleon import ccs

    choice = ccs.rank_layers(
        tensors["heldout"],
        tensors["null_rematched"],
        tensors["null_random"],
        n_layers=recipe.n_layers,
        rank_by=recipe.rank_by,
        require_below_null=recipe.require_below_null,
        margin=recipe.margin,
        exclude_first=recipe.exclude[0],
        exclude_last=recipe.exclude[1],
        train=tensors["loss"],
    )
    agree = (tensors["theta_p"] * tensors["theta_n"]).sum(-1).abs()

    def told(values: Tensor) -> list[float | None]:
        return [None if math.isnan(value) else round(value, 4) for value in values.tolist()]

    facts = {
        "layers": list(choice.layers),
        "usable_layers": [index for index, usable in enumerate(choice.usable) if usable],
        "ccs_heldout": told(tensors["heldout"]),
        "ccs_null_rematched": told(tensors["null_rematched"].mean(0)),
        "ccs_null_random": told(tensors["null_random"].mean(0)),
        "cos_theta_p_mean": told(tensors["cos_mean"]),
        "cos_theta_p_top_n": told(tensors["cos_top_n"]),
        "cos_theta_p_theta_n": told(agree),
    }
    return Directions(tensors["theta_p"], tensors["theta_n"], tuple(choice.layers), facts)


def fit_directions(
    personal: Tensor, neutral: Tensor, people: Sequence[int], recipe: EditRecipe
) -> dict[str, Tensor]:
    """Directions, losses and nulls from activations [layers, pairs, width] of y^P and y^N;
    `people`: whose pairs.
    """
    from methods.chameleon import ccs
    from methods.chameleon import directions as maths

    groups = tuple(people) if len(set(people)) > 1 else None
    config = ccs.CCSConfig(**{**recipe.ccs, "seed": recipe.seed, "groups": groups})
    rows = personal if recipe.svd_on == "P" else personal - neutral
    theta_p = maths.top_direction(rows, center=recipe.svd_center)
    probe = ccs.ccs(personal, neutral, config)
    nulls = ccs.nulls(personal, neutral, config)
    rematched = ccs.ccs(*ccs.rematched_pairs(personal, neutral, config), replace(config, folds=0))
    cosines = maths.cosines(personal, neutral, theta_p)
    return {
        "theta_p": theta_p,
        "theta_n": probe.theta,
        "loss": probe.loss,
        "heldout": probe.heldout,
        "null_rematched": nulls.rematched,
        "null_random": nulls.random,
        "theta_n_rematched": rematched.theta,
        "theta_p_mean": maths.mean_direction(personal),
        "cos_mean": cosines[0],
        "cos_top_n": cosines[1],
    }


def controlled(
    found: Directions, tensors: Mapping[str, Tensor], control: Control, seed: int
) -> Directions:
    """The same layers with a control's directions in place of the method's (reference 3.10)."""
    from methods.chameleon import directions as maths

    layers, width = found.theta_p.shape
    if control == "random_directions":
        theta_p = maths.random_unit(layers, width, 2 * seed)
        return replace(
            found, theta_p=theta_p, theta_n=maths.random_unit(layers, width, 2 * seed + 1)
        )
    if control == "mean_activation":
        return replace(found, theta_p=tensors["theta_p_mean"])
    if control == "rematched_pairs":
        return replace(found, theta_n=tensors["theta_n_rematched"])
    return found


def as_patch(
    lm: LM, found: Directions, *, alpha_p: float, alpha_n: float, positions: Positions, side: Side
) -> tuple[Patch, ...]:
    """The edit of the chosen layers as one patch; no layer or no strength, no patch."""
    if not (alpha_p or alpha_n):
        return ()
    from bench.lm.patch import LowRank, Patch
    from methods.chameleon import directions as maths

    names = lm.mlp_outputs(side)
    modules = dict(lm.model.named_modules())
    weights = {}
    for layer in found.layers:
        if modules[names[layer]].bias is not None:
            raise InputError(
                f"{names[layer]} has a bias, so the edit of its output cannot be folded into its"
                " weights"
            )
        weight = modules[names[layer]].weight.detach().float().cpu()
        factors = maths.edit_matrix_factors(
            found.theta_p[layer], found.theta_n[layer], weight, alpha_p, alpha_n
        )
        weights[names[layer]] = LowRank(factors.A, factors.B)
    return (Patch(weights, positions),) if weights else ()

"""Section 3.2: the two directions of each layer, and the layers to edit.

theta^P is the first singular vector of the activations of y^P (methods/chameleon/vectors.py),
theta^N the weight of a CCS probe that tells y^P from y^N (methods/chameleon/ccs.py). The layers of
lowest CCS loss are edited.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from bench.errors import InputError
from methods.chameleon.pairs import Pairs
from methods.chameleon.states import Reading

if TYPE_CHECKING:
    from torch import Tensor

    from bench.cost.budget import Budget
    from bench.data.task import Task
    from bench.lm.model import LM

Control = Literal["none", "random_directions", "mean_activation", "rematched_pairs"]


@dataclass(frozen=True)
class DirectionRecipe:
    """How directions and layers are found (docs/choices.md, A8 to A11).

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
    """`theta_p`, `theta_n` [layers, width], unit; the layers to edit,
    best first; facts for the record.
    """

    theta_p: Tensor
    theta_n: Tensor
    layers: tuple[int, ...]
    facts: Mapping[str, Any]


def learn(
    lm: LM,
    task: Task,
    pairs: Pairs,
    reading: Reading,
    recipe: DirectionRecipe,
    budget: Budget,
    states: Sequence[Tensor] = (),
) -> dict[str, Tensor]:
    """What `fit_directions` makes of the pairs; `states` are what has been read of them already.

    It is slow, and does not depend on layers, strength or control. So it is kept on disk
    (`LM.remember`), and cells that differ in those alone share it.
    """
    texts = reading.texts(task, pairs.kept)
    names = [pair.question.person for pair in pairs.kept]
    people = [names.index(name) for name in names]

    def compute() -> dict[str, Tensor]:
        import torch

        read = torch.cat(list(states), dim=1) if states else reading.states(lm, texts, budget)
        with budget.phase("directions"):
            # Of each pair first the text with y^P is read, then the one with y^N.
            return fit_directions(read[:, ::2], read[:, 1::2], people, recipe)

    prompts = []
    for request in texts.requests:
        prompts.append([message.text for message in request.messages])
    how: list[Any] = [reading.space, reading.pool, reading.side, dict(recipe.ccs)]
    how += [recipe.svd_center, recipe.svd_on, recipe.seed]
    # Other batches give other last digits.
    how += ["in parts"] if states else []
    key = {
        "what": "chameleon directions",
        "read": prompts,
        "endings": texts.endings,
        "people": people,
        "how": how,
    }
    return lm.remember(key, compute)


def fit_directions(
    personal: Tensor, neutral: Tensor, people: Sequence[int], recipe: DirectionRecipe
) -> dict[str, Tensor]:
    """Directions, losses and nulls from activations [layers, pairs, width] of y^P and y^N;
    `people`: whose pairs.
    """
    from methods.chameleon import ccs, vectors

    groups = tuple(people) if len(set(people)) > 1 else None
    config = ccs.CCSConfig(**{**recipe.ccs, "seed": recipe.seed, "groups": groups})
    rows = personal if recipe.svd_on == "P" else personal - neutral
    theta_p = vectors.top_direction(rows, center=recipe.svd_center)
    probe = ccs.ccs(personal, neutral, config)
    nulls = ccs.nulls(personal, neutral, config)
    rematched = ccs.ccs(*ccs.rematched_pairs(personal, neutral, config), replace(config, folds=0))
    cosines = vectors.cosines(personal, neutral, theta_p)
    return {
        "theta_p": theta_p,
        "theta_n": probe.theta,
        "loss": probe.loss,
        "heldout": probe.heldout,
        "null_rematched": nulls.rematched,
        "null_random": nulls.random,
        "theta_n_rematched": rematched.theta,
        "theta_p_mean": vectors.mean_direction(personal),
        "cos_mean": cosines[0],
        "cos_top_n": cosines[1],
    }


def find(tensors: Mapping[str, Tensor], recipe: DirectionRecipe) -> Directions:
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
    between = (tensors["theta_p"] * tensors["theta_n"]).sum(-1).abs()
    facts = {
        "layers": list(choice.layers),
        "usable_layers": [index for index, usable in enumerate(choice.usable) if usable],
        "ccs_heldout": _rounded(tensors["heldout"]),
        "ccs_null_rematched": _rounded(tensors["null_rematched"].mean(0)),
        "ccs_null_random": _rounded(tensors["null_random"].mean(0)),
        "cos_theta_p_mean": _rounded(tensors["cos_mean"]),
        "cos_theta_p_top_n": _rounded(tensors["cos_top_n"]),
        "cos_theta_p_theta_n": _rounded(between),
    }
    return Directions(tensors["theta_p"], tensors["theta_n"], tuple(choice.layers), facts)


def _rounded(values: Tensor) -> list[float | None]:
    """For the record, which is JSON and has no NaN."""
    return [None if math.isnan(value) else round(value, 4) for value in values.tolist()]


def controlled(
    found: Directions, tensors: Mapping[str, Tensor], control: Control, seed: int
) -> Directions:
    """The same layers with a control's directions in place of the method's."""
    from methods.chameleon import vectors

    layers, width = found.theta_p.shape
    if control == "random_directions":
        theta_p = vectors.random_unit(layers, width, 2 * seed)
        return replace(
            found, theta_p=theta_p, theta_n=vectors.random_unit(layers, width, 2 * seed + 1)
        )
    if control == "mean_activation":
        return replace(found, theta_p=tensors["theta_p_mean"])
    if control == "rematched_pairs":
        return replace(found, theta_n=tensors["theta_n_rematched"])
    return found

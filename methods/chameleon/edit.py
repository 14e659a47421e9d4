"""Sections 3.2 and 3.3: the edit of MLP outputs, as printed and folded into weights.

    x         MLP output of an edited layer, at every position
    theta^P   what answers for the user have in common (section 3.2); p is it at length 1
    theta^N   what tells impersonal answers from them (section 3.2); n is it at length 1

    x1 = x + <x, p> p        strengthens what is the user's
    x2 = x1 - <x1, n> n      takes away what is impersonal

<x, t> / <t, t> t of the paper is <x, p> p. Both steps are linear in x, and x = W h, with W the last
weight of the MLP. So the edit is a change of W of rank 2, and needs no hook.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from bench.lm.model import LM
from bench.lm.network import Network, Side
from bench.lm.patch import LowRank, Patch, Positions
from methods.chameleon.directions import Directions
from methods.chameleon.vectors import unit


class Factors(NamedTuple):
    """A change of a weight `[out, in]` as `B @ A`: B `[out, 2]`, A `[2, in]`."""

    B: Tensor
    A: Tensor


def edit(
    x: Tensor,
    theta_p: Tensor | None,
    theta_n: Tensor | None,
    alpha_p: float = 1.0,
    alpha_n: float = 1.0,
) -> Tensor:
    """The edit of MLP outputs `[..., width]`, each step times its strength: x1 = x + a_p <x,p> p,
    then x2 = x1 - a_n <x1,n> n.

    The sign and scale of the thetas do not matter. `None` leaves that step out. The maths is in
    float32 at least; the result has x's dtype.
    """
    out = x if x.dtype == torch.float64 else x.float()
    if theta_p is not None:
        p = unit(theta_p.to(out))
        out = out + alpha_p * (out @ p)[..., None] * p
    if theta_n is not None:
        n = unit(theta_n.to(out))
        out = out - alpha_n * (out @ n)[..., None] * n
    return out.to(x.dtype)


def edit_matrix_factors(
    theta_p: Tensor | None,
    theta_n: Tensor | None,
    weight: Tensor,
    alpha_p: float = 1.0,
    alpha_n: float = 1.0,
) -> Factors:
    """The edit as a rank-2 change of the weight `[out, in]` that writes x: `edit(W h) = (W + B A)
    h`.

    The edit is linear, x2 = (I - a_n n n')(I + a_p p p') x, so the change is (a_p p p' - a_n n n' -
    a_n a_p <n,p> n p') W. A layer whose weight comes with a bias cannot be folded this way. Factors
    are float32, or float64 with the weight.
    """
    W = weight if weight.dtype == torch.float64 else weight.float()
    p, n = (
        W.new_zeros(W.shape[0]) if theta is None else unit(theta.to(W))
        for theta in (theta_p, theta_n)
    )
    rows = torch.stack([alpha_p * p, -alpha_n * (n + alpha_p * (n @ p) * p)])
    return Factors(torch.stack([p, n], dim=1), rows @ W)


def edit_of_outputs(
    network: Network,
    thetas: Mapping[int, tuple[Tensor | None, Tensor | None]],
    alpha_p: float,
    alpha_n: float,
    positions: Positions = "all",
    side: Side = "decoder",
) -> Patch:
    """The edit of some layers as a patch, by layer its theta^P and theta^N.

    It is folded into the weight that writes the layer's MLP output, if one does. A block of experts
    has none such, and a layer with a bias or quantized weights bears no change: there the output of
    the block is edited as it comes, `edit(x) = (I + B A) x`.
    """
    last_linear = network.mlp_outputs(side)
    blocks = network.mlps(side)
    modules = dict(network.model.named_modules())
    weights, outputs = {}, {}
    for layer, (theta_p, theta_n) in thetas.items():
        name = last_linear[layer]
        if name is not None:
            weight = modules[name].weight.detach().float().cpu()
            factors = edit_matrix_factors(theta_p, theta_n, weight, alpha_p, alpha_n)
            weights[name] = LowRank(factors.A, factors.B)
        else:
            unchanged = torch.eye(_width(theta_p, theta_n))
            factors = edit_matrix_factors(theta_p, theta_n, unchanged, alpha_p, alpha_n)
            outputs[blocks[layer][0]] = LowRank(factors.A, factors.B)
    return Patch(weights, positions, outputs=outputs)


def _width(*thetas: Tensor | None) -> int:
    return next(len(theta) for theta in thetas if theta is not None)


def as_patch(
    lm: LM,
    directions: Directions,
    *,
    alpha_p: float,
    alpha_n: float,
    positions: Positions,
    side: Side,
) -> tuple[Patch, ...]:
    """The edit of the chosen layers as one patch; no layer or no strength, no patch."""
    if not (alpha_p or alpha_n) or not directions.layers:
        return ()
    thetas = {}
    for layer in directions.layers:
        thetas[layer] = (directions.theta_p[layer], directions.theta_n[layer])
    return (edit_of_outputs(lm.network, thetas, alpha_p, alpha_n, positions, side),)

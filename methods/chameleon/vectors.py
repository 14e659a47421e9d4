"""Section 3.2, theta^P: one direction of each layer from activations, and what to compare it with.

Activations are `[layers, pairs, width]`: P from personalised answers, N from neutral ones, row i of
both one pair. Nothing here loads a model or touches the global random state: every draw has its own
stream, named from the seed.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor

from bench.errors import InputError


class Cosines(NamedTuple):
    """|cos| of theta^P, `[layers]`, to P's mean and N's top direction:
    near 1, it is what all answers share.
    """

    mean_P: Tensor
    top_N: Tensor


def top_direction(P: Tensor, center: bool = False) -> Tensor:
    """First right singular vector of each layer's rows, `[layers, width]`, unit (section 3.2; not
    centred in print).

    The sign means nothing; it is fixed (largest coordinate positive) so that runs can be compared.
    """
    check(P)
    rows = P.double() - P.double().mean(1, keepdim=True) if center else P.double()
    # The smaller Gram matrix has the same top vector and costs a tenth of the full SVD.
    if rows.shape[1] <= rows.shape[2]:
        top = (rows.mT @ torch.linalg.eigh(rows @ rows.mT).eigenvectors[..., -1:]).squeeze(-1)
    else:
        top = torch.linalg.eigh(rows.mT @ rows).eigenvectors[..., -1]
    return unit(top * top.gather(1, top.abs().argmax(1, keepdim=True)).sign()).to(P.dtype)


def cosines(P: Tensor, N: Tensor, theta_p: Tensor) -> Cosines:
    """How much theta^P `[layers, width]` is just the mean activation of P,
    or the top singular vector of N.
    """
    own = unit(theta_p)
    return Cosines((own * mean_direction(P)).sum(-1).abs(), (own * top_direction(N)).sum(-1).abs())


def mean_direction(P: Tensor) -> Tensor:
    """Control for theta^P: the mean activation of each layer, `[layers, width]`, unit."""
    return unit(P.mean(1))


def random_unit(layers: int, width: int, seed: int) -> Tensor:
    """Control for either theta: a random unit direction per layer, `[layers, width]` float32."""
    return unit(torch.randn(layers, width, generator=generator(seed, "random directions")))


def rematch(N: Tensor, seed: int) -> Tensor:
    """Control for theta^N: the rows of N in an order where none stays beside its own P,
    the same in all layers.
    """
    return N[:, derangement(N.shape[1], generator(seed, "rematch")).to(N.device)]


def unit(theta: Tensor) -> Tensor:
    """`[..., width]` scaled to length 1.

    A zero or non-finite direction is an error, not a silent no-op.
    """
    norm: Tensor = torch.linalg.vector_norm(theta, dim=-1, keepdim=True)
    if not bool(((norm > 0) & norm.isfinite()).all()):
        raise InputError(
            "directions: a direction is zero or not finite; are the activations it comes from?"
        )
    return theta / norm


def generator(seed: int, purpose: str) -> torch.Generator:
    """The random stream of one purpose, apart from all others and from the global random state."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def derangement(size: int, stream: torch.Generator) -> Tensor:
    """An order of `size` things, `[size]`, in which none stays in its place.

    Raises InputError below two.
    """
    if size < 2:
        raise InputError(f"directions: {size} pair cannot be re-matched; at least 2 are needed")
    order = torch.randperm(size, generator=stream)
    return torch.empty_like(order).scatter_(0, order, order.roll(1))


def check(*activations: Tensor) -> None:
    """Raise InputError unless all are `[layers, pairs, width]` of one shape,
    finite, and of two pairs or more.
    """
    first = activations[0]
    got = ", ".join(f"{list(rows.shape)} {rows.dtype}" for rows in activations)
    alike = all((rows.shape, rows.dtype) == (first.shape, first.dtype) for rows in activations)
    if first.dim() != 3 or not alike or first.dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"directions: activations must be [layers, pairs, width] float32 and alike, got {got}"
        )
    if first.shape[1] < 2:
        raise InputError(
            f"directions: {first.shape[1]} pair(s) survived; a direction needs at least 2"
        )
    if not all(bool(rows.isfinite().all()) for rows in activations):
        raise InputError(
            "directions: activations are not finite; run the model in float32 or bfloat16"
        )

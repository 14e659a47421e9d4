"""CHAMELEON's directions as pure tensor maths: singular vectors, batched CCS, layer ranking, the edit and its fold.

Activations are `[layers, pairs, width]`: P from personalised answers, N from neutral ones, row i of both one pair.
Nothing here loads a model or touches the global random state: every draw has its own stream, named from the seed.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from bench.types import InputError

# The least CCS loss of a constant answer g, min of (2g - 1)^2 + g^power: at g = 3/8 (power 1) and g = .4 (power 2).
PLATEAU = {1: 0.4375, 2: 0.2}

Norm = Literal["pooled", "none", "per_class"]


@dataclass(frozen=True, slots=True)
class CCSConfig:
    """How the CCS probes are trained (CHAMELEON section 3.2; Burns et al. 2023 where it is silent).

    `conf_power`: 2 squares the confidence term as the CCS code does, 1 is CHAMELEON's print.
    `norm`: `pooled` shifts by the mean of P and N together and divides by one scalar, which the bias and theta absorb,
    so that the objective is the printed one; `per_class` shifts each class by its own mean, as CCS does, and thereby
    removes any offset between P and N; `none` takes the activations as they are.
    `lr` x `epochs` bounds how far a coordinate of theta moves: CCS's 1e-3 x 1000 in 400 epochs is about 3e-3. On planted
    data 1e-3 stopped short of the direction; 1e-2 found it too, with twice the held-out loss on noise.
    `folds`: at most this many, never fewer than two pairs each; 0 skips the held-out fits.
    """

    conf_power: Literal[1, 2] = 2
    norm: Norm = "pooled"
    epochs: int = 400
    lr: float = 3e-3
    weight_decay: float = 0.01
    restarts: int = 10
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.conf_power not in PLATEAU or self.norm not in ("pooled", "none", "per_class"):
            raise InputError(f"{self}: conf_power is 1 or 2, norm is pooled, none or per_class")
        if self.epochs < 1 or self.restarts < 1 or self.folds < 0:
            raise InputError(f"{self}: epochs and restarts must be at least 1, folds at least 0")


@dataclass(frozen=True, slots=True)
class CCSResult:
    """What CCS found. A held-out loss that is not below `plateau` is no better than a constant answer's.

    `theta`: `[layers, width]`, unit, the restart of lowest training loss, turned so that mean g(N) > mean g(P).
    `loss`: `[layers, restarts]`, after training on all pairs. `heldout`: `[layers]`, mean over pairs and restarts; NaN
    where there are too few pairs for two folds.
    """

    theta: Tensor
    loss: Tensor
    heldout: Tensor
    plateau: float


class Nulls(NamedTuple):
    """Held-out losses where nothing can be found, `[draws, layers]` each: the bar that a layer has to get under."""

    rematched: Tensor
    random: Tensor


@dataclass(frozen=True, slots=True)
class LayerChoice:
    """`layers`: the chosen ones, best first. Per layer: `usable`, in range and below the nulls; `loss`, ranked by."""

    layers: tuple[int, ...]
    usable: tuple[bool, ...]
    loss: tuple[float, ...]


class Factors(NamedTuple):
    """A change of a weight `[out, in]` as `B @ A`: B `[out, 2]`, A `[2, in]`."""

    B: Tensor
    A: Tensor


class Cosines(NamedTuple):
    """|cos| of theta^P, `[layers]`, to P's mean and N's top direction: near 1, it is what all answers share."""

    mean_P: Tensor
    top_N: Tensor


def generator(seed: int, purpose: str) -> torch.Generator:
    """The random stream of one purpose, apart from all others and from the global random state."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def top_direction(P: Tensor, center: bool = False) -> Tensor:
    """First right singular vector of each layer's rows, `[layers, width]`, unit (section 3.2; not centred in print).

    The sign means nothing; it is fixed (largest coordinate positive) so that runs can be compared.
    """
    _check(P)
    rows = P.double() - P.double().mean(1, keepdim=True) if center else P.double()
    # The smaller Gram matrix has the same top vector and costs a tenth of the full SVD.
    if rows.shape[1] <= rows.shape[2]:
        top = (rows.mT @ torch.linalg.eigh(rows @ rows.mT).eigenvectors[..., -1:]).squeeze(-1)
    else:
        top = torch.linalg.eigh(rows.mT @ rows).eigenvectors[..., -1]
    return unit(top * top.gather(1, top.abs().argmax(1, keepdim=True)).sign()).to(P.dtype)


def ccs(P: Tensor, N: Tensor, config: CCSConfig) -> CCSResult:
    """Fit contrast-consistent probes of all layers, folds and restarts at once (section 3.2).

    g(v) = sigmoid(theta v + b); the loss is the mean over pairs of (g(N) + g(P) - 1)^2 + min(g(N), g(P))^conf_power.
    The folds share one normalisation. Pooled, that only renames variables; `per_class` held-out losses have seen the
    class means.
    """
    _check(P, N)
    layers, pairs, width = P.shape
    fold_of = assign_folds(pairs, config)
    start = initial_probes(layers, width, config).to(P)
    # Row 0 fits all pairs; row f holds out fold f - 1.
    train = torch.stack([fold_of != held_out for held_out in range(-1, int(fold_of.max()) + 1)]).to(P)
    train[0] = 1
    rows = _rows(P, N, config.norm)
    probes = _train(rows, start, train, config)
    g_p, g_n = _answers(rows, probes)
    loss = _pair_loss(g_p, g_n, config.conf_power)
    full = loss[:, 0].mean(-1)
    heldout = (loss * (1 - train)[:, None]).sum((1, 3)).mean(-1) / (1 - train).sum()
    best = full.argmin(1)
    each = torch.arange(layers, device=P.device)
    theta = unit(probes[each, 0, best, :width])
    flipped = (g_n - g_p)[each, 0, best].mean(-1, keepdim=True) < 0
    return CCSResult(torch.where(flipped, -theta, theta), full, heldout, PLATEAU[config.conf_power])


def nulls(P: Tensor, N: Tensor, config: CCSConfig, draws: int = 1) -> Nulls:
    """Held-out CCS losses on re-matched pairs and on random differences: two fits of all layers per draw."""
    rematched = [ccs(*rematched_pairs(P, N, config, draw), config).heldout for draw in range(draws)]
    random = [ccs(*random_pairs(P, N, config.seed, draw), config).heldout for draw in range(draws)]
    return Nulls(torch.stack(rematched), torch.stack(random))


def rematched_pairs(P: Tensor, N: Tensor, config: CCSConfig, draw: int = 0) -> tuple[Tensor, Tensor]:
    """The first null: the same rows, each beside a wrong partner from its own fold.

    P and N are first swapped in a random half of the pairs. CCS cannot see the swap; without it an offset between the
    classes, which is what CCS looks for, would survive the re-matching and the null would be no null.
    """
    stream = generator(config.seed, f"rematched pairs {draw}")
    swap = (torch.rand(P.shape[1], generator=stream) < 0.5).to(P.device)[:, None]
    fold_of = assign_folds(P.shape[1], config)
    partner = torch.arange(P.shape[1])
    for fold in sorted(set(fold_of.tolist())):
        members = (fold_of == fold).nonzero().squeeze(1)
        partner[members] = members[_derangement(len(members), stream)]
    return torch.where(swap, N, P), torch.where(swap, P, N)[:, partner.to(P.device)]


def random_pairs(P: Tensor, N: Tensor, seed: int, draw: int = 0) -> tuple[Tensor, Tensor]:
    """The second null: each pair keeps its midpoint and its distance, the difference points anywhere."""
    noise = torch.randn(P.shape, generator=generator(seed, f"random pairs {draw}")).to(P)
    half = unit(noise) * torch.linalg.vector_norm(P - N, dim=-1, keepdim=True) / 2
    middle = (P + N) / 2
    return middle + half, middle - half


def rank_layers(
    heldout: Tensor,
    null_rematched: Tensor,
    null_random: Tensor,
    *,
    n_layers: int,
    exclude_first: int = 2,
    exclude_last: int = 1,
    require_below_null: bool = True,
    margin: float = 0.1,
    plateau: float = float("inf"),
    rank_by: Literal["heldout", "train"] = "heldout",
    train: Tensor | None = None,
) -> LayerChoice:
    """The layers of lowest mean CCS loss, ties to the deeper one; fewer than `n_layers` where fewer are usable.

    `heldout`: `[layers]`; nulls `[layers]` or `[draws, layers]`; `train`: `[layers, restarts]`, for `rank_by="train"`.
    Usable: inside the excluded ends, and held-out loss below every null draw (and `plateau`) by the share `margin`; 0 is
    the plain rule. Of layers of unrelated noise, 28-32 % were below one draw of both nulls, 0-3 % by a margin of .1
    (16-150 pairs, width 192); where the two sides of a pair share a text, none were.
    """
    if rank_by == "train" and train is None:
        raise InputError("rank_layers: rank_by is 'train' but no training loss was given")
    loss = (heldout if train is None or rank_by == "heldout" else train.mean(-1)).tolist()
    total = len(heldout)
    bar = torch.cat([null_rematched.reshape(-1, total), null_random.reshape(-1, total)]).amin(0)
    inside = range(exclude_first, total - exclude_last)
    below = (heldout < (1 - margin) * bar.clamp(max=plateau)).tolist()
    usable = tuple(layer in inside and below[layer] for layer in range(total))
    candidates = [layer for layer in inside if usable[layer] or not require_below_null]
    ranked = sorted(candidates, key=lambda layer: (loss[layer], -layer))
    return LayerChoice(tuple(ranked[:n_layers]), usable, tuple(loss))


def edit(
    x: Tensor, theta_p: Tensor | None, theta_n: Tensor | None, alpha_p: float = 1.0, alpha_n: float = 1.0
) -> Tensor:
    """The edit of MLP outputs `[..., width]`: x1 = x + a_p <x,p> p, then x2 = x1 - a_n <x1,n> n (section 3.2).

    p and n are the thetas made unit, so their sign and scale do not matter. `None` leaves that step out. The maths is
    in float32 at least; the result has x's dtype.
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
    theta_p: Tensor | None, theta_n: Tensor | None, weight: Tensor, alpha_p: float = 1.0, alpha_n: float = 1.0
) -> Factors:
    """The edit as a rank-2 change of the weight `[out, in]` that writes x: `edit(W h) = (W + B A) h`.

    The edit is linear, x2 = (I - a_n n n')(I + a_p p p') x, so the change is (a_p p p' - a_n n n' - a_n a_p <n,p> n p') W.
    A layer whose weight comes with a bias cannot be folded this way. Factors are float32, or float64 with the weight.
    """
    W = weight if weight.dtype == torch.float64 else weight.float()
    p, n = (W.new_zeros(W.shape[0]) if theta is None else unit(theta.to(W)) for theta in (theta_p, theta_n))
    rows = torch.stack([alpha_p * p, -alpha_n * (n + alpha_p * (n @ p) * p)])
    return Factors(torch.stack([p, n], dim=1), rows @ W)


def cosines(P: Tensor, N: Tensor, theta_p: Tensor) -> Cosines:
    """How much theta^P `[layers, width]` is just the mean activation of P, or the top singular vector of N."""
    own = unit(theta_p)
    return Cosines((own * mean_direction(P)).sum(-1).abs(), (own * top_direction(N)).sum(-1).abs())


def mean_direction(P: Tensor) -> Tensor:
    """Control for theta^P: the mean activation of each layer, `[layers, width]`, unit."""
    return unit(P.mean(1))


def random_unit(layers: int, width: int, seed: int) -> Tensor:
    """Control for either theta: a random unit direction per layer, `[layers, width]` float32."""
    return unit(torch.randn(layers, width, generator=generator(seed, "random directions")))


def rematch(N: Tensor, seed: int) -> Tensor:
    """Control for theta^N: the rows of N in an order where none stays beside its own P, the same in all layers."""
    return N[:, _derangement(N.shape[1], generator(seed, "rematch")).to(N.device)]


def unit(theta: Tensor) -> Tensor:
    """`[..., width]` scaled to length 1. A zero or non-finite direction is an error, not a silent no-op."""
    norm: Tensor = torch.linalg.vector_norm(theta, dim=-1, keepdim=True)
    if not bool(((norm > 0) & norm.isfinite()).all()):
        raise InputError("directions: a direction is zero or not finite; are the activations it comes from?")
    return theta / norm


def assign_folds(pairs: int, config: CCSConfig) -> Tensor:
    """The fold of each pair, `[pairs]`; -1 throughout where there are too few pairs for two folds of two."""
    folds = min(config.folds, pairs // 2)
    if folds < 2:
        return torch.full((pairs,), -1)
    return torch.randperm(pairs, generator=generator(config.seed, "ccs folds")) % folds


def initial_probes(layers: int, width: int, config: CCSConfig) -> Tensor:
    """The start of every probe, `[layers, restarts, width + 1]`, bias last: a linear layer's default, as in CCS.

    Folds share a restart's start, so the fit on all pairs does not depend on their number.
    """
    start = torch.rand(layers, config.restarts, width + 1, generator=generator(config.seed, "ccs start"))
    return (2 * start - 1) / math.sqrt(width)


def _train(rows: Tensor, start: Tensor, train: Tensor, config: CCSConfig) -> Tensor:
    # AdamW works coordinate by coordinate and the losses add up, so the stacked fit equals one fit per probe.
    probes = start[:, None].repeat(1, len(train), 1, 1).requires_grad_()
    weight = (train / train.sum(1, keepdim=True))[:, None]
    optimizer = torch.optim.AdamW([probes], lr=config.lr, weight_decay=config.weight_decay, fused=True)
    with torch.enable_grad():
        for _ in range(config.epochs):
            optimizer.zero_grad()
            loss = (_pair_loss(*_answers(rows, probes), config.conf_power) * weight).sum()
            torch.autograd.backward(loss)
            optimizer.step()
    return probes.detach()


def _answers(rows: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
    g = torch.sigmoid(probes.flatten(1, 2) @ rows.mT).reshape(*probes.shape[:-1], -1)
    pairs = g.shape[-1] // 2
    return g[..., :pairs], g[..., pairs:]


def _pair_loss(g_p: Tensor, g_n: Tensor, power: int) -> Tensor:
    return torch.add((g_n + g_p - 1).square(), torch.minimum(g_n, g_p).pow(power))


def _rows(P: Tensor, N: Tensor, norm: Norm) -> Tensor:
    """P's rows, then N's, normalised, with a column of ones for the bias: `[layers, 2 pairs, width + 1]`."""
    rows: Tensor = torch.stack([P, N], dim=1)
    if norm != "none":
        rows = rows - rows.mean((1, 2) if norm == "pooled" else 2, keepdim=True)
        rows = rows / torch.linalg.vector_norm(rows, dim=-1, keepdim=True).mean((1, 2), keepdim=True).clamp_min(1e-12)
    rows = rows.flatten(1, 2)
    return torch.cat([rows, rows.new_ones(*rows.shape[:2], 1)], dim=-1)


def _derangement(size: int, stream: torch.Generator) -> Tensor:
    if size < 2:
        raise InputError(f"directions: {size} pair cannot be re-matched; at least 2 are needed")
    order = torch.randperm(size, generator=stream)
    return torch.empty_like(order).scatter_(0, order, order.roll(1))


def _check(*activations: Tensor) -> None:
    first = activations[0]
    got = ", ".join(f"{list(rows.shape)} {rows.dtype}" for rows in activations)
    alike = all((rows.shape, rows.dtype) == (first.shape, first.dtype) for rows in activations)
    if first.dim() != 3 or not alike or first.dtype not in (torch.float32, torch.float64):
        raise InputError(f"directions: activations must be [layers, pairs, width] float32 and alike, got {got}")
    if first.shape[1] < 2:
        raise InputError(f"directions: {first.shape[1]} pair(s) survived; a direction needs at least 2")
    if not all(bool(rows.isfinite().all()) for rows in activations):
        raise InputError("directions: activations are not finite; run the model in float32 or bfloat16")

"""CHAMELEON's contrast-consistent probes (CCS, section 3.2): fitted for all layers at once, their
nulls, layer ranking.

Activations are `[layers, pairs, width]`: P from personalised answers, N from neutral ones, row i of
both one pair.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from bench.errors import InputError
from methods.chameleon.ccs_config import PLATEAU, Norm
from methods.chameleon.ccs_config import CCSConfig as CCSConfig
from methods.chameleon.vectors import check, derangement, generator, unit


@dataclass(frozen=True, slots=True)
class CCSResult:
    """What CCS found. A held-out loss that is not below `plateau` is no better than a constant
    answer's.

    `theta`: `[layers, width]`, unit, the restart of lowest training loss, turned so that mean g(N)
    > mean g(P). `loss`: `[layers, restarts]`, after training on all pairs. `heldout`: `[layers]`,
    mean over pairs and restarts; NaN where there are too few pairs for two folds.
    """

    theta: Tensor
    loss: Tensor
    heldout: Tensor
    plateau: float


class PairedStates(NamedTuple):
    """Activations `[layers, pairs, width]` of both sides, row i of both one pair."""

    P: Tensor
    N: Tensor


class Nulls(NamedTuple):
    """Held-out losses where nothing can be found, `[draws, layers]` each:
    the bar that a layer has to get under.
    """

    rematched: Tensor
    random: Tensor


@dataclass(frozen=True, slots=True)
class LayerChoice:
    """`layers`: the chosen ones, best first. Per layer: `usable`, in range and below the nulls;
    `loss`, ranked by.
    """

    layers: tuple[int, ...]
    usable: tuple[bool, ...]
    loss: tuple[float, ...]


def ccs(P: Tensor, N: Tensor, config: CCSConfig) -> CCSResult:
    """Fit contrast-consistent probes of all layers, folds and restarts at once (section 3.2).

    g(v) = sigmoid(theta v + b); the loss is the mean over pairs of (g(N) + g(P) - 1)^2 + min(g(N),
    g(P))^conf_power. The folds share one normalisation. Pooled, that only renames variables;
    held-out losses of `ccs` and `per_class` have seen the class means.
    """
    check(P, N)
    layers, pairs, width = P.shape
    fold_of = assign_folds(pairs, config)
    # Row 0 fits all pairs; row f holds out fold f - 1.
    held_out = torch.arange(-1, int(fold_of.max()) + 1)[:, None]
    train = (fold_of != held_out).to(P)
    train[0] = 1
    rows = _rows(P, N, config.norm)
    start = initial_probes(layers, width, config).to(P)
    probes = _train(rows, start, train, config)
    # [layers, folds + 1, restarts, pairs], as all that follows unless it says otherwise.
    g_p, g_n = _answers(rows, probes)
    loss = _pair_loss(g_p, g_n, config.conf_power)
    full = loss[:, 0].mean(-1)
    # Every pair is held out once, so the sum over folds is one over pairs.
    test = 1 - train
    heldout = (loss * test[:, None]).sum((1, 3)).mean(-1) / test.sum()

    best = full.argmin(1)
    layer = torch.arange(layers, device=P.device)
    theta = unit(probes[layer, 0, best, :width])
    # A probe and its negative have the same loss: the sign is chosen, so that theta points to N.
    flipped = (g_n - g_p)[layer, 0, best].mean(-1, keepdim=True) < 0
    theta = torch.where(flipped, -theta, theta)
    return CCSResult(theta, full, heldout, PLATEAU[config.conf_power])


def nulls(P: Tensor, N: Tensor, config: CCSConfig, draws: int = 1) -> Nulls:
    """Held-out CCS losses on re-matched pairs and on random differences:
    two fits of all layers per draw.
    """
    rematched, random = [], []
    for draw in range(draws):
        rematched.append(ccs(*rematched_pairs(P, N, config, draw), config).heldout)
        random.append(ccs(*random_pairs(P, N, config.seed, draw), config).heldout)
    return Nulls(torch.stack(rematched), torch.stack(random))


def rematched_pairs(P: Tensor, N: Tensor, config: CCSConfig, draw: int = 0) -> PairedStates:
    """The first null: the same rows, each beside a wrong partner from its own fold.

    P and N are first swapped in a random half of the pairs. CCS cannot see the swap; without it an
    offset between the classes, which is what CCS looks for, would survive the re-matching and the
    null would be no null.
    """
    stream = generator(config.seed, f"rematched pairs {draw}")
    swap = (torch.rand(P.shape[1], generator=stream) < 0.5).to(P.device)[:, None]
    fold_of = assign_folds(P.shape[1], config)
    partner = torch.arange(P.shape[1])
    for fold in sorted(set(fold_of.tolist())):
        members = (fold_of == fold).nonzero().squeeze(1)
        partner[members] = members[derangement(len(members), stream)]
    swapped = torch.where(swap, P, N)
    return PairedStates(torch.where(swap, N, P), swapped[:, partner.to(P.device)])


def random_pairs(P: Tensor, N: Tensor, seed: int, draw: int = 0) -> PairedStates:
    """The second null: each pair keeps its midpoint and its distance,
    the difference points anywhere.
    """
    noise = torch.randn(P.shape, generator=generator(seed, f"random pairs {draw}")).to(P)
    half = unit(noise) * torch.linalg.vector_norm(P - N, dim=-1, keepdim=True) / 2
    middle = (P + N) / 2
    return PairedStates(middle + half, middle - half)


def rank_layers(
    heldout: Tensor,
    null_rematched: Tensor,
    null_random: Tensor,
    *,
    n_layers: int,
    exclude_first: int,
    exclude_last: int,
    margin: float,
    require_below_null: bool = True,
    plateau: float = float("inf"),
    rank_by: Literal["heldout", "train"] = "heldout",
    train: Tensor | None = None,
) -> LayerChoice:
    """The layers of lowest mean CCS loss, ties to the deeper one; fewer than `n_layers` where fewer
    are usable.

    `heldout`: `[layers]`; nulls `[layers]` or `[draws, layers]`; `train`: `[layers, restarts]`, for
    `rank_by="train"`. Usable: inside the excluded ends, and held-out loss below every null draw
    (and `plateau`) by the share `margin`; 0 is the plain rule. Of layers of unrelated noise, 28-32
    % were below one draw of both nulls, 0-3 % by a margin of .1 (16-150 pairs, width 192); where
    the two sides of a pair share a text, none were. Pairs too few for two folds have no held-out
    loss (NaN): no layer is chosen by it.
    """
    if rank_by == "train" and train is None:
        raise InputError("rank_layers: rank_by is 'train' but no training loss was given")
    loss = (heldout if train is None or rank_by == "heldout" else train.mean(-1)).tolist()
    total = len(heldout)
    bar = torch.cat([null_rematched.reshape(-1, total), null_random.reshape(-1, total)]).amin(0)
    inside = range(exclude_first, total - exclude_last)
    below = (heldout < (1 - margin) * bar.clamp(max=plateau)).tolist()
    usable = tuple(layer in inside and below[layer] for layer in range(total))
    candidates = []
    for layer in inside:
        if not math.isnan(loss[layer]) and (usable[layer] or not require_below_null):
            candidates.append(layer)
    ranked = sorted(candidates, key=lambda layer: (loss[layer], -layer))
    return LayerChoice(tuple(ranked[:n_layers]), usable, tuple(loss))


def assign_folds(pairs: int, config: CCSConfig) -> Tensor:
    """The fold of each pair, `[pairs]`;
    -1 throughout where pairs or people are too few for two folds.
    """
    stream = generator(config.seed, "ccs folds")
    most = min(config.folds, pairs // 2)
    none = torch.full((pairs,), -1)
    if config.groups is None:
        return torch.randperm(pairs, generator=stream) % most if most >= 2 else none
    if len(config.groups) != pairs:
        raise InputError(f"CCS: {len(config.groups)} groups for {pairs} pairs")
    sizes = Counter(config.groups)
    names = sorted(sizes)
    order = [names[index] for index in torch.randperm(len(names), generator=stream).tolist()]
    # The largest first, each into the emptiest fold: folds come out about equal. Fewer folds are
    # tried while one of them has a single pair.
    order.sort(key=lambda name: -sizes[name])
    for folds in range(min(most, len(order)), 1, -1):
        filled = [0] * folds
        fold_of: dict[int, int] = {}
        for name in order:
            fold_of[name] = filled.index(min(filled))
            filled[fold_of[name]] += sizes[name]
        if min(filled) >= 2:
            return torch.tensor([fold_of[name] for name in config.groups])
    return none


def initial_probes(layers: int, width: int, config: CCSConfig) -> Tensor:
    """The start of every probe, `[layers, restarts, width + 1]`, bias last: a linear layer's
    default, as in CCS.

    Folds share a restart's start, so the fit on all pairs does not depend on their number.
    """
    start = torch.rand(
        layers, config.restarts, width + 1, generator=generator(config.seed, "ccs start")
    )
    return (2 * start - 1) / math.sqrt(width)


def _train(rows: Tensor, start: Tensor, train: Tensor, config: CCSConfig) -> Tensor:
    # AdamW works coordinate by coordinate and the losses add up, so the stacked fit equals one fit
    # per probe.
    probes = start[:, None].repeat(1, len(train), 1, 1).requires_grad_()
    weight = (train / train.sum(1, keepdim=True))[:, None]
    optimizer = torch.optim.AdamW(
        [probes], lr=config.lr, weight_decay=config.weight_decay, fused=True
    )
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
    """P's rows, then N's, normalised, with a column of ones for the bias:
    `[layers, 2 pairs, width + 1]`.
    """
    rows: Tensor = torch.stack([P, N], dim=1)
    if norm != "none":
        rows = rows - rows.mean((1, 2) if norm == "pooled" else 2, keepdim=True)
    if norm in ("pooled", "per_class"):
        rows = rows / torch.linalg.vector_norm(rows, dim=-1, keepdim=True).mean(
            (1, 2), keepdim=True
        ).clamp_min(1e-12)
    rows = rows.flatten(1, 2)
    return torch.cat([rows, rows.new_ones(*rows.shape[:2], 1)], dim=-1)

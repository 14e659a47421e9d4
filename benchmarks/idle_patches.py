"""Patches that change nothing (B = 0): what applying them costs can be told from what they do."""

from __future__ import annotations

import torch

from bench.lm.model import LM
from bench.lm.patch import LowRank, Patch
from bench.lm.tune import Tuning, fresh

EDITED = 5


def adapter(lm: LM, seed: int) -> Patch:
    """Of the shape of OPPU's: rank 8 on q and v."""
    start = fresh(lm.network, Tuning(rank=8, targets=("q_proj", "v_proj"), seed=seed))
    factors = {}
    for name, low in start.items():
        factors[name] = LowRank(low.a.detach().cpu(), torch.zeros(len(low.b), len(low.a)))
    return Patch(factors)


def edit(lm: LM, seed: int = 0) -> Patch:
    """Of the shape of CHAMELEON's: rank 2 on the `down_proj` of five layers, evenly spread, never
    the outermost.
    """
    names, modules = lm.network.mlp_outputs()[2:-1], dict(lm.network.model.named_modules())
    edited = {names[at * (len(names) - 1) // (EDITED - 1)] for at in range(EDITED)}
    stream = torch.Generator().manual_seed(seed)
    factors = {}
    for name in sorted(edited):
        a = torch.randn(2, modules[name].in_features, generator=stream)
        factors[name] = LowRank(a, torch.zeros(modules[name].out_features, 2))
    return Patch(factors)

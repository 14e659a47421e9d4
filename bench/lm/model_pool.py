"""The model of this process:
cells of a sweep that want the same model on the same base share one.
"""

from __future__ import annotations

import gc
import json
from pathlib import Path

from bench.cost.budget import Budget
from bench.lm import base as bases
from bench.lm.base import fingerprint
from bench.lm.model import LM
from bench.lm.response_cache import ResponseCache
from bench.lm.spec import ModelSpec

_held: dict[str, LM] = {}


def model(spec: ModelSpec, base: Path | None, *, budget: Budget, cache: ResponseCache) -> LM:
    """The model with the base (an artifact's path) merged into its weights, or as it is.

    The last one is kept; asking for another lets it go, so that there is never more than one in
    memory.
    """
    key = _key(spec, base)
    _let_go(but=key)
    if key not in _held:
        lm = LM(spec)
        if base is not None:
            lm.adopt(bases.load(base), fingerprint(base))
        _held[key] = lm
    _held[key].budget, _held[key].cache = budget, cache
    return _held[key]


def holds(spec: ModelSpec, base: Path | None) -> bool:
    """Whether `model` would load nothing."""
    return _key(spec, base) in _held


def adopt(lm: LM, base: Path) -> None:
    """Merge a base that was just trained on the kept model;
    from here on it is kept as the adapted one.
    """
    lm.adopt(bases.load(base), fingerprint(base))
    _held.clear()
    _held[_key(lm.spec, base)] = lm


def _let_go(*, but: str) -> None:
    """Drop every other model, and what the last cell left:
    modules that were trained refer to each other.
    """
    for key in _held.keys() - {but}:
        del _held[key]
    gc.collect()


def _key(spec: ModelSpec, base: Path | None) -> str:
    parts = [repr(spec), spec.identity(), None if base is None else fingerprint(base)]
    return json.dumps(parts, sort_keys=True)

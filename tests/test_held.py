"""Cells of one process share a model, and never another's base."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch
from conftest import tiny_lm

from bench.cost.budget import Budget
from bench.lm import model_pool
from bench.lm.model import LM
from bench.lm.patch import LowRank, Patch
from bench.lm.response_cache import ResponseCache
from bench.lm.spec import ModelSpec
from bench.lm.tune import Tuning, fresh

SPEC = ModelSpec(name="tiny", source="tiny:llama", dtype="float32", device="cpu")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    factors = fresh(tiny_lm().network, Tuning())
    patch = Patch(
        {name: LowRank(low.a.detach(), low.b.detach() + 0.1) for name, low in factors.items()}
    )
    patch.save(tmp_path / "base.safetensors")
    return tmp_path / "base.safetensors"


@pytest.fixture(autouse=True)
def _empty() -> None:
    model_pool._held.clear()


def ask(spec: ModelSpec, base: Path | None, folder: Path) -> LM:
    return model_pool.model(
        spec, base, budget=Budget(progress=False), cache=ResponseCache(folder / "a.sqlite")
    )


def test_the_same_model_is_loaded_once_with_a_budget_of_its_own(tmp_path: Path) -> None:
    first = ask(SPEC, None, tmp_path)
    budget = first.budget
    assert ask(SPEC, None, tmp_path) is first and first.budget is not budget


def test_another_model_or_base_is_another_and_the_first_is_let_go(
    base: Path, tmp_path: Path
) -> None:
    plain = ask(SPEC, None, tmp_path)
    weights = {name: value.clone() for name, value in plain.network.model.state_dict().items()}
    adapted = ask(SPEC, base, tmp_path)
    assert adapted is not plain and adapted.base != plain.base and len(model_pool._held) == 1
    assert ask(SPEC, base, tmp_path) is adapted
    again = ask(SPEC, None, tmp_path)
    assert again is not plain and all(
        torch.equal(weights[name], one) for name, one in again.network.model.state_dict().items()
    )


def test_a_model_that_refers_to_itself_is_freed_before_the_next_is_loaded(
    base: Path, tmp_path: Path
) -> None:
    gc.collect()
    gc.disable()
    try:
        plain = ask(SPEC, None, tmp_path)
        plain.itself = plain  # type: ignore[attr-defined]  # as PEFT's modules do
        there = weakref.ref(plain)
        del plain
        ask(SPEC, base, tmp_path)
        assert there() is None
    finally:
        gc.enable()


def test_a_base_trained_on_the_kept_model_takes_its_place(base: Path, tmp_path: Path) -> None:
    lm = ask(SPEC, None, tmp_path)
    model_pool.adopt(lm, base)
    assert ask(SPEC, base, tmp_path) is lm
    assert ask(SPEC, None, tmp_path) is not lm

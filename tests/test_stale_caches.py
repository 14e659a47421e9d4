"""What other code has computed or trained is not used again:
tensors, texts and bases that cells share.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from cells import CHAMELEON, TINY, run
from conftest import task_named, tiny_lm
from test_patch import random_patch
from test_stale import record, with_code
from test_tune import people
from torch import Tensor

from bench.cost.budget import Budget
from bench.disk import sources
from bench.disk.env import cache_folder
from bench.errors import InputError
from bench.lm import base as bases
from bench.lm import base_training
from methods.chameleon import directions

EDIT = "methods/chameleon/edit.py"
BEFORE = {EDIT: "a" * 12, "bench/cell/job.py": "b" * 12}
AFTER = BEFORE | {EDIT: "c" * 12}


def patches(folder: Path) -> set[str]:
    return {path.name for path in (folder / "runs").rglob("patches/*")}


def test_an_edited_method_does_not_get_its_old_patch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*TINY, *CHAMELEON, "limit=2", "protocol.group_size=8", "method.ccs.epochs=5")
    with_code(monkeypatch, BEFORE)
    assert run(*words, folder=tmp_path)[0] == 0
    first, fit = patches(tmp_path), directions.fit_directions

    def edited(*given: Any) -> dict[str, Tensor]:
        return {name: tensor.flip(-1) for name, tensor in fit(*given).items()}

    with_code(monkeypatch, AFTER, (EDIT,))
    monkeypatch.setattr(directions, "fit_directions", edited)
    code, said = run(*words, folder=tmp_path)
    assert code == 0 and "runs again" in said, said
    assert record(tmp_path)["sources"] == AFTER
    assert len(first) == 1 and not first & patches(tmp_path)


def hits(folder: Path) -> int:
    cost: Any = record(folder)["cost"]
    return sum(phase["cache_hits"] for phase in cost.values())


def test_texts_are_shared_while_the_code_that_writes_them_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*TINY, "method=llm_rec", "method.max_new_tokens=4", "limit=2", "stale=rerun")
    with_code(monkeypatch, BEFORE)
    assert run(*words, folder=tmp_path)[0] == 0
    with_code(monkeypatch, AFTER)
    assert run(*words, folder=tmp_path)[0] == 0
    assert hits(tmp_path) > 0
    with_code(monkeypatch, BEFORE)
    monkeypatch.setattr(sources, "writing", lambda _: "of another engine")
    assert run(*words, folder=tmp_path)[0] == 0
    assert hits(tmp_path) == 0


def test_the_code_that_writes_a_text_is_the_models_and_no_methods() -> None:
    files = sources._closure("bench.lm.model", "bench.lm.torch_engine").keys()
    assert {
        "bench/lm/decode.py",
        "bench/lm/model.py",
        "bench/lm/prompt_text.py",
        "bench/lm/torch_engine.py",
    } <= files
    assert not [name for name in files if name.startswith("methods")]
    assert {
        "bench/lm/base.py",
        "bench/lm/base_examples.py",
        "bench/lm/tune.py",
    } <= sources.training().keys()


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base that was trained here, its key `key`."""
    monkeypatch.setenv("LAMPLIGHT_CACHE", str(tmp_path))
    trained(monkeypatch, BEFORE)
    few = bases.BaseSpec(max_examples={"rating": 2}, tuning={"epochs": 1})
    base_training.adapt(
        tiny_lm(),
        task_named("lamp3"),
        people("lamp3", 2),
        few,
        Budget(progress=False),
        key="key",
        before=lambda: None,
    )
    return cache_folder() / "bases" / "tiny-lamp3-key.safetensors"


def trained(
    monkeypatch: pytest.MonkeyPatch, files: Mapping[str, str], edited: tuple[str, ...] = ()
) -> None:
    monkeypatch.setattr(sources, "training", lambda: files)
    monkeypatch.setattr(sources, "edited", lambda names: [name for name in names if name in edited])


def test_a_base_of_other_code_is_kept_or_trained_again_as_stale_says(
    cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stale in ("auto", "rerun", "keep", "error"):
        assert bases.find("key", stale=stale) == cached  # type: ignore[arg-type]
    mark = bases.fingerprint(cached)
    trained(monkeypatch, AFTER)
    assert bases.find("key", stale="auto") == bases.find("key", stale="keep") == cached
    assert bases.find("key", stale="rerun") is None
    with pytest.raises(
        InputError, match=rf"^{cached}: was trained with other code \({EDIT}\); stale=rerun "
    ):
        bases.find("key", stale="error")
    trained(monkeypatch, AFTER, (EDIT,))
    assert bases.find("key", stale="auto") is None
    assert bases.fingerprint(cached) == mark, "the code is no part of what a base is"


def test_a_base_that_does_not_say_its_code_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMPLIGHT_CACHE", str(tmp_path))
    path = cache_folder() / "bases" / "tiny-lamp3-key.safetensors"
    path.parent.mkdir(parents=True)
    random_patch(tiny_lm(), 0).save(path, dtype=torch.bfloat16)
    trained(monkeypatch, AFTER, (EDIT,))
    assert bases.find("key", stale="rerun") == path
    random_patch(tiny_lm(), 0).save(path, dtype=torch.bfloat16, notes={"sources": "{"})
    with pytest.raises(InputError, match=rf"^{path}: the adapted base is damaged"):
        bases.find("key", stale="auto")


def test_files_that_only_check_show_and_keep_make_nothing_stale() -> None:
    found = json.dumps(
        sorted(sources._closure("methods.oppu", "bench.cell.steps", "bench.lm.torch_engine"))
    )
    names = (
        "settings",
        "fields",
        "bounds",
        "clean",
        "shape",
        "sealed",
        "lines",
        "ledger",
        "cost",
        "whole",
        "stale",
    )
    assert not [name for name in names if f'"bench/{name}.py"' in found]
    assert "bench/lm/decode.py" in found and "bench/score/metrics.py" in found
    assert (
        sources.differing(
            {"bench/cost/ledger.py": "a", "methods/rag.py": "b"}, {"methods/rag.py": "b"}
        )
        == []
    )

"""Shared fixtures: tiny random models, tasks from their YAML;
one thread, as two processes on two cores fight.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import yaml

from bench.data.task import Task, load

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data" / "lamp"
FAMILIES = ("llama", "mistral", "qwen2", "t5")


@cache
def task_named(name: str) -> Task:
    data = yaml.safe_load((ROOT / "conf" / "task" / f"{name}.yaml").read_text(encoding="utf-8"))
    data.pop("_target_")
    return load(**data)


@pytest.fixture
def task() -> Callable[[str], Task]:
    return task_named


@cache
def tiny_lm(family: str = "llama", **changes: object):  # type: ignore[no-untyped-def]
    from bench.lm.model import LM
    from bench.lm.spec import ModelSpec

    spec = {
        "max_prompt_tokens": 8000,
        "history_tokens": 4000,
        "dtype": "float32",
        "device": "cpu",
    } | changes
    return LM(ModelSpec(name="tiny", source=f"tiny:{family}", **spec))  # type: ignore[arg-type]


@pytest.fixture(params=FAMILIES)
def any_lm(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    """Each family of tiny model in turn."""
    return tiny_lm(request.param)


@pytest.fixture
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"the real LaMP-format data is not beside the repository ({SHARED})")
    return SHARED


@pytest.fixture(autouse=True, scope="session")
def _cache_folder(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """The sample and adapted bases of this test run are its own; unpacked models are shared."""
    from bench.disk.env import cache_folder

    models = cache_folder() / "models"
    own = tmp_path_factory.mktemp("cache")
    models.mkdir(parents=True, exist_ok=True)
    (own / "models").symlink_to(models.resolve())
    old = os.environ.get("LAMPLIGHT_CACHE")
    os.environ["LAMPLIGHT_CACHE"] = str(own)
    yield
    if old is None:
        del os.environ["LAMPLIGHT_CACHE"]
    else:
        os.environ["LAMPLIGHT_CACHE"] = old


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal as wide as any table: a row is a line."""
    monkeypatch.setenv("COLUMNS", "2000")

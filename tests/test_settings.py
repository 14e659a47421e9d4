"""Every setting is checked before a model is loaded: odd values end in one line, or in a plan that can be shown."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from bench import cohort, plan, show
from bench.data import lamp
from bench.env import cache_folder
from bench.types import InputError

CONF = Path(__file__).parent.parent / "conf"
METHODS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
FEW = ("limit=2", "protocol.group_size=2")
CELLS = [
    *((f"method={name}", "task=lamp3", "model=tiny", *FEW) for name in METHODS if name != "adapter"),
    ("method=chameleon", "task=lamp7", "model=tiny", "decoding=sample", *FEW),
    ("method=pag", "task=lamp1", "model=tiny", "base=task_adapted", "base.form=profile", *FEW),
    ("method=instruct", "task=lamp2", "model=smollm2", "decoding=likelihood", "data.kind=time", "protocol=oppu"),
    ("method=majority", "task=lamp4", "model=folder", "model.name=own", "model.source=own/model", *FEW),
    ("method=rag", "task=lamp2n", "model=tiny", "protocol=activity"),
    ("method=llm_rec", "task=lamp5", "model=tiny", "protocol=efficiency"),
]
LEFT_ALONE = ("hydra", "experiment", "data.seed")  # Hydra's own; another seed writes another sample

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 128, 1.5, -0.5, 0.0, 1e-300, 1e300, math.inf, math.nan, 10**40, -(10**40),
    "", " ", "abc", "-1", "nan", "none", "auto", "~", "~nobody/x", "../../evil", "/", ".", "a/b", "x" * 5000,
    "tiny:", "tiny:gpt", "package:", "package:..", "{", "{x}", "{}", "[HISTORY]", "\x00", "\n", "\ud800", "§",
    "${seed}", "${nothing}", "???", [], [1], ["a"], ["a", None], [[]], {}, {"a": 1}, {"a": {"b": "c"}},
    {"_target_": "os.getcwd"}, {"_target_": 5},
]  # fmt: skip


@cache
def composed(words: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(words), return_hydra_config=True)


@cache
def read_once(name: str, root: Path, split: str, kind: str) -> lamp.Dataset:
    from conftest import task_named

    return lamp.read(task_named(name), root, split=split, kind=kind)  # type: ignore[arg-type]


def read(task: Any, root: Path, *, split: str, kind: str) -> lamp.Dataset:
    """Each file of the sample once; of anything else, what is really there."""
    if root.is_relative_to(cache_folder()) and split in ("train", "dev") and task.folder.startswith("LaMP"):
        return read_once(task.name, root, split, kind) if task.name.startswith("lamp") else lamp.nothing(split, "user")
    return lamp.read(task, root, split=split, kind=kind)  # type: ignore[arg-type]


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """The path of every setting and of every section of settings."""
    if path:
        yield path
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from leaves(one, f"{path}.{name}" if path else str(name))


@cache
def settings_of(words: tuple[str, ...]) -> list[str]:
    plain = OmegaConf.to_container(composed(words), resolve=False)
    return [path for path in leaves(plain) if not path.startswith(LEFT_ALONE) and not path.endswith("_target_")]


def planned(words: tuple[str, ...], path: str, value: Any) -> str | None:
    """What a dry run says of the cell with this one setting; the error's line where it is refused."""
    config = copy.deepcopy(composed(words))
    try:
        with open_dict(config):
            OmegaConf.update(config, path, value, merge=False)
    except OmegaConfBaseException:  # no configuration can hold the value
        return None
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    try:
        return show.plan_text(cohort.cohort(plan.resolve(config, read)))
    except InputError as error:
        assert str(error) and "\n" not in str(error) and len(str(error)) < 900, str(error)
        assert str(error).isprintable(), repr(str(error))
        return f"error: {error}"


def examples(count: int, phases: tuple[Phase, ...] = (Phase.generate,)) -> Callable[[Any], Any]:
    return settings(
        max_examples=count, deadline=None, derandomize=True, database=None, phases=phases,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )  # fmt: skip


@examples(250)
@given(data=st.data())
def test_an_odd_value_of_any_setting_is_a_plan_or_one_line(data: st.DataObject) -> None:
    words = data.draw(st.sampled_from(CELLS))
    path = data.draw(st.sampled_from(settings_of(words)))
    value = data.draw(st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=20))
    planned(words, path, value)


@pytest.mark.slow
@pytest.mark.parametrize("words", CELLS, ids=" ".join)
def test_every_odd_value_of_every_setting_is_a_plan_or_one_line(words: tuple[str, ...]) -> None:
    stream = random.Random("odd")
    for path in settings_of(words):
        for value in stream.sample(ODD, 12):
            planned(words, path, value)

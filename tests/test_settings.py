"""Every setting is checked before a model is loaded:
odd values end in one line, or in a plan that can be shown.
"""

from __future__ import annotations

import copy
import math
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cells import TINY, run
from conftest import task_named
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from bench.cell import cohort, plan
from bench.cli import show
from bench.data import lamp
from bench.disk.env import cache_folder
from bench.errors import InputError

CONF = Path(__file__).parent.parent / "conf"
METHODS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
FEW = ("limit=2", "protocol.group_size=2")
CELLS = [
    *(
        (f"method={name}", "task=lamp3", "model=tiny", *FEW)
        for name in METHODS
        if name != "adapter"
    ),
    ("method=chameleon", "task=lamp7", "model=tiny", "decoding=sample", *FEW),
    ("method=pag", "task=lamp1", "model=tiny", "base=task_adapted", "base.form=profile", *FEW),
    (
        "method=instruct",
        "task=lamp2",
        "model=smollm2",
        "decoding=likelihood",
        "data.kind=time",
        "protocol=oppu",
    ),
    (
        "method=majority",
        "task=lamp4",
        "model=folder",
        "model.name=own",
        "model.source=own/model",
        *FEW,
    ),
    ("method=rag", "task=lamp2n", "model=tiny", "protocol=activity"),
    ("method=llm_rec", "task=lamp5", "model=tiny", "protocol=efficiency"),
]
LEFT_ALONE = (
    "hydra",
    "experiment",
    "data.version",
    "data.seed",
)  # Hydra's own; another seed writes another sample

ODD: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    7,
    128,
    1.5,
    -0.5,
    0.0,
    1e-300,
    1e300,
    math.inf,
    math.nan,
    10**40,
    -(10**40),
    "",
    " ",
    "abc",
    "-1",
    "nan",
    "none",
    "auto",
    "~",
    "~nobody/x",
    "../../evil",
    "/",
    ".",
    "a/b",
    "x" * 5000,
    "tiny:",
    "tiny:gpt",
    "package:",
    "package:..",
    "{",
    "{x}",
    "{}",
    "[HISTORY]",
    "\x00",
    "\n",
    "\ud800",
    "§",
    "${seed}",
    "${nothing}",
    "???",
    [],
    [1],
    ["a"],
    ["a", None],
    [[]],
    {},
    {"a": 1},
    {"a": {"b": "c"}},
    {"_target_": "os.getcwd"},
    {"_target_": 5},
]


@cache
def composed(words: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(words), return_hydra_config=True)


@cache
def read_once(name: str, root: Path, split: str, kind: str) -> lamp.Dataset:
    return lamp.read(task_named(name), root, split=split, kind=kind)  # type: ignore[arg-type]


def read(task: Any, root: Path, *, split: str, kind: str) -> lamp.Dataset:
    """Each file of the sample once; of anything else, what is really there."""
    if (
        root.is_relative_to(cache_folder())
        and split in ("train", "dev")
        and task.folder.startswith("LaMP")
    ):
        return (
            read_once(task.name, root, split, kind)
            if task.name.startswith("lamp")
            else lamp.nothing(split, "user")
        )
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
    return [
        path
        for path in leaves(plain)
        if not path.startswith(LEFT_ALONE) and not path.endswith("_target_")
    ]


def planned(words: tuple[str, ...], path: str, value: Any) -> str | None:
    """What a dry run says of the cell with this one setting;
    the error's line where it is refused.
    """
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
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=phases,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


@examples(150)
@given(data=st.data())
def test_an_odd_value_of_any_setting_is_a_plan_or_one_line(data: st.DataObject) -> None:
    words = data.draw(st.sampled_from(CELLS))
    path = data.draw(st.sampled_from(settings_of(words)))
    value = data.draw(st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=20))
    said = planned(words, path, value)
    assert said is None or said.startswith(("cell ", "error: ")), said


@pytest.mark.slow
@pytest.mark.parametrize("words", CELLS, ids=" ".join)
def test_every_odd_value_of_every_setting_is_a_plan_or_one_line(words: tuple[str, ...]) -> None:
    stream = random.Random("odd")
    for path in settings_of(words):
        for value in stream.sample(ODD, 2):
            said = planned(words, path, value)
            assert said is None or said.startswith(("cell ", "error: ")), said


ONE_LINE = [
    (("budget.minutes=abc",), "budget.minutes=abc: a number above 0, or null"),
    (("budget.minutes=inf",), "budget.minutes=inf"),
    (("budget.minutes=true",), "budget.minutes=true"),
    (("window=null",), "window=null: a whole number from 128 that is a multiple of 128"),
    (("window=100",), "window=100"),
    (("shard.count=1.5",), "shard.count=1.5: a whole number"),
    (("shard.index=2",), "shard.count=4"),
    (
        ("model.device=nope",),
        "model.device=nope: choose auto, spread, cpu, mps, cuda or cuda:NUMBER",
    ),
    (("model.batch_tokens=null",), "model.batch_tokens=null: a whole number from 1"),
    (("decoding=sample", "decoding.temperature=0"), "decoding.temperature=0"),
    (
        ("method=chameleon", "method.insight_decoding.temperature=0"),
        "method.insight_decoding.temperature=0",
    ),
    (
        ("method=oppu", "method.kinds.lora.rank=0"),
        "method.kinds.lora.rank=0: a whole number from 1",
    ),
    (("method=oppu", "method.recipes.paper.batch.lamp3=0"), "method.recipes.paper.batch.lamp3=0"),
    (("method=oppu", "method.recipes.paper.batch=0"), "method.recipes.paper.batch=0"),
    (("method=dpo", "method.training.micro_batch=3"), "does not divide"),
    (("method=chameleon", "method.ccs.lr=nan"), "method.ccs.lr=nan: a number above 0"),
    (("method=chameleon", "method.ccs.conf_power=3"), "method.ccs.conf_power=3: choose 1 or 2"),
    (("task.max_new_tokens=-5",), "task.max_new_tokens=-5"),
    (("task.name=../../evil",), "task.name=../../evil: a name is of letters"),
    (("model.name=../x",), "model.name=../x: a name"),
    (("protocol.name=.hidden",), "protocol.name=.hidden: a name"),
    (("task.chameleon.personalized=5",), "task.chameleon.personalized=5"),
    (("task.lamp.item='{user}'",), "{user} is no field of an item"),
    (("~task.labels",), "task.labels is missing"),
    (("seed=true",), "seed=true: a whole number from 0"),
    (("seed=a",), "seed=a: a whole number"),
    (("seed=99999999999",), "seed=99999999999"),
    (("selection.embedder=[a]",), "selection.embedder=['a']"),
    (("results.root='~nobody-here/x'",), "~nobody-here/x"),
    (("decoding=likelihood", "task=lamp4"), "lamp4 has none"),
    (("method=majority", "method.rule=median", "task=lamp2"), "method.rule=median"),
    (("+foo=1",), "foo: no such setting"),
]


def refused(*words: str) -> str:
    """What a dry run with these words says, which has to be an error."""
    config = copy.deepcopy(composed(("model=tiny", *FEW, *words)))
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    with pytest.raises(InputError) as error:
        plan.resolve(config, read)
    return str(error.value)


@pytest.mark.parametrize(
    ("words", "said"), ONE_LINE, ids=[" ".join(words) for words, _ in ONE_LINE]
)
def test_a_wrong_setting_is_named_with_what_to_write(words: tuple[str, ...], said: str) -> None:
    assert said in refused(*words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("data.root=somewhere",), "give data=lamp too"),
        (("data=lamp", "data.root=.", "data.seed=1"), "data.seed"),
        (("decoding.top_k=5",), "decoding.rule=sample"),
        (("decoding.temperature=0.5",), "decoding.rule=sample"),
        (("adapter.path=somewhere",), "adapter.path has no effect"),
        (("method=rag", "selection.n_items=4"), "selection.n_items has no effect"),
        (("method=rag", "selection.embedder=hash"), "selection.embedder has no effect"),
        (("retriever.ranker=dense",), "retriever.ranker has no effect"),
        (("method=rag", "retriever.embedder=hash"), "retriever.ranker=dense"),
        (("method=oppu", "profile.items=3"), "profile.items has no effect"),
        (("method.history=none", "selection.n_items=4"), "selection.n_items has no effect"),
        (("base.tuning.rank=4",), "base.tuning.rank has no effect"),
        (("base=task_adapted", "profile.items=3"), "profile.items has no effect"),
        (("base=task_adapted", "base.more.lamp2=1"), "the task is lamp3"),
        (("protocol.n_test=4",), "protocol.choose=longest"),
        (("protocol.bin=1",), "protocol.choose=bin"),
        (("protocol.encoder=hash",), "protocol.least_similar"),
        (("shard.index=0",), "shard.count=4"),
        (("rules.rating=[user]",), "an experiment's"),
        (("method=chameleon", "method.draw=2"), "method.control=random_directions"),
        (("method=majority", "decoding.top_k=5"), "asks no model"),
    ],
)
def test_a_setting_without_effect_is_refused(words: tuple[str, ...], said: str) -> None:
    assert said in refused(*words)


@pytest.mark.parametrize(
    "words",
    [
        ("selection.n_items=4",),
        ("method=rag", "retriever.ranker=dense", "selection.embedder=hash"),
        ("method=oppu", "method.form=pag", "profile.items=3"),
        ("base=task_adapted", "base.form=profile", "profile.items=3"),
        # in the base's key: published cells are asked for so
        ("base=task_adapted", "base.max_examples.generation=9"),
        ("protocol=activity", "protocol.bin=1"),
        ("decoding=sample", "decoding.temperature=0.5"),
        ("method=chameleon", "method.control=random_directions", "method.draw=2"),
    ],
    ids=" ".join,
)
def test_a_setting_that_is_read_is_taken(words: tuple[str, ...]) -> None:
    config = copy.deepcopy(composed(("model=tiny", *FEW, *words)))
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    assert plan.resolve(config, read).cell.key


def test_a_sweep_shares_settings_among_its_cells_but_not_with_none(tmp_path: Path) -> None:
    code, said = run(
        "-m", "method=majority,rag", *TINY, "selection.center=none", "dry=true", folder=tmp_path
    )
    assert code == 2 and "in any other cell of this sweep" in said and said.count("\n") == 1, said
    code, said = run(
        "-m", "method=instruct,rag", *TINY, "selection.center=none", "dry=true", folder=tmp_path
    )
    assert code == 0, said


@pytest.fixture(scope="module")
def only_dev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LaMP-3 and LaMP-4 of the sample, without the fit split."""
    root = tmp_path_factory.mktemp("only dev")
    for name in ("LaMP_3", "LaMP_4"):
        whole = plan.data_root({"name": "sample", "version": 2, "seed": 0}) / name / "dev"
        shutil.copytree(whole, root / name / "dev")
    return root


@pytest.mark.parametrize(
    "words",
    [
        ("method=instruct",),
        ("method=rag",),
        ("method=pag",),
        ("method=llm_rec",),
        ("method=random_history",),
        ("method=chameleon", "method.n_layers=0"),
        ("method=majority", "task=lamp4"),
    ],
    ids=" ".join,
)
def test_a_fit_split_that_nobody_reads_need_not_be_there(
    words: tuple[str, ...], only_dev: Path
) -> None:
    config = copy.deepcopy(composed(("model=tiny", *FEW, *words)))
    config.data = {
        "name": "lamp",
        "root": str(only_dev),
        "kind": "user",
        "version": None,
        "seed": 0,
    }
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    found = plan.resolve(config)
    assert found.fitted.hash == "none" and not found.fitted.users and found.tested.users


@pytest.mark.parametrize(
    ("words", "who"),
    [
        (("method=chameleon",), "the method learns from its users"),
        (("method=majority",), "the method learns from its users"),
        (("method=random_history", "method.scope=global"), "the method learns from its users"),
        (("base=task_adapted",), "base=instruct"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_who_reads_the_fit_split_says_so_where_it_is_missing(
    words: tuple[str, ...], who: str, only_dev: Path
) -> None:
    config = copy.deepcopy(composed(("model=tiny", *FEW, *words)))
    config.data = {
        "name": "lamp",
        "root": str(only_dev),
        "kind": "user",
        "version": None,
        "seed": 0,
    }
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    with pytest.raises(InputError, match="LaMP_3/train") as error:
        plan.resolve(config)
    assert who in str(error.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.mkdir(),
        os.mkfifo,
        lambda path: path.symlink_to(path.with_name("gone")),
    ],
    ids=["folder", "pipe", "broken link"],
)
@pytest.mark.parametrize("name", ["groups.json", "LaMP_3/dev/dev_outputs.json"])
def test_what_is_no_file_does_not_count_as_none(
    make: Callable[[Path], None], name: str, only_dev: Path, tmp_path: Path
) -> None:
    shutil.copytree(only_dev / "LaMP_3", tmp_path / "LaMP_3")
    (tmp_path / name).unlink(missing_ok=True)
    make(tmp_path / name)
    with pytest.raises(InputError, match="need a file here"):
        lamp.read(task_named("lamp3"), tmp_path, split="dev", require_golds=False)


def test_a_file_in_place_of_the_data_folder_is_said(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,b")
    with pytest.raises(InputError, match="is a file: give the folder"):
        lamp.read(task_named("lamp3"), path, split="dev")

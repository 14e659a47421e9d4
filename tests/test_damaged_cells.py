"""Every JSON file that a cell leaves, damaged in turn:
a run that meets it ends with one line, with no traceback.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import pytest
from cells import MOCKED, concerned
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from bench.cell import run
from bench.disk import store
from bench.errors import InputError

ROOT = Path(__file__).parents[1]
RULE = concerned((*MOCKED, "method=majority", "base=instruct", "limit=3"))
MODEL = (
    *MOCKED,
    "task=lamp4",
    "method=instruct",
    "base=instruct",
    "limit=2",
    "protocol.group_size=2",
)
SHARDS = ("shard.count=2",)
DAMAGES = ("", "[]", '{"check": "x", "owner": {}, "content": []}')


def run_in(folder: Path, *words: str) -> run.Result:
    config = composed(words)
    config.results.root = str(folder)
    HydraConfig.instance().set_config(config)
    return run.run(config)


@cache
def composed(words: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        return compose("config", list(words), return_hydra_config=True)


def cell_in(folder: Path) -> Path:
    [samples] = folder.glob("*/*/*/config.yaml")
    return samples.parent


@pytest.mark.parametrize(
    ("words", "begun"),
    [
        pytest.param(RULE, ("shard.index=0",), id="shards"),
        pytest.param(MODEL, (), id="a model"),
    ],
)
def test_any_json_file_of_a_cell_may_be_damaged(
    words: tuple[str, ...], begun: tuple[str, ...], tmp_path: Path
) -> None:
    shards = SHARDS if begun else ()
    run_in(tmp_path / "whole", *words, *shards, *begun)
    whole = cell_in(tmp_path / "whole")
    names = sorted(str(path.relative_to(whole)) for path in whole.rglob("*.json"))
    wanted = {"shards/2/0/done.json"} if begun else {"artifacts/adapt-00000.json", "record.json"}
    assert {"artifacts/sources.json"} | wanted <= set(names)
    for number, name in enumerate(names):
        for text in DAMAGES:
            again = tmp_path / f"{number}"
            shutil.copytree(tmp_path / "whole", again)
            if name != "record.json":  # the others are asked only where it is not there
                (cell_in(again) / "record.json").unlink(missing_ok=True)
            (cell_in(again) / name).write_text(text)
            try:
                found = run_in(again, *words, *shards, *(("shard.index=1",) if begun else ()))
                assert found.record["status"] == "ok", (name, text, found.record["error"])
            except (InputError, store.StoreError) as error:
                assert (
                    Path(name).name in str(error)
                    and "delete" in str(error)
                    and "\n" not in str(error)
                )
            shutil.rmtree(again)

"""A cell whose model cannot do what the cell needs is refused before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from cells import run
from conftest import ROOT
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from bench.cell.plan import resolve
from bench.disk.store import Cell
from bench.errors import InputError

MOCK = ("model=tiny", "model._target_=mock_backend.AnsweringSpec", "model.source=tiny:mock")

NEEDS = {
    ("method=instruct",): set(),
    ("method=rag",): set(),
    ("method=pag",): set(),
    ("method=llm_rec",): set(),
    ("method=random_history",): set(),
    ("method=chameleon",): {"activations", "patches"},
    ("method=chameleon", "method.n_layers=0"): set(),
    ("method=pooled",): {"training", "patches"},
    ("method=oppu", "base.kind=instruct"): {"training", "patches"},
    ("method=dpo",): {"training", "patches"},
    ("method=aloe",): {"training", "patches"},
    ("method=instruct", "base=task_adapted"): {"training", "patches"},
    ("method=instruct", "decoding=likelihood"): {"logprobs"},
}


def planned(*words: str) -> Cell:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", [*MOCK, *words], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    try:
        return resolve(config).cell
    finally:
        HydraConfig.instance().cfg = None


@pytest.mark.parametrize("words", NEEDS)
def test_a_cell_is_refused_for_each_thing_that_its_model_cannot_do(words: tuple[str, ...]) -> None:
    if not NEEDS[words]:
        assert planned(*words).method == words[0].removeprefix("method=")
        return
    with pytest.raises(InputError) as refused:
        planned(*words)
    said = str(refused.value)
    assert words[-1] in said or words[0] in said
    assert "\n" not in said and all(need in said for need in NEEDS[words])


def test_the_command_says_so_in_one_line_and_reads_no_weights(tmp_path: Path) -> None:
    code, said = run("method=oppu", "base.kind=instruct", *MOCK, "progress=false", folder=tmp_path)
    assert code == 2
    assert len(said.strip().splitlines()) == 1
    assert said.startswith(
        "error: method=oppu needs patches, training, and model tiny can do nothing"
    )
    assert not list(tmp_path.rglob("record.json"))


def test_a_model_in_this_process_can_do_everything() -> None:
    from bench.lm.backend import ALL
    from bench.lm.spec import ModelSpec

    assert ModelSpec("tiny", "tiny:llama").can == ALL

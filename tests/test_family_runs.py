"""Methods that train, edit and export run end to end on models of awkward families."""

from __future__ import annotations

from pathlib import Path

import pytest
from cells import CHAMELEON, TINY, run
from families import FAMILIES
from test_methods import BASE_FEW, rows

from bench.data.sample import generator

METHODS = ("dpo", "instruct", "oppu", "pooled")

EDITED = ("gpt_oss", "qwen3_moe")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["gemma3_pictures", "gpt_oss", "qwen3_5", "qwen3_moe"])
def test_methods_run_on_a_family_from_the_command_line(name: str, tmp_path: Path) -> None:
    data, model = tmp_path / "lamp", tmp_path / "model"
    generator.write(data, train_users=40, dev_users=12)
    FAMILIES[name].load(model)
    words = (
        "model=folder",
        f"model.name={name}",
        f"model.source={model}",
        "model.dtype=float32",
        "model.device=cpu",
        "model.history_tokens=120",
        *TINY[1:],
        "limit=2",
        "data=lamp",
        f"data.root={data}",
        "task=lamp3",
    )
    few = ("selection.n_items=2", "protocol.group_size=3", "base=task_adapted", *BASE_FEW)
    trained = run("-m", *words, *few, "method=instruct,oppu,pooled", folder=tmp_path)
    pairs = run(*words, *few, "method=dpo", "method.quantize=none", folder=tmp_path)
    assert (trained[0], pairs[0]) == (0, 0), (trained[1], pairs[1])
    records = rows(tmp_path)
    assert sorted(method for method, _ in records) == list(METHODS)
    assert {record["status"] for record in records.values()} == {"ok"}

    # Random weights often say the same of two prompts, and so make few pairs.
    if name in EDITED:
        edited = run(*words, *CHAMELEON, "protocol.group_size=8", folder=tmp_path)
        assert edited[0] == 0, edited[1]
        facts = rows(tmp_path)["chameleon", "lamp3"]["facts"]
        assert isinstance(facts, dict) and facts["edited"]

"""Every method on every task, causal and seq2seq, from the command line;
or the refusal it promises.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cells import CHAMELEON, TINY, run
from conftest import ROOT, tiny_lm

from bench.data.sample import generator
from bench.lm.patch import LowRank, Patch
from bench.lm.peft_export import to_peft
from bench.lm.tune import Tuning, fresh, module_names

METHODS = sorted(path.stem for path in (ROOT / "conf" / "method").glob("*.yaml"))
TASKS = sorted(path.stem for path in (ROOT / "conf" / "task").glob("lamp*.yaml"))
REFUSED = {("dpo", "t5")}
BASE_FEW = tuple(
    f"base.max_examples.{kind}=6" for kind in ("rating", "classification", "generation")
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lamp")
    generator.write(root, train_users=40, dev_users=12)
    return root


def adapter(family: str, folder: Path) -> Path:
    """A PEFT adapter for the tiny model that changes something."""
    lm = tiny_lm(family)
    start = fresh(lm.network, Tuning(targets=module_names(lm, Tuning.targets)))
    patch = Patch(
        {name: LowRank(low.a.detach(), low.b.detach() + 0.1) for name, low in start.items()}
    )
    to_peft(
        patch, folder, model="tiny", task_type="SEQ_2_SEQ_LM" if lm.network.seq2seq else "CAUSAL_LM"
    )
    return folder


def rows(folder: Path) -> dict[tuple[str, str], dict[str, object]]:
    """Method and task of every record."""
    found = [json.loads(path.read_text()) for path in (folder / "runs").glob("*/*/*/record.json")]
    return {(record["cell"]["method"], record["cell"]["task"]): record for record in found}


def check(family: str, tasks: list[str], data: Path, folder: Path) -> None:
    """CHAMELEON needs more fit users than the others, for its pairs."""
    common = (
        *TINY,
        "limit=2",
        "selection.n_items=2",
        "model.history_tokens=120",
        f"model.source=tiny:{family}",
        "data=lamp",
        f"data.root={data}",
        f"task={','.join(tasks)}",
    )
    path = f"adapter.path={adapter(family, folder / 'adapter')}"
    few = (path, "protocol.group_size=3", "profile.max_new_tokens=8", *BASE_FEW)
    codes = [
        run("-m", *common, *few, "method=glob(*,exclude=chameleon)", folder=folder)[0],
        run("-m", *common, *CHAMELEON, "protocol.group_size=8", folder=folder)[0],
    ]
    found = rows(folder)
    assert set(found) == {(method, task) for method in METHODS for task in tasks}
    wrong = {name: record["error"] for name, record in found.items() if record["status"] != "ok"}
    refused = {(method, task) for method, kind in REFUSED if kind == family for task in tasks}
    assert set(wrong) == refused, wrong
    assert codes == [1 if refused else 0, 0]
    assert all("encoder-decoder" in str(error) for error in wrong.values())
    assert all(
        record["counts"]["samples"] == 2 for name, record in found.items() if name not in wrong
    )


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_every_method_runs(family: str, data: Path, tmp_path: Path) -> None:
    check(family, ["lamp3"], data, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_every_method_runs_on_every_task(family: str, data: Path, tmp_path: Path) -> None:
    check(family, TASKS, data, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_one_sweep_of_all_methods(tmp_path: Path) -> None:
    """The words a new user writes, on the embedded sample:
    defaults stand, but for what makes it long.
    """
    words = ("-m", "method=glob(*)", "task=lamp2,lamp3,lamp7", "limit=8")
    path = adapter("llama", tmp_path / "adapter")
    shorter = (
        "model=tiny",
        "model.history_tokens=30",
        "protocol.group_size=24",
        "profile.max_new_tokens=8",
        *BASE_FEW,
    )
    assert run(*words, *shorter, f"adapter.path={path}", folder=tmp_path)[0] == 0
    found = rows(tmp_path)
    assert set(found) == {
        (method, task) for method in METHODS for task in ("lamp2", "lamp3", "lamp7")
    }
    assert {(record["status"], record["counts"]["samples"]) for record in found.values()} == {
        ("ok", 8)
    }


def test_a_sweep_without_an_adapter_runs_the_other_methods(tmp_path: Path) -> None:
    code, said = run("-m", *TINY, "task=lamp3", "method=adapter,majority", folder=tmp_path)
    assert code != 0 and "adapter.path=FOLDER" in said
    assert {name for name, record in rows(tmp_path).items() if record["status"] == "ok"} == {
        ("majority", "lamp3")
    }

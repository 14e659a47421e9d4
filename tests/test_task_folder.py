"""`data=folder`: the task comes from task.yaml beside the data, and what is wrong in it is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cells import CHAMELEON, MOCKED, TINY
from cells import run as run_cell
from logs import records, write_csv

from bench.data.task_yaml import read_task
from bench.errors import InputError
from bench.ingest.__main__ import main
from bench.report.__main__ import main as report

STEPS = [f"{step / 2:g}" for step in range(2, 21)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ratings from 1 to 10 with half points, which no task of LaMP has."""
    root = tmp_path_factory.mktemp("log")
    rows = []
    for index, row in enumerate(records()):
        rows.append(row | {"stars": f"{1 + index % 19 / 2:g}"})
    path = write_csv(root / "log.csv", rows)
    assert main([str(path), "--out", str(root / "mine")]) == 0
    return root / "mine"


def edited(folder: Path, tmp_path: Path, **changes: Any) -> Path:
    """A folder with the task and these keys changed; None takes one out."""
    values = yaml.safe_load((folder / "task.yaml").read_text(encoding="utf-8"))
    values |= changes
    kept = {name: value for name, value in values.items() if value is not None}
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(kept), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "stars"}, "kind=stars: choose classification, rating or generation"),
        ({"source": None}, "source is missing"),
        ({"colour": "red"}, "colour: no such setting here"),
        ({"labels": []}, "labels=[]: a task of kind rating needs some"),
        ({"labels": ["good", "bad"]}, "labels=['good', 'bad']: ratings are numbers"),
        ({"target": "grade"}, "target=grade: no field of an item"),
        ({"max_new_tokens": "many"}, "max_new_tokens=many: a whole number"),
        ({"markers": []}, "markers: at least one text"),
        ({"lamp": {"joiner": ", "}}, "lamp.item is missing"),
        ({"name": "a/b"}, "name=a/b: a name is of letters"),
    ],
)
def test_a_mistake_in_task_yaml_is_one_line_with_its_key(
    changes: dict[str, Any], message: str, folder: Path, tmp_path: Path
) -> None:
    root = edited(folder, tmp_path, **changes)
    with pytest.raises(InputError) as caught:
        read_task(root)
    assert str(caught.value).startswith(f"{root / 'task.yaml'}: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: mine\ntitle: a: b\n", "line 2: not YAML"),
        ("", "no keys"),
        ("- name\n", "no keys"),
    ],
)
def test_a_file_that_is_no_task_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_task(tmp_path)


def cell(folder: Path, root: Path, *words: str) -> dict[str, Any]:
    """The record of a cell of this folder."""
    root.mkdir(exist_ok=True)
    code, said = run_cell("data=folder", f"data.root={folder}", *words, folder=root)
    assert code == 0, said
    [path] = (root / "runs" / "mine").glob("*/*/record.json")
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


@pytest.mark.parametrize(
    "words",
    [
        (*MOCKED, "method=majority", "method.rule=median"),
        (*MOCKED, "method=rag"),
        (*MOCKED, "method=pag", "base=instruct"),
        (*MOCKED, "method=instruct", "decoding=likelihood"),
        (*TINY, "method=oppu", "base.kind=instruct"),
        (*TINY, *CHAMELEON),
        (*TINY, "method=pooled"),
    ],
    ids=["rule", "prompt", "profile", "likelihood", "patch", "edit", "shared"],
)
def test_methods_run_on_a_task_that_only_its_folder_knows(
    words: tuple[str, ...], folder: Path, tmp_path: Path
) -> None:
    record = cell(folder, tmp_path, *words)
    assert record["status"] == "ok", record["error"]
    assert record["task"] == {"kind": "rating", "labels": STEPS}
    assert record["data"]["kind"] == "time" and record["data"]["users"] == 2
    assert 0 <= record["metrics"]["mae"]["value"] <= 9


def test_a_report_of_such_cells_needs_no_file_of_the_repository(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], wide: None
) -> None:
    for history in ("own", "none"):
        words = (*MOCKED, "method=instruct", f"protocol.history={history}")
        code, said = run_cell("data=folder", f"data.root={folder}", *words, folder=tmp_path)
        assert code == 0, said
    folders = [str(path.parent) for path in (tmp_path / "runs" / "mine").glob("*/*/record.json")]
    assert report(["--results", str(tmp_path / "runs")]) == 0
    assert report(["compare", *folders]) == 0
    said = capsys.readouterr().out
    assert "mine" in said and "mae" in said.lower()


def test_another_wording_is_another_cell(folder: Path, tmp_path: Path) -> None:
    key = cell(folder, tmp_path / "first", *MOCKED, "method=rag")["key"]
    values = yaml.safe_load((folder / "task.yaml").read_text(encoding="utf-8"))
    templates = values["chameleon"] | {"no_history": "Suppose you are somebody."}
    other = tmp_path / "other"
    other.mkdir()
    edited(folder, other, chameleon=templates)
    (other / "time").symlink_to(folder / "time")
    assert cell(other, tmp_path / "second", *MOCKED, "method=rag")["key"] != key
    assert cell(folder, tmp_path / "third", *MOCKED, "method=rag")["key"] == key


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "data=folder needs data.root=FOLDER"),
        (("data.root=nowhere",), "nowhere/task.yaml: No such file"),
        (("task=mine", "data.root=nowhere"), "task=mine: no such task"),
    ],
)
def test_a_folder_without_a_task_is_one_line(
    words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    code, said = run_cell("data=folder", *MOCKED, "method=rag", *words, folder=tmp_path)
    assert code == 2 and said.startswith("error: ") and message in said
    assert len(said.strip().splitlines()) == 1

"""A results folder is data that people share: whatever it names,
no command that reads it runs it.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cells import CHAMELEON, TINY, run
from conftest import ROOT
from made import manifest

from bench.cell.parts import PRODUCT, build
from bench.data.sample import generator
from bench.errors import InputError
from bench.export import writer
from bench.lm.spec import ModelSpec
from bench.report.__main__ import main as report

Json = dict[str, Any]


def calls(marker: Path) -> list[Json]:
    """Configurations that `instantiate` would run: each makes the marker file,
    or starts a program that does.
    """
    return [
        {"_target_": "pathlib.Path.touch", "self": str(marker)},
        {"_target_": "os.system", "command": f"touch {marker}"},
        {"_target_": "subprocess.run", "_args_": [["touch", str(marker)]]},
        {
            "_target_": "bench.disk.store.write_json",
            "path": {"_target_": "pathlib.Path", "_args_": [str(marker)]},
            "value": 1,
        },
        {
            "_target_": "methods.rag.RAG",
            "_partial_": True,
            "retriever": {"_target_": "os.system", "command": "true"},
        },
        {"_target_": ["os", "system"]},
        {"_target_": 7},
    ]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    root = tmp_path_factory.mktemp("data") / "lamp"
    generator.write(root, train_users=60, dev_users=12)
    return (*TINY, "data=lamp", f"data.root={root}", *CHAMELEON)


@pytest.fixture(scope="module")
def finished(words: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of results with one finished cell that has a patch."""
    folder = tmp_path_factory.mktemp("finished")
    code, said = run(*words, folder=folder)
    assert code == 0, said
    return folder / "runs"


@pytest.fixture
def runs(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "runs"))


def cell_in(runs: Path) -> Path:
    [record] = runs.glob("*/*/*/record.json")
    return record.parent


def changed(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def poisoned(value: Any, call: Json) -> Any:
    """The same JSON with a call beside every value of every object."""
    if isinstance(value, Mapping):
        return {name: poisoned(part, call) for name, part in value.items()} | call | {"extra": call}
    return [poisoned(part, call) for part in value] if isinstance(value, list) else value


def beside(record: Json, call: Json) -> Json:
    """A record with calls where it may say anything, that is still whole."""
    free = {name: poisoned(record[name], call) for name in ("config", "environment")}
    return record | free | {"cell": record["cell"] | {"extra": call}, "extra": call}


def test_the_table_holds_what_the_products_own_configuration_names_and_nothing_else() -> None:
    text = "".join(
        path.read_text() for path in (ROOT / "conf").rglob("*.yaml") if "hydra" not in path.parts
    )
    # Hydra's own: never recorded
    named = set(re.findall(r"_target_: (\S+)", text)) - {"bench.sweep.launch.Jobs"}
    assert named == PRODUCT


@pytest.mark.parametrize("section", ["model", "task", "method", "decoding"])
def test_an_export_runs_nothing_that_a_cell_names(
    section: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell, marker, out = cell_in(runs), tmp_path / "marker", tmp_path / "out"
    original = (cell / "config.yaml").read_text()
    for call in calls(marker):
        for put in (
            lambda part, call=call: call,
            lambda part, call=call: part | {"select": call, "extra": call},
        ):
            changed(
                cell / "config.yaml",
                lambda config, put=put: config | {section: put(config[section])},
            )
            assert writer.main([str(cell), str(out)]) == 2
            said = capsys.readouterr().err
            assert said.startswith("bench.export: ") and said.count("\n") == 1, said
            assert not marker.exists() and not out.exists()
            (cell / "config.yaml").write_text(original)
    assert writer.main([str(cell), str(out)]) == 0


@pytest.mark.parametrize("name", ["record.json", "config.yaml"])
def test_an_export_of_a_cell_with_missing_or_odd_values_is_one_line(
    name: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell, out = cell_in(runs), tmp_path / "out"
    original = json.loads((cell / name).read_text())
    used = {
        "record.json": ("key", "status", "cell", "model"),
        "config.yaml": ("model", "task", "method", "protocol"),
    }
    for key in used[name]:
        for odd in (None, [], "x", {"a": 1}):
            (cell / name).write_text(json.dumps(original | {key: odd}))
            code = writer.main([str(cell), str(out)])
            said = capsys.readouterr().err
            assert code == 2 or (key, odd) == ("key", "x")
            assert said.count("\n") == (1 if code else 0), said
            shutil.rmtree(out, ignore_errors=True)


@pytest.mark.parametrize("which", range(7))
def test_no_reader_runs_what_a_results_folder_names(
    which: int,
    runs: Path,
    tmp_path: Path,
    words: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    cell, marker = cell_in(runs), tmp_path / "marker"
    other = Path(
        shutil.copytree(cell, cell.parent / f"{int(cell.name[:8], 16) ^ 1:08x}{cell.name[8:]}")
    )
    changed(other / "record.json", lambda record: record | {"key": other.name})
    manifest(runs, "controls", "chameleon", {"task": "lamp3", "seed": 0}, other, scale="laptop")
    call = calls(marker)[which]
    page = str(tmp_path / "page.html")
    commands = (
        [],
        ["compare", str(cell), str(other)],
        ["power", str(cell), str(other), "--effect", ".1"],
        ["page", page],
        ["controls"],
        ["controls", "--scale", "laptop", "--format", "html"],
    )
    for path in [
        *runs.rglob("record.json"),
        *runs.rglob("config.yaml"),
        *runs.glob("experiments/**/*.json"),
    ]:
        changed(
            path,
            lambda value, path=path: (
                beside(value, call) if path.name == "record.json" else value | call
            ),
        )
    for command in commands:  # understood: what a record leaves free is read past
        assert report([*command, "--results", str(runs)]) == 0, (command, capsys.readouterr().err)
    for path in [*runs.rglob("*.json"), *runs.rglob("config.yaml")]:
        changed(path, lambda value: poisoned(value, call))
    (cell / "config.yaml").write_text(f"!!python/object/apply:os.system ['touch {marker}']\n")
    # and refused in one line where it is damage; any exception is a traceback
    for command in commands:
        assert report([*command, "--results", str(runs)]) in (0, 2), command
    for one in (cell, other):
        assert writer.main([str(one), str(tmp_path / "out")]) == 2
    assert not marker.exists()
    capsys.readouterr()
    # the command line reads records, artifacts and manifests as JSON, whatever they name
    if which == 0:
        goes_on(cell, words, tmp_path)
    assert not marker.exists()


def goes_on(cell: Path, words: tuple[str, ...], folder: Path) -> None:
    """The plan of the cell, and the cell again with artifacts that somebody has changed."""
    for without in (False, True):
        if without:
            (cell / "record.json").unlink()
        for more in (("dry=true",), ()):
            code, said = run(*words, *more, folder=folder)
            assert code in (0, 1, 2) and "Traceback" not in said, said


def test_a_plug_ins_method_is_built_when_its_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_package.py").write_text(
        "from dataclasses import dataclass\n"
        "from pathlib import Path\n"
        "from bench.method import Method\n"
        "from bench.types import Request\n\n\n"
        "@dataclass(frozen=True)\n"
        "class Theirs(Method):\n"
        "    k: int = 1\n\n"
        "    def request(self, task, user, query, personal):\n"
        "        return Request(task.render(query, user.history[: self.k]))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    config = {"_target_": "their_package.Theirs", "k": 3}
    with pytest.raises(InputError, match="--plugin PACKAGE"):
        build(config, "config.yaml: method")
    assert build(config, "config.yaml: method", ["their_package"]).k == 3
    with pytest.raises(InputError, match="no method class"):
        build({"_target_": "their_package.Path"}, "config.yaml: method", ["their_package"])
    with pytest.raises(InputError, match="cannot find"):
        build({"_target_": "their_package.Nothing"}, "config.yaml: method", ["their_package"])


@pytest.mark.parametrize(
    "source", ["package:os.path", "package:a b", "package:", "package:x'); import os; ('"]
)
def test_a_package_is_named_plainly(source: str) -> None:
    with pytest.raises(InputError, match="the plain name of a Python package"):
        ModelSpec("x", source)

"""Answers of other code: a cell knows the files that made it, and `stale=` says what becomes of it
when they change.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from cells import MOCKED, run

from bench.disk import env, json_lines, sources

WORDS = (*MOCKED, "method=majority", "base=instruct", "limit=3")
HERE = {"methods/majority.py": "a" * 12, "bench/cell/job.py": "b" * 12}


def with_code(
    monkeypatch: pytest.MonkeyPatch, files: Mapping[str, str], edited: tuple[str, ...] = ()
) -> None:
    """The code as these hashes say it is; `edited`: what git shows as changed."""
    monkeypatch.setattr(sources, "of", lambda *_: files)
    monkeypatch.setattr(sources, "edited", lambda names: [name for name in names if name in edited])


def record(folder: Path) -> dict[str, object]:
    [path] = (folder / "runs").rglob("record.json")
    found: dict[str, object] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize(
    ("policy", "edited", "code", "told"),
    [
        (
            "auto",
            False,
            0,
            "(was done with other code: methods/majority.py; stale=rerun runs it again)",
        ),
        ("auto", True, 0, "runs again, as its code has changed"),
        ("rerun", False, 0, "runs again, as its code has changed"),
        ("keep", True, 0, "(was done with other code: methods/majority.py"),
        (
            "error",
            False,
            2,
            "was done with other code (methods/majority.py); stale=rerun makes it again",
        ),
    ],
)
def test_a_finished_cell_of_other_code_is_told_apart(
    policy: str, edited: bool, code: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "methods/majority.py"
    with_code(monkeypatch, HERE)
    assert run(*WORDS, folder=tmp_path)[0] == 0
    assert record(tmp_path)["sources"] == HERE
    assert "(was done)" in run(*WORDS, f"stale={policy}", folder=tmp_path)[1]
    with_code(monkeypatch, HERE | {name: "c" * 12}, (name,) if edited else ())
    got, said = run(*WORDS, f"stale={policy}", folder=tmp_path)
    assert got == code and told in said and "Traceback" not in said, said
    again = "runs again" in told
    assert record(tmp_path)["sources"] == (HERE | {name: "c" * 12} if again else HERE)


def test_a_record_that_does_not_say_its_code_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_code(monkeypatch, HERE)
    assert run(*WORDS, folder=tmp_path)[0] == 0
    [path] = (tmp_path / "runs").rglob("record.json")
    path.write_text(
        json.dumps({name: value for name, value in record(tmp_path).items() if name != "sources"})
    )
    with_code(monkeypatch, HERE | {"methods/majority.py": "c" * 12}, ("methods/majority.py",))
    assert "(was done)" in run(*WORDS, folder=tmp_path)[1]


@pytest.mark.parametrize(("policy", "kept"), [("rerun", False), ("keep", True)])
def test_a_half_done_cell_of_other_code_is_the_same_kind(
    policy: str, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_code(monkeypatch, HERE)
    assert run(*WORDS, folder=tmp_path)[0] == 0
    [path] = (tmp_path / "runs").rglob("record.json")
    path.unlink()
    cell = path.parent
    first = (cell / "samples.jsonl").read_text().splitlines()[0]
    changed = json.loads(first) | {"raw": "an answer of the code before"}
    (cell / "samples.jsonl").write_text(
        json_lines.sealed({name: changed[name] for name in changed if name != "check"})
    )
    now = HERE | {"bench/cell/job.py": "c" * 12}
    with_code(monkeypatch, now)
    code, said = run(*WORDS, f"stale={policy}", folder=tmp_path)
    assert code == 0, said
    assert ("of the code before" in (cell / "samples.jsonl").read_text()) is kept
    assert ("goes on with other code than it began with: bench/cell/job.py" in said) is kept
    found = record(tmp_path)
    assert found["sources"] == now and found["sources_mixed"] == (
        ["bench/cell/job.py"] if kept else []
    )


def test_the_files_are_those_that_are_imported_and_none_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "plugin_of_mine"
    (package / "parts").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('it was run')\n")
    (package / "method.py").write_text(
        "import json\nfrom .parts import words\nfrom methods.rag import RAG\n"
    )
    (package / "parts" / "__init__.py").write_text("")
    (package / "parts" / "words.py").write_text(
        "def later():\n    from plugin_of_mine import more\n"
    )
    (package / "more.py").write_text("")
    (package / "unused.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = sources._closure("plugin_of_mine.method", "bench.cell.steps", "bench.lm.torch_engine")
    own = {name for name in found if name.startswith("plugin_of_mine/")}
    assert own == {
        f"plugin_of_mine/{name}"
        for name in ("__init__.py", "method.py", "parts/__init__.py", "parts/words.py", "more.py")
    }
    assert {
        "methods/rag.py",
        "bench/lm/decode.py",
        "bench/cell/job.py",
        "bench/score/metrics.py",
    } <= found.keys()
    assert not {"methods/oppu.py", "bench/disk/store.py", "bench/cli/show.py"} & found.keys()
    assert not any(str(tmp_path) in name for name in found)


def git(folder: Path, *words: str) -> None:
    own = ("-c", "user.name=n", "-c", "user.email=e", "-c", "init.defaultBranch=main")
    subprocess.run(("git", *own, *words), cwd=folder, check=True, capture_output=True)


def test_what_git_shows_as_changed_or_untracked_is_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "plugin_in_git"
    package.mkdir()
    for name in ("kept", "changed"):
        (package / f"{name}.py").write_text("one = 1\n")
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    names = [f"plugin_in_git/{name}.py" for name in ("kept", "changed", "new")]
    assert sources.edited(names) == []  # no git at all
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    (package / "changed.py").write_text("one = 2\n")
    (package / "new.py").write_text("one = 1\n")
    assert sources.edited(names) == sorted(names[1:])


def test_a_file_that_git_does_not_track_makes_the_code_dirty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bench/disk", "methods", "conf", "hydra_plugins"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "env.py").write_text("")
    monkeypatch.setattr(env, "__file__", str(tmp_path / "bench" / "disk" / "env.py"))
    git(tmp_path, "init")
    assert env._git.__wrapped__() is None  # this repository does not hold the code
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    (tmp_path / "notes.txt").write_text("no code")
    assert (env._git.__wrapped__() or {})["dirty"] is False
    (tmp_path / "methods" / "recent.py").write_text("")
    assert (env._git.__wrapped__() or {})["dirty"] is True


def test_looking_for_the_files_loads_nothing_heavy() -> None:
    look = "from bench.disk import sources\nsources._closure('methods.oppu', 'bench.cell.steps')\n"
    code = f"import sys\n{look}print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

"""`python -m bench.new method NAME`: what it writes passes as it is, and it writes over nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from bench import new
from bench.errors import InputError


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what a new method needs; the harness itself is linked."""
    root = tmp_path / "checkout"
    for folder in ("methods", "conf"):
        shutil.copytree(ROOT / folder, root / folder)
    (root / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "conftest.py", root / "tests" / "conftest.py")
    (root / "tests" / "test_taken.py").touch()
    for name in ("bench", "hydra_plugins", "pyproject.toml"):
        (root / name).symlink_to(ROOT / name)
    return root


def command(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(root), "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, *words], cwd=root, env=environment, capture_output=True, text=True
    )


def test_the_files_of_a_new_method_pass_as_they_are(checkout: Path) -> None:
    done = command(checkout, "-m", "bench.new", "method", "my_idea")
    assert done.returncode == 0, done.stderr
    for name in ("methods/my_idea.py", "conf/method/my_idea.yaml", "tests/test_my_idea.py"):
        assert f"wrote {name}" in done.stdout and (checkout / name).is_file()

    tested = command(checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert tested.returncode == 0, tested.stdout
    assert "4 passed" in tested.stdout.splitlines()[-1]


def test_the_files_of_a_new_method_are_formatted_and_typed_as_the_house_is(checkout: Path) -> None:
    paths = [str(path) for path in new.write("my_idea", checkout) if path.suffix == ".py"]
    for words in (("ruff", "check"), ("ruff", "format", "--check")):
        done = command(checkout, "-m", *words, *paths)
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_it_writes_fails_where_the_method_shows_other_items(checkout: Path) -> None:
    method, *_ = new.write("my_idea", checkout)
    source = method.read_text(encoding="utf-8")
    method.write_text(source.replace("[-self.k :]", "[: self.k]"), encoding="utf-8")
    tested = command(checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert tested.returncode == 1 and "1 failed, 3 passed" in tested.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("rag", "a method of this name exists"),
        ("llmrec", "cannot be told from llm_rec"),
        ("oppu", "a method of this name exists"),
        ("My_Idea", "small letters, digits and _"),
        ("my-idea", "small letters, digits and _"),
        ("7b", "small letters, digits and _"),
        ("_idea", "small letters, digits and _"),
        ("idea_", "small letters, digits and _"),
        ("../idea", "small letters, digits and _"),
        ("", "small letters, digits and _"),
        ("class", "a word of Python"),
        ("none", "a word of Python"),
        ("null", "a word of Python or of the command line"),
        ("task", "there is a class Task already"),
        ("sequence", "there is a class Sequence already"),
        ("item", "there is a class Item already"),
        ("taken", "tests/test_taken.py exists"),
    ],
)
def test_a_name_that_cannot_be_a_method_is_refused_and_nothing_is_written(
    name: str, problem: str, checkout: Path
) -> None:
    before = sorted(checkout.rglob("*"))
    with pytest.raises(InputError, match=problem):
        new.write(name, checkout)
    assert sorted(checkout.rglob("*")) == before


def test_a_mistake_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["method", "rag"], ["method"], ["task", "lamp9"], ["method", "a", "b"]):
        assert new.main(words) == 2
        problem = capsys.readouterr().err
        assert problem.startswith("bench.new: ") and problem.count("\n") == 1


def test_an_installed_package_without_tests_is_no_place_for_a_method(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkout of Lamplight"):
        new.write("my_idea", tmp_path)


def test_help_says_what_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert new.main(["--help"]) == 0 and "tests/test_NAME.py" in capsys.readouterr().out
    assert new.main([]) == 2

"""The seam between the harness and the engines: whatever answers prompts can stand behind a cell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cells import MOCKED, concerned, run
from conftest import ROOT
from mock_backend import MockBackend, MockSpec

from bench.cost.budget import Budget
from bench.errors import InputError
from bench.lm.backend import Backend
from bench.lm.model import LM
from bench.lm.response_cache import ResponseCache
from bench.types import Message, Request

WITHOUT_TORCH = """
import runpy, sys

class NoTorch:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(f"no {name} here")

sys.meta_path.insert(0, NoTorch())
runpy.run_module("bench", run_name="__main__", alter_sys=True)
"""
ANSWERING = tuple(word.replace("MockSpec", "AnsweringSpec") for word in MOCKED)
SPEC = MockSpec("mock", "tiny:mock")


def record(folder: Path) -> dict[str, Any]:
    [path] = (folder / "runs").glob("*/*/*/record.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def requests(*texts: str) -> list[Request]:
    return [Request((Message("user", (text,)),)) for text in texts]


@pytest.mark.parametrize("words", [("method=pag", "task=lamp5"), ("method=instruct", "task=lamp3")])
def test_a_cell_runs_in_a_process_that_cannot_import_torch(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    command = [*concerned((*MOCKED, *words)), f"results.root={tmp_path / 'runs'}"]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *command],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = record(tmp_path)
    assert found["status"] == "ok" and found["counts"]["samples"] == 10
    assert {"nll_label", "nll_token"} & found["metrics"].keys()


@pytest.mark.parametrize(("task", "metric"), [("lamp3", "nll_label"), ("lamp5", "nll_token")])
def test_without_log_probabilities_their_metric_is_absent_and_the_record_says_why(
    task: str, metric: str, tmp_path: Path
) -> None:
    assert run(*ANSWERING, "method=rag", f"task={task}", folder=tmp_path)[0] == 0
    found = record(tmp_path)
    assert found["status"] == "ok" and metric not in found["metrics"]
    assert found["metrics_absent"] == {metric: "model tiny gives no log-probabilities"}


def test_the_mock_is_a_backend_and_has_no_weights() -> None:
    backend: Backend = MockBackend(SPEC)
    lm = LM(SPEC, backend=backend)
    with pytest.raises(InputError, match="its weights are not in this process"):
        _ = lm.network
    assert type(LM(SPEC).backend) is MockBackend, "by the name of its engine"


def test_of_independent_answers_only_those_that_are_missing_are_asked_for(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "answers.sqlite")
    lm = LM(SPEC, cache=cache, budget=Budget(progress=False))
    asked: list[int] = []
    answer = lm.backend.answer

    def counted(prompts: Any, *rest: Any) -> Any:
        asked.append(len(prompts))
        return answer(prompts, *rest)

    lm.backend.answer = counted  # type: ignore[method-assign]
    first = lm.answers(requests("a", "b"), max_new_tokens=4)
    again = lm.answers(requests("b", "c", "a"), max_new_tokens=4)
    assert asked == [2, 1] and cache.hits == 2
    assert [again[2], again[0]] == first and len({one.text for one in again}) == 3


def test_what_is_done_is_not_asked_for_again_if_answers_are_independent() -> None:
    lm = LM(SPEC)
    found: dict[int, Any] = {}
    for batch in lm.generate(requests("a", "b", "c"), max_new_tokens=4, done=lambda row: row == 1):
        found |= batch.results
    assert sorted(found) == [0, 2]

"""The prompt of a question is put together once in a cell, whoever needs it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from test_damaged_cells import MODEL, cell_in, run_in

from bench.disk import files
from methods.instruct import Instruct


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the request of each question is built, by its id."""
    counts: Counter[str] = Counter()
    request = Instruct.request

    def counted(self: Instruct, task: Any, user: Any, query: Any, personal: Any) -> Any:
        counts[query.id] += 1
        return request(self, task, user, query, personal)

    monkeypatch.setattr(Instruct, "request", counted)
    return counts


def test_each_request_of_a_cell_is_built_once(built: Counter[str], tmp_path: Path) -> None:
    record = run_in(tmp_path, *MODEL).record
    assert record["status"] == "ok" and "nll_token" in record["metrics"]
    assert len(built) == record["counts"]["samples"] > 1
    assert set(built.values()) == {1}


def test_a_cell_that_goes_on_builds_once_what_answers_and_golds_need(
    built: Counter[str], tmp_path: Path
) -> None:
    run_in(tmp_path, *MODEL)
    folder = cell_in(tmp_path)
    samples = folder / "samples.jsonl"
    lines = samples.read_bytes().splitlines(keepends=True)
    samples.write_bytes(b"".join(lines[:1]))
    for path in [*folder.glob("artifacts/nll-*.json"), folder / "record.json"]:
        files.remove(path)
    built.clear()

    record = run_in(tmp_path, *MODEL).record
    assert record["counts"]["samples"] == len(lines)
    assert set(built.values()) == {1}

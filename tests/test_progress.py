"""Progress on a plain stream: a line every so often, also while one batch takes long."""

from __future__ import annotations

import io
import sys
import time

import pytest
from conftest import tiny_lm

from bench.cost.budget import Budget
from bench.terminal import progress
from bench.types import Decoding, Message, Request


def test_a_log_gets_a_line_now_and_then_while_a_batch_is_in_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.02)
    monkeypatch.setattr(sys, "stderr", said := io.StringIO())
    budget = Budget()
    with budget.phase("generate", total=8) as bar:
        bar.advance(2)
        budget.within(3)
        time.sleep(0.07)
    lines = said.getvalue().splitlines()
    assert len(lines) >= 3 and lines[0].split()[:2] == ["generate", "5/8"] and "s left" in lines[0]
    with budget.phase("load"):
        time.sleep(0.05)
    assert "load  for 0 s" in said.getvalue()
    so_far = said.getvalue()
    time.sleep(0.05)
    assert said.getvalue() == so_far, "no line comes when nothing is open"


def test_without_progress_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.01)
    monkeypatch.setattr(sys, "stderr", said := io.StringIO())
    with Budget(progress=False).phase("generate", total=8) as bar:
        bar.advance(2)
        time.sleep(0.03)
    assert said.getvalue() == ""


def test_progress_moves_while_a_batch_is_read_and_written(monkeypatch: pytest.MonkeyPatch) -> None:
    lm, steps = tiny_lm(), list[float]()
    monkeypatch.setattr(lm.budget, "within", steps.append)
    requests = [Request((Message("user", (f"Say {number}.",)),)) for number in range(4)]
    done = list(lm.generate(requests, max_new_tokens=6, decoding=Decoding()))
    assert sum(map(len, done)) == 4
    assert len(steps) >= 2 and steps == sorted(steps) and 0 < steps[0] <= 2 and steps[-1] <= 4

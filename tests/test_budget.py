"""Phases add up, nested ones do not count twice,
and the limit is enforced on what is the method's own.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time

import pytest

from bench.cost.bill import Bill
from bench.cost.budget import Budget
from bench.errors import OverBudget


def test_nested_phases_do_not_count_twice() -> None:
    budget = Budget(progress=False)
    before = time.monotonic()
    with budget.phase("fit"):
        time.sleep(0.02)
        with budget.phase("pairs"):
            budget.count(tokens_in=3)
            time.sleep(0.05)
        budget.count(tokens_in=4)
    total = time.monotonic() - before
    costs = budget.report()
    assert sum(float(cost["seconds"] or 0) for cost in costs.values()) == pytest.approx(
        total, abs=5e-3
    )
    assert costs["pairs"]["tokens_in"] == 3 and costs["fit"]["tokens_in"] == 4
    assert float(costs["pairs"]["seconds"] or 0) >= 0.05 > float(costs["fit"]["seconds"] or 0)


def test_the_limit_is_on_fitting_not_on_loading_or_answering() -> None:
    budget = Budget(minutes=0.01 / 60, progress=False)
    for name in ("load", "base", "generate", "score"):
        with budget.phase(name):
            time.sleep(0.02)
            budget.check()
    with budget.phase("fit"):
        time.sleep(0.02)
        with pytest.raises(OverBudget, match="past its budget"):
            budget.check()


def test_an_interrupted_run_keeps_what_it_had_spent() -> None:
    first = Budget(progress=False)
    with first.phase("pairs"):
        time.sleep(0.03)
    second = Budget(minutes=0.02 / 60, progress=False)
    second.add(Bill(first.bill().phases, 0.0))
    assert second.left() > 0  # what was interrupted starts again, with its time
    second.add(Bill(limited=first.limited))
    assert second.left() < 0
    assert second.report()["pairs"]["seconds"] == first.report()["pairs"]["seconds"]


def test_bars_of_nested_phases_share_one_display() -> None:
    """Two displays on one terminal erase each other's lines:
    one alone hides and shows the cursor, once.
    """
    code = (
        "import time; from bench.cost.budget import Budget; budget = Budget()\n"
        "with budget.phase('fit'):\n"
        "    for _ in range(2):\n"
        "        with budget.phase('pairs', total=3) as bar:\n"
        "            bar.advance(3); time.sleep(0.25)\n"
    )
    terminal, stderr = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-c", code], stderr=stderr, env=os.environ | {"TERM": "xterm"}
    )
    os.close(stderr)
    said = b""
    try:
        while part := os.read(terminal, 1 << 16):
            said += part
    except OSError:  # the other end is closed
        pass
    assert done.wait() == 0
    assert said.count(b"\x1b[?25l") == said.count(b"\x1b[?25h") == 1
    last = said.rpartition(b"\x1b[2K")[0].rpartition(b"fit")[2] + said.rpartition(b"\x1b[2K")[2]
    assert b"pairs" in last and b"3/3" in last, (
        "the last frame has both lines, the second phase of a name on the first's"
    )

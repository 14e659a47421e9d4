"""The published cells are cells of today's code: their commands find them done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

COMMON = (
    "data=lamp",
    "model.history_tokens=320",
    "model.batch_tokens=6144",
    "dry=true",
    "results.root=results/published",
)
CELLS = {
    "lamp3": ("limit=60", "protocol.group_size=120", "base.max_examples.rating=400"),
    "lamp2": ("limit=60", "protocol.group_size=120", "base.max_examples.classification=480", "base.more.lamp2=1"),
    "lamp4": ("limit=40", "protocol.group_size=40", "base.max_examples.generation=240"),
}
METHODS = (
    ("method=instruct", "protocol.history=other"),
    ("method=chameleon",),
    ("method=chameleon", "method.require_below_null=false", "method.control=random_directions", "method.draw=3"),
)


@pytest.mark.parametrize("words", METHODS, ids=" ".join)
@pytest.mark.parametrize("task", CELLS)
def test_a_published_cell_is_found_done(task: str, words: tuple[str, ...], shared_data: Path) -> None:
    """If this fails, a key has changed: leave what is new out of it at its default, or publish the cells again."""
    own = (f"data.root={shared_data}", f"task={task}", *CELLS[task], *words)
    command = [sys.executable, "-m", "bench", *COMMON, *own]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "(done)" in done.stdout.splitlines()[0]

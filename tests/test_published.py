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
    "lamp2": (
        "limit=60",
        "protocol.group_size=120",
        "base.max_examples.classification=480",
        "base.more.lamp2=1",
    ),
    "lamp4": ("limit=40", "protocol.group_size=40", "base.max_examples.generation=240"),
}
OPPUS = ("task=lamp4", "data.kind=time", "limit=4", "base.max_examples.generation=160", "leak=drop")
OF_OPPU = (
    ("method=instruct", "method.history=none", "base.form=plain"),
    ("method=rag", "method.k=2"),
    ("method=pag", "method.k=0", "base.form=profile", "base.n_items=0"),
)  # those of OPPU itself are of before it learnt items with their line breaks
FEW = (
    "task=lamp7",
    "limit=24",
    "base.max_examples.rating=480",
    "base.max_examples.classification=480",
    "base.max_examples.generation=320",
)
OF_ALL = (
    ("method=random_history",),
    ("method=rag",),
    ("method=pag",),
    ("method=llm_rec",),
    *((f"method={name}", "protocol.group_size=24") for name in ("pooled", "aloe", "dpo")),
)
METHODS = (
    ("method=instruct", "protocol.history=other"),
    ("method=chameleon", "method.insight_neutral=shared"),  # as all published ones
    (
        "method=chameleon",
        "method.insight_neutral=shared",
        "method.require_below_null=false",
        "method.control=random_directions",
        "method.draw=3",
    ),
)


@pytest.mark.parametrize("words", METHODS, ids=" ".join)
@pytest.mark.parametrize("task", CELLS)
def test_a_published_cell_is_found_done(
    task: str, words: tuple[str, ...], shared_data: Path
) -> None:
    assert found_done(shared_data, f"task={task}", *CELLS[task], *words)


@pytest.mark.parametrize("words", OF_OPPU, ids=" ".join)
def test_a_published_cell_of_oppus_rows_is_found_done(
    words: tuple[str, ...], shared_data: Path
) -> None:
    assert found_done(shared_data, *OPPUS, *words)


@pytest.mark.parametrize("words", OF_ALL, ids=" ".join)
def test_a_published_cell_of_every_method_is_found_done(
    words: tuple[str, ...], shared_data: Path
) -> None:
    assert found_done(shared_data, *FEW, *words)


def found_done(data: Path, *words: str) -> bool:
    """If this fails, a key has changed: leave what is new out of it at its default,
    or publish the cells again.
    """
    command = [sys.executable, "-m", "bench", *COMMON, f"data.root={data}", *words]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return "(done)" in done.stdout.splitlines()[0]

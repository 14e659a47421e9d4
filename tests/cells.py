"""Run `python -m bench ...` in a forked child: as real as a new process,
without importing torch again.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from mock_backend import MOCK

TINY = (
    "model=tiny",
    "selection.embedder=hash",
    "selection.n_items=4",
    "progress=false",
    "limit=10",
    "protocol.group_size=14",
)
MOCKED = (*MOCK, *TINY[1:])
"""TINY on a model without weights: for what needs no arithmetic. It never imports torch."""
CHAMELEON = (
    "method=chameleon",
    "method.min_pairs=4",
    "method.require_below_null=false",
    "method.ccs.epochs=40",
    "method.ccs.restarts=3",
    "method.ccs.folds=2",
)
BASE = (
    "base=task_adapted",
    "base.max_examples.rating=24",
    "base.tuning.batch=4",
)


READS_NO_SELECTION = ("majority", "random_history", "rag", "pag", "oppu")


def concerned(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words without those of TINY and MOCK that none of the methods reads: they would be
    refused.
    """
    methods = next(
        (word.partition("=")[2] for word in reversed(words) if word.startswith("method=")),
        "instruct",
    )
    if methods == "majority":  # asks no model
        words = tuple(word for word in words if word not in MOCK[1:])
    if (
        not set(methods.split(",")) <= set(READS_NO_SELECTION)
        and "method.history=none" not in words
    ):
        return words
    return tuple(word for word in words if word not in TINY or not word.startswith("selection."))


def start(
    words: tuple[str, ...], *, output: Path, environment: dict[str, str] | None = None
) -> int:
    """The pid of a child that runs the command, its output in a file."""
    if not set(MOCK) <= set(words):
        _imported()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.environ.update(environment or {})
        if (held := sys.modules.get("bench.lm.model_pool")) is not None:
            held._held.clear()  # a new process has no model of a test that ran a cell in this one
        with output.open("ab", buffering=0) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["bench", *concerned(words)]
        for name in [
            name
            for name in sys.modules
            if name == "bench.__main__" or name.startswith("hydra.core.global")
        ]:
            del sys.modules[name]
        runpy.run_module("bench", run_name="__main__", alter_sys=True)
        os._exit(0)
    except SystemExit as stop:
        sys.stdout.flush()
        os._exit(stop.code if isinstance(stop.code, int) else 1)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(99)


@cache
def _imported() -> None:
    """The parent pays for the imports, once."""
    from rouge_score import rouge_scorer

    from bench.lm.load import tiny

    rouge_scorer.RougeScorer(["rouge1"])
    for family in ("llama", "mistral", "qwen2", "t5"):
        tiny(family)


def run(
    *words: str,
    folder: Path,
    kill_after: float | None = None,
    kill_when: Callable[[], object] | None = None,
    with_signal: int = signal.SIGKILL,
    environment: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Exit code (negative: the signal that ended it) and output. `kill_after`: seconds until the
    signal is sent, or `kill_when`: what must be true first.
    """
    output = folder / "output.txt"
    before = output.stat().st_size if output.exists() else 0
    rooted = any(word.startswith("results.root=") for word in words)
    root = () if rooted else (f"results.root={folder / 'runs'}",)
    pid = start((*words, *root), output=output, environment=environment)
    if kill_after is not None or kill_when is not None:
        limit = time.monotonic() + (kill_after or 0)
        while not kill_when() if kill_when else time.monotonic() < limit:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status), _said(output, before)
            time.sleep(0.002)
        os.kill(pid, with_signal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), _said(output, before)


def _said(output: Path, since: int) -> str:
    return output.read_bytes()[since:].decode("utf-8", "replace")

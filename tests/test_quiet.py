"""No word of a library reaches a user's screen: what a command says on its error stream is ours."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cells import BASE, CHAMELEON, TINY
from conftest import ROOT, tiny_lm

from bench.terminal import silence
from bench.types import Message, Request

UNSAID = set(silence._SETTINGS)


def said(*command: str, cache: Path, code: int = 0) -> str:
    """What a command of a process of its own says on its error stream."""
    own = {name: value for name, value in os.environ.items() if name not in UNSAID}
    own |= {"LAMPLIGHT_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    command = (sys.executable, "-m", *command)
    done = subprocess.run(
        command, cwd=ROOT, env=own, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr


def test_the_commands_say_nothing_but_their_own_lines(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    words = (*TINY, *CHAMELEON, *BASE, "limit=4", f"results.root={runs}")
    assert said("bench", *words, cache=tmp_path / "cache") == ""
    [cell] = runs.glob("lamp3/chameleon/*")
    assert said("bench.export", str(cell), str(tmp_path / "out"), cache=tmp_path / "cache") == ""
    assert said("bench.report", "--results", str(runs), cache=tmp_path / "cache") == ""
    [line] = said("bench.download", "task=nothing", cache=tmp_path / "cache", code=2).splitlines()[
        :1
    ]
    assert line.startswith("bench.download: ")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dpo", "aloe", "instruct"])
def test_neither_trainers_nor_files_in_other_formats_say_anything(
    method: str, tmp_path: Path
) -> None:
    """TRL, PEFT and bitsandbytes; the packaged model's GGUF,
    unpacked anew; its sentence encoder.
    """
    model = (
        "model=smollm2",
        "selection.n_items=2",
        "limit=2",
        "protocol.group_size=4",
        "base=instruct",
    )
    words = model if method == "instruct" else (*TINY, "limit=4")
    assert (
        said(
            "bench",
            f"method={method}",
            *words,
            "progress=false",
            f"results.root={tmp_path}",
            cache=tmp_path,
        )
        == ""
    )


def test_whoever_asks_hears_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    before = logging.getLogger("peft").level
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "info")
    silence.libraries()
    assert logging.getLogger("peft").level == logging.INFO
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "error")
    silence.libraries()
    assert logging.getLogger("peft").level == logging.ERROR
    logging.getLogger("peft").setLevel(before)


# What the next version of a library no longer takes


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """What transformers logs as a warning, each sentence as if for the first time."""
    from transformers.utils import logging as library

    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger, level = logging.getLogger("transformers"), logging.getLogger("transformers").level
    library.warning_once.cache_clear()
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.mark.filterwarnings("error::FutureWarning", "error::DeprecationWarning")
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_the_models_are_called_as_the_next_version_takes_it(family: str, heard: list[str]) -> None:
    from bench.lm import loss

    lm = tiny_lm(family)
    long = "x" * 100
    requests = [Request((Message("user", (f"{long}{end}",)),)) for end in ("one", "other")]
    list(lm.generate(requests, max_new_tokens=3, labels=("a", "b")))
    list(lm.likelihood(requests, [["good"], ["bad"]]))
    loss.total_loss(lm.network, [([*range(9, 99), end], [7, 2]) for end in (3, 4)])
    assert heard == []

"""What a library warns of while a model is loaded is in the record, and not on the screen."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from cells import run

from bench.lm import load
from bench.lm.library_warnings import collected
from bench.terminal import silence

WRONG = "The tokenizer that you load from '%s' has a wrong regex: fix_mistral_regex=True"


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = load.tiny

    def warning(family: str) -> object:
        logging.getLogger("transformers.some_file").warning(WRONG, f"tiny:{family}")
        return tiny(family)

    monkeypatch.setattr(load, "tiny", warning)


def test_a_warning_is_heard_once_and_the_logger_is_as_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = logging.getLogger("transformers")
    with collected():
        pass
    before = (logger.level, list(logger.handlers), [list(one.filters) for one in logger.handlers])
    with collected() as heard:
        silence.libraries()  # as loading a model does
        for _ in range(2):
            logging.getLogger("transformers.some_file").warning("two\nlines")
        logging.getLogger("transformers.some_file").info("nothing")
    assert heard == ["two lines"]
    assert before == (
        logger.level,
        list(logger.handlers),
        [list(one.filters) for one in logger.handlers],
    )
    assert "two" not in capsys.readouterr().err


def test_a_record_has_the_warnings_and_how_prompts_are_rendered(
    tmp_path: Path, warned: None
) -> None:
    code, _ = run("method=instruct", "model=tiny", "limit=2", "progress=false", folder=tmp_path)
    assert code == 0
    [path] = tmp_path.rglob("record.json")
    model = json.loads(path.read_text())["model"]
    assert model["warnings"] == [WRONG % "tiny"]
    assert model["rendering"] == {
        "chat_template": True,
        "settings": {},
        "day": None,
        "end": "</s>",
    }

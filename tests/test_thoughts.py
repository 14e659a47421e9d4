"""Models that think before they answer: off by default, read behind the thought if asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from cells import TINY, run
from templates import network_of, source, tiny_with

from bench.lm import load
from bench.lm.answer_text import AnswerRules, AnswerText, ThoughtRules
from bench.types import Message, Request

ASKED = Request((Message("user", ("Which genre?",)),))
THINKERS = ("qwen3", "qwen3_5_think", "deepseekv3", "glm4moe", "gptoss", "muse_glimmer", "gemma4")


def written(network: Any, said: str, *, limit: int = 4, thought: int = 30) -> AnswerText:
    """What becomes of a text that a model would write behind its prompt."""
    given = network.thought_rules
    rules = given and ThoughtRules(given.closed, given.close, thought, given.ends)
    text = AnswerText(
        AnswerRules(network.ends, (), limit, network.tokenizer.decode, rules), torch.Generator()
    )
    for token in network.tokenizer(said, add_special_tokens=False)["input_ids"]:
        if text.over:
            break
        text.take(token)
    return text


def thinking(name: str) -> Any:
    return network_of(tiny_with(source(name)), thinking="on")


@pytest.mark.parametrize("name", THINKERS)
def test_the_answer_is_what_follows_the_thought(name: str) -> None:
    network = thinking(name)
    between = network.template.close
    text = written(network, f"well\nso{between}5 stars", limit=7)
    assert text.text.strip() == "5 stars" and text.over
    said = network.tokenizer.decode(text.thought)
    assert said == f"well\nso{between}" and text.thought_tokens == len(text.thought)
    assert not text.thought_cut


@pytest.mark.parametrize("name", THINKERS)
def test_a_thought_past_its_budget_is_closed_and_the_answer_follows(name: str) -> None:
    network = thinking(name)
    text = written(network, "x" * 200, limit=4, thought=10)
    assert text.text == "xxxx" and text.thought_cut
    close = len(network.thought_rules.close)
    assert text.thought_tokens == 10 + close and len(text.tokens) == 4
    said = network.tokenizer.decode(text.thought)
    assert said == "x" * 10 + network.template.close


def test_a_model_that_gives_up_in_its_thought_has_no_answer() -> None:
    text = written(thinking("qwen3"), "hm<|im_end|>5")
    assert text.finished and text.text == "" and text.thought_tokens == 2


def test_a_part_of_a_thought_may_end_as_a_turn_does() -> None:
    """gpt-oss ends its analysis with the marker that ends earlier turns."""
    said = "<|channel|>analysis<|message|>so<|end|><|start|>assistant<|channel|>final<|message|>5"
    text = written(thinking("gptoss"), said + "<|return|>")
    assert text.text == "5" and text.finished


def test_an_answer_that_begins_as_a_thought_counts_as_one() -> None:
    network = network_of(tiny_with(source("qwen3")))
    assert written(network, "<think>\n", limit=8).thought_tokens > 0
    assert written(network, "5 <think>", limit=8).thought_tokens == 0


def cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, Any]:
    """A cell on a tiny model that speaks through Qwen3's template."""
    pair = tiny_with(source("qwen3"))
    monkeypatch.setattr(load, "tiny", lambda family: pair)
    code, said = run("method=instruct", "task=lamp3", *TINY, *words, folder=tmp_path)
    records = list(tmp_path.rglob("record.json"))
    return code, said, json.loads(records[0].read_text()) if records else None


def test_a_thinking_cell_counts_its_thoughts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("model.thinking=on", "model.thinking_tokens=6")
    code, _, record = cell(tmp_path, monkeypatch, *words)
    assert code == 0
    counts = record["counts"]
    assert counts["thoughts_cut"] <= counts["samples"] and counts["thought_tokens"] > 0
    assert record["model"]["thinking"] == "on" and record["model"]["thinking_tokens"] == 6
    assert record["model"]["rendering"]["settings"] == {"enable_thinking": True}
    assert "nll_label" not in record["metrics"]
    generated = record["cost"]["generate"]["tokens_out"]
    assert counts["thought_tokens"] <= generated


def test_a_cell_whose_answers_are_thoughts_fails_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.lm.answer_text.begins_with_thought", lambda text: True)
    code, _, record = cell(tmp_path, monkeypatch)
    assert code == 1 and record["status"] == "error"
    assert "begin with a thought" in record["error"] and "model.thinking=on" in record["error"]
    assert "\n" not in record["error"]


def test_what_scores_or_learns_answers_is_refused_with_thoughts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said, _ = cell(tmp_path, monkeypatch, "model.thinking=on", "decoding=likelihood")
    assert code == 2 and said.startswith("error: decoding=likelihood needs logprobs")
    assert "set model.thinking=off" in said and len(said.strip().splitlines()) == 1

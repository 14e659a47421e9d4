"""Real words, markers and templates of large models, on tiny weights."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from real_tokenizers import TEMPLATES, folder
from templates import lm_of, source
from test_markers import PIECES, control_ids, count

from bench.types import Line, Message, Request

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("name", TEMPLATES)]
ENDS = {
    "qwen3": "<|im_end|>",
    "llama3_1": "<|eot_id|>",
    "gemma3": "<end_of_turn>",
    "gptoss": "<|return|>",
    "deepseek_v3": "<\uff5cend\u2581of\u2581sentence\uff5c>",
}
ASKED = Message("user", ("Which genre?",))
REVIEW = "5 \u20ac <br /> caf\u00e9 \u4e2d\u6587\u3000\U0001f600  two  spaces\n\n\nand\tlines"


@cache
def real(name: str) -> Any:
    """A random model of a few weights, with the family's own words."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    tokenizer = AutoTokenizer.from_pretrained(folder(name))
    tokenizer.chat_template = source(TEMPLATES[name])
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=4096,
    )
    torch.manual_seed(0)
    return lm_of((AutoModelForCausalLM.from_config(config), tokenizer), max_prompt_tokens=2000)


def test_an_answer_follows_the_prompt_and_ends_as_in_the_family_s_conversations(name: str) -> None:
    network = real(name).network
    assert network.end == network.tokenizer.convert_tokens_to_ids(ENDS[name])
    for answer in ("5", "science fiction", "\u4e2d\u6587", "A (B) c"):
        prompt, ids = network.encode(Request((ASKED,))), network.answer_ids(answer)
        whole = network.tokenizer(prompt.text + answer + ENDS[name], add_special_tokens=False)[
            "input_ids"
        ]
        assert [*prompt.ids, *ids] in (whole, [network.tokenizer.bos_token_id, *whole])
    bos = network.tokenizer.bos_token_id
    assert bos is None or prompt.ids.count(bos) <= 1


def test_each_marker_is_words_in_a_users_text(name: str) -> None:
    network = real(name).network
    added = network.tokenizer.added_tokens_decoder.values()
    marks = [str(token) for token in added if str(token).strip(" \n\t\u2581")]
    expected = count(network, "a review")
    for start in range(0, 400, 40):
        text = " ".join(marks[start : start + 40])
        assert count(network, text) == expected
        assert not control_ids(network) & set(network.answer_ids(text, end=False))


def test_no_text_writes_a_control_token(name: str) -> None:
    network = real(name).network
    added = [str(token) for token in network.tokenizer.added_tokens_decoder.values()]
    marks = sorted(mark for mark in added if mark.strip(" \n\t\u2581"))[:200]
    pieces = st.sampled_from([*marks, *PIECES]) | st.sampled_from(marks).map(lambda one: one[1:])
    expected = count(network, "a review")

    @settings(max_examples=60, deadline=None, database=None)
    @given(st.lists(pieces | st.text(max_size=6), max_size=8).map("".join))
    def holds(text: str) -> None:
        assert count(network, text) == expected

    holds()


def test_an_ordinary_text_reaches_the_model_as_it_is(name: str) -> None:
    prompt = real(name).network.encode(Request((Message("user", (REVIEW, "!")),)))
    assert REVIEW in prompt.text


def test_uneven_prompts_are_answered_as_each_alone_and_history_is_shortened(name: str) -> None:
    lm = real(name)
    lines = tuple(Line(f"{index}. ", f"{REVIEW} " * 20, "\n", index) for index in range(9))
    requests = [Request((Message("user", (*lines[:size], "Which genre?")),)) for size in (0, 3, 9)]
    together = [answer.text for answer in lm.answers(requests, max_new_tokens=5)]
    alone = [lm.answers([request], max_new_tokens=5)[0].text for request in requests]
    assert together == alone
    prompt = lm.network.encode(requests[2])
    assert prompt.cut > 0 and prompt.text.count("Which genre?") == 1

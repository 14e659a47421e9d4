"""Peculiarities of model families that an engine must keep: scaled logits, several end tokens, a
limit of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_lm

from bench.lm.load import tiny
from bench.lm.model import LM
from bench.lm.network import MOST_NEW_TOKENS
from bench.lm.spec import ModelSpec
from bench.types import Line, Message, Request

LABELS = ("comedy", "dark comedy", "action")
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
    "initializer_range": 0.5,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SCALED = {
    "GraniteConfig": {"logits_scaling": 8.0},
    "CohereConfig": {"logit_scale": 0.0625},
    "Gemma2Config": {"final_logit_softcapping": 3.0, "sliding_window": 16384, "head_dim": 8},
}


def ask(text: str) -> Request:
    return Request((Message("user", (text,)),))


def loaded(folder: Path, config: str, **peculiar: Any) -> LM:
    """A random model of a family, with the tests' byte tokenizer, through the loader of folders."""
    import transformers

    _, tokenizer = tiny("llama")
    made = getattr(transformers, config)(**SHAPE | {"vocab_size": len(tokenizer)} | peculiar)
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(made).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return LM(ModelSpec("made", str(folder), dtype="float32", device="cpu", max_prompt_tokens=4000))


@pytest.mark.parametrize("config", SCALED)
def test_scores_are_of_the_logits_behind_the_models_own_scaling(
    config: str, tmp_path: Path
) -> None:
    lm = loaded(tmp_path, config, **SCALED[config])
    requests = [ask("What is it?"), ask("What is it, on a long and rainy afternoon?")]
    found = dict(
        pair for batch in lm.generate(requests, max_new_tokens=1, labels=LABELS) for pair in batch
    )
    for index, request in enumerate(requests):
        prompt = list(lm.network.encode(request).ids)
        for label, score in zip(LABELS, found[index].label_logprobs or (), strict=True):
            answer = lm.network.answer_ids(label)
            out = lm.network.model(torch.tensor([prompt + answer]), output_hidden_states=True)
            raw = lm.network.model.lm_head(out.hidden_states[-1])
            assert not torch.allclose(raw, out.logits, rtol=0.01), (
                "a family without a scaling proves nothing"
            )
            behind = out.logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            expected = behind[torch.arange(len(answer)), torch.tensor(answer)].sum()
            assert score == pytest.approx(float(expected), abs=2e-3)


def test_every_end_token_of_the_generation_configuration_ends_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm = tiny_lm()
    [[(_, before)]] = lm.generate([ask("What is it?")], max_new_tokens=8)
    assert before.tokens_out > 0
    first = int(
        lm.network.model(torch.tensor([list(lm.network.encode(ask("What is it?")).ids)]))
        .logits[0, -1]
        .argmax()
    )
    assert first != lm.network.end
    monkeypatch.setattr(lm.network.model.generation_config, "eos_token_id", [lm.network.end, first])
    [[(_, after)]] = lm.generate([ask("What is it?")], max_new_tokens=8)
    assert (after.text, after.tokens_out, after.finished) == ("", 0, True)


def test_a_prompt_fits_the_models_own_limit_where_that_is_lower(tmp_path: Path) -> None:
    lm = loaded(tmp_path, "LlamaConfig", max_position_embeddings=700)
    assert lm.network.max_prompt_tokens == 700 - MOST_NEW_TOKENS
    lines = tuple(Line("- ", "so " * 100, "\n") for _ in range(8))
    prompt = lm.network.encode(Request((Message("user", (*lines, "What is it?")),)))
    assert prompt.cut > 0 and len(prompt.ids) <= lm.network.max_prompt_tokens

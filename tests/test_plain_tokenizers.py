"""Tokenizers that lack what others have: an end of text, a beginning, padding, offsets."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from templates import lm_of, network_of, source, tiny_with
from tokenizers import processors
from transformers import ByT5Tokenizer

from bench.errors import InputError
from bench.lm.load import tiny
from bench.types import Line, Message, Request

ASKED = Message("user", ("Which genre?",))


def without(*names: str, template: str | None = "qwen3") -> tuple[Any, Any]:
    """A tiny model whose tokenizer has none of these special tokens, as its configuration has."""
    text = source(template) if template else None
    model, tokenizer = tiny_with(text, signs=None if text else set())
    for name in names:
        setattr(tokenizer, f"{name}_token", None)
        for settings in (model.config, model.generation_config):
            setattr(settings, f"{name}_token_id", None)
    if "bos" in names:
        tokenizer.backend_tokenizer.post_processor = processors.ByteLevel()
    return model, tokenizer


def test_without_any_special_token_the_templates_marker_ends_an_answer() -> None:
    lm = lm_of(without("eos", "bos", "pad"))
    network = lm.network
    end = network.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert network.end == network.pad == end
    requests = [Request((ASKED,)), Request((Message("user", ("Which of these, then?",)),))]
    together = [answer.text for answer in lm.answers(requests, max_new_tokens=4)]
    alone = [lm.answers([request], max_new_tokens=4)[0].text for request in requests]
    assert together == alone


def test_a_base_model_without_an_end_ends_its_answer_with_the_line() -> None:
    network = network_of(without("eos", "bos", template=None), chat=False)
    assert network.tokenizer.decode([network.end]) == "\n"
    assert network.answer_ids("drama")[-1] == network.end


def test_the_models_own_end_counts_where_the_tokenizer_has_none() -> None:
    model, tokenizer = without("eos", template=None)
    model.generation_config.eos_token_id = [5, 2]
    network = network_of((model, tokenizer), chat=False)
    assert network.end == 5 and network.ends == {5, 2}


def test_a_plain_prompt_does_not_end_with_the_end_of_text() -> None:
    model, tokenizer = tiny("llama")
    form = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer.backend_tokenizer.post_processor = form
    network = network_of((model, tokenizer), chat=False)
    ids = network.encode(Request((ASKED,))).ids
    assert (ids[0], ids.count(2)) == (1, 0)


@pytest.mark.parametrize("chat", [True, False])
def test_a_tokenizer_without_offsets_shortens_history_as_one_with_them(chat: bool) -> None:
    """ByT5 has one token a byte, as the tiny models' tokenizer has, and says no offsets."""
    lines = tuple(Line(f"{index}. ", f"a film {index} " * 9, "\n", index) for index in range(4))
    request = Request((Message("user", (*lines, "Which genre?")),))
    texts = []
    for slow in (False, True):
        model, tokenizer = tiny("llama")
        if slow:
            template = tokenizer.chat_template
            tokenizer = ByT5Tokenizer()
            tokenizer.chat_template = template.replace("{{ '<s>' }}", "")
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        network = network_of((model, tokenizer), chat=chat, history_tokens=150)
        prompt = network.encode(request)
        assert prompt.cut > 0
        texts.append(prompt.text.removeprefix("<s>"))
    assert texts[0] == texts[1]


def test_a_template_that_writes_tokens_the_model_lacks_is_refused() -> None:
    model, tokenizer = tiny_with(source("qwen3"))
    rows = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.resize_token_embeddings(rows, mean_resizing=False)
    with pytest.raises(InputError, match=r"chat template writes <\|im_end\|>, token \d+, and the"):
        network_of((model, tokenizer))


def test_padding_with_the_end_token_hides_no_end_that_is_learnt() -> None:
    """Trainers leave padding out of the loss: where it is the same token, the end must stay in."""
    from trained import SMALL, fields

    from bench.lm.trainer import Training, undisturbed
    from methods.aloe import sft

    lm = lm_of(without("pad"))
    network = lm.network
    rows = [
        sft.Row(network.encode(Request((ASKED,))).ids, network.answer_ids(text))
        for text in ("5", "a longer one")
    ]
    how = sft.SFTTuning(completion_only=True, packing=False, max_length=4096, full=False)
    training = Training.of(fields("aloe", training=SMALL)["training"], seed=0)
    with undisturbed():
        trainer = sft._causal(lm, sft.shared_copy(lm), rows, how, training, "unused")
    [batch] = list(trainer.get_train_dataloader())
    assert torch.equal((batch["labels"] == network.end).sum(1), torch.ones(2, dtype=torch.long))

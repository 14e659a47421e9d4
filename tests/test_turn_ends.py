"""What a model learns ends with the end of its turn: a trained model stops there.

A model that never learns to stop has a healthy loss, and answers that run on.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import tiny_lm
from templates import lm_of, source, tiny_with

from bench.cost.budget import Budget
from bench.lm import tune
from bench.lm.bank import UserTuning, train_all
from bench.lm.multi_lora import StackedAdapters
from bench.lm.tune import Example, Tuning
from bench.types import Message, Request

ASKED = (Message("user", ("Which genre?",)),)
LESSON = [Example(Request(ASKED), "yes")]
TUNING = Tuning(targets=("q_proj", "v_proj"), learning_rate=0.03, epochs=40, batch=1)


def by_tuning(lm: Any) -> Any:
    return tune.tune(lm, LESSON, TUNING, Budget(progress=False))


def by_joint_training(lm: Any) -> Any:
    [patch] = train_all(
        lm,
        [UserTuning("u", LESSON, seed=0)],
        StackedAdapters("lora", TUNING),
        Budget(progress=False),
    )
    return patch


@pytest.mark.parametrize("train", [by_tuning, by_joint_training])
@pytest.mark.parametrize("name", ["qwen3", "gemma3", "gptoss"])
def test_a_trained_model_ends_its_turn_behind_its_answer(name: str, train: Any) -> None:
    lm = lm_of(tiny_with(source(name)))
    assert lm.network.end != lm.network.tokenizer.eos_token_id
    [before] = lm.answers([Request(ASKED)], max_new_tokens=12)
    [answer] = lm.answers([Request(ASKED, (train(lm),))], max_new_tokens=12)
    assert (answer.text, answer.finished, answer.tokens_out) == ("yes", True, 3)
    assert before.text != "yes"


def test_labels_and_golds_are_scored_with_the_end_of_the_turn() -> None:
    """Of two models that differ in the end alone, the score differs by that token."""
    lm = lm_of(tiny_with(source("qwen3")))
    end = lm.network.end
    [(_, [score])] = list(lm.likelihood([Request(ASKED)], [["yes"]]))
    ids = lm.network.encode(Request(ASKED)).ids
    with torch.inference_mode():
        rows = [*ids, *lm.network.answer_ids("yes", end=False), end]
        logits = lm.network.model(torch.tensor([rows])).logits[0].log_softmax(-1)
    expected = sum(float(logits[at - 1, rows[at]]) for at in range(len(ids), len(rows)))
    assert score.logprob == pytest.approx(expected, abs=1e-4) and score.tokens == 4
    [[(_, answer)]] = lm.generate(
        [Request(ASKED)], max_new_tokens=2, labels=("yes", "no"), golds=("yes",)
    )
    assert answer.label_logprobs[0] == pytest.approx(expected, abs=1e-4)
    assert answer.gold_nll == pytest.approx(-expected / 4, abs=1e-4)


def test_the_tiny_models_end_is_the_tokenizers_as_before() -> None:
    network = tiny_lm().network
    assert network.end == network.tokenizer.eos_token_id == 2
    assert network.answer_ids("yes") == [
        *network.tokenizer("yes", add_special_tokens=False)["input_ids"],
        2,
    ]

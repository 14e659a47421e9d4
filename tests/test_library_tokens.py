"""What TRL trains on is what the model reads in the test, for every chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from templates import FAMOUS, NAMES, lm_of, source, tiny_with
from trained import SMALL, TASK, budget, fields, people

from bench.errors import MethodError
from bench.lm import library_tokens
from bench.lm.trainer import Training, undisturbed
from bench.types import Message, Request
from methods.aloe import sft
from methods.aloe.aloe import Aloe
from methods.dpo import preference
from methods.dpo.dpo import DPO, RankedPair

EVERY = [name if name in FAMOUS else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
[USER] = people(1)
[QUERY] = USER.queries
ASKED = TASK.render(QUERY, USER.history)


def aloe_trainer(lm: Any, rows: Any, folder: Path, *, packing: bool = False) -> Any:
    how = sft.SFTTuning(completion_only=True, packing=packing, max_length=4096, full=False)
    training = Training.of(fields("aloe", training=SMALL)["training"], seed=0)
    with undisturbed():
        return sft._causal(lm, sft.shared_copy(lm), rows, how, training, str(folder))


@pytest.mark.parametrize("name", EVERY)
def test_aloe_trains_on_the_tests_prompt_and_learns_the_end_of_the_turn(
    name: str, tmp_path: Path
) -> None:
    lm = lm_of(tiny_with(source(name)))
    network = lm.network
    method = Aloe(**fields("aloe", training=SMALL, code_rule="none"))
    row = method._row(lm, "one", (*ASKED, Message("assistant", ("4",))))
    trainer = aloe_trainer(lm, [row], tmp_path)
    [batch] = list(trainer.get_train_dataloader())
    ids, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
    prompt = list(network.encode(Request(ASKED)).ids)
    assert ids == [*prompt, *network.answer_ids("4")]
    assert labels == [-100] * len(prompt) + network.answer_ids("4")
    assert labels[-1] == network.end


@pytest.mark.parametrize("name", EVERY)
def test_dpo_trains_on_the_tests_prompt_and_learns_the_end_of_the_turn(name: str) -> None:
    lm = lm_of(tiny_with(source(name)))
    network = lm.network
    method = DPO(**fields("dpo", training=SMALL, max_length=8000))
    tokens = method._tokens(lm, TASK, RankedPair(QUERY, USER.history, "4", "1"))
    pair = tokens.row
    assert not tokens.shortened and tuple(pair.prompt) == network.encode(Request(ASKED)).ids
    assert list(pair.chosen) == network.answer_ids("4")
    assert list(pair.rejected) == network.answer_ids("1")
    assert pair.chosen[-1] == pair.rejected[-1] == network.end


def test_a_trainer_that_changes_tokens_fails_the_cell(tmp_path: Path) -> None:
    lm = lm_of(tiny_with(source("qwen3")))
    network = lm.network
    rows = [sft.Row(network.encode(Request(ASKED)).ids, network.answer_ids(text)) for text in "45"]
    samples = [(*row.prompt, *row.answer) for row in rows]
    library_tokens.refuse_other_tokens(aloe_trainer(lm, rows, tmp_path), samples)
    packed = aloe_trainer(lm, rows, tmp_path, packing=True)
    library_tokens.refuse_other_tokens(packed, samples)

    shortened = aloe_trainer(lm, rows, tmp_path)
    collate = shortened.data_collator
    shortened.data_collator = lambda row: {
        key: value[:, :-1] for key, value in collate(row).items()
    }
    rendered = aloe_trainer(lm, rows[:1], tmp_path)
    for trainer in (shortened, rendered):
        with pytest.raises(MethodError, match="would train on other tokens"):
            library_tokens.refuse_other_tokens(trainer, samples)


def test_dpo_looks_at_what_its_trainer_made_of_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = lm_of(tiny_with(source("qwen3")))
    network = lm.network
    prompt = network.encode(Request((Message("user", ("Which?",)),))).ids
    pair = preference.Preference(prompt, network.answer_ids("yes"), network.answer_ids("no"))

    def shorter(_self: Any, dataset: Any, *_args: Any) -> Any:
        return dataset.map(lambda row: {"prompt_ids": row["prompt_ids"][1:]})

    monkeypatch.setattr(preference.TokenDPOTrainer, "_prepare_dataset", shorter)
    how = preference.DPOTuning(beta=0.1, disable_dropout=True, quantize="none", max_length=4096)
    training = Training.of(fields("dpo", training=SMALL)["training"], seed=0)
    with pytest.raises(MethodError, match="would train on other tokens"):
        preference.train(lm, [pair], how, training, budget())


def test_a_trainer_gets_a_tokenizer_that_can_pad_and_end() -> None:
    lm = lm_of(tiny_with(source("qwen3")))
    network = lm.network
    network.tokenizer.eos_token = network.tokenizer.pad_token = None
    copied = library_tokens.library_tokenizer(network)
    assert copied.eos_token == copied.pad_token == "<|im_end|>"
    assert network.tokenizer.eos_token is None

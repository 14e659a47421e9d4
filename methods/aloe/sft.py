"""Supervised fine-tuning of whole conversations (ALOE): TRL's SFTTrainer for decoders,
Seq2SeqTrainer for T5.

Both get token ids that the harness made, so a training prompt is to the token what the model reads
in the test.
"""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bench.cost.budget import Budget
from bench.errors import MethodError
from bench.lm.architecture import text_linears
from bench.lm.library_tokens import library_tokenizer, refuse_other_tokens
from bench.lm.patch import LowRank, Patch
from bench.lm.peft_folders import from_peft
from bench.lm.trainer import Training, refuse_untrained, run, shared_copy, undisturbed
from bench.lm.tune import Tuned

if TYPE_CHECKING:
    from bench.lm.model import LM

PROBE_TOKENS = 16
"""Tokens of each of the two samples by which packing is tried out."""


@dataclass(frozen=True, slots=True)
class Row:
    """One sample: the tokens of the conversation so far,
    and those of the answer with its end token.
    """

    prompt: Sequence[int]
    answer: Sequence[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True, slots=True)
class SFTTuning:
    """How the loss is taken. `completion_only`: on the answers alone (T5: always). `packing`: fill
    rows of `max_length` tokens with several samples that do not see each other. `full`: train the
    linear layers themselves instead of an adapter.
    """

    completion_only: bool
    packing: bool
    max_length: int
    full: bool


def train(lm: LM, rows: Sequence[Row], sft: SFTTuning, training: Training, budget: Budget) -> Tuned:
    """Train on the rows, none of which may be longer than `max_length`; the model's own weights
    never change.

    Raises MethodError where samples packed together would see each other, and where nothing was
    learnt.
    """
    if sft.packing:
        _check_packing(lm, rows)
    with undisturbed(), tempfile.TemporaryDirectory() as folder:
        with budget.phase("load"):
            model, names = _full_copy(lm) if sft.full else (shared_copy(lm), [])
        make = _seq2seq if lm.network.seq2seq else _causal
        trainer = make(lm, model, rows, sft, training, folder)
        if not lm.network.seq2seq:
            refuse_other_tokens(trainer, ((*row.prompt, *row.answer) for row in rows))
        spent = run(trainer, training, len(rows), budget)
        patch = (
            _weight_change(lm.network.model, model, names) if sft.full else from_peft(trainer.model)
        )
    refuse_untrained(patch, spent)
    return Tuned(patch, spent)


def _causal(
    lm: LM, model: Any, rows: Sequence[Row], sft: SFTTuning, training: Training, folder: str
) -> Any:
    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    data = []
    for row in rows:
        # -100 is no label: the loss leaves that token out.
        asked = [-100] * len(row.prompt) if sft.completion_only else row.prompt
        data.append({"input_ids": [*row.prompt, *row.answer], "labels": [*asked, *row.answer]})
    packed = math.ceil(sum(map(len, rows)) / sft.max_length) if sft.packing else len(rows)
    how = SFTConfig(
        **training.arguments(lm, folder, packed),
        packing=sft.packing,
        packing_strategy="bfd",
        max_length=sft.max_length if sft.packing else None,
        router_aux_loss_coef=0.0,  # the loss on answers alone
    )
    return SFTTrainer(
        model=model,
        args=how,
        train_dataset=Dataset.from_list(data),
        processing_class=library_tokenizer(lm.network),
        peft_config=None if sft.full else training.lora(lm),
    )


def _seq2seq(
    lm: LM, model: Any, rows: Sequence[Row], sft: SFTTuning, training: Training, folder: str
) -> Any:
    """TRL trains no encoder-decoder models:
    the conversation so far is the input, the answer the target.
    """
    from datasets import Dataset
    from peft import get_peft_model
    from transformers import (
        DataCollatorForSeq2Seq,
        Seq2SeqTrainer,
        Seq2SeqTrainingArguments,
        set_seed,
    )

    data = [
        {
            "input_ids": list(row.prompt),
            "attention_mask": [1] * len(row.prompt),
            "labels": list(row.answer),
        }
        for row in rows
    ]
    set_seed(training.seed)
    return Seq2SeqTrainer(
        model=model if sft.full else get_peft_model(model, training.lora(lm)),
        args=Seq2SeqTrainingArguments(**training.arguments(lm, folder, len(rows))),
        train_dataset=Dataset.from_list(data),
        data_collator=DataCollatorForSeq2Seq(
            library_tokenizer(lm.network), label_pad_token_id=-100
        ),
    )


def _full_copy(lm: LM) -> tuple[Any, list[str]]:
    """A copy in float32 with weights of its own, and the names of the layers that learn: all linear
    ones but the output layer. Embeddings and norms stay, as a patch cannot change them.
    """
    model = copy.deepcopy(lm.network.model).float()
    head = model.get_output_embeddings()
    names = []
    for name, layer in text_linears(model).items():
        if layer is not head:
            layer.weight.requires_grad_(True)
            names.append(name)
    return model, sorted(names)


def _weight_change(before: nn.Module, after: nn.Module, names: Sequence[str]) -> Patch:
    """What training did to whole weights, as factors of full rank:
    the change itself, and an identity.
    """
    old, new = dict(before.named_modules()), dict(after.named_modules())
    weights = {}
    for name in names:
        change = (new[name].weight.detach().float() - old[name].weight.detach().float()).cpu()
        rows, columns = change.shape
        tall = rows > columns
        weights[name] = (
            LowRank(torch.eye(columns), change) if tall else LowRank(change, torch.eye(rows))
        )
    return Patch(weights)


def _check_packing(lm: LM, rows: Sequence[Row]) -> None:
    """Try on the model itself that a sample's outputs do not depend on the sample packed before it.

    TRL packs without an attention mask and starts the positions of each sample at zero; whether
    that separates the samples is up to the model's attention (`find_packed_sequence_indices` in
    transformers, variable-length kernels).
    """
    if lm.network.seq2seq:
        raise MethodError(
            "method.packing=true: an encoder-decoder model reads one sample a row; use"
            " packing=false"
        )
    first = [*rows[0].prompt, *rows[0].answer][:PROBE_TOKENS]
    second = [*rows[-1].prompt, *rows[-1].answer][:PROBE_TOKENS]
    other = [(token + 1) % lm.network.model.config.vocab_size for token in first]
    positions = torch.tensor([[*range(len(first)), *range(len(second))]], device=lm.network.device)
    seen = []
    for before in (first, other):
        ids = torch.tensor([[*before, *second]], device=lm.network.device)
        with torch.inference_mode():
            logits = lm.network.model(input_ids=ids, position_ids=positions, use_cache=False).logits
            seen.append(logits[0, len(first) :].float())
    if not torch.allclose(seen[0], seen[1], rtol=1e-3, atol=1e-3 * float(seen[0].abs().max())):
        attention = getattr(lm.network.model.config, "_attn_implementation", "unknown")
        raise MethodError(
            f"method.packing=true: with the attention '{attention}' of {lm.spec.name} a sample sees"
            " the one packed before it; use packing=false"
        )

"""The loss of supervised tuning: negative log-likelihood of answers behind their prompts, logits
where answers are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bench.lm.prefill import padded
from bench.lm.prefix import MIN_SHARED, shared_prefix

if TYPE_CHECKING:
    from bench.lm.model import LM

Row = tuple[Sequence[int], Sequence[int]]

_AFTER_HEAD = ("final_logit_softcapping", "logits_scaling", "logit_scale")
"""Settings of models (Gemma, Granite, Cohere) that do more to the logits than the vocabulary head:
computed in full.
"""


def total_loss(lm: LM, rows: Sequence[Row]) -> Tensor:
    """Sum over the rows (prompt and answer, token ids) in nats; what all prompts begin with is read
    once for all.
    """
    alike = shared_prefix([prompt for prompt, _ in rows]) if len(rows) > 1 and not lm.seq2seq else 0
    if alike < MIN_SHARED:
        return answer_losses(lm, rows).sum()
    prefix = torch.tensor([rows[0][0][:alike]], device=lm.device)
    past = lm.model(input_ids=prefix, use_cache=True, logits_to_keep=torch.tensor([0])).cache
    past.batch_repeat_interleave(len(rows))
    ids, mask = padded(
        [[*prompt[alike:], *answer] for prompt, answer in rows], lm.pad, lm.device, left=True
    )
    positions = alike + (mask.cumsum(1) - 1).clamp(min=0)
    seen = torch.cat([mask.new_ones(len(rows), alike), mask], dim=1)
    keep = max(len(answer) for _, answer in rows) + 1
    out = lm.model(
        input_ids=ids,
        attention_mask=seen,
        position_ids=positions,
        cache=past,
        use_cache=True,
        logits_to_keep=torch.arange(-keep, 0),
    )
    targets = torch.full((len(rows), keep - 1), -100)
    for index, (_, answer) in enumerate(rows):
        targets[index, keep - 1 - len(answer) :] = torch.tensor(answer)
    logits = out.logits[:, :-1].float()
    flat = targets.flatten().to(lm.device)
    return nn.functional.cross_entropy(
        logits.flatten(0, 1), flat, ignore_index=-100, reduction="sum"
    )


def answer_losses(lm: LM, rows: Sequence[Row]) -> Tensor:
    """The loss of each row, [rows] float32, in nats summed over the answer's tokens.

    A decoder reads with padding on the right, where causality alone hides it; its vocabulary head
    sees the places before an answer's tokens and no others.
    """
    if lm.seq2seq:
        return _seq2seq(lm, rows)
    ids, _ = padded(
        [[*prompt, *answer[:-1]] for prompt, answer in rows], lm.pad, lm.device, left=False
    )
    row = [index for index, (_, answer) in enumerate(rows) for _ in answer]
    place = [len(prompt) - 1 + at for prompt, answer in rows for at in range(len(answer))]
    if any(getattr(lm.model.config, name, None) for name in _AFTER_HEAD):
        logits = lm.model(input_ids=ids, use_cache=False).logits[row, place].float()
    else:
        hidden = lm.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        logits = lm.model.get_output_embeddings()(hidden[row, place]).float()
    targets = torch.tensor([token for _, answer in rows for token in answer], device=lm.device)
    return _by_row(nn.functional.cross_entropy(logits, targets, reduction="none"), row, len(rows))


def _seq2seq(lm: LM, rows: Sequence[Row]) -> Tensor:
    ids, mask = padded([prompt for prompt, _ in rows], lm.pad, lm.device, left=False)
    labels, real = padded([answer for _, answer in rows], lm.pad, lm.device, left=False)
    start = torch.full(
        (len(rows), 1), int(lm.model.config.decoder_start_token_id), device=lm.device
    )
    heard = torch.cat([start, labels[:, :-1]], dim=1)
    logits = lm.model(
        input_ids=ids, attention_mask=mask, decoder_input_ids=heard, use_cache=False
    ).logits.float()
    losses = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return (losses.view(labels.shape) * real).sum(1)


def _by_row(losses: Tensor, row: Sequence[int], rows: int) -> Tensor:
    index = torch.tensor(row, device=losses.device)
    return losses.new_zeros(rows).index_add(0, index, losses)

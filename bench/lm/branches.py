"""Score given answers as branches behind prompts that were read.

The prompt is read once. Answers to score (the labels of a task, the gold) are then read as branches
of one tree behind it: each token sees the prompt and its own answer alone, so that fifteen labels
cost some forty tokens, not fifteen prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.lm.batched_patches import Rows
from bench.lm.prefill import Prefix, padded, read

if TYPE_CHECKING:
    from bench.lm.model import LM, Encoded


def score_batch(
    lm: LM, prompts: Sequence[Encoded], patches: Rows, answers: Sequence[Sequence[Sequence[int]]]
) -> list[list[float]]:
    """Total log-probability (nats) of each answer (token ids) of each prompt."""
    prefix = read(lm, prompts, patches)
    return branch_scores(lm, prefix, answers)


def branch_scores(
    lm: LM, prefix: Prefix, answers: Sequence[Sequence[Sequence[int]]]
) -> list[list[float]]:
    """Total log-probability of each answer behind its prompt. The prefix is left as it was."""
    first = prefix.logits.log_softmax(-1)
    logits = branches(lm, prefix, [[tokens[:-1] for tokens in row] for row in answers])
    totals: list[list[float]] = []
    for index, row in enumerate(answers):
        at, total = 0, []
        for tokens in row:
            value = first[index, tokens[0]]
            if len(tokens) > 1:
                here = logits[index, at : at + len(tokens) - 1].float().log_softmax(-1)
                value = value + here[torch.arange(len(tokens) - 1), torch.tensor(tokens[1:])].sum()
            total.append(float(value))
            at += len(tokens) - 1
        totals.append(total)
    return totals


def branches(
    lm: LM, prefix: Prefix, answers: Sequence[Sequence[Sequence[int]]], *, last: int = 0
) -> Tensor:
    """Logits [rows, nodes, vocabulary] at every token of every answer (token ids), laid end to end
    in each row. `last`: a decoder's at so many last nodes alone.
    """
    flat = [[token for tokens in row for token in tokens] for row in answers]
    nodes = max(1, max(map(len, flat)))
    ids = torch.full((len(flat), nodes), lm.pad)
    for index, tokens in enumerate(flat):
        ids[index, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
    if lm.seq2seq:
        return _decoder_branches(lm, prefix, answers, nodes)
    seen, depth = _tree(answers, nodes)
    visible = torch.cat(
        [prefix.mask.bool()[:, None, :].expand(-1, nodes, -1), seen.to(lm.device)], dim=2
    )
    dtype = prefix.cache.layers[0].keys.dtype
    bias = torch.zeros(visible.shape, dtype=dtype, device=lm.device).masked_fill(
        ~visible, torch.finfo(dtype).min
    )
    positions = prefix.mask.sum(1, keepdim=True) + depth.to(lm.device)
    out = lm.model(
        input_ids=ids.to(lm.device),
        attention_mask=bias[:, None],
        position_ids=positions,
        cache=prefix.cache,
        use_cache=True,
        logits_to_keep=last,
    )
    prefix.cache.crop(-nodes)
    return torch.as_tensor(out.logits)


def _tree(answers: Sequence[Sequence[Sequence[int]]], nodes: int) -> tuple[Tensor, Tensor]:
    """Which node sees which [rows, nodes, nodes] (its own answer, up to itself); each node's depth
    [rows, nodes].
    """
    seen = torch.eye(nodes, dtype=torch.bool).repeat(len(answers), 1, 1)
    depth = torch.zeros(len(answers), nodes, dtype=torch.long)
    for index, row in enumerate(answers):
        at = 0
        for tokens in row:
            size = len(tokens)
            seen[index, at : at + size, at : at + size] = torch.tril(
                torch.ones(size, size, dtype=torch.bool)
            )
            depth[index, at : at + size] = torch.arange(size)
            at += size
    return seen, depth


def _decoder_branches(
    lm: LM, prefix: Prefix, answers: Sequence[Sequence[Sequence[int]]], nodes: int
) -> Tensor:
    """The same for an encoder-decoder model, whose positions are relative: one row an answer."""
    start = int(lm.model.config.decoder_start_token_id)
    found: list[Tensor] = []
    if prefix.patches:  # the start token is read again here; it is no new token
        prefix.patches.again = 1
    for column in range(max(map(len, answers))):
        rows = [[start, *(row[column] if column < len(row) else ())] for row in answers]
        ids, _ = padded(rows, lm.pad, lm.device, left=False)
        out = lm.model(
            encoder_outputs=prefix.encoder,
            attention_mask=prefix.mask,
            decoder_input_ids=ids,
            use_cache=False,
        )
        found.append(out.logits)
    if prefix.patches:
        prefix.patches.again = 0
    flat = torch.zeros(len(answers), nodes, found[0].shape[-1], device=lm.device)
    for index, row in enumerate(answers):
        at = 0
        for column, tokens in enumerate(row):
            flat[index, at : at + len(tokens)] = found[column][index, 1 : 1 + len(tokens)].float()
            at += len(tokens)
    return flat

"""Score given answers as branches behind prompts that were read.

The prompt is read once. Answers to score (the labels of a task, the gold) are then read as branches
of one tree behind it: each token sees the prompt and its own answer alone, so that fifteen labels
cost some forty tokens, not fifteen prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.lm.answer_copies import copied_branches
from bench.lm.backend import Prompt
from bench.lm.batched_patches import Rows
from bench.lm.prefill import Prefix, padded, read

if TYPE_CHECKING:
    from bench.lm.network import Network


Answers = Sequence[Sequence[Sequence[int]]]
"""For each prompt its answers, each as token ids."""


def score_batch(
    network: Network, prompts: Sequence[Prompt], patches: Rows, answers: Answers
) -> list[list[float]]:
    """Total log-probability (nats) of each answer of each prompt."""
    prefix = read(network, prompts, patches)
    return branch_scores(network, prefix, answers)


def branch_scores(network: Network, prefix: Prefix, answers: Answers) -> list[list[float]]:
    """Total log-probability (nats) of each answer behind its prompt.

    The prefix is left as it was.
    """
    # The prompt's last logits are those of every answer's first token; what follows an answer's
    # last token is of no interest, so that the last tokens are not read.
    first = prefix.logits.log_softmax(-1)
    heard: list[list[Sequence[int]]] = []
    for row in answers:
        heard.append([tokens[:-1] for tokens in row])
    logits = branches(network, prefix, heard)
    totals: list[list[float]] = []
    for index, row in enumerate(answers):
        start, total = 0, []
        for tokens in row:
            end = start + len(tokens) - 1
            value = first[index, tokens[0]]
            if end > start:
                # In float32, whatever the model's dtype: sums of bfloat16 lose what is compared.
                behind = logits[index, start:end].float().log_softmax(-1)
                value = value + behind[torch.arange(end - start), torch.tensor(tokens[1:])].sum()
            total.append(float(value))
            start = end
        totals.append(total)
    return totals


def branches(network: Network, prefix: Prefix, answers: Answers, *, last: int = 0) -> Tensor:
    """Logits [rows, nodes, vocabulary] at every token of every answer, laid end to end in each row.
    `last`: a decoder's at that many last nodes alone. The prefix is left as it was.
    """
    sizes = [sum(map(len, row)) for row in answers]
    nodes = max(1, *sizes)
    if network.seq2seq:
        return _decoder_branches(network, prefix, answers, nodes)
    if prefix.padding != "any":
        return copied_branches(network, prefix, answers, nodes)
    ids = torch.full((len(answers), nodes), network.pad)
    for index, row in enumerate(answers):
        ids[index, : sizes[index]] = torch.tensor(list(chain(*row)), dtype=torch.long)

    tree = _tree(answers, nodes)
    # Every node sees the whole prompt. Padding between it and the answers is hidden by the mask,
    # and is no step of their positions.
    prompt = prefix.mask.bool()[:, None, :].expand(-1, nodes, -1)
    visible = torch.cat([prompt, tree.seen.to(network.device)], dim=2)
    positions = prefix.mask.sum(1, keepdim=True) + tree.depth.to(network.device)
    # A mask of this shape is taken as it is, added to the attention's scores: the dtype's lowest
    # number hides, and unlike infinity gives no NaN in a row of padding that sees nothing.
    dtype = prefix.cache.layers[0].keys.dtype
    bias = torch.zeros(visible.shape, dtype=dtype, device=network.device)
    bias.masked_fill_(~visible, torch.finfo(dtype).min)
    out = network.model(
        input_ids=ids.to(network.device),
        attention_mask=bias[:, None],
        position_ids=positions,
        cache=prefix.cache,
        use_cache=True,
        logits_to_keep=last,
    )
    # The model has appended the answers' keys and values: off again.
    prefix.cache.crop(-nodes)
    return torch.as_tensor(out.logits)


@dataclass(frozen=True)
class _Tree:
    """Which node sees which [rows, nodes, nodes], and each node's depth [rows, nodes]."""

    seen: Tensor
    depth: Tensor


def _tree(answers: Answers, nodes: int) -> _Tree:
    """A node sees its own answer, up to itself."""
    # A node of padding sees itself: attention over nothing would be NaN.
    seen = torch.eye(nodes, dtype=torch.bool).repeat(len(answers), 1, 1)
    depth = torch.zeros(len(answers), nodes, dtype=torch.long)
    for index, row in enumerate(answers):
        start = 0
        for tokens in row:
            size = len(tokens)
            end = start + size
            seen[index, start:end, start:end] = torch.ones(size, size, dtype=torch.bool).tril()
            depth[index, start:end] = torch.arange(size)
            start = end
    return _Tree(seen, depth)


def _decoder_branches(network: Network, prefix: Prefix, answers: Answers, nodes: int) -> Tensor:
    """The same for an encoder-decoder model. Its positions are relative, so that answers cannot lie
    end to end: the first answers of all prompts are read as one batch, then the second ones.
    """
    start = network.start
    by_column: list[Tensor] = []
    # The start token is read again here, and is no new token: patches that act on new ones alone
    # leave it out.
    if prefix.patches:
        prefix.patches.again = 1
    for column in range(max(map(len, answers))):
        rows = [[start, *(row[column] if column < len(row) else ())] for row in answers]
        ids = padded(rows, network.pad, network.device, left=False).ids
        out = network.model(
            encoder_outputs=prefix.encoder,
            attention_mask=prefix.mask,
            decoder_input_ids=ids,
            use_cache=False,
        )
        by_column.append(out.logits)
    if prefix.patches:
        prefix.patches.again = 0

    flat = torch.zeros(len(answers), nodes, by_column[0].shape[-1], device=network.device)
    for index, row in enumerate(answers):
        at = 0
        for column, tokens in enumerate(row):
            read_here = by_column[column][index, 1 : 1 + len(tokens)]
            flat[index, at : at + len(tokens)] = read_here.float()
            at += len(tokens)
    return flat

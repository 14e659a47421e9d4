"""The loss of supervised tuning: negative log-likelihood of answers behind their prompts, logits
where answers are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bench.lm.prefill import padded
from bench.lm.prefix import MIN_SHARED, shared_prefix

if TYPE_CHECKING:
    from bench.lm.network import Network

Row = tuple[Sequence[int], Sequence[int]]
"""The token ids of a prompt, and of the answer to it."""

_IGNORED = -100


def length(row: Row) -> int:
    """Tokens of the prompt and its answer."""
    prompt, answer = row
    return len(prompt) + len(answer)


def total_loss(network: Network, rows: Sequence[Row]) -> Tensor:
    """Sum over the rows (prompt and answer, token ids) in nats;
    what all prompts begin with is read once for all.
    """
    alike = 0
    if len(rows) > 1 and not network.seq2seq and network.padding == "any":
        alike = shared_prefix([prompt for prompt, _ in rows])
    if alike < MIN_SHARED:
        return answer_losses(network, rows).sum()

    # One more than the longest answer: a token is foretold at the place before it.
    keep = max(len(answer) for _, answer in rows) + 1
    logits = _end_logits(network, rows, alike, keep)[:, :-1].float()
    targets = torch.full((len(rows), keep - 1), _IGNORED)
    for index, (_, answer) in enumerate(rows):
        targets[index, keep - 1 - len(answer) :] = torch.tensor(answer)
    return nn.functional.cross_entropy(
        logits.flatten(0, 1),
        targets.flatten().to(network.device),
        ignore_index=_IGNORED,
        reduction="sum",
    )


def _end_logits(network: Network, rows: Sequence[Row], alike: int, keep: int) -> Tensor:
    """The logits at the last `keep` tokens of each row, [rows, keep, vocabulary]; the first `alike`
    tokens, which all rows begin with, are read once.
    """
    # The cache of the common beginning stays in the graph: its gradient is the sum over the rows
    # that read on from it. No logits are wanted there, and one is the fewest that can be had.
    beginning = torch.tensor([rows[0][0][:alike]], device=network.device)
    cache = network.model(
        input_ids=beginning, use_cache=True, logits_to_keep=torch.tensor([0])
    ).cache
    cache.batch_repeat_interleave(len(rows))

    # With padding on the left all answers end in the last column, so that one slice of the logits
    # holds them. Positions count real tokens alone, or a row's would depend on the other rows.
    rest = [[*prompt[alike:], *answer] for prompt, answer in rows]
    ids, mask = padded(rest, network.pad, network.device, left=True)
    positions = alike + (mask.cumsum(1) - 1).clamp(min=0)
    seen = torch.cat([mask.new_ones(len(rows), alike), mask], dim=1)
    logits: Tensor = network.model(
        input_ids=ids,
        attention_mask=seen,
        position_ids=positions,
        cache=cache,
        use_cache=True,
        logits_to_keep=torch.arange(-keep, 0),
    ).logits
    return logits


def answer_losses(network: Network, rows: Sequence[Row]) -> Tensor:
    """The loss of each row, [rows] float32, in nats summed over the answer's tokens.

    A decoder reads with padding on the right, where causality alone hides it; its vocabulary head
    sees the places before an answer's tokens and no others.
    """
    if network.seq2seq:
        return _seq2seq(network, rows)
    # Nothing is foretold behind an answer's last token, so it is not read.
    texts = [[*prompt, *answer[:-1]] for prompt, answer in rows]
    ids, _ = padded(texts, network.pad, network.device, left=False)
    # Each answer token by its row and the place before it, where it is foretold.
    row: list[int] = []
    column: list[int] = []
    tokens: list[int] = []
    for index, (prompt, answer) in enumerate(rows):
        before = len(prompt) - 1
        row += [index] * len(answer)
        column += range(before, before + len(answer))
        tokens += answer

    with _head_reads_only(network, row, column):
        logits = network.model(input_ids=ids, use_cache=False).logits[0].float()
    targets = torch.tensor(tokens, device=network.device)
    losses = nn.functional.cross_entropy(logits, targets, reduction="none")
    row_of = torch.tensor(row, device=losses.device)
    return losses.new_zeros(len(rows)).index_add(0, row_of, losses)


@contextmanager
def _head_reads_only(network: Network, row: Sequence[int], column: Sequence[int]) -> Iterator[None]:
    """Inside, the vocabulary head reads these tokens, laid end to end in one row: by the row of the
    batch and the column of each.

    The head is wide: over all tokens of a batch its output can take more memory than the model.
    Whatever a family does to the states before it and to the logits behind it (scaling, capping) is
    done to each number alone, so that it stays as it is.
    """

    def choose(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0][row, column][None], *args[1:])

    handle = network.model.get_output_embeddings().register_forward_pre_hook(choose)
    try:
        yield
    finally:
        handle.remove()


def _seq2seq(network: Network, rows: Sequence[Row]) -> Tensor:
    ids, mask = padded([prompt for prompt, _ in rows], network.pad, network.device, left=False)
    labels, real = padded([answer for _, answer in rows], network.pad, network.device, left=False)
    # The decoder reads each answer one place to the right, behind its start token.
    start = torch.full((len(rows), 1), network.start, device=network.device)
    shifted = torch.cat([start, labels[:, :-1]], dim=1)
    logits = network.model(
        input_ids=ids, attention_mask=mask, decoder_input_ids=shifted, use_cache=False
    ).logits.float()
    losses = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    # Padding has a loss too, of the pad token as an answer: it counts for nothing.
    return (losses.view(labels.shape) * real).sum(1)

"""Score answers behind copies of a prompt's cache: for models whose layers bear no tree of answers,
because a window or a state counts what stands between.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.lm.prefill import Padded, Prefix, padded, placed

if TYPE_CHECKING:
    from bench.lm.network import Network

_MAX_COPIES = 64
"""Rows that are read at once: more copies of a cache may take more memory than the batch did."""


def copied_branches(
    network: Network, prefix: Prefix, answers: Sequence[Sequence[Sequence[int]]], nodes: int
) -> Tensor:
    """Logits [rows, nodes, vocabulary] at every token of every answer, laid end to end in each row.

    The prefix is left as it was.
    """
    vocabulary = prefix.logits.shape[-1]
    flat = torch.zeros(len(answers), nodes, vocabulary, device=prefix.logits.device)
    for rows in _parts(answers):
        prompt_of: list[int] = []
        tokens: list[Sequence[int]] = []
        for row in rows:
            prompt_of += [row] * len(answers[row])
            tokens += answers[row]
        if not any(tokens):
            continue
        logits = _read_behind(network, prefix, prompt_of, tokens)

        start = dict.fromkeys(rows, 0)
        for index, row in enumerate(prompt_of):
            size = len(tokens[index])
            flat[row, start[row] : start[row] + size] = logits[index, :size].float()
            start[row] += size
    return flat


def _parts(answers: Sequence[Sequence[Sequence[int]]]) -> Iterator[list[int]]:
    """Prompts whose answers are read at once: _MAX_COPIES answers, or those of one prompt."""
    part: list[int] = []
    copies = 0
    for row, of_prompt in enumerate(answers):
        if part and copies + len(of_prompt) > _MAX_COPIES:
            yield part
            part, copies = [], 0
        part.append(row)
        copies += len(of_prompt)
    yield part


def _read_behind(
    network: Network, prefix: Prefix, prompt_of: Sequence[int], tokens: Sequence[Sequence[int]]
) -> Tensor:
    """Logits [answers, longest, vocabulary] of each answer in a row of its own, behind a copy of
    what its prompt left. `prompt_of`: the prompt of each answer.
    """
    rows = torch.tensor(prompt_of, device=network.device)
    # The library writes into a cache in place: the prefix goes on with its own.
    cache = copy.deepcopy(prefix.cache)
    cache.reorder_cache(rows)
    answers = padded(tokens, network.pad, network.device, left=False)
    behind = Prefix(cache, prefix.logits[rows], prefix.mask[rows], padding=prefix.padding)
    patches = prefix.patches.only(rows) if prefix.patches else nullcontext()
    with patches:
        # A window bears an answer as a whole: padding comes behind it alone, where nobody looks.
        # A state that goes on over several tokens is not every family's: token by token it is.
        size = answers.ids.shape[1] if prefix.padding == "left" else 1
        logits = []
        for start in range(0, answers.ids.shape[1], size):
            logits.append(_next(network, behind, answers, start, start + size))
    return torch.cat(logits, dim=1)


def _next(network: Network, prefix: Prefix, answers: Padded, start: int, end: int) -> Tensor:
    """Logits of the answers' tokens from `start` to `end`, which the prefix then has read."""
    ids = answers.ids[:, start:end]
    read = prefix.mask.sum(1, keepdim=True)
    steps = torch.arange(ids.shape[1], device=network.device)
    # Padding behind an answer counts as read: no token that anybody asks for comes after it.
    prefix.mask = torch.cat([prefix.mask, torch.ones_like(ids)], dim=1)
    out = network.model(
        input_ids=ids,
        attention_mask=prefix.mask,
        cache=prefix.cache,
        use_cache=True,
        **placed(network, read + steps),
    )
    logits: Tensor = out.logits
    return logits

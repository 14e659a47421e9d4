"""Answers behind prompts that were read: written token by token, or the likeliest of the labels.

Answers are written for the prompts of several passes together: a step reads all weights, so that it
costs nearly the same for a hundred rows as for two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.lm.answer_text import AnswerRules, AnswerText, first_line
from bench.lm.backend import Prompt, Wanted
from bench.lm.batched_patches import Rows
from bench.lm.branches import branch_scores
from bench.lm.prefill import Prefix, joined, read, step
from bench.types import Completion, Decoding

if TYPE_CHECKING:
    from bench.lm.network import Network


@dataclass(frozen=True)
class _Answer:
    """What was written: the text, cut at the stop rule, how many tokens, and whether it ended; how
    many of the tokens were a thought, and whether that was cut short.
    """

    text: str
    tokens: int = 0
    finished: bool = True
    thought: int = 0
    thought_cut: bool = False

    @staticmethod
    def of(text: AnswerText) -> _Answer:
        return _Answer(
            first_line(text.text),
            len(text.thought) + len(text.tokens),
            text.finished,
            text.thought_tokens,
            text.thought_cut,
        )


def answer_batch(
    network: Network,
    prompts: Sequence[Prompt],
    patches: Rows,
    passes: Sequence[Sequence[int]],
    wanted: Wanted,
    progress: Callable[[float], None],
) -> list[Completion]:
    """Answer the prompts of one batch. `passes`: which prompts are read at once, in their order.
    `progress` hears how many prompts are done, in parts of one.
    """
    # Behind a thought that nobody knows yet, no given answer can be scored.
    scores = network.thought_rules is None
    label_ids = [network.answer_ids(label) for label in wanted.labels] if scores else []
    gold_ids = [network.answer_ids(gold) for gold in wanted.golds] if scores else []
    labels: list[list[float]] = []
    golds: list[float] = []
    held: list[Prefix] = []
    choosing = wanted.decoding.rule == "likelihood"
    done = 0
    for rows in passes:
        with patches.only(torch.tensor(rows, device=network.device)):
            prefix = read(network, [prompts[row] for row in rows], patches)
            # Scored while the prompt's keys and values are at hand. The branches are cropped off
            # them again, so that the answer is written as if nobody had looked at labels or gold.
            if label_ids:
                labels += branch_scores(network, prefix, [label_ids] * len(rows))
            if gold_ids:
                golds += _gold_nlls(network, prefix, [gold_ids[row] for row in rows])
        if not choosing:
            held.append(prefix)
        done += len(rows)
        progress(done * (1.0 if choosing else 0.5))  # reading is about half of the work

    if choosing:
        answers = [_likeliest(wanted.labels, row) for row in labels]
    else:
        answers = _write(network, prompts, joined(held), patches, wanted, progress)
    found = []
    for row, prompt in enumerate(prompts):
        completion = Completion(
            answers[row].text,
            len(prompt.ids),
            answers[row].tokens,
            prompt.cut,
            answers[row].finished,
            label_logprobs=tuple(labels[row]) if labels else None,
            gold_nll=golds[row] if golds else None,
            thought=answers[row].thought,
            thought_cut=answers[row].thought_cut,
        )
        found.append(completion)
    return found


def _likeliest(labels: Sequence[str], scores: Sequence[float]) -> _Answer:
    return _Answer(labels[scores.index(max(scores))])


def _gold_nlls(network: Network, prefix: Prefix, golds: Sequence[Sequence[int]]) -> list[float]:
    """Of each prompt's gold, nats for each of its tokens."""
    totals = branch_scores(network, prefix, [[gold] for gold in golds])
    return [-total / len(gold) for [total], gold in zip(totals, golds, strict=True)]


def _write(
    network: Network,
    prompts: Sequence[Prompt],
    prefix: Prefix,
    patches: Rows,
    wanted: Wanted,
    progress: Callable[[float], None],
) -> list[_Answer]:
    """New tokens for every row until it stops; finished rows leave the batch."""
    decoding = wanted.decoding
    rules = AnswerRules(
        network.ends,
        wanted.labels if decoding.stop_at_label else (),
        wanted.max_new_tokens,
        network.tokenizer.decode,
        network.thought_rules,
    )
    texts = [AnswerText(rules, _stream(prompt, decoding)) for prompt in prompts]
    alive = list(texts)
    for number in count(1):
        tokens = _choose(prefix.logits, decoding, [text.stream for text in alive])
        for text, token in zip(alive, tokens, strict=True):
            text.take(token)
        going = [row for row, text in enumerate(alive) if not text.over]
        if not going:
            break
        if len(going) < len(alive):
            # The cache is copied without the finished rows. That costs as much as reading it for
            # one step; every later step would pay for rows that nobody waits for.
            kept = torch.tensor(going, device=network.device)
            prefix.select(kept)
            patches.select(kept)
            alive = [alive[row] for row in going]
        step(network, prefix, [text.last for text in alive])
        written = max(number / rules.most, 1 - len(alive) / len(prompts))
        progress(len(prompts) * (0.5 + 0.5 * written))
    return [_Answer.of(text) for text in texts]


def _choose(logits: Tensor, decoding: Decoding, streams: Sequence[torch.Generator]) -> list[int]:
    """The next token of each row: the most likely, or a draw after temperature, top-k and top-p."""
    if decoding.rule != "sample":
        return list(map(int, logits.argmax(-1)))
    from transformers import (
        LogitsProcessorList,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    warpers: Any = LogitsProcessorList([TemperatureLogitsWarper(float(decoding.temperature))])
    if decoding.top_k:
        warpers.append(TopKLogitsWarper(decoding.top_k))
    if decoding.top_p < 1:
        warpers.append(TopPLogitsWarper(float(decoding.top_p)))
    # On the CPU and row by row: each row draws from its own stream, which a batched draw on the
    # device could not, and the same numbers come on any device.
    probabilities = warpers(torch.empty(0), logits).softmax(-1).cpu()
    tokens = []
    for row, stream in zip(probabilities, streams, strict=True):
        tokens.append(int(torch.multinomial(row, 1, generator=stream)))
    return tokens


def _stream(prompt: Prompt, decoding: Decoding) -> torch.Generator:
    """A generator from the seed, the prompt and whose draw it is,
    so that a draw does not depend on the batch.
    """
    source = f"{decoding.seed}\n{prompt.text}" + (f"\n{prompt.draw}" if prompt.draw else "")
    digest = hashlib.sha256(source.encode("utf-8", "replace")).digest()
    # Seven bytes: torch takes a seed of 64 bits with a sign.
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))

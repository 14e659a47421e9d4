"""Answers behind prompts that were read: written token by token, or the likeliest of the labels.

Answers are written for the prompts of several passes together: a step reads all weights, so that it
costs nearly the same for a hundred rows as for two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.lm.batched_patches import Rows
from bench.lm.branches import branch_scores
from bench.lm.prefill import Prefix, joined, read, step
from bench.types import Completion, Decoding

if TYPE_CHECKING:
    from bench.lm.model import LM, Encoded


@dataclass(frozen=True)
class Wanted:
    """What is wanted of the prompts of a batch: an answer, by these rules; the log-probability of
    each label (`label_ids`: their tokens); and of each prompt's gold, where there are golds (token
    ids, one for each prompt).
    """

    max_new_tokens: int
    decoding: Decoding
    labels: tuple[str, ...] = ()
    label_ids: Sequence[Sequence[int]] = ()
    golds: Sequence[Sequence[int]] = ()

    def of(self, rows: Sequence[int]) -> Wanted:
        """The same for these rows alone."""
        return replace(self, golds=[self.golds[row] for row in rows]) if self.golds else self


@dataclass(frozen=True)
class _Answer:
    """What was written: the text, cut at the stop rule, how many tokens, and whether it ended."""

    text: str
    tokens: int = 0
    finished: bool = True


def answer_batch(
    lm: LM,
    prompts: Sequence[Encoded],
    patches: Rows,
    passes: Sequence[Sequence[int]],
    wanted: Wanted,
) -> list[Completion]:
    """Answer the prompts of one batch. `passes`: which prompts are read at once, in their order."""
    labels: list[list[float]] = []
    golds: list[float] = []
    held: list[Prefix] = []
    choosing = wanted.decoding.rule == "likelihood"
    done = 0
    for rows in passes:
        with patches.only(torch.tensor(rows, device=lm.device)):
            prefix = read(lm, [prompts[row] for row in rows], patches)
            # Scored while the prompt's keys and values are at hand. The branches are cropped off
            # them again, so that the answer is written as if nobody had looked at labels or gold.
            if wanted.labels:
                labels += branch_scores(lm, prefix, [wanted.label_ids] * len(rows))
            if wanted.golds:
                golds += _gold_nlls(lm, prefix, wanted.of(rows).golds)
        if not choosing:
            held.append(prefix)
        done += len(rows)
        lm.budget.within(done * (1.0 if choosing else 0.5))  # reading is about half of the work
    if choosing:
        answers = [_best(wanted.labels, row) for row in labels]
    else:
        answers = _write(lm, prompts, joined(held), patches, wanted)
    return [
        Completion(
            answer.text,
            len(prompt.ids),
            answer.tokens,
            prompt.cut,
            answer.finished,
            label_logprobs=tuple(labels[row]) if labels else None,
            gold_nll=golds[row] if golds else None,
        )
        for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
    ]


def _best(labels: Sequence[str], scores: Sequence[float]) -> _Answer:
    return _Answer(labels[max(range(len(labels)), key=scores.__getitem__)])


def _gold_nlls(lm: LM, prefix: Prefix, golds: Sequence[Sequence[int]]) -> list[float]:
    """For each token of each prompt's gold, nats."""
    totals = branch_scores(lm, prefix, [[gold] for gold in golds])
    return [-total / len(gold) for [total], gold in zip(totals, golds, strict=True)]


def _write(
    lm: LM, prompts: Sequence[Encoded], prefix: Prefix, patches: Rows, wanted: Wanted
) -> list[_Answer]:
    """New tokens for every row until it stops; finished rows leave the batch."""
    ends = _ends(lm)
    decoding, limit = wanted.decoding, wanted.max_new_tokens
    labels = wanted.labels if decoding.stop_at_label else ()
    streams = [_stream(prompt, decoding) for prompt in prompts]
    alive = list(range(len(prompts)))
    new: list[list[int]] = [[] for _ in prompts]
    text = [""] * len(prompts)
    finished = [False] * len(prompts)
    for number in range(limit):
        tokens = _choose(prefix.logits, decoding, [streams[row] for row in alive])
        for row, token in zip(alive, tokens, strict=True):
            if token in ends:
                finished[row] = True
                continue
            new[row].append(token)
            # All of it again: a token alone may be half a character, or lose its leading space.
            text[row] = str(lm.tokenizer.decode(new[row], skip_special_tokens=True))
            finished[row] = _stops(text[row], labels)
        keep = [index for index, row in enumerate(alive) if not finished[row]]
        if not keep or number + 1 == limit:
            break
        if len(keep) < len(alive):
            # The cache is copied without the finished rows: that costs one step's reading of it,
            # and every later step would pay for rows that nobody waits for.
            still = torch.tensor(keep, device=lm.device)
            prefix.select(still)
            patches.select(still)
            alive = [alive[index] for index in keep]
        step(lm, prefix, [new[row][-1] for row in alive])
        written = max((number + 1) / limit, 1 - len(alive) / len(prompts))
        lm.budget.within(len(prompts) * (0.5 + 0.5 * written))
    return [
        _Answer(_first_line(text[row]), len(new[row]), finished[row]) for row in range(len(prompts))
    ]


def _choose(logits: Tensor, decoding: Decoding, streams: Sequence[torch.Generator]) -> list[int]:
    """The next token of each row: the most likely, or a draw after temperature, top-k and top-p."""
    if decoding.rule != "sample":
        return [int(token) for token in logits.argmax(-1)]
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
    probabilities = warpers(torch.empty(0), logits).softmax(-1).cpu()
    rows = zip(probabilities, streams, strict=True)
    return [int(torch.multinomial(row, 1, generator=stream)) for row, stream in rows]


def _stream(prompt: Encoded, decoding: Decoding) -> torch.Generator:
    """A generator from the seed, the prompt and whose draw it is, so that a draw does not depend on
    the batch.
    """
    told = f"{decoding.seed}\n{prompt.text}" + (f"\n{prompt.draw}" if prompt.draw else "")
    digest = hashlib.sha256(told.encode("utf-8", "replace")).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def _ends(lm: LM) -> set[int]:
    named = getattr(lm.model, "generation_config", None)
    more = getattr(named, "eos_token_id", None)
    return {lm.end, *(more if isinstance(more, list) else [more] if more is not None else [])}


def _stops(text: str, labels: Sequence[str]) -> bool:
    """An answer ends with its first line, or with a label that no longer label begins with."""
    if "\n" in text.lstrip():
        return True
    said = text.strip()
    return said in labels and not any(label != said and label.startswith(said) for label in labels)


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0].strip()

"""Answer many requests at once: batches by token budget, mixed patches, stop rules, results as
batches finish.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import torch

from bench.disk import sources
from bench.errors import InputError
from bench.lm import batches
from bench.lm.batched_patches import applied
from bench.lm.branches import score_batch
from bench.lm.decode import Wanted, answer_batch
from bench.lm.memory import out_of_memory
from bench.lm.prefix import can_share
from bench.lm.response_cache import ResponseCache
from bench.types import Completion, Decoding, Request

if TYPE_CHECKING:
    from bench.lm.model import LM, Encoded

Known = tuple[Completion, float | None]
"""A cached answer, and the seconds that it took where that is known."""

S = TypeVar("S")
T = TypeVar("T")


def run(
    lm: LM,
    requests: Sequence[Request],
    encoded: Sequence[Encoded],
    max_new_tokens: int,
    decoding: Decoding,
    labels: tuple[str, ...],
    *,
    cached: bool,
    salt: str,
    done: Callable[[int], bool] | None,
    golds: Sequence[str] = (),
) -> Iterator[list[tuple[int, Completion]]]:
    """See LM.generate."""
    if golds and cached:
        raise ValueError("the response cache is for answers, which have no golds")
    if decoding.rule == "likelihood" and not labels:
        raise InputError("decoding=likelihood needs a task with labels")
    label_ids = [lm.answer_ids(label) for label in labels]
    wanted = Wanted(
        max_new_tokens, decoding, labels, label_ids, [lm.answer_ids(gold) for gold in golds]
    )
    # other neighbours throughout; less to lose at a limit
    held = 1 if salt or lm.budget.limiting else batches.HELD
    share = _shares(lm, encoded)
    for batch in batches.plan(encoded, lm.spec.batch_tokens, salt=salt, held=held, share=share):
        if done is not None and all(done(index) for index in batch):
            continue
        keys = [
            _key(lm, requests[index], encoded[index], max_new_tokens, decoding, labels)
            for index in batch
        ]
        known = (
            [lm.cache.get(key, lm.budget.damaged) for key in keys]
            if cached and lm.cache
            else [None] * len(batch)
        )
        lm.budget.check()
        part = ResponseCache.key({"batch": keys})
        answers = _used_again(lm, known, part)
        if answers is None:
            before = lm.budget.bill()
            started = time.monotonic()
            made = _answer(lm, requests, encoded, batch, wanted)
            answers = [new if old is None else old[0] for old, new in zip(known, made, strict=True)]
            lm.budget.count(
                tokens_in=sum(one.tokens_in for one in answers),
                tokens_out=sum(one.tokens_out for one in answers),
            )
            if lm.cache and cached:
                lm.budget.keep(part, lm.budget.bill() - before)
                lm.cache.put(
                    dict(zip(keys, answers, strict=True)), (time.monotonic() - started) / len(batch)
                )
        yield [
            (index, replace(answer, prompt=encoded[index].text))
            for index, answer in zip(batch, answers, strict=True)
        ]


def _answer(
    lm: LM,
    requests: Sequence[Request],
    encoded: Sequence[Encoded],
    batch: list[int],
    wanted: Wanted,
) -> list[Completion]:
    """Answer the requests of one batch, in halves where memory runs out."""

    def work(rows: list[int]) -> list[Completion]:
        prompts = [encoded[index] for index in rows]
        patches = [requests[index].patches for index in rows]
        parts = batches.passes(prompts, lm.spec.batch_tokens, share=_shares(lm, prompts))
        with applied(lm.model, patches) as patched, torch.inference_mode():
            return answer_batch(lm, prompts, patched, parts, wanted.of(rows))

    return halving(work, batch, [requests[index].name for index in batch])


def _shares(lm: LM, prompts: Sequence[Encoded]) -> bool:
    return can_share(lm, max((len(prompt.ids) for prompt in prompts), default=0))


def _used_again(lm: LM, known: Sequence[Known | None], part: str) -> list[Completion] | None:
    """A whole batch from the cache, charged with the seconds that it took; None where an answer is
    missing.

    Under a limit also where an answer's seconds are not known: it would look free. What a killed
    run of this very work had written (`part`) costs what it did cost.
    """
    found = [one for one in known if one is not None]
    if len(found) < len(known) or (
        lm.budget.minutes is not None and any(one[1] is None for one in found)
    ):
        return None
    if lm.budget.again(part):
        return [answer for answer, _ in found]
    if lm.cache:
        lm.cache.hits += len(found)
    lm.budget.charge(sum(seconds or 0.0 for _, seconds in found), cache_hits=len(found))
    return [answer for answer, _ in found]


def score(
    lm: LM,
    requests: Sequence[Request],
    encoded: Sequence[Encoded],
    answers: Sequence[Sequence[str]],
    *,
    salt: str = "",
    done: Callable[[int], bool] | None = None,
) -> Iterator[list[tuple[int, list[tuple[float, int]]]]]:
    """See LM.likelihood; batch by batch. `salt` and `done` as in LM.generate."""
    wanted = [[lm.answer_ids(answer) for answer in row] for row in answers]

    def work(rows: list[int]) -> list[list[tuple[float, int]]]:
        prompts = [encoded[index] for index in rows]
        targets = [wanted[index] for index in rows]
        patches = [requests[index].patches for index in rows]
        with applied(lm.model, patches) as patched, torch.inference_mode():
            totals = score_batch(lm, prompts, patched, targets)
        scored = []
        for row, target in zip(totals, targets, strict=True):
            scored.append([(total, len(ids)) for total, ids in zip(row, target, strict=True)])
        return scored

    share = _shares(lm, encoded)
    for batch in batches.plan(encoded, lm.spec.batch_tokens, salt=salt, share=share):
        if done and all(map(done, batch)):
            continue
        found = halving(work, batch, [requests[index].name for index in batch])
        lm.budget.count(tokens_in=sum(len(encoded[index].ids) for index in batch))
        yield list(zip(batch, found, strict=True))


def halving(work: Callable[[list[S]], list[T]], batch: list[S], names: Sequence[str]) -> list[T]:
    """Do a batch; when memory runs out, each half on its own. One request alone that does not fit
    is an error.
    """
    try:
        return work(batch)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        if len(batch) == 1:
            raise MemoryError(
                f"{names[0] or 'request'}: one prompt alone does not fit into memory"
            ) from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(batch) // 2
    return halving(work, batch[:middle], names[:middle]) + halving(
        work, batch[middle:], names[middle:]
    )


def _key(
    lm: LM,
    request: Request,
    prompt: Encoded,
    max_new_tokens: int,
    decoding: Decoding,
    labels: tuple[str, ...],
) -> str:
    how: list[str | float] = [decoding.rule, max_new_tokens, decoding.stop_at_label]
    if decoding.rule == "sample":
        how += [decoding.temperature, decoding.top_p, decoding.top_k, decoding.seed]
        how += [prompt.draw] if prompt.draw else []
    model, patches = lm.identity, [patch.id for patch in request.patches]
    # whatever the base: it is taken back
    if patches and patches == [patch.id for patch in lm.as_instruct]:
        model, patches = model | {"base": "instruct"}, []
    parts = {
        "model": model,
        "prompt": list(prompt.ids),
        "patches": patches,
        "how": how,
        "labels": list(labels),
    }
    return ResponseCache.key(parts | {"code": sources.writing()})

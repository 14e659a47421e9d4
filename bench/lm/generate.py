"""Answer many requests at once: batches by token budget, mixed patches,
stop rules, results as batches finish.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import torch

from bench.disk import sources
from bench.errors import InputError
from bench.lm import batches
from bench.lm.batched_patches import Rows, applied
from bench.lm.branches import score_batch
from bench.lm.decode import Wanted, answer_batch
from bench.lm.memory import out_of_memory
from bench.lm.prefix import can_share
from bench.lm.response_cache import ResponseCache
from bench.types import Completion, Decoding, Request

if TYPE_CHECKING:
    from bench.lm.model import LM
    from bench.lm.network import Encoded

Known = tuple[Completion, float | None]
"""A cached answer, and the seconds that it took where that is known."""

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class _Asked:
    """A request, its prompt, and the tokens of its gold, if it has one."""

    request: Request
    prompt: Encoded
    gold: Sequence[int] = ()


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
    wanted = Wanted(max_new_tokens, decoding, labels, [lm.answer_ids(label) for label in labels])
    # Passes are answered one by one where other neighbours throughout are the point (a salt), and
    # under a limit, at which the batch in work is lost.
    held = 1 if salt or lm.budget.limiting else batches.HELD
    share = _shares(lm, encoded)
    for batch in batches.plan(encoded, lm.spec.batch_tokens, salt=salt, held=held, share=share):
        if done is not None and all(map(done, batch)):
            continue
        asked = []
        for index in batch:
            gold = lm.answer_ids(golds[index]) if golds else ()
            asked.append(_Asked(requests[index], encoded[index], gold))
        lm.budget.check()
        if cached and lm.cache:
            answers = _through_cache(lm, lm.cache, asked, wanted)
        else:
            answers = _made(lm, asked, wanted)
            _count(lm, answers)
        found = []
        for index, answer in zip(batch, answers, strict=True):
            found.append((index, replace(answer, prompt=encoded[index].text)))
        yield found


def _shares(lm: LM, prompts: Sequence[Encoded]) -> bool:
    return can_share(lm, max((len(prompt.ids) for prompt in prompts), default=0))


def _made(lm: LM, asked: list[_Asked], wanted: Wanted) -> list[Completion]:
    """Answer one batch, in halves where memory runs out."""

    def work(asked: list[_Asked]) -> list[Completion]:
        prompts = [row.prompt for row in asked]
        parts = batches.passes(prompts, lm.spec.batch_tokens, share=_shares(lm, prompts))
        golds = [row.gold for row in asked if row.gold]
        with _applied(lm, asked) as patches:
            return answer_batch(lm, prompts, patches, parts, replace(wanted, golds=golds))

    return halving(work, asked, [row.request.name for row in asked])


@contextmanager
def _applied(lm: LM, asked: Sequence[_Asked]) -> Iterator[Rows]:
    """Inside, each row has the patches of its request, and nothing is kept for a gradient."""
    patches_of_rows = [row.request.patches for row in asked]
    with applied(lm.model, patches_of_rows) as patches, torch.inference_mode():
        yield patches


def _count(lm: LM, answers: Sequence[Completion]) -> None:
    lm.budget.count(
        tokens_in=sum(answer.tokens_in for answer in answers),
        tokens_out=sum(answer.tokens_out for answer in answers),
    )


def _through_cache(
    lm: LM, cache: ResponseCache, asked: list[_Asked], wanted: Wanted
) -> list[Completion]:
    """One batch from the cache if that has all of it. Otherwise all of it is made, with the same
    neighbours as ever; an answer that the cache had stays what it was.
    """
    keys = [_key(lm, row, wanted) for row in asked]
    known = [cache.get(key, lm.budget.damaged) for key in keys]
    part = ResponseCache.key({"batch": keys})
    again = _used_again(lm, cache, known, part)
    if again is not None:
        return again
    before, started = lm.budget.bill(), time.monotonic()
    answers = _made(lm, asked, wanted)
    for row, entry in enumerate(known):
        if entry is not None:
            answers[row] = entry[0]
    _count(lm, answers)
    # The cost first: an answer without one would look free to a run that goes on from here.
    lm.budget.keep(part, lm.budget.bill() - before)
    seconds = (time.monotonic() - started) / len(asked)
    cache.put(dict(zip(keys, answers, strict=True)), seconds)
    return answers


def _used_again(
    lm: LM, cache: ResponseCache, known: Sequence[Known | None], part: str
) -> list[Completion] | None:
    """A whole batch from the cache, charged with the seconds that it took; None where an answer is
    missing.

    Under a limit also where an answer's seconds are not known: it would look free. What a killed
    run of this very work had written (`part`) costs what it did cost.
    """
    answers: list[Completion] = []
    total = 0.0
    for entry in known:
        if entry is None or (entry[1] is None and lm.budget.minutes is not None):
            return None
        answers.append(entry[0])
        total += entry[1] or 0.0
    if not lm.budget.again(part):
        cache.hits += len(answers)
        lm.budget.charge(total, cache_hits=len(answers))
    return answers


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

    def work(rows: list[int]) -> list[list[tuple[float, int]]]:
        asked = [_Asked(requests[index], encoded[index]) for index in rows]
        targets: list[list[list[int]]] = []
        for index in rows:
            targets.append([lm.answer_ids(answer) for answer in answers[index]])
        with _applied(lm, asked) as patches:
            totals = score_batch(lm, [row.prompt for row in asked], patches, targets)
        scored = []
        for row, target in zip(totals, targets, strict=True):
            scored.append(list(zip(row, map(len, target), strict=True)))
        return scored

    share = _shares(lm, encoded)
    for batch in batches.plan(encoded, lm.spec.batch_tokens, salt=salt, share=share):
        if done and all(map(done, batch)):
            continue
        found = halving(work, batch, [requests[index].name for index in batch])
        lm.budget.count(tokens_in=sum(len(encoded[index].ids) for index in batch))
        yield list(zip(batch, found, strict=True))


def halving(work: Callable[[list[S]], list[T]], batch: list[S], names: Sequence[str]) -> list[T]:
    """Do a batch; when memory runs out, each half on its own.

    One request alone that does not fit is an error.
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
    # Outside of the except clause: the error's frames held the tensors that did not fit.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(batch) // 2
    first = halving(work, batch[:middle], names[:middle])
    return first + halving(work, batch[middle:], names[middle:])


def _key(lm: LM, asked: _Asked, wanted: Wanted) -> str:
    decoding, prompt = wanted.decoding, asked.prompt
    how: list[str | float] = [decoding.rule, wanted.max_new_tokens, decoding.stop_at_label]
    if decoding.rule == "sample":
        how += [decoding.temperature, decoding.top_p, decoding.top_k, decoding.seed]
        how += [prompt.draw] if prompt.draw else []
    # What can change the answer, and nothing else: not the batch, nor whose question it is.
    model, patches = lm.identity, [patch.id for patch in asked.request.patches]
    # An adapted base that is taken back again is the model as it was, whatever the base: cells on
    # different bases share such texts.
    if patches and patches == [patch.id for patch in lm.as_instruct]:
        model, patches = model | {"base": "instruct"}, []
    parts = {
        "model": model,
        "prompt": list(prompt.ids),
        "patches": patches,
        "how": how,
        "labels": list(wanted.labels),
    }
    return ResponseCache.key(parts | {"code": sources.writing()})

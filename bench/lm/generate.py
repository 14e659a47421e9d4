"""Answer many requests at once: batches by token budget, mixed patches, stop rules, results as
batches finish.

A batch is planned from the prompts alone, never from what is left to do or from the patches, so
that two methods with the same prompts, and a run that was killed and resumed, put the same prompts
side by side (in bfloat16 the neighbours matter).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch

from bench.disk import sources
from bench.errors import InputError
from bench.lm.batched_patches import applied
from bench.lm.decode import Wanted, answer_batch, score_batch
from bench.lm.memory import out_of_memory
from bench.lm.response_cache import ResponseCache
from bench.types import Completion, Decoding, Request

if TYPE_CHECKING:
    from bench.lm.model import LM, Encoded

Known = tuple[Completion, float | None]
"""A cached answer, and the seconds that it took where that is known."""

S = TypeVar("S")
T = TypeVar("T")

MAX_ROWS = 64
"""Rows of one pass, at the most."""

HELD = 3
"""So many full passes are read before their answers are written, together."""

ENOUGH = 2048
"""Padded tokens of a pass that are worth a pass of their own, where padding can be saved."""


def plan(
    encoded: Sequence[Encoded],
    batch_tokens: int,
    *,
    salt: str = "",
    extra: int = 0,
    alike: int = 1,
    held: int = 1,
) -> list[list[int]]:
    """Batches of indices, longest prompts first: passes of like length, of at most `batch_tokens`
    padded tokens and MAX_ROWS rows; or with `held` so many times as much, of any length, as is
    answered together.

    Soft prompts do not count, as no patch may. `extra`: tokens beyond the prompt that each row
    needs. A salt shuffles the prompts into other batches. So many prompts in a row as are `alike`
    stay together.
    """

    def length(first: int) -> int:
        return _length(encoded[first : first + alike]) + extra

    def place(first: int) -> tuple[int, str]:
        text = "".join(one.text for one in encoded[first : first + alike])
        digest = hashlib.sha256((salt + text).encode("utf-8", "replace")).hexdigest()
        return (0 if salt else -length(first), digest)

    order = sorted(range(0, len(encoded), alike), key=place)
    lengths = [length(first) for first in order]
    filled = packed(lengths, held * batch_tokens, held * MAX_ROWS, alike, even=held == 1)
    return [
        [row for at in batch for row in range(order[at], order[at] + alike)] for batch in filled
    ]


def packed(
    lengths: Sequence[int], tokens: int, rows: int, alike: int = 1, *, even: bool = True
) -> list[list[int]]:
    """Places in a row, put together while they fit into so many padded tokens and rows; each place
    holds `alike` rows of its length at the most. `even`: what is shorter by an eighth starts anew,
    once there are ENOUGH tokens.
    """
    filled: list[list[int]] = []
    longest = held = 0
    for place, length in enumerate(lengths):
        longest = max(longest, length)
        full = held >= rows or (held + alike) * longest > tokens
        uneven = even and held * longest >= ENOUGH and length < longest * 7 / 8
        if not filled or full or uneven:
            filled.append([])
            longest, held = length, 0
        filled[-1].append(place)
        held += alike
    return filled


def _length(family: Sequence[Encoded]) -> int:
    return max(len(one.ids) - one.virtual for one in family)


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
    alike: int,
    golds: Sequence[str] = (),
) -> Iterator[list[tuple[int, Completion]]]:
    """See LM.generate."""
    if golds and cached:
        raise ValueError("the response cache is for answers, which have no golds")
    if len(requests) % alike:
        raise ValueError(f"{len(requests)} requests are not families of {alike}")
    if decoding.rule == "likelihood" and not labels:
        raise InputError("decoding=likelihood needs a task with labels")
    label_ids = [lm.answer_ids(label) for label in labels]
    wanted = Wanted(
        max_new_tokens, decoding, labels, label_ids, [lm.answer_ids(gold) for gold in golds]
    )
    # other neighbours throughout; less to lose at a limit
    held = 1 if salt or lm.budget.limiting else HELD
    for batch in plan(encoded, lm.spec.batch_tokens, salt=salt, alike=alike, held=held):
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
            made = _answer(lm, requests, encoded, batch, wanted, alike)
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
        yield list(zip(batch, answers, strict=True))


def _answer(
    lm: LM,
    requests: Sequence[Request],
    encoded: Sequence[Encoded],
    batch: Sequence[int],
    wanted: Wanted,
    alike: int,
) -> list[Completion]:
    """Answer the requests of one batch, in halves where memory runs out; families stay together."""

    def work(families: list[list[int]]) -> list[list[Completion]]:
        rows = [index for family in families for index in family]
        prompts = [encoded[index] for index in rows]
        patches = [requests[index].patches for index in rows]
        passes = _passes(prompts, lm.spec.batch_tokens, alike)
        with applied(lm.model, patches) as patched, torch.inference_mode():
            found = answer_batch(lm, prompts, patched, passes, wanted.of(rows), alike)
        return [found[at : at + alike] for at in range(0, len(found), alike)]

    families = [list(batch[at : at + alike]) for at in range(0, len(batch), alike)]
    answered = halving(work, families, [requests[family[0]].name for family in families])
    return [answer for family in answered for answer in family]


def _passes(prompts: Sequence[Encoded], batch_tokens: int, alike: int) -> list[list[int]]:
    """Which prompts of a batch are read at once."""
    lengths = [_length(prompts[at : at + alike]) for at in range(0, len(prompts), alike)]
    return [
        [row for at in places for row in range(at * alike, (at + 1) * alike)]
        for places in packed(lengths, batch_tokens, MAX_ROWS, alike)
    ]


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
    for batch in plan(encoded, lm.spec.batch_tokens, salt=salt):
        if done and all(map(done, batch)):
            continue

        def work(rows: list[int]) -> list[list[tuple[float, int]]]:
            with (
                applied(lm.model, [requests[index].patches for index in rows]) as patches,
                torch.inference_mode(),
            ):
                prompts, targets = (
                    [encoded[index] for index in rows],
                    [wanted[index] for index in rows],
                )
                totals = score_batch(lm, prompts, patches, targets)
                sizes = [[len(one) for one in row] for row in targets]
                return [
                    list(zip(total, size, strict=True))
                    for total, size in zip(totals, sizes, strict=True)
                ]

        scored = halving(work, batch, [requests[index].name for index in batch])
        lm.budget.count(tokens_in=sum(len(encoded[index].ids) for index in batch))
        yield list(zip(batch, scored, strict=True))


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

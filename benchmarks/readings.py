"""Each prompt read once, against two readings of each: the rows `readings` of `answering`.

Two sets of prompts of a generation task. `answer and gold`: as RAG asks real questions. `ten
questions behind one history`: for each user the same history in front of ten questions, which are
the newest items of the user. `twice` reads every prompt from its first token on, to answer, and
once more for the likelihood of its gold. `once` scores the gold behind the reading for the answer,
and reads what prompts begin with alike once. Answers and likelihoods of both are compared.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from setting import synchronize

from bench.data.task import Task
from bench.lm import prefix
from bench.lm.model import LM
from bench.types import Query, Request, User

SHOWN = 8
QUESTIONS = 10


@dataclass(frozen=True)
class Asked:
    """Prompts, each with its gold."""

    requests: Sequence[Request]
    golds: Sequence[str]


@dataclass(frozen=True)
class Answered:
    """Texts, the negative log-likelihoods of the golds (nats a token), and how long both took."""

    texts: Sequence[str]
    nlls: Sequence[float]
    seconds: float


def shared_sets(task: Task, users: Sequence[User], most: int) -> Asked:
    """Ten questions of each of the first `most` users who have more items, behind up to eight."""
    requests: list[Request] = []
    golds: list[str] = []
    for user in users:
        usable = [item for item in user.history if task.answer(item) and item.fields[task.source]]
        shown = usable[:-QUESTIONS][:SHOWN]
        if not shown or len(golds) == most * QUESTIONS:
            continue
        for item in usable[-QUESTIONS:]:
            text = item.fields[task.source]
            asked = task.input_template.replace("{" + task.source + "}", text)
            query = Query(item.id, asked, text)
            requests.append(Request(task.render(query, shown), name=f"item {item.id}"))
            golds.append(str(task.answer(item)))
    return Asked(requests, golds)


def rows(lm: LM, task: Task, sets: dict[str, Asked], repeats: int) -> dict[str, Any]:
    """For each set of prompts: seconds of both ways, their ratio, and what differs."""
    return {name: _row(lm, task, asked, repeats) for name, asked in sets.items()}


def _row(lm: LM, task: Task, asked: Asked, repeats: int) -> dict[str, Any]:
    twice: list[Answered] = []
    once: list[Answered] = []
    for number in range(repeats):
        # The arms take turns, so that a machine that slows down slows both.
        for how in (_twice, _once) if number % 2 == 0 else (_once, _twice):
            (twice if how is _twice else once).append(_clocked(lm, task, asked, how))
    ratios = [slow.seconds / fast.seconds for slow, fast in zip(twice, once, strict=True)]
    pairs = list(zip(once[0].texts, twice[0].texts, strict=True))
    apart = [abs(one - two) for one, two in zip(once[0].nlls, twice[0].nlls, strict=True)]
    encoded = [lm.network.encode(request) for request in asked.requests]
    return {
        "prompts": len(pairs),
        "prompt_tokens": sum(len(prompt.ids) for prompt in encoded),
        "seconds": {
            "twice": median(arm.seconds for arm in twice),
            "once": median(arm.seconds for arm in once),
        },
        "ratio": median(ratios),
        "different_answers": sum(one != two for one, two in pairs),
        "largest_difference_of_nll": max(apart),
    }


def _clocked(
    lm: LM, task: Task, asked: Asked, how: Callable[[LM, Task, Asked], Answered]
) -> Answered:
    synchronize()
    begin = time.perf_counter()
    found = how(lm, task, asked)
    synchronize()
    return Answered(found.texts, found.nlls, time.perf_counter() - begin)


def _once(lm: LM, task: Task, asked: Asked) -> Answered:
    found = {}
    for batch in lm.generate(asked.requests, max_new_tokens=task.max_new_tokens, golds=asked.golds):
        found |= dict(batch)
    answers = [found[index] for index in range(len(found))]
    return Answered([one.text for one in answers], [float(one.gold_nll or 0) for one in answers], 0)


def _twice(lm: LM, task: Task, asked: Asked) -> Answered:
    found = {}
    with _whole_prompts():
        for batch in lm.generate(asked.requests, max_new_tokens=task.max_new_tokens):
            found |= dict(batch)
        scored = dict(lm.likelihood(asked.requests, [[gold] for gold in asked.golds]))
    texts, nlls = [], []
    for index in range(len(found)):
        texts.append(found[index].text)
        [(total, tokens)] = scored[index]
        nlls.append(-total / tokens)
    return Answered(texts, nlls, 0)


@contextmanager
def _whole_prompts() -> Iterator[None]:
    """Inside, nothing is shared: no beginning is long enough."""
    before = prefix.MIN_SHARED
    prefix.MIN_SHARED = sys.maxsize
    try:
        yield
    finally:
        prefix.MIN_SHARED = before


def lines(readings: dict[str, Any]) -> list[str]:
    """The rows as lines of a table."""
    return [
        f"{name}: {row['prompts']} prompts, {row['prompt_tokens']} tokens: twice"
        f" {row['seconds']['twice']:.2f} s, once {row['seconds']['once']:.2f} s, ratio"
        f" {row['ratio']:.2f}; {row['different_answers']} answers differ, likelihoods by"
        f" {row['largest_difference_of_nll']:.1e} at most"
        for name, row in readings.items()
    ]

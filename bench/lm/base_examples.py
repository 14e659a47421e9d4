"""What an adapted base learns from: the training users' questions,
and items of their histories that are asked.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.data import citation
from bench.data.task import Task
from bench.types import Item, Query, Request, User

if TYPE_CHECKING:
    from bench.lm.base import BaseSpec
    from bench.lm.model import LM
    from bench.lm.tune import Example


def examples(lm: LM, task: Task, users: Sequence[User], spec: BaseSpec) -> list[Example]:
    """Training pairs: the users' questions, and as an option some of their history items asked with
    the others shown.

    Each user gives one group: a part of the history is shown, the rest and the questions are asked
    about it.
    """
    from bench.lm.tune import Example

    stream = random.Random(f"base/{spec.seed}")
    found: list[_Pair] = []
    for turn in range(1 if task.has_answers else spec.repeats):
        if task.cites and len(found) >= (spec.most(task) or math.inf):
            break  # whole groups of questions, which share what they show
        for user in users:
            found += _pairs(task, user, spec, stream, f"{user.id}/{turn}", users)
    stream.shuffle(found)
    chosen = _balanced(found, spec, task)
    named = {pair.user for pair in chosen} if spec.form == "profile" else set()
    readers = [user for user in users if user.id in named]
    profiles = replace(spec.profile, seed=spec.seed).write(
        lm, task, readers, lm.budget, phase="base"
    )
    lessons = []
    for pair in chosen:
        written = profiles.get(pair.user)
        profile = written.text if written else None
        messages = task.render(pair.query, pair.shown, style=spec.style, profile=profile)
        request = Request(messages, name=f"{task.name} {pair.query.id}")
        lessons.append(Example(request, pair.answer, pair.group))
    return lessons


@dataclass(frozen=True, slots=True)
class _Pair:
    user: str
    query: Query
    shown: tuple[Item, ...]
    answer: str
    group: str


def _pairs(
    task: Task, user: User, spec: BaseSpec, stream: random.Random, group: str, users: Sequence[User]
) -> list[_Pair]:
    """One user's pairs over one choice of history;
    of a dated one the earlier part is shown, the later asked.
    """
    history = list(user.history)
    # Of LaMP-1 half as many: each item is asked in both orders.
    asked = spec.leave_out if task.has_answers else 0
    if task.cites:
        asked = spec.leave_out // 2
    size = min(len(history), stream.randint(min(3, spec.n_items), spec.n_items))
    size = min(size, max(1, len(history) - asked // 2)) if asked else size
    order = list(range(len(history)))
    if not any(item.date for item in history):
        stream.shuffle(order)
    bare = spec.form == "plain" or (
        spec.form == "history" and stream.random() < spec.no_history_share
    )
    shown = () if bare else tuple(history[index] for index in sorted(order[:size]))
    group = "" if bare else group
    kept = [history[index] for index in order[size : size + asked]]
    both = task.cites and spec.leave_out > 0
    found = _citations(task, user, kept, users, stream) if both else _questions(task, user, kept)
    return [_Pair(user.id, query, shown, answer, group) for query, answer in found]


def _questions(task: Task, user: User, kept: Sequence[Item]) -> Iterator[tuple[Query, str]]:
    """History items that have both sides, asked, and the user's own questions; with the answers."""
    for item in kept:
        answer, text = task.answer(item), item.fields.get(task.source, "")
        if answer and text.strip():
            asked = task.input_template.replace("{" + task.source + "}", text)
            yield Query(item.id, asked, text), answer
    for query in user.queries:
        if query.gold is not None:
            yield replace(query, gold=None), query.gold


def _citations(
    task: Task, user: User, papers: Sequence[Item], users: Sequence[User], stream: random.Random
) -> Iterator[tuple[Query, str]]:
    """LaMP-1's questions, and the same asked with papers of the author's own as the reference; all
    in both orders.

    In one order alone, what a few examples have in common by chance is where the right one stands.
    """
    asked = [query for query in user.queries if query.gold is not None]
    found: list[tuple[Query, str, str]] = []  # with the right one and the wrong one
    for query in asked:
        cited = citation.parse(query.input)
        if task.labels.index(str(query.gold)) == 0:
            found.append((query, cited.first, cited.second))
        else:
            found.append((query, cited.second, cited.first))
    for paper in papers if asked and len(users) > 1 else ():
        other = _stranger(user, users, stream)
        if other.history:
            foreign = stream.choice(other.history).fields[task.source]
            asking = replace(stream.choice(asked), id=paper.id)
            found.append((asking, paper.fields[task.source], foreign))
    for query, right, wrong in found:
        title = citation.parse(query.input).title
        orders = ((right, wrong), (wrong, right))
        for answer, (first, second) in zip(task.labels, orders, strict=True):
            text = task.input_template.format(title=title, ref1=first, ref2=second)
            yield replace(query, input=text, text=task.query_text(text), gold=None), answer


def _stranger(user: User, users: Sequence[User], stream: random.Random) -> User:
    while (other := users[stream.randrange(len(users))]).id == user.id:
        pass
    return other


def _balanced(found: list[_Pair], spec: BaseSpec, task: Task) -> list[_Pair]:
    """At most `max_examples`, of each label in proportion to count ** balance."""
    limit = spec.most(task) or len(found)
    if not task.labels or not found:
        return found[:limit]
    pools: dict[str, list[_Pair]] = {}
    for pair in found:
        pools.setdefault(pair.answer, []).append(pair)
    weights = {label: len(pool) ** spec.balance for label, pool in pools.items()}
    most = max(len(pools[label]) / weight for label, weight in weights.items())
    share = min(limit / sum(weights.values()), most)
    kept = set[int]()
    for label, pool in pools.items():
        kept.update(id(pair) for pair in pool[: round(share * weights[label])])
    return [pair for pair in found if id(pair) in kept]

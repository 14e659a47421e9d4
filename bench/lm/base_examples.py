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
    pairs: list[_Pair] = []
    for turn in range(1 if task.has_answers else spec.repeats):
        if task.cites and len(pairs) >= (spec.most(task) or math.inf):
            break  # whole groups of questions, which share what they show
        for user in users:
            pairs += _pairs(task, user, spec, stream, f"{user.id}/{turn}", users)
    stream.shuffle(pairs)
    pairs = _balanced(pairs, spec, task)

    profiles = _profiles(lm, task, users, pairs, spec) if spec.form == "profile" else {}
    lessons = []
    for pair in pairs:
        profile = profiles.get(pair.user)
        messages = task.render(pair.query, pair.shown, style=spec.style, profile=profile)
        request = Request(messages, name=f"{task.name} {pair.query.id}")
        lessons.append(Example(request, pair.answer, pair.group))
    return lessons


@dataclass(frozen=True, slots=True)
class _Pair:
    """A question of a user, the items that are shown with it, and its answer. Pairs of one group
    show the same items.
    """

    user: str
    query: Query
    shown: tuple[Item, ...]
    answer: str
    group: str


def _profiles(
    lm: LM, task: Task, users: Sequence[User], pairs: Sequence[_Pair], spec: BaseSpec
) -> dict[str, str]:
    """The written profiles of the users of these pairs, by user id."""
    needed = {pair.user for pair in pairs}
    readers = [user for user in users if user.id in needed]
    profile = replace(spec.profile, seed=spec.seed)
    answers = profile.write(lm, task, readers, lm.budget, phase="base")
    return {user: answer.text for user, answer in answers.items()}


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
    if asked:
        # Of a short history some items stay, to be asked.
        size = min(size, max(1, len(history) - asked // 2))
    order = list(range(len(history)))
    if not any(item.date for item in history):
        stream.shuffle(order)

    without_history = spec.form == "plain"
    if spec.form == "history":
        without_history = stream.random() < spec.no_history_share
    shown: tuple[Item, ...] = ()
    if without_history:
        group = ""
    else:
        shown = tuple(history[index] for index in sorted(order[:size]))

    rest = [history[index] for index in order[size : size + asked]]
    if task.cites and spec.leave_out > 0:
        questions = _citations(task, user, rest, users, stream)
    else:
        questions = _questions(task, user, rest)
    return [_Pair(user.id, query, shown, answer, group) for query, answer in questions]


def _questions(task: Task, user: User, items: Sequence[Item]) -> Iterator[tuple[Query, str]]:
    """History items that have both sides, asked, and the user's own questions; with the answers."""
    for item in items:
        answer, text = task.answer(item), item.fields.get(task.source, "")
        if answer and text.strip():
            question = task.input_template.replace("{" + task.source + "}", text)
            yield Query(item.id, question, text), answer
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
    queries = [query for query in user.queries if query.gold is not None]
    choices: list[_Choice] = []
    for query in queries:
        cited = citation.parse(query.input)
        right, wrong = cited.first, cited.second
        if task.labels.index(str(query.gold)) != 0:
            right, wrong = wrong, right
        choices.append(_Choice(query, right, wrong))
    if queries and len(users) > 1:
        for paper in papers:
            other = _stranger(user, users, stream)
            if other.history:
                foreign = stream.choice(other.history).fields[task.source]
                query = replace(stream.choice(queries), id=paper.id)
                choices.append(_Choice(query, paper.fields[task.source], foreign))

    for choice in choices:
        title = citation.parse(choice.query.input).title
        orders = ((choice.right, choice.wrong), (choice.wrong, choice.right))
        for answer, (first, second) in zip(task.labels, orders, strict=True):
            text = task.input_template.format(title=title, ref1=first, ref2=second)
            yield replace(choice.query, input=text, text=task.query_text(text), gold=None), answer


@dataclass(frozen=True, slots=True)
class _Choice:
    """A question of LaMP-1 with the paper that is cited, and the one that is not."""

    query: Query
    right: str
    wrong: str


def _stranger(user: User, users: Sequence[User], stream: random.Random) -> User:
    """Another user, drawn at random."""
    while True:
        other = users[stream.randrange(len(users))]
        if other.id != user.id:
            return other


def _balanced(pairs: list[_Pair], spec: BaseSpec, task: Task) -> list[_Pair]:
    """At most `max_examples`, of each label in proportion to count ** balance."""
    limit = spec.most(task) or len(pairs)
    if not task.labels or not pairs:
        return pairs[:limit]
    pools: dict[str, list[_Pair]] = {}
    for pair in pairs:
        pools.setdefault(pair.answer, []).append(pair)
    weights = {label: len(pool) ** spec.balance for label, pool in pools.items()}
    # Beyond this share no label would have another pair to give.
    most = max(len(pools[label]) / weight for label, weight in weights.items())
    share = min(limit / sum(weights.values()), most)

    # By identity: two pairs of one user can be equal, and the shuffled order is kept.
    taken: set[int] = set()
    for label, pool in pools.items():
        taken.update(id(pair) for pair in pool[: round(share * weights[label])])
    return [pair for pair in pairs if id(pair) in taken]

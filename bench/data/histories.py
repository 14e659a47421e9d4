"""What a protocol makes of a history: the items unlike the questions, items without one side, items
of a given size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Literal

from bench.data.embed import embed
from bench.data.task import Task
from bench.errors import InputError
from bench.types import Item, User

Format = Literal["full", "no_input", "no_output"]


def least_similar(task: Task, users: Sequence[User], count: int, encoder: str) -> list[User]:
    """Users with the `count` items that are least like their questions, in the history's order
    (OPPU, table 3).

    Similarity is the cosine of sentence embeddings of what a retriever reads, averaged over the
    user's questions, as one adapter serves them all. Of equally similar items the older is kept.
    """
    import numpy as np

    found = []
    for user in users:
        texts = [task.retrieval_query(query) for query in user.queries]
        vectors = embed(texts + [task.corpus_text(item) for item in user.history], encoder)
        likeness = (vectors[len(texts) :] @ vectors[: len(texts)].T).mean(1)
        kept = sorted(np.argsort(likeness, kind="stable")[:count].tolist())
        found.append(replace(user, history=tuple(user.history[place] for place in kept)))
    return found


def formatted(task: Task, users: Sequence[User], form: Format) -> list[User]:
    """Users whose items have lost the side that looks like a question or the one that looks like an
    answer.

    OPPU, table 4. Raises InputError for a task whose items have no two sides.
    """
    if not task.has_answers:
        raise InputError(
            f"protocol.history_format={form}: a history item of {task.name} has no input and output"
            " side"
        )
    found = []
    for user in users:
        history = [_one_sided(task, item, form) for item in user.history]
        found.append(replace(user, history=tuple(history)))
    return found


def _one_sided(task: Task, item: Item, form: Format) -> Item:
    target = str(task.target)
    if form == "no_input":
        return replace(item, fields={target: item.fields[target]})
    fields = dict(item.fields)
    fields.pop(target, None)
    return replace(item, fields=fields)


def sized(task: Task, users: Sequence[User], items: int | None, words: int | None) -> list[User]:
    """Users with exactly `items` history items whose source text has exactly `words` words (None:
    as it is).

    Made from the user's own words one after the other, from the beginning again where they do not
    suffice, with the user's own answers beside them: for measuring time (OPPU, figure 8), never for
    quality. Items lose their dates. Users without any words are left out.
    """
    found = []
    for user in users:
        if _words(task, user):
            found.append(replace(user, history=tuple(_items(task, user, items, words))))
    return found


def _items(task: Task, user: User, items: int | None, words: int | None) -> Iterator[Item]:
    stream = cycle(_words(task, user))
    for number, item in enumerate(islice(cycle(user.history), items or len(user.history))):
        text = item.fields[task.source] if words is None else " ".join(islice(stream, words))
        yield Item(f"{item.id}/{number}", {**item.fields, task.source: text})


def _words(task: Task, user: User) -> list[str]:
    words = list[str]()
    for item in user.history:
        words += item.fields[task.source].split()
    return words

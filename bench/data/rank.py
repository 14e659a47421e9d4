"""Rank a user's history for a question: BM25 as LaMP does it, sentence embeddings, newest first, or at random.

An item that is newer than the question is never ranked.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from bench.bounds import PLACE, SEED
from bench.budget import Budget
from bench.data.record import day
from bench.data.retrieval import embed
from bench.data.task import Style, Task
from bench.types import Item, Personalization, Query, User

Ranker = Literal["bm25", "dense", "recency", "random"]
Places = tuple[int, ...]
"""Positions in a list of items, in the order of a ranking or of a prompt."""


@dataclass(frozen=True)
class Retriever:
    """Which history items a question is shown (LaMP's code; reference 1.5).

    `bm25`: rank_bm25's BM25Okapi on words split at white space, its tie rule included (ties go to the last item).
    `dense`: dot product of unit sentence embeddings. Both read LaMP's query and corpus. `recency`: newest first.
    `random`: a draw of its own for each user and question, without repeats. `embedder` as in PCASelection.
    """

    ranker: Ranker = "bm25"
    embedder: Annotated[str, PLACE] = "minilm"
    seed: Annotated[int, SEED] = 0

    def top(
        self,
        task: Task,
        users: Sequence[User],
        k: int,
        *,
        among: Sequence[Sequence[Places]] | None = None,
        budget: Budget | None = None,
    ) -> list[list[Places]]:
        """For each user and each of their questions: where in the history the k best items stand, best first.

        Fewer where the history has fewer that are not newer than the question. `among`: of each user and question, the
        places that may be ranked, in place of all that are not newer. Raises OverBudget past the budget's limit.
        """
        known = among or [[not_newer(user.history, query) for query in user.queries] for user in users]
        found = []
        for user, own in zip(users, known, strict=True):
            if budget:
                budget.check()
            found.append([tuple(places[:k]) for places in self._ranked(task, user, own)])
        return found

    def _ranked(self, task: Task, user: User, known: Sequence[Places]) -> Iterator[Sequence[int]]:
        match self.ranker:
            case "bm25":
                return _bm25(task, user, known)
            case "dense":
                return _dense(task, user, known, self.embedder)
            case "recency":
                return (places[::-1] for places in known)
            case "random":
                streams = (random.Random(f"retrieve/{self.seed}/{user.id}/{query.id}") for query in user.queries)
                return (stream.sample(places, len(places)) for stream, places in zip(streams, known, strict=True))


def not_newer(items: Sequence[Item], query: Query) -> Places:
    """Where the items stand that are not newer than the query; undated ones count as older.

    A year and a day of that year are the same time.
    """
    asked = day(query.date) if query.date else ()
    return tuple(
        place
        for place, item in enumerate(items)
        if not item.date or (date := day(item.date))[: len(asked)] <= asked[: len(date)]
    )


def before_all(user: User) -> User:
    """The user with the history that all their questions may see: what is written once for the user reads no more."""
    common = set(range(len(user.history))).intersection(*(not_newer(user.history, query) for query in user.queries))
    return replace(user, history=tuple(user.history[place] for place in sorted(common)))


def chosen(queries: Sequence[Query], items: Sequence[Item], places: Sequence[Places], style: Style) -> Personalization:
    """Which of the items each question shows, as a personalization: every item once, then its places by question.

    `lamp` and `oppu` prompts keep the ranking, best first, as these papers do; a `personalized` prompt shows the
    history in its own order, as the baseline's does.
    """
    used = sorted({place for row in places for place in row})
    new = {place: index for index, place in enumerate(used)}
    text = {}
    for query, row in zip(queries, places, strict=True):
        order = sorted(row) if style == "personalized" else row
        text[f"items/{query.id}"] = " ".join(str(new[place]) for place in order)
    return Personalization(text, tuple(items[place] for place in used), facts={"shown_nothing": not used})


def shown(personal: Personalization, query: Query) -> tuple[Item, ...]:
    """The items that `chosen` kept for this question; all of them where it was not told by question."""
    items = personal.items or ()
    places = personal.text.get(f"items/{query.id}")
    return items if places is None else tuple(items[int(place)] for place in places.split())


def _bm25(task: Task, user: User, known: Sequence[Places]) -> Iterator[Sequence[int]]:
    """rank_bm25's own `get_top_n`, over the items that each question may see."""
    from rank_bm25 import BM25Okapi

    words = [task.corpus_text(item).split() for item in user.history]
    indexes: dict[Places, BM25Okapi] = {}
    for query, places in zip(user.queries, known, strict=True):
        if not any(words[place] for place in places):  # BM25Okapi divides by the number of words: all are tied
            yield places[::-1]
            continue
        if places not in indexes:
            indexes[places] = BM25Okapi([words[place] for place in places])
        yield indexes[places].get_top_n(task.retrieval_query(query).split(), places, n=len(places))


def _dense(task: Task, user: User, known: Sequence[Places], embedder: str) -> Iterator[Sequence[int]]:
    """By cosine; ties go to the last item, as in BM25."""
    import numpy as np

    texts = [task.retrieval_query(query) for query in user.queries]
    vectors = embed(texts + [task.corpus_text(item) for item in user.history], embedder)
    scores = vectors[: len(texts)] @ vectors[len(texts) :].T
    for row, places in zip(scores, known, strict=True):
        order = np.argsort(row[list(places)], kind="stable")[::-1]
        yield [places[int(index)] for index in order]

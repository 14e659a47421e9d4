"""Rank a user's history for a question: BM25 as LaMP does it, sentence embeddings, newest first, or
at random.

An item that is newer than the question is never ranked.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from bench.checks.bounds import PLACE, SEED
from bench.cost.budget import Budget
from bench.data.dates import Places, not_newer
from bench.data.embed import cut, embed
from bench.data.task import Style, Task
from bench.types import Item, Personalization, Query, User

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

NO_FACTS: Mapping[str, int] = MappingProxyType({})

Ranker = Literal["bm25", "dense", "recency", "random"]


@dataclass(frozen=True)
class Ranking:
    """A user's rankings: for each question where the best items stand in the history, best first.

    `tied`: questions for which several items were ranked and all had one score, so that their order
    says nothing. `embedder_cut`: items whose end the sentence embedder did not read.
    """

    places: list[Places]
    tied: int = 0
    embedder_cut: int = 0

    @property
    def facts(self) -> dict[str, int]:
        """What the record counts."""
        return {"rankings_tied": self.tied, "embedder_cut": self.embedder_cut}


@dataclass(frozen=True)
class Retriever:
    """Which history items a question is shown (as LaMP's code ranks them).

    `bm25`: rank_bm25's BM25Okapi on words split at white space, its tie rule included (ties go to
    the last item). `dense`: dot product of unit sentence embeddings. Both read LaMP's query and
    corpus. `recency`: newest first. `random`: a draw of its own for each user and question, without
    repeats. `embedder` as in PCASelection.
    """

    ONLY_WITH: ClassVar = {"embedder": ("ranker", ("dense",)), "seed": ("ranker", ("random",))}

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
    ) -> list[Ranking]:
        """For each user: the rankings of their questions, each of the k best items.

        Fewer where the history has fewer that are not newer than the question. `among`: of each
        user and question, the places that may be ranked, in place of all that are not newer. Raises
        OverBudget past the budget's limit.
        """
        rankings = []
        for index, user in enumerate(users):
            if budget:
                budget.check()
            visible = among[index] if among else None
            if visible is None:
                visible = [not_newer(user.history, query) for query in user.queries]
            rankings.append(self._ranking(task, user, visible, k))
        return rankings

    def _ranking(self, task: Task, user: User, visible: Sequence[Places], k: int) -> Ranking:
        best, tied = [], 0
        for order in self._orders(task, user, visible):
            best.append(tuple(order.places[:k]))
            tied += order.tied
        embedder_cut = 0
        if self.ranker == "dense":
            embedder_cut = cut(map(task.corpus_text, user.history), self.embedder)
        return Ranking(best, tied, embedder_cut)

    def _orders(self, task: Task, user: User, visible: Sequence[Places]) -> Iterator[_Order]:
        """For each question the order of the items it may see."""
        match self.ranker:
            case "bm25":
                yield from _bm25(task, user, visible)
            case "dense":
                yield from _dense(task, user, visible, self.embedder)
            case "recency":
                for places in visible:
                    yield _Order(places[::-1])
            case "random":
                for query, places in zip(user.queries, visible, strict=True):
                    stream = random.Random(f"retrieve/{self.seed}/{user.id}/{query.id}")
                    yield _Order(stream.sample(places, len(places)))


@dataclass(frozen=True, slots=True)
class _Order:
    """Items by their places, best first; whether all had one score, so that ties alone decided."""

    places: Sequence[int]
    tied: bool = False


def showing(
    queries: Sequence[Query],
    items: Sequence[Item],
    places: Sequence[Places],
    style: Style,
    facts: Mapping[str, int] = NO_FACTS,
) -> Personalization:
    """Which of the items each question shows, as a personalization: every item once, and
    by question the indices of those that it shows.

    `lamp` and `oppu` prompts keep the ranking, best first, as these papers do; a `personalized`
    prompt shows the history in its own order, as the baseline's does.
    """
    used = sorted({place for row in places for place in row})
    new = {place: index for index, place in enumerate(used)}
    shown = {}
    for query, row in zip(queries, places, strict=True):
        order = sorted(row) if style == "personalized" else row
        shown[query.id] = tuple(new[place] for place in order)
    return Personalization(
        items=tuple(items[place] for place in used),
        shown=shown,
        facts={"shown_nothing": not used, **facts},
    )


def _bm25(task: Task, user: User, visible: Sequence[Places]) -> Iterator[_Order]:
    """rank_bm25's scores and its own way to order them (`get_top_n`), over the items that each
    question may see.
    """
    from rank_bm25 import BM25Okapi

    words = [task.corpus_text(item).split() for item in user.history]
    indexes: dict[Places, BM25Okapi] = {}
    for query, places in zip(user.queries, visible, strict=True):
        # BM25Okapi divides by the number of words. Without any word all items are tied.
        if not any(words[place] for place in places):
            yield _Order(places[::-1], len(places) > 1)
            continue
        if places not in indexes:
            indexes[places] = BM25Okapi([words[place] for place in places])
        scores = indexes[places].get_scores(task.retrieval_query(query).split())
        yield _Order(_reversed(scores.argsort(), places), _tied(scores))


def _dense(task: Task, user: User, visible: Sequence[Places], embedder: str) -> Iterator[_Order]:
    """By cosine; ties go to the last item, as in BM25."""
    import numpy as np

    texts = [task.retrieval_query(query) for query in user.queries]
    vectors = embed(texts + [task.corpus_text(item) for item in user.history], embedder)
    scores = vectors[: len(texts)] @ vectors[len(texts) :].T
    for row, places in zip(scores, visible, strict=True):
        own = row[list(places)]
        yield _Order(_reversed(np.argsort(own, kind="stable"), places), _tied(own))


def _reversed(rising: Array, places: Places) -> list[int]:
    """The places from the highest score to the lowest, from their order by rising score."""
    return [places[int(index)] for index in rising[::-1]]


def _tied(scores: Array) -> bool:
    """Whether several items have one score. Of two items BM25 always says so."""
    return len(scores) > 1 and bool((scores == scores[0]).all())

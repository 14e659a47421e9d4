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
        known = among or [
            [not_newer(user.history, query) for query in user.queries] for user in users
        ]
        found = []
        for user, own in zip(users, known, strict=True):
            if budget:
                budget.check()
            rows = list(self._ranked(task, user, own))
            cut_off = (
                cut(map(task.corpus_text, user.history), self.embedder)
                if self.ranker == "dense"
                else 0
            )
            found.append(
                Ranking([tuple(row[:k]) for row, _ in rows], sum(tied for _, tied in rows), cut_off)
            )
        return found

    def _ranked(
        self, task: Task, user: User, known: Sequence[Places]
    ) -> Iterator[tuple[Sequence[int], bool]]:
        """For each question the order of the items it may see, and whether ties alone
        decided it."""
        match self.ranker:
            case "bm25":
                return _bm25(task, user, known)
            case "dense":
                return _dense(task, user, known, self.embedder)
            case "recency":
                return ((places[::-1], False) for places in known)
            case "random":
                streams = (
                    random.Random(f"retrieve/{self.seed}/{user.id}/{query.id}")
                    for query in user.queries
                )
                drawn = zip(streams, known, strict=True)
                return ((stream.sample(places, len(places)), False) for stream, places in drawn)


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


def _bm25(task: Task, user: User, known: Sequence[Places]) -> Iterator[tuple[Sequence[int], bool]]:
    """rank_bm25's scores and its own way to order them (`get_top_n`), over the items that each
    question may see.
    """
    from rank_bm25 import BM25Okapi

    words = [task.corpus_text(item).split() for item in user.history]
    indexes: dict[Places, BM25Okapi] = {}
    for query, places in zip(user.queries, known, strict=True):
        # BM25Okapi divides by the number of words: all are tied
        if not any(words[place] for place in places):
            yield places[::-1], len(places) > 1
            continue
        if places not in indexes:
            indexes[places] = BM25Okapi([words[place] for place in places])
        scores = indexes[places].get_scores(task.retrieval_query(query).split())
        yield [places[int(index)] for index in scores.argsort()[::-1]], _tied(scores)


def _dense(
    task: Task, user: User, known: Sequence[Places], embedder: str
) -> Iterator[tuple[Sequence[int], bool]]:
    """By cosine; ties go to the last item, as in BM25."""
    import numpy as np

    texts = [task.retrieval_query(query) for query in user.queries]
    vectors = embed(texts + [task.corpus_text(item) for item in user.history], embedder)
    scores = vectors[: len(texts)] @ vectors[len(texts) :].T
    for row, places in zip(scores, known, strict=True):
        own = row[list(places)]
        yield [places[int(index)] for index in np.argsort(own, kind="stable")[::-1]], _tied(own)


def _tied(scores: Array) -> bool:
    """Whether there is an order to decide on, and nothing to decide it by: BM25 scores two items
    alike whatever.
    """
    return len(scores) > 1 and bool((scores == scores[0]).all())

"""Rankers: LaMP's BM25 item by item, the other orders,
and that nothing newer than the question is ever ranked.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from conftest import task_named
from hypothesis import given, settings
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from bench.cost.budget import Budget
from bench.data import lamp
from bench.data.dates import before_all, not_newer
from bench.data.retrieval import Ranker, Retriever, showing
from bench.data.sample import generator
from bench.types import Item, Personalization, Query, User
from methods.rag import RAG

NAMES = ("lamp1", "lamp2", "lamp2n", "lamp3", "lamp4", "lamp5", "lamp6", "lamp7")
RANKERS = get_args(Ranker)
TASK = task_named("lamp7")


def tweets(*texts: str, dates: tuple[str | None, ...] = ()) -> tuple[Item, ...]:
    return tuple(
        Item(str(index), {"text": text}, dates[index] if dates else None)
        for index, text in enumerate(texts)
    )


def asking(
    text: str, history: tuple[Item, ...], *, date: str | None = None, name: str = "u"
) -> User:
    return User(name, history, (Query(f"q-{name}", f"Paraphrase: {text}", text, date=date),))


def ranked(ranker: Ranker, user: User, k: int = 100, **fields: Any) -> list[int]:
    [ranking] = Retriever(ranker, embedder="hash", **fields).top(TASK, [user], k)
    return list(ranking.places[0])


# BM25


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "lamp"
    generator.write(folder, train_users=4, dev_users=6)
    return folder


def lamp_query(name: str, asked: str) -> str:
    """The query as LaMP's ranking code takes it from the input."""
    if name == "lamp1":
        quoted = re.findall(r'"([^"]*)"', asked)
        return f"{quoted[1]} {quoted[2]}"
    marker = {
        "lamp2": "description:",
        "lamp2n": "article:",
        "lamp3": "review:",
        "lamp4": "article:",
        "lamp5": "paper:",
        "lamp6": ":",
        "lamp7": ":",
    }[name]
    return asked[asked.find(marker) + len(marker) :].strip()


def lamp_corpus(name: str, profile: list[dict[str, Any]]) -> list[str]:
    """The documents as LaMP's ranking code makes them."""
    if name in ("lamp1", "lamp5"):
        return [f"{item['title']} {item['abstract']}" for item in profile]
    if name in ("lamp2n", "lamp4"):
        return [f"{item['title']} {item['text']}" for item in profile]
    return [item["description" if name == "lamp2" else "text"] for item in profile]


@pytest.mark.parametrize("name", NAMES)
def test_bm25_is_lamp_s_item_by_item(name: str, root: Path) -> None:
    task = task_named(name)
    users = list(lamp.read(task, root, split="dev").users)
    path = root / task.folder / "dev" / "dev_questions.json"
    asked = {one["id"]: one for one in json.loads(path.read_text(encoding="utf-8"))}
    assert len(users) == 6
    for user, ranking in zip(users, Retriever().top(task, users, 5), strict=True):
        [places] = ranking.places
        raw = asked[user.queries[0].id]
        words = [text.split() for text in lamp_corpus(name, raw["profile"])]
        best = BM25Okapi(words).get_top_n(
            lamp_query(name, raw["input"]).split(), raw["profile"], n=5
        )
        assert [user.history[place].id for place in places] == [str(item["id"]) for item in best]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["ab", "aB", "c"]), max_size=3), min_size=1, max_size=40),
    st.data(),
)
def test_bm25_breaks_ties_as_rank_bm25_does(
    documents: list[list[str]], data: st.DataObject
) -> None:
    query = data.draw(st.lists(st.sampled_from(["ab", "c", "d"]), min_size=1, max_size=3))
    found = ranked(
        "bm25", asking(" ".join(query), tweets(*(" ".join(words) for words in documents)))
    )
    if any(documents):
        assert found == BM25Okapi(documents).get_top_n(
            query, range(len(documents)), n=len(documents)
        )
    else:
        assert found == list(range(len(documents)))[::-1]


def test_of_equally_good_items_the_last_comes_first() -> None:
    assert ranked(
        "bm25", asking("nothing in common", tweets("one word", "two words", "three words"))
    ) == [2, 1, 0]
    assert ranked("dense", asking("same", tweets("same", "same", "other"))) == [1, 0, 2]


def test_bm25_looks_at_words_as_they_are_written() -> None:
    history = tweets("Dogs bark", "a dog sat", "the dogs run", "some birds", "no fish")
    assert ranked("bm25", asking("dogs", history), 1) == [2]


# The other orders


def test_the_others_rank_by_meaning_by_age_and_by_chance() -> None:
    history = tweets("tea and cake", "a red car", "green tea", "an old house")
    user = asking("green tea", history)
    assert ranked("dense", user, 2) == [2, 0]
    assert ranked("recency", user, 3) == [3, 2, 1]
    assert sorted(ranked("random", user)) == [0, 1, 2, 3]


def test_a_random_ranking_depends_on_seed_user_and_question_alone() -> None:
    history = tweets(*map(str, range(30)))
    one, other = asking("x", history, name="one"), asking("x", history, name="other")
    both = Retriever("random").top(TASK, [other, one], 30)
    assert both[1].places[0] == tuple(ranked("random", one)) != both[0].places[0]
    assert ranked("random", one, seed=1) != ranked("random", one)
    twice = User("one", history, (Query("a", "", ""), Query("b", "", "")))
    [both_of_one] = Retriever("random").top(TASK, [twice], 30)
    assert both_of_one.places[0] != both_of_one.places[1]


# What the record counts


@pytest.mark.parametrize(
    ("ranker", "texts", "tied"),
    [
        ("bm25", ("a b", "c d"), 1),  # each word is in half of the items: its weight is zero
        ("bm25", ("a b", "c d", "e f"), 0),
        ("bm25", ("x y", "c d", "e f"), 1),  # no word of the question
        ("bm25", ("", "", ""), 1),
        ("bm25", ("a b",), 0),  # nothing to decide
        ("bm25", (), 0),
        ("dense", ("a b", "a b"), 1),
        ("dense", ("a b", "c d"), 0),
        ("recency", ("a b", "c d"), 0),
        ("random", ("a b", "c d"), 0),
    ],
)
def test_a_ranking_that_ties_alone_decide_is_counted(
    ranker: Ranker, texts: tuple[str, ...], tied: int
) -> None:
    user = asking("a", tweets(*texts))
    [ranking] = Retriever(ranker, embedder="hash").top(TASK, [user], 1)
    assert ranking.tied == tied and ranking.facts["rankings_tied"] == tied
    twice = replace(user, queries=(*user.queries, replace(user.queries[0], id="again")))
    assert Retriever(ranker, embedder="hash").top(TASK, [twice], 1)[0].tied == 2 * tied
    if ranker == "bm25":
        [personal] = RAG(Retriever(), k=1).adapt(
            None, TASK, [twice], Personalization(), Budget(progress=False)
        )  # type: ignore[arg-type]
        assert personal.facts["rankings_tied"] == 2 * tied


# What a question may see


@pytest.mark.parametrize("ranker", RANKERS)
def test_no_item_newer_than_the_question_is_ranked(ranker: Ranker) -> None:
    texts = (
        "the same words",
        "the same words",
        "the same words",
        "the same words",
        "the same words",
    )
    dates = (None, "2014", "2015-03-01", "2015-03-02", "2016-01-01")
    history = tweets(*texts, dates=dates)
    assert sorted(ranked(ranker, asking("the same words", history, date="2015-03-01"))) == [0, 1, 2]
    assert sorted(ranked(ranker, asking("the same words", history, date="2015"))) == [0, 1, 2, 3]
    assert sorted(ranked(ranker, asking("the same words", history, date="2013-12-31"))) == [0]
    assert sorted(ranked(ranker, asking("the same words", history))) == [0, 1, 2, 3, 4]


def test_newer_items_do_not_change_the_order_of_the_others() -> None:
    old = tweets("a b", "b c c", "a a c", "d", dates=("2014",) * 4)
    newer = tweets("a", "a", "a", "a", "a c", dates=("2016",) * 5)
    assert ranked("bm25", asking("a c", old + newer, date="2015")) == ranked(
        "bm25", asking("a c", old, date="2015")
    )


def test_each_question_of_a_user_sees_its_own_past() -> None:
    history = tweets("one", "two", "three", dates=("2014", "2015", "2016"))
    queries = tuple(Query(year, "", "x", date=year) for year in ("2016", "2014"))
    user = User("u", history, queries)
    assert [one.places for one in Retriever("recency").top(TASK, [user], 2)] == [[(2, 1), (0,)]]
    assert before_all(user).history == history[:1]
    assert not_newer(history, Query("undated", "", "x")) == (0, 1, 2)


@pytest.mark.parametrize("ranker", RANKERS)
def test_without_history_nothing_is_ranked(ranker: Ranker) -> None:
    assert ranked(ranker, asking("x", ())) == []


# What is kept of a ranking


def test_a_ranking_is_found_again_from_disk_for_each_question(tmp_path: Path) -> None:
    from bench.cell.artifacts import load_personalizations, save_personalizations

    history = tweets("zero", "one", "two", "three")
    queries = (Query("a", "", ""), Query("b", "", ""), Query("c", "", ""))
    for style, orders in (
        ("lamp", [[3, 1], [1, 2, 2], []]),
        ("personalized", [[1, 3], [1, 2, 2], []]),
    ):
        personal = showing(queries, history, [(3, 1), (1, 2, 2), ()], style)  # type: ignore[arg-type]
        save_personalizations([personal], tmp_path / style, "adapt")
        [again] = load_personalizations(tmp_path / style, "adapt") or []
        assert [[int(item.id) for item in again.items_for(query)] for query in queries] == orders
        assert [item.id for item in again.items or ()] == [
            "1",
            "2",
            "3",
        ], "each item once, and no other"

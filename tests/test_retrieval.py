"""PCA selection (acceptance check 8): planted outliers, a planted theme,
short and identical histories.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import task_named, tiny_lm

from bench.cost.budget import Budget
from bench.data.embed import cut, embed
from bench.data.retrieval import Retriever
from bench.data.selection import PCASelection
from bench.types import Item, Personalization, Query, User
from methods.instruct import Instruct
from methods.llm_rec import LLMRec
from methods.rag import RAG


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_centred_selection_picks_the_unusual_and_raw_selection_the_theme() -> None:
    stream = np.random.default_rng(0)
    theme = np.zeros((20, 16))
    theme[:, 0] = 5
    theme += stream.normal(size=theme.shape) * 0.1
    theme[3] = stream.normal(size=16) * np.r_[0, np.ones(15)]
    theme[11] = stream.normal(size=16) * np.r_[0, np.ones(15)]
    vectors = unit(theme)
    centred = PCASelection(n_items=2, n_components=2).rank(vectors)
    raw = PCASelection(n_items=18, n_components=1, center="none").rank(vectors)
    assert set(centred) == {3, 11}
    assert set(raw) == set(range(20)) - {3, 11}


def test_a_short_history_is_kept_whole() -> None:
    assert PCASelection(n_items=5).rank(unit(np.eye(4))) == [0, 1, 2, 3]


@pytest.mark.parametrize("center", ["fit", "none"])
def test_identical_embeddings_give_the_newest(center: str) -> None:
    vectors = unit(np.ones((8, 4)))
    assert sorted(PCASelection(n_items=3, center=center).rank(vectors)) == [5, 6, 7]  # type: ignore[arg-type]


def test_rank_equals_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    vectors = unit(np.random.default_rng(1).normal(size=(30, 12)))
    scores = np.linalg.norm(PCA(4, svd_solver="full").fit_transform(vectors), axis=1)
    assert PCASelection(n_items=6, n_components=4).rank(vectors) == list(np.argsort(-scores)[:6])


def test_selected_items_stay_in_their_order_and_users_apart() -> None:
    items = tuple(
        Item(str(n), {"text": f"word{n} word{n * 7 % 5} word{n * 3 % 4}", "score": "3"})
        for n in range(20)
    )
    users = [
        User("a", items, (Query("q", "i", "t"),)),
        User("b", items[:4], ()),
        User("c", items[::-1], ()),
    ]
    a, b, c = PCASelection(n_items=6, embedder="hash").select(task_named("lamp3"), users)
    assert [int(item.id) for item in a] == sorted(int(item.id) for item in a) and len(a) == 6
    assert b == items[:4]
    assert [int(item.id) for item in c] == sorted((int(item.id) for item in c), reverse=True)


def test_the_packaged_embedder_knows_meaning() -> None:
    tea, coffee, car = embed(
        ["A cup of green tea.", "A mug of hot coffee.", "The engine of my car failed."], "minilm"
    )
    assert tea @ coffee > tea @ car + 0.1
    assert float(tea @ tea) == pytest.approx(1, abs=1e-5)


def test_items_that_the_embedder_does_not_read_to_their_end_are_counted() -> None:
    """MiniLM reads 256 word pieces, two markers among them;
    the 255th word of a text changes nothing.
    """
    read, beyond = "word " * 254, "word " * 255
    assert [cut([text], "minilm") for text in (read, beyond, "short", "")] == [0, 1, 0, 0]
    assert cut([read, beyond, beyond, "x"], "minilm") == 2 and cut([beyond], "hash") == 0
    one, other = embed([read + "fish", read + "bicycle"], "minilm")
    assert one @ other == pytest.approx(1, abs=1e-6)


def test_long_items_are_counted_where_they_are_selected_or_ranked() -> None:
    task = task_named("lamp3")
    texts = [f"{number} " + "word " * (300 if number < 2 else 3) for number in range(4)]
    history = tuple(
        Item(str(number), {"text": text, "score": "3"}) for number, text in enumerate(texts)
    )
    user = User("a", history, (Query("q", "review: a word", "a word"),))
    short = replace(user, history=history[:2])  # not more than are kept: nothing is embedded
    select, budget = PCASelection(n_items=2), Budget(progress=False)
    for method in (Instruct(select), LLMRec(select, {"eng": "[HISTORY]"}, "eng", max_new_tokens=1)):
        long, whole = method.adapt(tiny_lm(), task, [user, short], Personalization(), budget)
        assert (long.facts["embedder_cut"], whole.facts["embedder_cut"]) == (2, 0)
    for ranker, cut_off in (("dense", 2), ("bm25", 0)):
        [personal] = RAG(Retriever(ranker), k=1).adapt(
            None, task, [user], Personalization(), budget
        )  # type: ignore[arg-type]
        assert personal.facts["embedder_cut"] == cut_off

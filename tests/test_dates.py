"""One rule for all methods: an item later than a question is never shown for it.

Undated questions see everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from cells import TINY, run
from conftest import task_named
from test_prompt_methods import HASH, SELECT, TASK, WORDING, Writer, budget, person

from bench import method as methods
from bench.cell.windows import Window
from bench.data.dates import as_of, withheld
from bench.data.question_items import selected
from bench.data.retrieval import Retriever
from bench.data.selection import PCASelection
from bench.data.task import Style
from bench.lm.base import BaseSpec
from bench.lm.base_examples import examples
from bench.method import Method
from bench.types import Item, Personalization, Query, User
from methods.chameleon import chameleon as chameleon
from methods.chameleon.chameleon import Chameleon
from methods.instruct import Instruct
from methods.llm_rec import LLMRec
from methods.majority import Majority
from methods.pag import PAG
from methods.rag import RAG
from methods.random_history import RandomHistory

YEARS = ("2012", "2030", "2018")
METHODS: dict[str, Method] = {
    "instruct": Instruct(SELECT),
    "instruct, best first": Instruct(replace(SELECT, order="score")),
    "chameleon": Chameleon(SELECT, n_layers=0),
    "chameleon, insight": Chameleon(SELECT, n_layers=0, insight_at_inference=True),
    "rag": RAG(HASH, k=3),
    "rag, lamp": RAG(replace(HASH, ranker="dense"), k=3, style="lamp"),
    "random_history": RandomHistory(k=3),
    "pag": PAG(HASH, k=2),
    "llm_rec": LLMRec(SELECT, WORDING),
}


def dated(name: str = "ann", years: tuple[str, ...] = YEARS) -> User:
    """Ten items of 2010 to 2019, and a question of each of the years; 2030 may see them all."""
    user = person(TASK, name, items=10, questions=len(years))
    history = tuple(replace(item, date=f"201{at}") for at, item in enumerate(user.history))
    queries = tuple(
        replace(query, date=year) for query, year in zip(user.queries, years, strict=True)
    )
    return replace(user, history=history, queries=queries)


def years(text: str) -> list[int]:
    """Of the items that stand in a text; the user's name is part of each."""
    return [at for at in range(10) if f"text {at} of ann" in text]


def asked(method: Method, user: User, lm: Any) -> Iterator[tuple[Query, str]]:
    """Each question with its prompt, as the harness asks it."""
    shared = method.fit(lm, TASK, [dated("ann")], budget())
    personals = method.adapt(lm, TASK, [user.hidden()], shared, budget())
    for one, query, personal in Window(0, 0, [user]).asked(list(personals)):
        yield query, method.request(TASK, one, query, personal).messages[0].text


@pytest.mark.parametrize("title", METHODS)
def test_no_method_shows_an_item_later_than_the_question(title: str) -> None:
    writer, first = Writer(), {}
    for query, prompt in asked(METHODS[title], dated(), writer):
        assert all(2010 + at <= int(str(query.date)) for at in years(prompt)), query.date
        first[query.date] = len(years(prompt))
    if title not in ("pag", "llm_rec"):
        assert set(first.values()) == {3}, (
            "a prompt that may see less is filled from what it may see"
        )
    for request in writer.asked:  # written once for all questions, so from what all of them may see
        assert max(years(request.messages[0].text), default=0) <= 2


@pytest.mark.parametrize("style", get_args(Style))
def test_no_prompt_has_a_later_item_whoever_asks_for_it(style: Style) -> None:
    user = dated()
    for query in user.queries:
        prompt = TASK.render(query, user.history, style=style)[0].text
        assert years(prompt) == [at for at in range(10) if 2010 + at <= int(str(query.date))]


def test_a_rule_sees_the_history_as_of_the_question() -> None:
    user = dated()
    scores = ("1", "1", "1", *"5555555")
    history = tuple(
        replace(item, fields={**item.fields, "score": score})
        for item, score in zip(user.history, scores, strict=True)
    )
    user = replace(user, history=history)
    personal = Personalization(text={"global": "3"})
    answers = [
        Majority("user").request(TASK, one, query, of).answer
        for one, query, of in Window(0, 0, [user]).asked([personal])
    ]
    assert answers == ["1", "5", "5"]


def test_training_prompts_have_no_later_item() -> None:
    """ALOE's and DPO's through the selection;
    the adapted base's and pooled tuning's through `render`.
    """
    user = dated()
    told = methods.questions_with_items(
        SELECT, TASK, [user], [(user, query) for query in user.queries], budget()
    )
    assert all(str(item.date) <= str(query.date) for query, items in told for item in items)
    assert [len(items) for _, items in told] == [3, 3, 3]
    golden = replace(user, queries=tuple(replace(query, gold="4") for query in user.queries))
    spec = BaseSpec(n_items=7, no_history_share=0, leave_out=0, max_examples={"rating": None})
    writer: Any = Writer()
    writer.budget = budget()
    for one in examples(writer, TASK, [golden], spec):
        [query] = [query for query in user.queries if query.text in one.request.messages[0].text]
        assert all(2010 + at <= int(str(query.date)) for at in years(one.request.messages[0].text))


def test_the_pairs_of_directions_show_the_past_of_each_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []

    def pairs(lm: Any, task: Any, questions: Any, *_: Any, **__: Any) -> Any:
        seen.extend(questions)
        raise InterruptedError

    monkeypatch.setattr(chameleon.pairs, "make", pairs)
    with pytest.raises(InterruptedError):
        Chameleon(SELECT).fit(Writer(), TASK, [dated()], budget())  # type: ignore[arg-type]
    assert [len(one.items) for one in seen] == [3, 3, 3]
    assert all(str(item.date) <= str(one.query.date) for one in seen for item in one.items)


def test_an_edit_of_ones_own_learns_from_what_every_question_may_see(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []

    def edits(self: Any, lm: Any, task: Any, users: Any, chosen: Any, *_: Any) -> Any:
        seen.extend(chosen)
        return [Personalization()] * len(chosen)

    monkeypatch.setattr(Chameleon, "_user_edits", edits)
    found = list(asked(Chameleon(SELECT, mode="user"), dated(), Writer()))
    assert [[item.date for item in items] for items in seen] == [["2010", "2011", "2012"]]
    assert {len(years(prompt)) for _, prompt in found} == {3}


def test_an_undated_user_is_selected_once_and_for_all_questions() -> None:
    users = [
        person(TASK, "ann", items=8, questions=3),
        person(TASK, "bob", items=2),
        person(TASK, "eve", items=0),
    ]
    for one, items in zip(selected(SELECT, TASK, users), SELECT.select(TASK, users), strict=True):
        assert one.personal == Personalization(items=items, facts={"embedder_cut": 0})
        assert one.common == items


@pytest.mark.parametrize("order", ["history", "score"])
def test_each_past_is_selected_as_if_it_were_the_whole_history(order: Any) -> None:
    user, select = dated(), PCASelection(n_items=3, embedder="hash", order=order)
    [one] = selected(select, TASK, [user])
    for query in user.queries:
        [alone] = select.select(TASK, [as_of(user, query)])
        assert one.personal.items_for(query) == one.items(query) == alone


def test_what_is_withheld_is_counted() -> None:
    assert withheld(dated()) == (2, 7 + 1)
    assert withheld(person(TASK, "ann", questions=2)) == (0, 0)
    assert withheld(replace(dated(), history=())) == (0, 0)


def test_ranked_items_are_counted_neither_twice_nor_late() -> None:
    [ranking] = Retriever("recency").top(TASK, [dated()], 2)
    assert ranking.places == [(2, 1), (9, 8), (8, 7)]


def test_a_cell_on_dated_questions_shows_and_records_it(tmp_path: Path) -> None:
    """From the files on: a person's own dates, `leak=flag`, and what the record says of it."""
    task, root = task_named("lamp3"), tmp_path / "lamp"
    for split, name in (("train", "bob"), ("dev", "ann")):
        user = dated(name, ("2012", "2018"))
        write(root / "time" / task.folder / split, split, user)
    words = (
        "task=lamp3",
        "data=lamp",
        f"data.root={root}",
        "data.kind=time",
        "method=instruct",
        "leak=flag",
    )
    code, said = run(*TINY, *words, folder=tmp_path)
    assert code == 0, said
    [path] = (tmp_path / "runs").glob("lamp3/instruct/*/record.json")
    counts = json.loads(path.read_text())["counts"]
    assert (
        counts["withheld_questions"],
        counts["withheld_items"],
        counts["data_queries_dated"],
    ) == (2, 7 + 1, 2)
    samples = [
        json.loads(line) for line in (path.parent / "samples.jsonl").read_text().splitlines()
    ]
    latest = {sample["id"]: max(years(sample["prompt"])) for sample in samples}
    assert latest["ann.0"] <= 2 and latest["ann.1"] <= 8


def write(folder: Path, split: str, user: User) -> None:
    """The user as LaMP's dated files have one:
    a record for each question, with the whole history.
    """
    profile = [{"id": item.id, "date": item.date, **item.fields} for item in user.history]
    questions = [
        {
            "id": query.id,
            "user_id": user.id,
            "input": query.input,
            "date": query.date,
            "profile": profile,
        }
        for query in user.queries
    ]
    golds = {"task": "LaMP_3", "golds": [{"id": query.id, "output": "4"} for query in user.queries]}
    folder.mkdir(parents=True)
    (folder / f"{split}_questions.json").write_text(json.dumps(questions))
    (folder / f"{split}_outputs.json").write_text(json.dumps(golds))


def test_dates_of_questions_are_part_of_what_the_data_are(tmp_path: Path) -> None:
    """Cells of before the rule are not taken for cells of after it;
    undated data keep their hash.
    """
    import hashlib

    from bench.data import lamp

    for name, date in (("dated", "2012"), ("undated", None)):
        user = dated("ann", ("2012",))
        user = replace(user, queries=(replace(user.queries[0], date=date),))
        write(tmp_path / name / "time" / "LaMP_3" / "dev", "dev", user)
        data = lamp.read(TASK, tmp_path / name, split="dev", kind="time")
        plain = json.dumps([*data.files.values(), []])
        assert (data.hash == hashlib.sha256(plain.encode()).hexdigest()) == (date is None)
        assert data.counts["queries_dated"] == (date is not None)


def test_an_item_without_a_date_counts_as_older() -> None:
    user = dated()
    mixed = replace(user, history=(Item("x", user.history[9].fields), *user.history))
    assert [len(as_of(mixed, query).history) for query in mixed.queries] == [1 + 3, 1 + 10, 1 + 9]

"""What counts as a leak, and what the three policies do about it. Texts are made up here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.data import leaks, task
from bench.data.task import Task
from bench.errors import InputError
from bench.types import Item, Query, User

SENTENCE = "The kettle boils fast, but its lid never closes and the handle gets hot."


def a_task(name: str) -> Task:
    data = yaml.safe_load((Path(__file__).parents[1] / f"conf/task/{name}.yaml").read_text())
    data.pop("_target_")
    return task.load(**data)


LAMP3 = a_task("lamp3")


def a_user(name: str, texts: list[str], question: str, **changes: Any) -> User:
    history = tuple(
        Item(f"{name}/{index}", {"text": text, "score": "4"}) for index, text in enumerate(texts)
    )
    return replace(
        User(name, history, (Query(name, f"review: {question}", question),), name), **changes
    )


def found(users: list[User], fit: list[User]) -> dict[str, int]:
    return {
        name: count
        for name, count in leaks.report(users, fit, LAMP3).record().items()
        if name != "examples" and count
    }


def test_case_and_punctuation_do_not_hide_the_question() -> None:
    user = a_user("u", ["Something else.", SENTENCE.upper().replace(",", " --")], SENTENCE)
    report = leaks.report([user], [], LAMP3)
    assert report.query_in_history_exact == ("u / u/1",)
    assert report.query_in_history_near == ()


@pytest.mark.parametrize("quote", ["“", "—", "\u00a0", "…"])
def test_punctuation_beyond_ascii_does_not_hide_it_either(quote: str) -> None:
    assert found([a_user("u", [quote + SENTENCE.replace(" ", quote)], SENTENCE)], []) == {
        "query_in_history_exact": 1
    }


def test_letters_beyond_ascii_are_letters() -> None:
    assert found([a_user("u", ["Café crème brûlée"], "Cafe creme brulee")], []) == {}


def test_near_begins_at_six_tenths_of_the_words() -> None:
    question = "one two three four five six seven eight"
    at = "one two three four five six nine ten"  # 6 common of 10
    below = "one two three four five nine ten"  # 5 common of 10
    assert found([a_user("u", [at, below], question)], []) == {"query_in_history_near": 1}


def test_an_item_that_is_six_tenths_of_the_question_and_nothing_else_is_near() -> None:
    assert found([a_user("u", ["one two three"], "one two three four five")], []) == {
        "query_in_history_near": 1
    }


def test_an_empty_question_is_found_nowhere() -> None:
    assert found([a_user("u", ["", "..."], "")], []) == {}


def test_lamp1_looks_for_the_paper_not_for_its_candidates() -> None:
    citation = (
        'For an author who has written the paper with the title "On Tea", which reference [1]:'
        ' "Water" [2]: "Milk"'
    )
    items = tuple(
        Item(str(index), {"title": title, "abstract": "x"})
        for index, title in enumerate(["Water", "On tea"])
    )
    lamp1 = a_task("lamp1")
    user = User("u", items, (Query("u", citation, lamp1.query_text(citation)),), "u")
    assert leaks.report([user], [], lamp1).items == {"u / 1"}


@pytest.mark.parametrize(
    ("date", "later"),
    [("2018-03-02", True), ("2018-03-01", False), ("2017", False), ("2018", False), ("2019", True)],
)
def test_an_item_later_than_the_first_question_is_found(date: str, later: bool) -> None:
    user = User(
        "u",
        (Item("i", {"text": "Nothing alike", "score": "3"}, date),),
        (
            Query("a", "", "asked later", date="2018-05-01"),
            Query("b", "", "asked first", date="2018-03-01"),
        ),
        "u",
    )
    assert found([user], []) == ({"items_after_query": 1} if later else {})


@pytest.mark.parametrize(
    "fit",
    [
        a_user("test", ["of another"], "asks otherwise"),
        a_user("fit", ["of another"], "asks otherwise", group="test"),
        a_user("fit", ["of another"], "asks otherwise", group="person"),
        a_user("person", ["of another"], "asks otherwise"),
        a_user("fit", ["two", "one"], "asks otherwise"),
    ],
    ids=["same id", "group is the id", "same group", "id is the group", "same history"],
)
def test_a_person_on_both_sides_is_found(fit: User) -> None:
    users = [a_user("test", ["one", "two"], "asks this", group="person")]
    assert found(users, [fit]) == {"fit_test_overlap_users": 1}
    report = leaks.report(users, [fit], LAMP3)
    stranger = a_user("stranger", ["of a third"], "asks otherwise")
    assert leaks.apply_fit([fit, stranger], report, "drop") == [stranger]
    assert leaks.apply_fit([fit, stranger], report, "flag") == [fit, stranger]
    assert leaks.apply(users, report, "drop") == users


def test_empty_histories_make_nobody_the_same() -> None:
    assert found([a_user("test", [], "asks this")], [a_user("fit", [], "asks that")]) == {}


def test_a_shared_question_is_reported_but_its_fit_user_stays() -> None:
    users, fit = [a_user("test", ["one"], SENTENCE)], [a_user("fit", ["two"], SENTENCE.lower())]
    report = leaks.report(users, fit, LAMP3)
    assert report.fit_test_overlap_texts == ("test",)
    assert leaks.apply_fit(fit, report, "drop") == fit


def test_drop_takes_only_the_offending_item_flag_takes_none() -> None:
    users = [
        a_user("u", ["Fine.", SENTENCE, "Bad."], SENTENCE),
        a_user("v", [SENTENCE], "Other question"),
    ]
    report = leaks.report(users, [], LAMP3)
    dropped = leaks.apply(users, report, "drop")
    assert [[item.id for item in user.history] for user in dropped] == [["u/0", "u/2"], ["v/0"]]
    assert leaks.report(dropped, [], LAMP3).items == frozenset()
    assert leaks.apply(users, report, "flag") == users


def test_drop_takes_items_later_than_the_question_and_no_others() -> None:
    dates = ("2018-01-01", "2019-01-01", None)
    history = tuple(Item(f"{date}", {"text": f"on {date}", "score": "3"}, date) for date in dates)
    users = [User("u", history, (Query("a", "", "asked", date="2018-06-01"),), "u")]
    report = leaks.report(users, [], LAMP3)
    [kept] = leaks.apply(users, report, "drop")
    assert [item.date for item in kept.history] == ["2018-01-01", None]
    assert report.record()["items_after_query"] == 1
    undated = [a_user("u", ["Fine."], SENTENCE)]
    # could not be told
    assert leaks.report(undated, [], LAMP3).record()["items_after_query"] is None


def test_what_histories_hold_is_taken_from_another_report_and_nothing_else() -> None:
    """A control shows others' histories: what is looked for must not be in what is shown."""
    fit = [a_user("fit", ["two"], SENTENCE)]
    own = leaks.report([a_user("test", [SENTENCE], SENTENCE)], fit, LAMP3)
    shown = leaks.report([a_user("test", ["Fine.", SENTENCE], SENTENCE)], [], LAMP3)
    both = own.of_histories(shown)
    assert both.items == {"test / test/1"} and own.items == {"test / test/0"}
    assert both.fit_test_overlap_texts == own.fit_test_overlap_texts == ("test",)


def test_a_text_that_two_tested_users_ask_is_shared_by_both() -> None:
    tested = [a_user(name, ["one"], SENTENCE) for name in ("a", "b")]
    fit = [a_user("fit", ["two"], SENTENCE)]
    assert leaks.report(tested, fit, LAMP3).fit_test_overlap_texts == ("a", "b")


def test_error_names_what_was_found_in_one_line() -> None:
    users = [a_user("u", [SENTENCE], SENTENCE)]
    with pytest.raises(InputError) as caught:
        leaks.apply(users, leaks.report(users, [], LAMP3), "error")
    assert (
        str(caught.value)
        == "leaks found (leak=drop removes them, leak=flag keeps them): 1 query_in_history_exact: u"
        " / u/0"
    )
    clean = [a_user("u", ["Fine."], SENTENCE)]
    assert leaks.apply(clean, leaks.report(clean, [], LAMP3), "error") == clean


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(InputError, match="choose drop, flag or error"):
        leaks.apply([], leaks.LeakReport(), "warn")  # type: ignore[arg-type]


def test_the_record_holds_counts_and_five_ids_and_no_text() -> None:
    record = leaks.report([a_user("u", [SENTENCE] * 7, SENTENCE)], [], LAMP3).record()
    assert record["query_in_history_exact"] == 7
    assert record["examples"] == {
        "query_in_history_exact": [f"u / u/{index}" for index in range(5)]
    }
    assert "kettle" not in json.dumps(record)


def test_golds_are_not_looked_at() -> None:
    user = a_user("u", ["A gold", "Fine."], "asks this")
    golden = replace(user, queries=(replace(user.queries[0], gold="A gold"),))
    assert (
        leaks.report([golden], [], LAMP3) == leaks.report([user], [], LAMP3) == leaks.LeakReport()
    )


def test_what_a_base_learns_from_fit_histories_is_looked_through() -> None:
    tested = [a_user("a", ["Other."], SENTENCE)]
    fit = [a_user("b", ["Nothing.", SENTENCE.upper()], "A third thing entirely.")]
    assert leaks.report(tested, fit, LAMP3).fit_history_holds_query == ()
    assert leaks.report(tested, fit, LAMP3, learnt_histories=True).fit_history_holds_query == ("a",)

"""What each rule of `majority` answers."""

from __future__ import annotations

import pytest
from conftest import task_named

from bench.types import Item, Personalization, Query, User
from methods.majority import Majority


def user(name: str, answers: list[str], text: str = "") -> User:
    """A user who gave these answers, oldest first, to items about `topic 0`, `topic 1`, ..."""
    task = task_named(name)
    items = tuple(
        Item(
            str(number),
            {field: f"topic {number}" for field in task.fields} | {str(task.target): answer},
        )
        for number, answer in enumerate(answers)
    )
    return User("u", items, (Query("q", text, text, None),))


def answer(rule: str, name: str, answers: list[str], text: str = "", most: str = "1") -> str | None:
    task, who = task_named(name), user(name, answers, text)
    request = Majority(rule).request(
        task, who, who.queries[0], Personalization(text={"global": most})
    )  # type: ignore[arg-type]
    return request.answer


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("global", "1"), ("user", "5"), ("median", "3"), ("auto", "5")],
)
def test_of_ratings(rule: str, expected: str) -> None:
    """Median 3, most frequent 5, greatest 5, least 2:
    each rule has its own answer; `auto` is `user`.
    """
    assert answer(rule, "lamp3", ["5", "2", "3", "2", "5", "3", "5"]) == expected


def test_the_median_of_an_even_number_is_a_rating_that_was_given() -> None:
    assert answer("median", "lamp3", ["1", "2", "5", "4"]) == "2"
    assert (
        answer("median", "lamp3", ["4", "4", "1"])
        == "4"
        != answer("median", "lamp3", ["1", "1", "4"])
    )


def test_of_equally_frequent_answers_the_first_given() -> None:
    assert answer("user", "lamp3", ["4", "2", "2", "4"]) == "4"


@pytest.mark.parametrize("rule", ["user", "median"])
def test_without_a_history_the_answer_of_the_fit_users(rule: str) -> None:
    assert answer(rule, "lamp3", []) == "1"


@pytest.mark.parametrize("rule", ["auto", "query"])
def test_a_copy_of_the_question(rule: str) -> None:
    assert answer(rule, "lamp4", ["title 0", "title 1"], "about topic 1") == "about topic 1"


def test_the_answer_of_the_item_that_shares_most_words() -> None:
    titles = ["title 0", "title 1", "title 2"]
    assert answer("nearest", "lamp4", titles, "topic 1") == "title 1"
    assert answer("nearest", "lamp4", titles, "nothing alike") == "title 2", (
        "of equally near ones the last"
    )
    assert answer("nearest", "lamp4", [], "topic 1") == "topic 1"


def test_the_answer_of_the_fit_users_is_their_most_frequent() -> None:
    task = task_named("lamp3")
    users = [
        User(str(n), (), (Query(str(n), "", "", gold),))
        for n, gold in enumerate(["2", "5", "5", "1"])
    ]
    shared = Majority("global").fit(None, task, users, None)  # type: ignore[arg-type]
    assert shared.text["global"] == "5"

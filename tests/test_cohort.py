"""Who takes part: whom a leak takes out, whom a base may learn from,
and what is counted of the rest.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import task_named

from bench.cell.cohort import cohort
from bench.data.people import People
from bench.data.protocol import Protocol
from bench.errors import InputError
from bench.lm import base as bases
from bench.types import Item, Query, User


def person(name: str, *texts: str, asked: str = "") -> User:
    history = tuple(
        Item(f"{name}-{at}", {"text": text, "score": "3"}) for at, text in enumerate(texts)
    )
    asked = asked or f"what {name} is asked"
    return User(name, history, (Query(f"q-{name}", f"review: {asked}", asked, "4"),), name)


ANN, BOB, CAT = (person(name, f"first of {name}", f"second of {name}") for name in "abc")
FIT = [person(name, f"first of {name}", f"second of {name}") for name in "vwxyz"]


def plan(
    tested: list[User],
    fitting: list[User],
    *,
    adapted: bool = False,
    leak: str = "drop",
    limit: int | None = None,
    away: tuple[str, ...] = (),
    retrain: bool = False,
    **protocol: Any,
) -> Any:
    """Of a plan, what a cohort asks; a base's key is here the words of what it learns from."""
    return SimpleNamespace(
        config={"leak": leak, "limit": limit, "stale": "rerun"},
        protocol=Protocol("one", **protocol),
        people=lambda: People(tested, fitting, away, {"chosen": 5}),
        seed=0,
        adapted=adapted,
        task=task_named("lamp3"),
        identity={},
        learnt="the fit split",
        base=SimpleNamespace(key=lambda model, task, learnt: learnt, retrain=retrain),
    )


def test_a_base_is_of_all_who_may_fit_and_its_key_says_who_may_not() -> None:
    everybody = [*FIT, ANN]
    dropped = cohort(plan([ANN, BOB], everybody, adapted=True, group_size=2, away=("u",)))
    assert dropped.trainers == FIT and len(dropped.group) == 2
    assert dropped.left_out == {"a", "u"}
    assert dropped.base_key == "the fit split without ['a', 'u']"


def test_a_leak_that_is_only_flagged_leaves_the_base_and_its_key_alone() -> None:
    flagged = cohort(plan([ANN, BOB], [*FIT, ANN], adapted=True, leak="flag"))
    assert flagged.leaks.fit_test_overlap_users == ("a",)
    assert flagged.trainers == [*FIT, ANN] and not flagged.left_out
    assert flagged.base_key == "the fit split"


def test_a_model_taken_as_it_is_has_no_base_to_find() -> None:
    plain = cohort(plan([ANN], FIT))
    assert plain.base_key is None and plain.base() is None


@pytest.mark.parametrize("retrain", [False, True])
def test_a_base_to_be_made_again_is_none_of_those_that_are_shipped(
    retrain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, bool, str]] = []

    def find(key: str, *, shipped: bool, stale: str) -> Path:
        asked.append((key, shipped, stale))
        return Path("found")

    monkeypatch.setattr(bases, "find", find)
    assert cohort(plan([ANN], FIT, adapted=True, retrain=retrain)).base() == Path("found")
    assert asked == [("the fit split", not retrain, "rerun")]


def test_leaks_are_looked_for_among_those_who_fit_and_in_what_a_base_reads() -> None:
    """Without a base only the group learns, and only from its questions;
    a base reads every history.
    """
    reader = person("r", BOB.queries[0].text)
    group = cohort(plan([ANN, BOB], [*FIT, reader], group_size=6))
    assert group.leaks.fit_history_holds_query == ()
    base = cohort(plan([ANN, BOB], [*FIT, reader], adapted=True, group_size=1))
    assert base.leaks.fit_history_holds_query == ("q-b",)
    small = plan([ANN], [*FIT, ANN], group_size=1)
    assert small.protocol.group(small.people().fitting, 0) != [ANN]
    assert cohort(small).leaks.fit_test_overlap_users == ()  # who was not drawn does not fit


def test_a_limit_tests_the_first_and_no_others() -> None:
    one = cohort(plan([ANN, BOB, CAT], [*FIT, BOB], limit=1))
    assert one.users == [ANN] and one.leaks.fit_test_overlap_users == ()
    assert one.first(1) == [ANN]
    both = cohort(plan([ANN, BOB, CAT], [*FIT, BOB]))
    assert both.first(2) == [ANN, BOB] and both.users == [ANN, BOB, CAT]


def test_with_anothers_history_the_question_is_looked_for_in_what_is_shown() -> None:
    teller = person("t", ANN.queries[0].text, "of another thing", asked="nothing at all")
    found = cohort(plan([ANN, teller], FIT, history="other"))
    assert found.leaks.query_in_history_exact == ("a / t-0",)
    assert [item.id for item in found.users[0].history] == ["t-1"]
    own = cohort(plan([ANN, teller], FIT))
    assert own.leaks.query_in_history_exact == () and own.users == [ANN, teller]


def test_what_a_protocol_leaves_out_of_histories_is_counted() -> None:
    silent = person("s")
    made = cohort(plan([ANN, silent, BOB], FIT, items=7))
    assert [len(user.history) for user in made.users] == [7, 7]
    counted = {"items_before": 4, "items_after": 14, "users_left_out": 1}
    assert made.counts == {"chosen": 5} | counted
    assert cohort(plan([ANN, BOB], FIT)).counts == {"chosen": 5}
    assert cohort(plan([ANN, BOB], FIT, least_similar=9, encoder="hash")).counts == {"chosen": 5}
    less = cohort(plan([ANN, BOB], FIT, least_similar=1, encoder="hash")).counts
    assert (less["items_before"], less["items_after"], less["users_left_out"]) == (4, 2, 0)


def test_who_fits_is_shown_items_of_the_form_of_the_tested() -> None:
    found = cohort(plan([ANN], FIT, history_format="no_output"))
    assert all("score" not in item.fields for user in found.group for item in user.history)
    assert all("score" in item.fields for user in found.drawn for item in user.history)


def test_where_every_fit_user_leaks_it_is_said_whom_and_what_to_do() -> None:
    nobody = cohort(plan([ANN, BOB], [ANN, BOB]))
    assert nobody.drawn == [] and "all 2 fit users are tested users too (a, b); " in nobody.emptied
    four = [ANN, BOB, CAT, FIT[0]]
    assert (
        "all 4 fit users are tested users too (a, b, c, ...); " in cohort(plan(four, four)).emptied
    )
    assert (
        "all 3 fit users are tested users too (a, b, c); "
        in cohort(plan(four[:3], four[:3])).emptied
    )
    with pytest.raises(InputError, match="leak=drop has left nobody to fit: all 2 fit users"):
        cohort(plan([ANN, BOB], [ANN, BOB], adapted=True))


def test_who_has_somebody_to_fit_or_never_had_is_not_said_to_be_left_with_nobody() -> None:
    assert cohort(plan([ANN], FIT)).emptied == ""  # nobody leaks
    assert cohort(plan([ANN], [ANN, *FIT])).emptied == ""  # others are left
    assert cohort(plan([ANN], [])).emptied == ""  # there was nobody before
    assert cohort(plan([ANN], [ANN], leak="flag")).emptied == ""  # nobody is taken out

"""`leak=drop` that leaves nobody to fit says so, and what to do."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import task_named

from bench.cell.cohort import Cohort, cohort
from bench.data.people import People
from bench.errors import InputError
from bench.types import Item, Query, User

SAID = (
    r"leak=drop has left nobody to fit: all 4 fit users are tested users too \(u0, u1, u2, ...\);"
    r" .* leak=flag"
)


def plan(*, adapted: bool, policy: str = "drop", fit: int = 4) -> Any:
    """A plan in which everybody who is tested may fit too."""
    everybody = [
        User(
            f"u{n}",
            (Item(f"{n}a", {"text": f"item {n}", "score": "3"}),),
            (Query(f"{n}q", f"question {n}", "", "4"),),
        )
        for n in range(max(4, fit))
    ]
    who = SimpleNamespace(group=lambda users, seed: users, exchanged=lambda users, seed: users)
    who.fitting = lambda task, users: users
    config = {"leak": policy, "limit": 4}
    people = People(tested=everybody[:4], fitting=everybody[:fit])
    return SimpleNamespace(
        config=config,
        protocol=who,
        people=lambda: people,
        seed=0,
        adapted=adapted,
        task=task_named("lamp3"),
    )


def test_a_base_that_nobody_is_left_to_train_is_refused() -> None:
    with pytest.raises(InputError, match=SAID):
        cohort(plan(adapted=True))


def test_a_method_that_finds_nobody_has_the_reason_at_hand() -> None:
    assert re.match(SAID, cohort(plan(adapted=False)).emptied)


@pytest.mark.parametrize("changes", [{"policy": "flag"}, {"fit": 5}])
def test_where_somebody_is_left_nothing_is_said(changes: dict[str, Any]) -> None:
    found = cohort(plan(adapted=True, **changes))
    assert isinstance(found, Cohort) and found.emptied == "" and found.drawn

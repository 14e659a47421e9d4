"""What a protocol guarantees: who fits, who is tested, what history is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from conftest import task_named

from bench.data.protocol import Protocol
from bench.errors import InputError
from bench.types import Item, Query, User

USERS = [
    User(
        f"u{n}",
        (Item(f"i{n}", {"text": f"t{n}"}),),
        (Query(f"q{n}", "in", "text", "5"),),
        f"g{n // 2}",
    )
    for n in range(20)
]


def test_a_larger_group_contains_the_smaller_of_the_same_seed() -> None:
    small, large = (Protocol("seen", group_size=size).group(USERS, 0) for size in (5, 12))
    assert {user.id for user in small} < {user.id for user in large} and len(large) == 12
    assert {user.id for user in small} != {
        user.id for user in Protocol("seen", group_size=5).group(USERS, 1)
    }


def test_unseen_users_keep_no_history() -> None:
    assert all(
        user.history == ()
        for user in Protocol("unseen", history="none").tested(task_named("lamp3"), USERS)
    )


def test_another_history_never_is_the_same_persons() -> None:
    owner = {user.history[0].id: user.group for user in USERS}
    changed = Protocol("seen", history="other").exchanged(USERS, 0)
    assert all(owner[user.history[0].id] != user.group for user in changed)
    assert [user.queries for user in changed] == [user.queries for user in USERS]


def test_another_history_ends_where_ones_own_does() -> None:
    def dated(name: str, *dates: str) -> User:
        return User(
            name, tuple(Item(f"{name}{day}", {"text": "t"}, day) for day in dates), (), name
        )

    early, late = (
        dated("a", "2020-01-01", "2020-02-01"),
        dated("b", "2020-01-15", "2020-02", "2020-02-02", "2021"),
    )
    changed = Protocol("seen", history="other").exchanged([early, late], 0)
    assert [item.date for item in changed[0].history] == ["2020-01-15", "2020-02"]
    assert changed[1].history == early.history


def test_hidden_users_have_no_golds() -> None:
    assert all(query.gold is None for user in USERS for query in user.hidden().queries)


# Draws: a published record is known by its seed, not by its users


def test_a_seed_draws_whom_it_drew_for_the_published_records() -> None:
    assert [user.id for user in Protocol("seen", group_size=5).group(USERS, 0)] == [
        "u3",
        "u9",
        "u13",
        "u17",
        "u19",
    ]
    changed = Protocol("seen", history="other").exchanged(USERS, 0)
    assert [user.history[0].id for user in changed] == [
        "i16",
        "i3",
        "i18",
        "i5",
        "i2",
        "i6",
        "i4",
        "i14",
        "i11",
        "i15",
        "i9",
        "i19",
        "i10",
        "i0",
        "i17",
        "i8",
        "i1",
        "i13",
        "i12",
        "i7",
    ]


def test_a_group_is_in_the_order_of_the_file_and_may_be_everybody() -> None:
    group = Protocol("seen", group_size=7).group(USERS, 3)
    assert group == [user for user in USERS if user in group]
    assert Protocol("seen", group_size=None).group(USERS, 3) == USERS


# Who is tested


def with_items(name: str, sizes: tuple[int, ...]) -> list[User]:
    """Users `name0`, `name1`, ... with histories of these sizes."""
    return [
        User(
            f"{name}{n}",
            tuple(Item(f"{n}-{at}", {"text": "t"}, f"2020-01-{at + 1:02}") for at in range(size)),
            (Query(f"q-{name}{n}", "in", "text", "5", "2020-01-05"),),
            f"{name}{n}",
        )
        for n, size in enumerate(sizes)
    ]


def test_a_pool_counts_whom_both_splits_hold_and_the_items_it_leaves_out() -> None:
    """Of an item a day and a question on the fifth, two of seven items are newer."""
    train, dev = with_items("a", (2, 7)), with_items("b", (3,))
    later = Query("later", "in", "text", "5", "2020-02-01")
    dev.append(User("a0", train[0].history, (later,), "a0"))
    pooled = Protocol("oppu", pool=True, choose="longest", n_test=1).people(train, dev, 0)
    assert [(user.id, len(user.history)) for user in pooled.tested] == [("a1", 5)]
    assert pooled.counts == {"users_in_both_splits": 1, "items_left_out": 2}


# Keys


def test_a_base_is_known_by_the_fit_split_alone_where_that_trains_it() -> None:
    choices: list[Any] = ["all", "longest", "bin"]
    for choose in choices:
        assert Protocol("one", choose=choose, n_test=3).learnt("fit", "test", 0) == "fit"


@pytest.mark.parametrize(
    ("choose", "changes"),
    [
        ("longest", {"n_test": 7}),
        ("bin", {"n_bins": 3}),
        ("bin", {"n_users": 9}),
        ("bin", {"seed": 1}),
        ("bin", {"tested": "another"}),
        ("longest", {"fitted": "another"}),
    ],
)
def test_a_base_of_a_pool_is_another_where_others_are_tested(
    choose: Any,
    changes: dict[str, Any],
) -> None:
    def learnt(seed: int = 0, tested: str = "test", fitted: str = "fit", **fields: Any) -> str:
        return Protocol("one", pool=True, choose=choose, **fields).learnt(fitted, tested, seed)

    assert learnt(**changes) != learnt() == learnt()


def test_levels_of_a_pool_share_their_base_and_the_longest_have_one_for_all_seeds() -> None:
    """What is no part of the choice trains no other base: hours of it."""
    low = Protocol("a", pool=True, choose="bin")
    high = replace(low, bin=4, n_test=3)
    assert low.learnt("fit", "test", 0) == high.learnt("fit", "test", 0)
    longest = Protocol("o", pool=True, choose="longest")
    assert longest.learnt("fit", "test", 0) == longest.learnt("fit", "test", 1)
    other = Protocol("o", pool=True, choose="longest", n_bins=3, n_users=1)
    assert other.learnt("fit", "test", 0) == longest.learnt("fit", "test", 0)


SAID = [
    ({"choose": "longest"}, {"n_test": 7}),
    ({"choose": "bin"}, {"n_bins": 3}),
    ({"choose": "bin"}, {"bin": 3}),
    ({"choose": "bin"}, {"n_users": 3}),
    ({"least_similar": 5}, {"encoder": "hash"}),
    ({"least_similar": 5}, {"least_similar": 6}),
    ({}, {"group_size": 7}),
]


@pytest.mark.parametrize(("switched", "changes"), SAID)
def test_what_changes_an_answer_is_in_the_key_and_only_where_it_is_used(
    switched: dict[str, Any], changes: dict[str, Any]
) -> None:
    plain = Protocol("one", **switched)
    assert Protocol("one", **switched | changes).identity() != plain.identity()
    if switched and switched.keys() != changes.keys():
        assert Protocol("one", **changes).identity() == Protocol("one").identity()


COUNTS = ["group_size", "n_test", "n_users", "least_similar", "items", "words"]


@pytest.mark.parametrize("name", COUNTS)
def test_one_is_enough_and_none_is_not(name: str) -> None:
    assert getattr(Protocol("one", **{name: 1}), name) == 1
    with pytest.raises(InputError, match=f"protocol.{name}=0: must be at least 1"):
        Protocol("one", **{name: 0})

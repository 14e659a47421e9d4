"""What a protocol guarantees: who fits, who is tested, what history is kept."""

from __future__ import annotations

from conftest import task_named

from bench.protocol import Protocol
from bench.types import Item, Query, User

USERS = [User(f"u{n}", (Item(f"i{n}", {"text": f"t{n}"}),), (Query(f"q{n}", "in", "text", "5"),), f"g{n // 2}")
         for n in range(20)]  # fmt: skip


def test_a_larger_group_contains_the_smaller_of_the_same_seed() -> None:
    small, large = (Protocol("seen", group_size=size).group(USERS, 0) for size in (5, 12))
    assert {user.id for user in small} < {user.id for user in large} and len(large) == 12
    assert {user.id for user in small} != {user.id for user in Protocol("seen", group_size=5).group(USERS, 1)}


def test_unseen_users_keep_no_history() -> None:
    assert all(user.history == () for user in Protocol("unseen", history="none").tested(task_named("lamp3"), USERS))


def test_another_history_never_is_the_same_persons() -> None:
    owner = {user.history[0].id: user.group for user in USERS}
    changed = Protocol("seen", history="other").exchanged(USERS, 0)
    assert all(owner[user.history[0].id] != user.group for user in changed)
    assert [user.queries for user in changed] == [user.queries for user in USERS]


def test_another_history_ends_where_ones_own_does() -> None:
    def dated(name: str, *dates: str) -> User:
        return User(name, tuple(Item(f"{name}{day}", {"text": "t"}, day) for day in dates), (), name)

    early, late = dated("a", "2020-01-01", "2020-02-01"), dated("b", "2020-01-15", "2020-02", "2020-02-02", "2021")
    changed = Protocol("seen", history="other").exchanged([early, late], 0)
    assert [item.date for item in changed[0].history] == ["2020-01-15", "2020-02"]
    assert changed[1].history == early.history


def test_hidden_users_have_no_golds() -> None:
    assert all(query.gold is None for user in USERS for query in user.hidden().queries)

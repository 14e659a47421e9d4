"""What protocols guarantee: nobody tested fits, nothing after the question,
the same questions for every method.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from cells import BASE, CHAMELEON, TINY, run
from conftest import ROOT, task_named

from bench.data import histories, lamp, people
from bench.data.dates import not_newer
from bench.data.protocol import Protocol
from bench.data.sample import generator
from bench.errors import InputError
from bench.types import Item, Query, User

NAMES = sorted(path.stem for path in (ROOT / "conf" / "protocol").glob("*.yaml"))
RATING, TWEETS = task_named("lamp3"), task_named("lamp7")


def protocol(name: str, **changes: Any) -> Protocol:
    """The protocol as conf/protocol has it, on `seen`."""
    read = [
        yaml.safe_load((ROOT / "conf" / "protocol" / f"{one}.yaml").read_text())
        for one in ("seen", name)
    ]
    fields = {
        key: value
        for values in read
        for key, value in values.items()
        if key not in ("_target_", "defaults")
    }
    return Protocol(**fields | changes)


def reviewer(
    name: str, items: int, *, asked: Sequence[str] = (), day: str | None = None, group: str = ""
) -> User:
    """Someone with so many items, one a day from 2020-01-01,
    and a question on `day` for each id.
    """
    history = tuple(
        Item(
            f"{name}{at}",
            {"text": f"{name} on thing {at}", "score": str(at % 5 + 1)},
            day and f"2020-01-{at + 1:02}",
        )
        for at in range(items)
    )
    queries = tuple(
        Query(id, f"review: {name}", f"{name} on thing 1", "3", day)
        for id in asked or (f"q{name}",)
    )
    return User(name, history, queries, group or name)


def ids(users: Sequence[User]) -> list[str]:
    return [user.id for user in users]


CROWD = [reviewer(f"u{n:02}", n) for n in range(40)]
TRAIN, DEV = CROWD[:25], CROWD[25:]


# Who is tested, who fits


@pytest.mark.parametrize("name", NAMES)
def test_nobody_who_is_tested_fits(name: str) -> None:
    chosen = protocol(name, n_test=7, n_users=2).people(TRAIN, DEV, 0)
    assert chosen.tested and chosen.fitting
    assert not set(ids(chosen.tested)) & set(ids(chosen.fitting))


def test_unseen_users_do_not_fit_where_both_splits_hold_them() -> None:
    chosen = protocol("unseen").people([*TRAIN, DEV[0]], DEV, 0)
    assert (
        chosen.away == (DEV[0].id,)
        and ids(chosen.fitting) == ids(TRAIN)
        and ids(chosen.tested) == ids(DEV)
    )
    seen = protocol("seen").people([*TRAIN, DEV[0]], DEV, 0)
    assert DEV[0].id in ids(seen.fitting)  # reported as a leak, and dropped with leak=drop


def test_a_person_in_both_splits_is_one_user_with_all_their_questions() -> None:
    train, dev = (
        reviewer("ann", 3, asked=["a"], day="2020-02-01"),
        reviewer("ann", 9, asked=["b"], day="2020-03-01"),
    )
    [ann] = people.pool([train], [dev])
    assert [query.id for query in ann.queries] == ["a", "b"]
    assert [item.fields["text"] for item in ann.history] == [
        item.fields["text"] for item in train.history
    ]


def test_in_a_pool_nothing_in_a_history_comes_after_a_question() -> None:
    """A27: the last profile holds items after the first question, even the question itself
    with its answer.
    """
    early, late = (
        reviewer("ann", 9, asked=["a"], day="2020-01-04"),
        reviewer("ann", 9, asked=["b"], day="2020-03-01"),
    )
    for splits in (([early], [late]), ([late], [early]), ([early], [])):
        [ann] = people.pool(*splits)
        assert len(ann.history) == 4
        assert all(len(not_newer(ann.history, query)) == 4 for query in ann.queries)
    assert people.joined([early, late]).left_out == 5


def test_the_longest_histories_are_tested_and_all_others_fit() -> None:
    chosen = protocol("oppu", n_test=7).people(TRAIN, DEV, 0)
    assert ids(chosen.tested) == [f"u{n:02}" for n in range(39, 32, -1)]
    assert sorted(ids(chosen.fitting)) == ids(CROWD[:33])
    assert ids(protocol("oppu").group(chosen.fitting, 0)) == ids(chosen.fitting)


def test_a_tested_person_does_not_fit_under_another_name() -> None:
    twin = reviewer("twin", 3, group="u39")
    chosen = protocol("oppu", n_test=1).people([*TRAIN, twin], DEV, 0)
    assert ids(chosen.tested) == ["u39"] and "twin" not in ids(chosen.fitting)


def test_a_pool_refuses_a_question_of_both_splits_and_a_test_of_everybody() -> None:
    with pytest.raises(InputError, match="question qu01 is in both splits"):
        people.pool([CROWD[1]], [CROWD[1]])
    with pytest.raises(InputError, match="leaves nobody to fit"):
        protocol("oppu", n_test=40).people(TRAIN, DEV, 0)


def test_levels_of_activity_do_not_overlap_and_rise() -> None:
    found = [
        protocol("activity", bin=number, n_bins=3, n_users=4).people([], CROWD, 0)
        for number in range(3)
    ]
    sizes = [[len(user.history) for user in one.tested] for one in found]
    assert [len(one) for one in sizes] == [4, 4, 4] and min(map(min, sizes)) > 0
    assert max(sizes[0]) < min(sizes[1]) and max(sizes[1]) < min(sizes[2])
    for one, seen in zip(found, sizes, strict=True):
        assert (
            one.counts["smallest_history"] <= min(seen)
            and max(seen) <= one.counts["largest_history"]
        )


def test_a_larger_draw_of_a_level_contains_the_smaller_one_and_a_seed_changes_it() -> None:
    def drawn(count: int, seed: int = 0) -> set[str]:
        return set(
            ids(protocol("activity", n_bins=2, bin=1, n_users=count).people([], CROWD, seed).tested)
        )

    assert drawn(3) < drawn(9) and len(drawn(9)) == 9 and drawn(9) != drawn(9, seed=1)


def test_all_levels_of_activity_have_the_same_fit_users() -> None:
    """So that they are compared on one base: who could be drawn from any level fits in none."""
    left = [
        ids(protocol("activity", n_users=3, bin=number).people(CROWD, CROWD, 0).fitting)
        for number in range(5)
    ]
    assert all(one == left[0] for one in left) and len(left[0]) == 40 - 15


def test_a_level_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"protocol\.bin=5: choose 0, 1, 2, 3 or 4"):
        protocol("activity", bin=5).people(TRAIN, DEV, 0)
    with pytest.raises(InputError, match="protocol.n_bins=99"):
        protocol("activity", n_bins=99).people(TRAIN, DEV, 0)


# What history is kept


def test_unseen_users_show_no_history() -> None:
    assert all(not user.history for user in protocol("unseen").tested(RATING, CROWD))


@pytest.mark.parametrize("name", NAMES)
def test_no_protocol_changes_a_question(name: str) -> None:
    before = [user for user in CROWD if user.history]
    after = protocol(name, encoder="hash").tested(RATING, before)
    assert [(user.id, user.group, user.queries) for user in after] == [
        (u.id, u.group, u.queries) for u in before
    ]


def test_only_the_items_unlike_the_questions_are_kept_in_their_order() -> None:
    near, far = (
        {"text": "green tea leaves", "score": "5"},
        {
            "text": "diesel engine oil",
            "score": "1",
        },
    )
    history = tuple(Item(str(at), near if at % 2 else far) for at in range(8))
    queries = tuple(Query(text, f"review: {text}", text) for text in ("green tea", "tea leaves"))
    user = User("u", history, queries)
    [kept] = protocol("behaviour_shift", least_similar=4, encoder="hash").tested(RATING, [user])
    assert [item.id for item in kept.history] == ["0", "2", "4", "6"]
    [all_] = protocol("behaviour_shift", least_similar=100, encoder="hash").tested(RATING, [user])
    assert all_.history == history


def test_similarity_is_the_mean_over_the_users_questions() -> None:
    texts = {"one": "alpha beta", "both": "alpha gamma", "none": "delta epsilon"}
    history = tuple(Item(name, {"text": text, "score": "3"}) for name, text in texts.items())
    queries = tuple(Query(word, f"review: {word}", word) for word in ("alpha", "alpha", "gamma"))
    [kept] = histories.least_similar(RATING, [User("u", history, queries)], 2, "hash")
    assert [item.id for item in kept.history] == ["one", "none"]


@pytest.mark.parametrize(("items", "words"), [(10, 100), (3, 2), (None, 7), (5, None)])
def test_timed_histories_have_exactly_the_asked_size(items: int | None, words: int | None) -> None:
    users = protocol("efficiency", items=items, words=words).tested(RATING, CROWD)
    assert ids(users) == ids(CROWD[1:])  # who has said nothing has no words to cycle
    for user, own in zip(users, CROWD[1:], strict=True):
        assert (
            len(user.history)
            == (items or len(own.history))
            == len({item.id for item in user.history})
        )
        said = {word for item in own.history for word in item.fields["text"].split()}
        for item in user.history:
            assert set(item.fields["text"].split()) <= said and item.fields["score"] in "12345"
            assert words is None or len(item.fields["text"].split()) == words


@pytest.mark.parametrize("style", ["personalized", "lamp", "oppu"])
@pytest.mark.parametrize("name", ["lamp2", "lamp2n", "lamp3", "lamp4", "lamp5", "lamp6"])
def test_a_side_that_is_dropped_is_in_no_prompt(name: str, style: Any) -> None:
    task = task_named(name)
    item = Item("i", {field: f"WRITTEN-{field}" for field in task.fields}, None)
    query = Query("q", f"{task.markers[0]} what now", "what now")
    for form, kept, gone in (
        ("no_input", task.target, task.source),
        ("no_output", task.source, task.target),
    ):
        [user] = protocol("seen", history_format=form).tested(task, [User("u", (item,), (query,))])
        prompt = task.render(query, user.history, style=style)[0].text
        assert f"WRITTEN-{kept}" in prompt and f"WRITTEN-{gone}" not in prompt
        for text in (task.corpus_text(user.history[0]), task.item_text(user.history[0])):
            assert f"WRITTEN-{kept}" in text and f"WRITTEN-{gone}" not in text


def test_a_one_sided_line_keeps_its_number_and_its_name() -> None:
    item = Item("i", {"tag": "comedy"})
    lines = task_named("lamp2").history_lines([item, item])
    assert [str(line) for line in lines] == ["1. tag: comedy", "2. tag: comedy"]


def test_a_history_without_sides_has_no_side_to_drop() -> None:
    with pytest.raises(InputError, match="a history item of lamp7 has no input and output side"):
        protocol("seen", history_format="no_input").tested(TWEETS, CROWD)


def test_a_protocol_that_makes_no_sense_is_refused() -> None:
    for words, changes in (
        ("protocol.pool=true needs", {"pool": True}),
        ("protocol.words=0", {"words": 0}),
    ):
        with pytest.raises(InputError, match=words):
            protocol("seen", **changes)


# Keys


def test_what_is_switched_off_is_in_no_key() -> None:
    """Records made before a protocol had these fields must be found again."""
    first = {"fit_split": "train", "test_split": "dev", "group_size": 100}
    assert protocol("seen").identity() == {"name": "seen", **first, "history": "own"}
    assert protocol("unseen", n_test=3, encoder="hash").identity() == {
        "name": "unseen",
        **first,
        "history": "none",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"pool": True, "choose": "longest"},
        {"choose": "bin"},
        {"least_similar": 5},
        {"history_format": "no_input"},
        {"items": 3},
        {"words": 3},
    ],
)
def test_what_is_switched_on_is_in_the_key(changes: dict[str, Any]) -> None:
    assert protocol("seen", **changes).identity() != protocol("seen").identity()
    assert protocol("activity", bin=1).identity() != protocol("activity", bin=2).identity()


# Whole cells


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "lamp"
    generator.write(root, version=1, train_users=40, dev_users=30)
    return root


SMALL = (
    "protocol.n_test=6",
    "protocol.n_bins=2",
    "protocol.n_users=6",
    "protocol.encoder=hash",
    "limit=3",
)


def cells(folder: Path) -> dict[str, dict[str, Any]]:
    """Each record with the ids of its questions as `asked`, by method and protocol."""
    found = {}
    for path in (folder / "runs").glob("*/*/*/record.json"):
        record = json.loads(path.read_text())
        asked = [
            json.loads(line)["id"]
            for line in (path.parent / "samples.jsonl").read_text().splitlines()
        ]
        found[f"{record['cell']['method']} {record['cell']['protocol']}"] = record | {
            "asked": sorted(asked)
        }
    return found


def test_every_method_gets_the_same_questions_in_every_protocol(data: Path, tmp_path: Path) -> None:
    words = (
        "-m",
        *TINY,
        *SMALL,
        "limit=2",
        "data=lamp",
        f"data.root={data}",
        "data.kind=time",
        f"protocol={','.join(NAMES)}",
        "method=rag,majority",
    )
    code, said = run(*words, folder=tmp_path)
    assert code == 0, said
    found = cells(tmp_path)
    assert len(found) == 2 * len(NAMES)
    for name in NAMES:
        assert found[f"rag {name}"]["asked"] == found[f"majority {name}"]["asked"]
    assert found["rag oppu"]["data"]["split"] == "train+dev"
    assert found["rag efficiency"]["counts"]["protocol_items_after"] == 2 * 10
    assert "protocol_smallest_history" in found["rag activity"]["counts"]


def test_the_base_of_oppus_users_has_seen_none_of_the_tested(data: Path, tmp_path: Path) -> None:
    from bench.data.task import Task

    words = (
        *TINY,
        "protocol.n_test=6",
        "limit=3",
        *BASE[1:],
        "data=lamp",
        f"data.root={data}",
        "data.kind=time",
        "protocol=oppu",
        "method=oppu",
        "method.k=1",
        "method.recipe=code",
        "model.history_tokens=100",
        "method.item_words=8",
        "protocol.group_size=null",
        "protocol.history_format=no_output",
    )
    code, said = run(*words, folder=tmp_path)
    assert code == 0, said
    record = cells(tmp_path)["oppu oppu"]
    task: Task = RATING
    splits = [lamp.read(task, data, split=split, kind="time").users for split in ("train", "dev")]
    longest = sorted((len(user.history) for user in people.pool(*splits)), reverse=True)[:3]
    assert record["facts"]["users_items_learnt"] == sum(longest)
    assert record["leaks"]["fit_test_overlap_users"] == 0 and record["counts"]["patches"] == 3
    assert record["counts"]["fit_users"] == sum(map(len, splits)) - 6
    code, said = run(*words, "seed=1", "dry=true", folder=tmp_path)
    # the one that was trained above
    assert code == 0 and "(to do)" in said and "base task_adapted (at hand)" in said


def test_anothers_history_is_searched_for_ones_own_question(tmp_path: Path) -> None:
    root = tmp_path / "lamp"
    generator.write(root, train_users=20, dev_users=6)
    path = next((root / "LaMP_3" / "dev").glob("*questions.json"))
    questions = json.loads(path.read_text())
    for one in questions:  # everyone's history holds what all others are asked
        texts = [
            other["input"].rpartition("review: ")[2] for other in questions if other is not one
        ]
        one["profile"] += [
            {"id": f"{one['id']}{at}", "text": text, "score": "3"} for at, text in enumerate(texts)
        ]
    path.write_text(json.dumps(questions))
    words = (
        "method=majority",
        "method.rule=user",
        "protocol.history=other",
        "data=lamp",
        f"data.root={root}",
        "model=tiny",
        "progress=false",
    )
    code, said = run(*words, folder=tmp_path)
    assert code == 0, said
    assert cells(tmp_path)["majority seen"]["leaks"]["query_in_history_exact"] == 6


def test_a_method_of_directions_runs_on_one_sided_histories(data: Path, tmp_path: Path) -> None:
    words = (*TINY, "limit=3", *CHAMELEON, "data=lamp", f"data.root={data}", "task=lamp2")
    code, said = run(*words, "protocol.history_format=no_input", folder=tmp_path)
    assert code == 0, said

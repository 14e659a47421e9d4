"""The embedded sample: LaMP's layout, the same bytes everywhere, and preferences that only the
history tells.

The oracles (benchmarks/sample_oracles.py) read texts with the sample's own vocabulary. The question
oracles see the question (and all train answers); the history oracles see the user's history.
Nothing here looks at the person the generator drew.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from conftest import ROOT

from bench.data.sample import generator
from bench.data.sample.vocabulary import movies, news
from bench.errors import InputError

sys.path.insert(0, str(ROOT / "benchmarks"))
import sample_oracles
from sample_oracles import Case, Oracles, plausible, topics

FIELDS = {
    "lamp1": ("title", "abstract"),
    "lamp2": ("description", "tag"),
    "lamp2n": ("text", "title", "category"),
    "lamp3": ("text", "score"),
    "lamp4": ("text", "title"),
    "lamp5": ("abstract", "title"),
    "lamp6": ("text", "title"),
    "lamp7": ("text",),
}
SETS = [(task, False) for task in generator.TASKS] + [(task, True) for task in generator.TIME_TASKS]
WORDS = {
    "lamp2": (18, 30),
    "lamp2n": (18, 30),
    "lamp3": (14, 28),
    "lamp4": (18, 30),
    "lamp5": (25, 40),
    "lamp6": (18, 30),
}
LABEL_FIELDS = sample_oracles.LABEL_FIELDS
LABELS = {
    "lamp1": ("[1]", "[2]"),
    "lamp2": tuple(movies.CUES),
    "lamp2n": tuple(news.CUES),
    "lamp3": ("1", "2", "3", "4", "5"),
}


VERSIONS = (1, 2)
DIGESTS = {
    1: "7c7ecf17a8e9ca4185bedd6fb9c8ae8f3a0810bd28a2928ce8809f7f24159793",
    2: "496d05e6894db26d43c69cfa635cba93763f92a7338a4d3bb6fbf16a2d711e72",
}


@pytest.fixture(scope="session", params=VERSIONS, ids="version {}".format)
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "v"
    generator.write(path, version=request.param)
    return path


def version_of(root: Path) -> int:
    return int(json.loads((root / "sample.json").read_text())["version"])


def read(
    root: Path, task: str, split: str, *, dated: bool = False
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    files = sample_oracles.read(root, task, split, dated=dated)
    return files.questions, files.outputs


@cache
def cases(root: Path, task: str, split: str, *, dated: bool = False) -> list[Case]:
    return sample_oracles.cases(root, task, split, dated=dated)


@cache
def oracles(root: Path, task: str, *, dated: bool = False) -> Oracles:
    return sample_oracles.oracles(task, cases(root, task, "train", dated=dated))


def digest(root: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.json")):
        found.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return found.hexdigest()


def accuracy(found: Sequence[Case], answer: Callable[[Case], str]) -> float:
    return mean(answer(case) == case.gold for case in found)


# layout


@pytest.mark.parametrize(("task", "dated"), SETS)
@pytest.mark.parametrize("split", ["train", "dev"])
def test_files_have_the_layout_of_lamp(root: Path, task: str, dated: bool, split: str) -> None:
    questions, outputs = read(root, task, split, dated=dated)
    ids = [record["id"] for record in questions]
    items = [item["id"] for record in questions for item in record["profile"]]
    assert set(outputs) == {"task", "golds"}
    assert outputs["task"] == ("LaMP_2" if task.startswith("lamp2") else f"LaMP_{task[-1]}")
    assert [gold["id"] for gold in outputs["golds"]] == ids
    assert len(set(ids)) == len(ids)
    assert len(set(items)) == len(items)
    assert all(id.isdecimal() for id in ids + items)
    assert all(gold["output"] for gold in outputs["golds"])
    keys = {"id", *FIELDS[task]} | ({"date"} if dated else set())
    for record in questions:
        assert set(record) == {"id", "input", "profile"} | ({"user_id"} if dated else set())
        assert len(record["profile"]) >= 8
        for item in record["profile"]:
            assert set(item) == keys
            assert item["id"].startswith(record["id"])
            assert all(isinstance(value, str) and value for value in item.values())


def test_folders_are_those_of_lamp(root: Path) -> None:
    found = {
        path.parent.parent.relative_to(root).as_posix() for path in root.rglob("*_questions.json")
    }
    assert found == {f"LaMP_{n}" for n in range(1, 8)} | {"LaMP_2/new"} | {
        "time/LaMP_2",
        "time/LaMP_2/new",
        "time/LaMP_3",
        "time/LaMP_4",
    }


@pytest.mark.parametrize("task", generator.TASKS)
def test_every_task_has_enough_users(root: Path, task: str) -> None:
    assert len({case.user for case in cases(root, task, "train")}) >= 120
    assert len({case.user for case in cases(root, task, "dev")}) >= 60


@pytest.mark.parametrize(("task", "dated"), SETS)
def test_train_and_dev_share_no_text_and_no_user(root: Path, task: str, dated: bool) -> None:
    about = FIELDS[task][0]
    seen = []
    for split in ("train", "dev"):
        found = cases(root, task, split, dated=dated)
        texts = {case.text for case in found} | {
            item[about] for case in found for item in case.history
        }
        seen.append((texts, {case.user for case in found}))
    assert seen[0][0].isdisjoint(seen[1][0])
    assert seen[0][1].isdisjoint(seen[1][1])


@pytest.mark.parametrize(("task", "dated"), SETS)
@pytest.mark.parametrize("split", ["train", "dev"])
def test_no_question_is_in_its_own_history(root: Path, task: str, dated: bool, split: str) -> None:
    history: dict[str, set[str]] = {}
    found = cases(root, task, split, dated=dated)
    for case in found:
        history.setdefault(case.user, set()).update(
            value for item in case.history for value in item.values()
        )
    for case in found:
        assert case.text not in history[case.user]
        if task not in LABELS:
            assert case.gold not in history[case.user]
        if task == "lamp1":
            assert history[case.user].isdisjoint(case.input.split('"'))


@pytest.mark.parametrize("task", generator.TIME_TASKS)
def test_dated_histories_grow_and_keep_to_the_past(root: Path, task: str) -> None:
    users: dict[str, list[Case]] = {}
    for case in cases(root, task, "train", dated=True):
        users.setdefault(case.user, []).append(case)
    assert len(users) >= 30
    for found in users.values():
        assert 4 <= len(found) <= 8
        for case in found:
            days = [item["date"] for item in case.history]
            assert days == sorted(days)
            assert all(re.fullmatch(r"\d{4}-\d{2}-\d{2}", day) for day in days)
        for earlier, later in itertools.pairwise(found):
            shown = [item["text" if task != "lamp2" else "description"] for item in earlier.history]
            grown = [item["text" if task != "lamp2" else "description"] for item in later.history]
            assert grown[: len(shown)] == shown
            assert len(grown) > len(shown)


@pytest.mark.parametrize("task", WORDS)
def test_texts_are_short(root: Path, task: str) -> None:
    low, high = WORDS[task]
    if version_of(root) == 2:
        low = {"lamp2": 12, "lamp2n": 12, "lamp3": 7}.get(task, low)
    for case in cases(root, task, "dev"):
        assert low <= len(case.text.split()) <= high
        assert all(low <= len(item[FIELDS[task][0]].split()) <= high for item in case.history)


@pytest.mark.parametrize("task", LABELS)
def test_no_label_dominates(root: Path, task: str) -> None:
    golds = Counter(case.gold for split in ("train", "dev") for case in cases(root, task, split))
    assert set(golds) == set(LABELS[task])
    most = {
        "lamp1": 0.51,
        "lamp2": 0.15,
        "lamp2n": 0.15,
        "lamp3": 0.30 if version_of(root) == 1 else 0.40,
    }[task]
    assert max(golds.values()) / golds.total() <= most


# writing


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        generator.write(tmp_path / name, seed=seed, train_users=30, dev_users=10)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    for path in (tmp_path / "a").rglob("*_questions.json"):
        assert path.read_bytes() != (tmp_path / "c" / path.relative_to(tmp_path / "a")).read_bytes()


@pytest.mark.parametrize("version", VERSIONS)
def test_bytes_change_only_with_the_version(tmp_path: Path, version: int) -> None:
    """A failure means: the generator's output changed, so it needs another version. The digest of
    questions and golds alone is what the keys of published cells hold.
    """
    generator.write(tmp_path / "s", version=version, train_users=20, dev_users=10)
    (tmp_path / "s" / "sample.json").unlink()
    assert digest(tmp_path / "s") == DIGESTS[version]


def test_complete_sample_is_left_alone(tmp_path: Path) -> None:
    generator.write(tmp_path / "s", train_users=5, dev_users=5)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*")}
    generator.write(tmp_path / "s", train_users=5, dev_users=5)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"no sample\.json"):
        generator.write(tmp_path, train_users=5, dev_users=5)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_broken_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("bench.data.sample.generator._move", fail)
    with pytest.raises(OSError, match="disk full"):
        generator.write(tmp_path / "s", train_users=5, dev_users=5)
    assert list(tmp_path.iterdir()) == []


# what texts say


def test_every_text_suggests_two_or_three_labels(root: Path) -> None:
    few = (2,) if version_of(root) == 2 else (2, 3)
    for task, field in (("lamp2", "tag"), ("lamp2n", "category")):
        cues, about = sample_oracles.cues_of(task), FIELDS[task][0]
        for case in cases(root, task, "dev"):
            assert len(plausible(cues, case.text)) in few
            assert case.gold in plausible(cues, case.text)
            for item in case.history:
                assert item[field] in plausible(cues, item[about])


def test_citation_query_suits_both_references(root: Path) -> None:
    for case in cases(root, "lamp1", "dev"):
        _, title, _, first, _, second, _ = case.input.split('"')
        assert len(topics(first)) == len(topics(second)) == 1
        assert topics(title) in (set(), topics(first) | topics(second))


def test_a_person_of_version_2_has_one_wording_for_one_thing(tmp_path: Path) -> None:
    """What the question says stands in the history word by word, with the person's answer."""
    generator.write(tmp_path / "s", train_users=30, dev_users=60)
    found = cases(tmp_path / "s", "lamp3", "dev")
    for case in found:
        verdicts: dict[str, set[str]] = {}
        for item in case.history:
            verdicts.setdefault(item["text"].split(". ", 1)[1], set()).add(item["score"])
        assert all(len(scores) == 1 for scores in verdicts.values())
        assert verdicts.get(case.text.split(". ", 1)[1], {case.gold}) == {case.gold}
    known = [case.text.split(". ", 1)[1] in str(case.history) for case in found]
    assert mean(known) >= 0.9


def test_a_person_of_version_2_always_chooses_their_favourite(root: Path) -> None:
    if version_of(root) == 1:
        pytest.skip("people of version 1 order all labels")
    for task in ("lamp2", "lamp2n"):
        cues, field = sample_oracles.cues_of(task), LABEL_FIELDS[task]
        for case in cases(root, task, "dev"):
            favourites = {item[field] for item in case.history}
            assert len(favourites) == 3
            assert favourites & set(plausible(cues, case.text)) == {case.gold}


def test_versions_differ_in_the_tasks_that_version_1_cannot_control(tmp_path: Path) -> None:
    for version in VERSIONS:
        generator.write(tmp_path / str(version), version=version, train_users=5, dev_users=5)
    changed = set()
    for task in generator.TASKS:
        first, second = (read(tmp_path / str(version), task, "dev") for version in VERSIONS)
        if first != second:
            changed.add(task)
    assert changed == {"lamp2", "lamp2n", "lamp3"}


def test_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.version=3: choose 1 or 2"):
        generator.write(tmp_path / "s", version=3)
    assert list(tmp_path.iterdir()) == []


# headroom: both against each alone


@pytest.mark.parametrize(("task", "dated"), SETS)
def test_history_and_question_together_know_more_than_each_alone(
    root: Path, task: str, dated: bool, record_property: Callable[[str, object], None]
) -> None:
    bounds = oracles(root, task, dated=dated).bounds(cases(root, task, "dev", dated=dated))
    record_property("bounds", str(bounds))
    if task == "lamp3":
        assert bounds.question >= 0.6
        assert bounds.both <= 0.02
        assert bounds.history >= bounds.question
        return
    gap = 0.4 if task in LABELS else 0.15
    assert bounds.both >= 0.8
    assert bounds.both >= max(bounds.question, bounds.history) + gap


@pytest.mark.parametrize("task", ["lamp2", "lamp2n"])
def test_the_own_usual_label_is_a_weak_rule(root: Path, task: str) -> None:
    found = oracles(root, task)
    assert 0.25 <= accuracy(cases(root, task, "dev"), found.history) <= 0.5


@pytest.mark.parametrize("task", ["lamp4", "lamp5", "lamp6", "lamp7"])
def test_history_tells_the_exact_wording(root: Path, task: str) -> None:
    found, dev = oracles(root, task), cases(root, task, "dev")
    assert accuracy(dev, found.both) >= 0.8
    assert accuracy(dev, found.question) <= 0.25
    assert all(case.text != case.gold for case in dev)

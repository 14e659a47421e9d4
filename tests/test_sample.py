"""The embedded sample: LaMP's layout, the same bytes everywhere, and preferences that only the
history tells.

The oracles read texts with the sample's own vocabulary. The query oracles see the question (and all
train answers); the history oracles see the user's history too. Nothing here looks at the person the
generator drew.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean, median, median_low
from typing import Any

import pytest

from bench.data.sample import generator
from bench.data.sample.habits import Errand, Event, Habit, Study, Voice
from bench.data.sample.vocabulary import (
    citations,
    headlines,
    mails,
    movies,
    news,
    reviews,
    titles,
    tweets,
)
from bench.errors import InputError

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
BEFORE_TEXT = {"lamp2": "description: ", "lamp2n": "article: ", "lamp3": "review: "}
WORDS = {
    "lamp2": (18, 30),
    "lamp2n": (18, 30),
    "lamp3": (14, 28),
    "lamp4": (18, 30),
    "lamp5": (25, 40),
    "lamp6": (18, 30),
}
LABELS = {
    "lamp1": ("[1]", "[2]"),
    "lamp2": tuple(movies.CUES),
    "lamp2n": tuple(news.CUES),
    "lamp3": ("1", "2", "3", "4", "5"),
}


@dataclass(frozen=True)
class Case:
    """A question as the oracles see it."""

    text: str
    input: str
    history: Sequence[Mapping[str, str]]
    gold: str
    user: str
    id: str


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "v"
    generator.write(path)
    return path


def read(
    root: Path, task: str, split: str, *, dated: bool = False
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    place = root / generator.folder(task, dated) / split
    questions = json.loads((place / f"{split}_questions.json").read_text(encoding="utf-8"))
    return questions, json.loads((place / f"{split}_outputs.json").read_text(encoding="utf-8"))


def cases(root: Path, task: str, split: str, *, dated: bool = False) -> list[Case]:
    questions, outputs = read(root, task, split, dated=dated)
    golds = {gold["id"]: gold["output"] for gold in outputs["golds"]}
    return [
        Case(
            text=query_text(task, record["input"]),
            input=record["input"],
            history=record["profile"],
            gold=golds[record["id"]],
            user=record.get("user_id", record["id"]),
            id=record["id"],
        )
        for record in questions
    ]


def query_text(task: str, text: str) -> str:
    if task == "lamp1":
        return text.split('"')[1]
    return text.split(BEFORE_TEXT.get(task, ": "), 1)[1]


def digest(root: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.json")):
        found.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return found.hexdigest()


def accuracy(found: Sequence[Case], answer: Callable[[Case], str]) -> float:
    return mean(answer(case) == case.gold for case in found)


def token_f1(answer: str, gold: str) -> float:
    """ROUGE-1 without stemming."""
    left, right = (Counter(re.findall(r"[a-z0-9]+", text.lower())) for text in (answer, gold))
    shared = (left & right).total()
    return 2 * shared / (left.total() + right.total())


def most_common(values: Sequence[str]) -> str:
    return Counter(values).most_common(1)[0][0]


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
    for case in cases(root, task, "dev"):
        assert low <= len(case.text.split()) <= high
        assert all(low <= len(item[FIELDS[task][0]].split()) <= high for item in case.history)


@pytest.mark.parametrize("task", LABELS)
def test_no_label_dominates(root: Path, task: str) -> None:
    golds = Counter(case.gold for split in ("train", "dev") for case in cases(root, task, split))
    assert set(golds) == set(LABELS[task])
    most = {"lamp1": 0.51, "lamp2": 0.15, "lamp2n": 0.15, "lamp3": 0.30}[task]
    assert max(golds.values()) / golds.total() <= most


# writing


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        generator.write(tmp_path / name, seed=seed, train_users=30, dev_users=10)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    for path in (tmp_path / "a").rglob("*_questions.json"):
        assert path.read_bytes() != (tmp_path / "c" / path.relative_to(tmp_path / "a")).read_bytes()


def test_bytes_change_only_with_the_version(tmp_path: Path) -> None:
    """A failure means: the generator's output changed,
    so raise `sample.VERSION` and enter the new digest here.
    """
    generator.write(tmp_path / "s", train_users=20, dev_users=10)
    known = {"2": "797f34aec50cbb1a0442d4e9dcf1c5b899ae588b8a7ce29ae88eb8d030224ace"}
    assert digest(tmp_path / "s") == known[generator.VERSION]


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


# reading


def sentiment(text: str) -> int:
    """The grade of a review's wording: its last sentence and its adjective must agree."""
    closing = {grade for grade, closings in reviews.CLOSINGS.items() if text.endswith(closings)}
    adjective = {
        grade
        for grade, words in reviews.ADJECTIVES.items()
        if any(frame.format(word=word) in text for frame in reviews.RATING_FRAMES for word in words)
    }
    assert closing == adjective
    (grade,) = closing
    return grade


def plausible(cues: Mapping[str, Sequence[str]], text: str) -> list[str]:
    return [label for label, phrases in cues.items() if any(phrase in text for phrase in phrases)]


TOPIC_OF = {
    term.lower(): topic
    for area in citations.TOPICS.values()
    for topic, terms in area.items()
    for term in terms
}
TERM = re.compile(rf"\b(?:{'|'.join(re.escape(term) for term in TOPIC_OF)})\b")


def topics(text: str) -> set[str]:
    return {TOPIC_OF[term] for term in TERM.findall(text.lower())}


@cache
def whole(word: str) -> re.Pattern[str]:
    return re.compile(rf"\b{re.escape(word)}\b")


def named(words: Sequence[str], text: str) -> str:
    (word,) = [word for word in words if whole(word).search(text)]
    return word


def event(text: str) -> Event:
    verb = named([f"will {do} the" for _, do, _ in headlines.VERBS], text).split()[1]
    does, do, doing = next(forms for forms in headlines.VERBS if forms[1] == verb)
    return Event(named(headlines.ACTORS, text), does, do, doing, named(headlines.OBJECTS, text))


NAMES = {start + end for start in titles.NAME_STARTS for end in titles.NAME_ENDS}


def study(text: str) -> Study:
    (name,) = NAMES & set(re.findall(r"\w+", text))
    return Study(named(titles.METHODS, text), named(titles.PROBLEMS, text), name)


def errand(text: str) -> Errand:
    verb = named([f"{verb} the" for verb in mails.VERBS], text).split()[0]
    return Errand(verb, named(mails.OBJECTS, text), named(mails.DAYS, text))


def test_every_description_suggests_two_or_three_tags(root: Path) -> None:
    for task, cues, field in (("lamp2", movies.CUES, "tag"), ("lamp2n", news.CUES, "category")):
        for case in cases(root, task, "dev"):
            assert len(plausible(cues, case.text)) in (2, 3)
            assert case.gold in plausible(cues, case.text)
            assert all(
                item[field] in plausible(cues, item[FIELDS[task][0]]) for item in case.history
            )


def test_citation_query_suits_both_references(root: Path) -> None:
    for case in cases(root, "lamp1", "dev"):
        _, title, _, first, _, second, _ = case.input.split('"')
        assert len(topics(first)) == len(topics(second)) == 1
        assert topics(title) in (set(), topics(first) | topics(second))


# headroom: history oracles against query oracles


@pytest.mark.parametrize("dated", [False, True])
def test_history_halves_the_rating_error(
    root: Path, dated: bool, record_property: Callable[[str, object], None]
) -> None:
    train, dev = (
        cases(root, "lamp3", "train", dated=dated),
        cases(root, "lamp3", "dev", dated=dated),
    )
    by_grade: dict[int, list[int]] = {}
    for case in train:
        by_grade.setdefault(sentiment(case.text), []).append(int(case.gold))

    def from_history(case: Case) -> float:
        offset = median(int(item["score"]) - sentiment(item["text"]) for item in case.history)
        return min(5, max(1, sentiment(case.text) + offset))

    def error(answer: Callable[[Case], float]) -> float:
        return mean(abs(answer(case) - int(case.gold)) for case in dev)

    query = error(lambda case: median_low(by_grade[sentiment(case.text)]))
    history = error(from_history)
    record_property("mae", {"query": query, "history": history, "global": error(lambda _: 3)})
    own = error(lambda case: int(most_common([item["score"] for item in case.history])))
    record_property("own majority", own)
    assert history <= query / 2
    assert query >= 0.4
    assert own >= query


@pytest.mark.parametrize("dated", [False, True])
@pytest.mark.parametrize(
    ("task", "cues", "label"), [("lamp2", movies.CUES, "tag"), ("lamp2n", news.CUES, "category")]
)
def test_history_decides_between_plausible_labels(
    root: Path,
    task: str,
    cues: Mapping[str, Sequence[str]],
    label: str,
    dated: bool,
    record_property: Callable[[str, object], None],
) -> None:
    train, dev = cases(root, task, "train", dated=dated), cases(root, task, "dev", dated=dated)
    prior = Counter(case.gold for case in train)
    about = FIELDS[task][0]

    def from_history(case: Case) -> str:
        candidates = plausible(cues, case.text)
        chosen, passed, beaten = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
        for item in case.history:
            chosen[item[label]] += 1
            for other in plausible(cues, item[about]):
                if other != item[label]:
                    passed[other] += 1
                    beaten[item[label], other] += 1

        def rank(tag: str) -> tuple[int, int]:
            direct = sum(beaten[tag, other] - beaten[other, tag] for other in candidates)
            return (chosen[tag] > 0, direct, chosen[tag] - passed[tag])

        return max(candidates, key=rank)

    query = accuracy(dev, lambda case: max(plausible(cues, case.text), key=lambda tag: prior[tag]))
    history = accuracy(dev, from_history)
    majority = accuracy(dev, lambda _: most_common(list(prior.elements())))
    own = accuracy(dev, lambda case: most_common([item[label] for item in case.history]))
    record_property(
        "accuracy", {"query": query, "history": history, "global": majority, "own majority": own}
    )
    assert history >= 0.8
    assert history >= max(query, majority, own) + 0.15
    assert 0.25 <= own <= 0.5


def test_history_tells_which_reference_is_related(
    root: Path, record_property: Callable[[str, object], None]
) -> None:
    found = cases(root, "lamp1", "train") + cases(root, "lamp1", "dev")

    def choose(case: Case, score: Callable[[str], int]) -> str:
        _, _, _, first, _, second, _ = case.input.split('"')
        return "[1]" if score(first) >= score(second) else "[2]"

    def from_history(case: Case) -> str:
        seen = Counter(
            topic
            for item in case.history
            for topic in topics(f"{item['title']} {item['abstract']}")
        )
        return choose(case, lambda reference: sum(seen[topic] for topic in topics(reference)))

    def from_query(case: Case) -> str:
        return choose(
            case,
            lambda reference: len(set(reference.lower().split()) & set(case.text.lower().split())),
        )

    query, history = accuracy(found, from_query), accuracy(found, from_history)
    majority = accuracy(found, lambda _: most_common([case.gold for case in found]))
    record_property("accuracy", {"query": query, "history": history, "global": majority})
    assert history >= 0.9
    assert query <= 0.6
    assert majority <= 0.51


Core = Event | Study | Errand
HEADLINE_HABITS = [
    Habit(form, case, prefix, number=number)
    for form in headlines.FORMS
    for case in ("title", "sentence")
    for prefix in headlines.PREFIXES
    for number in (3, 5, 7)
]
TITLE_HABITS = [Habit(form, case) for form in titles.FORMS for case in ("title", "sentence")]
SUBJECT_HABITS = [
    Habit(form, case, prefix, ending)
    for form in mails.FORMS
    for case in ("title", "sentence", "lower")
    for prefix in mails.PREFIXES
    for ending in mails.ENDINGS
]


@pytest.mark.parametrize(
    ("task", "core", "habits"),
    [
        ("lamp4", event, HEADLINE_HABITS),
        ("lamp5", study, TITLE_HABITS),
        ("lamp6", errand, SUBJECT_HABITS),
    ],
)
def test_history_tells_how_a_person_titles(
    root: Path,
    task: str,
    core: Callable[[str], Core],
    habits: Sequence[Habit],
    record_property: Callable[[str, object], None],
) -> None:
    about = FIELDS[task][0]
    train, dev = cases(root, task, "train")[:60], cases(root, task, "dev")
    read_train = [(core(case.text), case.gold) for case in train]
    usual = max(
        habits,
        key=lambda habit: mean(token_f1(read.title(habit), gold) for read, gold in read_train),
    )

    def from_history(case: Case) -> str:
        read = [(core(item[about]), item["title"]) for item in case.history[:4]]
        best = max(
            habits, key=lambda habit: sum(known.title(habit) == title for known, title in read)
        )
        return core(case.text).title(best)

    query = mean(token_f1(core(case.text).title(usual), case.gold) for case in dev)
    history = mean(token_f1(from_history(case), case.gold) for case in dev)
    exact = (accuracy(dev, lambda case: core(case.text).title(usual)), accuracy(dev, from_history))
    record_property("F1", {"query": query, "history": history, "exact": exact})
    assert history >= query + 0.15
    assert exact[1] >= 0.9
    assert exact[0] <= 0.25


def heard(history: Sequence[str]) -> Voice:
    """The voice of a person's tweets, from the tweets alone."""
    words = set(re.findall(r"\w+", "\n".join(history).lower()))
    bodies, tails = [], []
    for text in history:
        tail = next((tail for tail in tweets.TAILS if tail and text.endswith(tail)), "")
        if text.rsplit(" ", 1)[-1].startswith("#"):
            tail = "#hashtag"
        tails.append(tail)
        bodies.append(text.rsplit(" ", 1)[0] if tail else text)
    endings = [
        next((e for e in sorted(tweets.ENDINGS, key=len, reverse=True) if b.endswith(e)), "")
        for b in bodies
    ]
    bare = [body.removesuffix(ending) for body, ending in zip(bodies, endings, strict=True)]
    upper, lower = all(b.isupper() for b in bare), all(b.islower() for b in bare)
    return Voice(
        case="upper" if upper else "lower" if lower else "sentence",
        short=frozenset(
            group
            for group, forms in tweets.SHORT_FORMS.items()
            if words & {brief.lower() for _, brief in forms}
        ),
        stretched=tweets.STRETCHED[1] in words,
        ending=most_common(endings),
        tail=most_common(tails),
    )


def test_history_tells_how_a_person_tweets(
    root: Path, record_property: Callable[[str, object], None]
) -> None:
    train, dev = cases(root, "lamp7", "train")[:60], cases(root, "lamp7", "dev")
    groups = [
        subset for n in range(6) for subset in itertools.combinations(sorted(tweets.SHORT_FORMS), n)
    ]
    voices = [
        Voice("lower", frozenset(group), long, "!!", "")
        for group in groups
        for long in (False, True)
    ]
    usual = max(
        voices, key=lambda voice: mean(token_f1(voice.say(case.text), case.gold) for case in train)
    )

    def from_history(case: Case) -> str:
        return heard([item["text"] for item in case.history]).say(case.text)

    copied = mean(token_f1(case.text, case.gold) for case in dev)
    query = mean(token_f1(usual.say(case.text), case.gold) for case in dev)
    history = mean(token_f1(from_history(case), case.gold) for case in dev)
    exact = (accuracy(dev, lambda case: usual.say(case.text)), accuracy(dev, from_history))
    record_property("F1", {"copy": copied, "query": query, "history": history, "exact": exact})
    assert history >= query + 0.15
    assert exact[1] >= 0.8
    assert exact[0] <= 0.2
    assert all(case.text != case.gold for case in dev)

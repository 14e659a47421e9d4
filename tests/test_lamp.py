"""Reading LaMP files: what is right becomes users, what is wrong is one line with its place."""

from __future__ import annotations

import copy
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bench.data import convert, json_stream, lamp, task
from bench.data.task import Task
from bench.disk import sources
from bench.errors import InputError

REAL = Path(__file__).parents[2] / "shared" / "data" / "lamp"
FETCH = "python -m bench.download task=lamp3 split=user root=ROOT"
QUESTIONS = "LaMP_3/dev/dev_questions.json"
OUTPUTS = "LaMP_3/dev/dev_outputs.json"


def a_task(name: str) -> Task:
    data = yaml.safe_load((Path(__file__).parents[1] / f"conf/task/{name}.yaml").read_text())
    data.pop("_target_")
    return task.load(**data)


LAMP3, LAMP4 = a_task("lamp3"), a_task("lamp4")


def ratings() -> list[dict[str, Any]]:
    """Two LaMP-3 questions."""
    profile = [
        {"id": "2110", "text": "Too sweet.", "score": "2"},
        {"id": "2111", "text": "Lovely tea.", "score": "5"},
    ]
    return [
        {
            "id": "211",
            "input": "What is the score of the following review on a scale? review: Good.",
            "profile": profile,
        },
        {
            "id": "212",
            "input": "review: Bad.",
            "profile": [{"id": "2120", "text": "It broke.", "score": "1"}],
        },
    ]


def golds(*outputs: Any) -> dict[str, Any]:
    return {
        "task": "LaMP_3",
        "golds": [{"id": str(211 + index), "output": out} for index, out in enumerate(outputs)],
    }


def dated() -> list[dict[str, Any]]:
    """Three LaMP-4 questions of two people; the profile of ann grows between her questions."""
    old, mid, new = (
        {"id": str(index), "title": title, "text": f"On {title}.", "date": date}
        for index, (title, date) in enumerate(
            [("tea", "2018-02-01"), ("milk", "2018-03-01"), ("salt", "2018-04-01")]
        )
    )
    asked = "Generate a headline for the following article: "
    return [
        {"id": "1", "input": asked + "Cups.", "user_id": "ann", "profile": [mid, old]},
        {"id": "2", "input": asked + "Pots.", "user_id": 7, "profile": [new]},
        {
            "id": "3",
            "input": asked + "Pans.",
            "user_id": "ann",
            "profile": [new | {"id": "x"}, old, mid | {"id": "y"}],
        },
    ]


def put(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return path


def write(root: Path, questions: Any = None, outputs: Any = None) -> Path:
    put(root / QUESTIONS, ratings() if questions is None else questions)
    put(root / OUTPUTS, golds("4", "1") if outputs is None else outputs)
    return root


def read(root: Path, **options: Any) -> lamp.Dataset:
    return lamp.read(LAMP3, root, split="dev", progress=False, **options)


def message(root: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(root, **options)
    return str(caught.value).replace(f"root={root}", "root=ROOT")


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file counts as large, and a window holds a few bytes."""
    monkeypatch.setattr(lamp, "STREAM_FROM", 0)
    monkeypatch.setattr(json_stream, "CHUNK", 7)


# What is right


def test_a_question_is_a_user_with_history_and_gold(tmp_path: Path) -> None:
    data = read(write(tmp_path))
    first = data.users[0]
    assert (first.id, first.group) == ("211", "211")
    assert [dict(item.fields) for item in first.history] == [
        {"text": "Too sweet.", "score": "2"},
        {"text": "Lovely tea.", "score": "5"},
    ]
    assert [(query.id, query.text, query.gold) for query in first.queries] == [
        ("211", "Good.", "4")
    ]
    assert (data.golds, data.question_count, data.counts["items"]) == (True, 2, 3)
    assert set(data.files) == {QUESTIONS, OUTPUTS}


def test_golds_are_joined_by_id_not_by_position(tmp_path: Path) -> None:
    turned = {"task": "LaMP_3", "golds": [{"id": 212, "output": 1}, {"id": 211, "output": "4.0"}]}
    assert [user.queries[0].gold for user in read(write(tmp_path, outputs=turned)).users] == [
        "4",
        "1",
    ]


@pytest.mark.parametrize("score", ["5", 5, 5.0, "5.0", " 5 "])
def test_scores_in_any_spelling_are_the_label(tmp_path: Path, score: Any) -> None:
    questions = ratings()
    questions[0]["profile"][0]["score"] = score
    assert read(write(tmp_path, questions)).users[0].history[0].fields["score"] == "5"


def test_numbers_for_ids_are_text(tmp_path: Path) -> None:
    questions = ratings()
    questions[0] |= {"id": 211}
    questions[0]["profile"][0] |= {"id": 9, "date": 2015}
    user = read(write(tmp_path, questions)).users[0]
    assert (user.id, user.history[0].id, user.history[1].date) == ("211", "2111", "2015")


def test_items_without_an_own_id_are_named_by_position(tmp_path: Path) -> None:
    questions = ratings()
    del questions[0]["profile"][0]["id"]
    questions[0]["profile"].append({"id": "2111", "text": "Again.", "score": "3"})
    data = read(write(tmp_path, questions))
    assert [item.id for item in data.users[0].history] == ["211/0", "2111", "211/2"]
    assert (data.counts["items_without_id"], data.counts["items_repeated_id"]) == (1, 1)


def test_history_is_oldest_first_and_undated_items_keep_their_order_before(tmp_path: Path) -> None:
    dates = ["2018-03-01", 2015, None, "2018-2-9", "2018", ""]
    profile = [
        {"id": str(at), "text": "t", "score": "3", "date": date} for at, date in enumerate(dates)
    ]
    user = read(write(tmp_path, [ratings()[0] | {"profile": profile}], golds("4"))).users[0]
    assert [item.id for item in user.history] == ["2", "5", "1", "4", "3", "0"]


def test_extra_fields_go_but_citation_stays(tmp_path: Path) -> None:
    questions = ratings()
    questions[0]["profile"][0] |= {"citation": "[1]", "asin": {"deep": [1]}}
    assert dict(read(write(tmp_path, questions)).users[0].history[0].fields) == {
        "text": "Too sweet.",
        "score": "2",
        "citation": "[1]",
    }


def test_an_empty_history_is_kept_and_counted(tmp_path: Path) -> None:
    data = read(write(tmp_path, [ratings()[0] | {"profile": []}, ratings()[1]]))
    assert data.users[0].history == ()
    assert data.counts["users_without_history"] == 1


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("a\ud800b\x00", "a\ufffdb\ufffd"),
        ("\U0001f600 \u202e \u0301 {text} [QUERY]", "\U0001f600 \u202e \u0301 {text} [QUERY]"),
        ("x" * 2**20, "x" * 2**20),
        ("", ""),
    ],
    ids=["surrogate and NUL", "odd", "a megabyte", "empty"],
)
def test_odd_texts_are_handled(tmp_path: Path, text: str, becomes: str) -> None:
    questions = ratings()
    questions[0]["profile"][0]["text"] = text
    data = read(write(tmp_path, questions))
    assert data.users[0].history[0].fields["text"] == becomes
    assert data.counts["characters_replaced"] == becomes.count("\ufffd")
    assert data.counts["fields_empty"] == (becomes == "")


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    root = write(tmp_path, b"\xef\xbb\xbf" + json.dumps(ratings()).encode())
    assert len(read(root).users) == 2


def test_groups_file_names_the_person(tmp_path: Path) -> None:
    put(
        write(tmp_path) / "groups.json",
        {"LaMP_3/dev": {"211": {"group": "amazon-1", "source": "x"}}},
    )
    data = read(tmp_path)
    assert [user.group for user in data.users] == ["amazon-1", "212"]
    assert data.counts["questions_ungrouped"] == 1
    put(tmp_path / "groups.json", {"LaMP_3/dev": {"211": "amazon-1"}})
    assert read(tmp_path).users[0].group == "amazon-1"


def test_the_hash_follows_questions_golds_and_groups(tmp_path: Path) -> None:
    hashes = [read(write(tmp_path)).hash, read(write(tmp_path, outputs=golds("5", "1"))).hash]
    put(tmp_path / "groups.json", {"LaMP_3/dev": {"211": "one"}})
    hashes.append(read(tmp_path).hash)
    put(tmp_path / "groups.json", {"LaMP_3/dev": {"211": "one"}, "LaMP_4/dev": {"9": "two"}})
    assert read(tmp_path).hash == hashes[-1]
    assert len(set(hashes)) == 3


def test_without_a_golds_file_answers_are_still_possible(tmp_path: Path) -> None:
    (write(tmp_path) / OUTPUTS).unlink()
    data = read(tmp_path, require_golds=False)
    assert (data.golds, data.users[0].queries[0].gold) == (False, None)
    put(tmp_path / "LaMP_3/test/test_questions.json", ratings())
    assert not lamp.read(LAMP3, tmp_path, split="test").golds


# Time-based


def write_dated(root: Path, questions: list[dict[str, Any]]) -> Path:
    put(root / "time/LaMP_4/dev/dev_questions.json", questions)
    found = [{"id": raw["id"], "output": f"headline {raw['id']}"} for raw in questions]
    put(root / "time/LaMP_4/dev/dev_outputs.json", {"task": "LaMP_4", "golds": found})
    return root


def test_questions_of_a_person_are_one_user_whose_history_ends_before_the_first(
    tmp_path: Path,
) -> None:
    data = lamp.read(LAMP4, write_dated(tmp_path, dated()), split="dev", kind="time")
    ann, seven = data.users
    assert (ann.id, ann.group, seven.id) == ("ann", "ann", "7")
    assert [query.id for query in ann.queries] == ["1", "3"]
    assert [item.fields["title"] for item in ann.history] == ["tea", "milk"]
    assert (
        data.counts["items_after_first_query"],
        data.counts["queries"],
        data.counts["users"],
    ) == (1, 3, 2)


def test_an_item_twice_in_every_profile_stays_twice(tmp_path: Path) -> None:
    questions = dated()
    for raw in (questions[0], questions[2]):
        raw["profile"] += [raw["profile"][1] | {"id": "again"}]
    data = lamp.read(LAMP4, write_dated(tmp_path, questions), split="dev", kind="time")
    assert [item.fields["title"] for item in data.users[0].history] == ["tea", "tea", "milk"]


def test_user_files_read_as_time_based_say_what_is_missing(tmp_path: Path) -> None:
    questions = dated()
    del questions[1]["user_id"]
    with pytest.raises(InputError) as caught:
        lamp.read(LAMP4, write_dated(tmp_path, questions), split="dev", kind="time")
    assert (
        str(caught.value)
        == "time/LaMP_4/dev/dev_questions.json: question 2 has no 'user_id' (need id, input,"
        " profile, user_id)"
    )


# What is wrong: the exact line

Change = Callable[[list[Any]], Any]


def set_at(*path: Any, to: Any) -> Change:
    def change(questions: list[Any]) -> None:
        place: Any = questions
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


def drop_at(*path: Any) -> Change:
    def change(questions: list[Any]) -> None:
        place: Any = questions
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            drop_at(0, "profile", 1, "score"),
            "question 211: profile item 1 has no 'score' (need text, score)",
        ),
        (
            set_at(0, "profile", 1, to=[]),
            "question 211: profile item 1 is a list (need an object with text, score)",
        ),
        (
            set_at(0, "profile", 1, "text", to=[1]),
            "question 211: profile item 1 has a list as 'text' (need text)",
        ),
        (
            set_at(0, "profile", 0, "score", to="7\n8"),
            "question 211: profile item 0 has '7\\n8' as 'score' (need 1, 2, 3, 4 or 5)",
        ),
        (
            set_at(0, "profile", 0, "date", to="May"),
            "question 211: profile item 0 has 'May' as 'date' (need YYYY-MM-DD or a year)",
        ),
        (set_at(0, "profile", to="x"), "question 211 has 'x' as 'profile' (need a list of items)"),
        (drop_at(0, "profile"), "question 211 has no 'profile' (need id, input, profile)"),
        (set_at(1, "input", to=None), "question 212: no 'review:' in the input"),
        (set_at(1, "input", to=True), "question 212 has true or false as 'input' (need text)"),
        (drop_at(1, "id"), "record 1 has no 'id' (need id, input, profile)"),
        (set_at(1, "id", to=[]), "record 1 has a list as 'id' (need a word or a number)"),
        (set_at(1, to="x"), "record 1 is 'x' (need id, input, profile)"),
        (set_at(1, "id", to=211), "question 211 occurs twice (need unique ids)"),
        (lambda questions: questions.clear(), "the list is empty (need at least one question)"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_wrong_record_is_named_with_its_place(
    tmp_path: Path, change: Change, says: str, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if streamed:
        monkeypatch.setattr(lamp, "STREAM_FROM", 0)
    questions = ratings()
    change(questions)
    assert message(write(tmp_path, questions), cache=tmp_path / "cache") == f"{QUESTIONS}: {says}"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (
            b"<!DOCTYPE html><html></html>",
            f"looks like an HTML page; the download went wrong: {FETCH}",
        ),
        (b"", f"the file is empty: {FETCH}"),
        (b'{"id": 1}', "not a list (need a list of questions)"),
        (b'[{"id": 1},', f"the file ends inside record 1, incomplete: {FETCH}"),
        (b'[{"id": 1}', f"the file ends after record 0, incomplete: {FETCH}"),
        (b'[{"id": "a', f"the file ends inside record 0, incomplete: {FETCH}"),
        (b'[{"id": 1} {"id": 2}]', "not JSON at character 11: expected ',' or ']'"),
        (b'[{"id": 1}, ]', "not JSON at character 12: Expecting value, in record 1"),
        (
            b'[{"id" 1}, {"id": 2, "input": "long enough"}]',
            "not JSON at character 7: Expecting ':' delimiter, in record 0",
        ),
        (b'[{"id": NaN}]', "not JSON at character 1: NaN is not a JSON value, in record 0"),
        (b"[{}] []", "not JSON at character 5: text after the end of the list"),
        (b'["\xff"]', f"not UTF-8 near byte 2: {FETCH}"),
        (b"[" * 50_000, "not JSON at character 1: lists or objects nested too deeply in record 0"),
        (
            b'[{"id": ' + b"9" * 5000 + b"}]",
            "not JSON at character 1: Exceeds the limit (4300 digits) for integer string"
            " conversion: " + "value has 5000 digits, in record 0",
        ),
    ],
    ids=lambda value: value[:20].decode("latin-1") if isinstance(value, bytes) else "",
)
@pytest.mark.parametrize("chunk", [7, 2**23])
def test_what_is_not_json_is_named_with_its_place(
    tmp_path: Path, data: bytes, says: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    assert message(write(tmp_path, data)) == f"{QUESTIONS}: {says}"


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        (golds("4"), "no gold for question 212 (need one gold for each question)"),
        (
            golds("4", "1", "3"),
            "a gold for the unknown question 213 (need one gold for each question)",
        ),
        (golds("4", "n/a"), "gold of question 212 has 'n/a' as 'output' (need 1, 2, 3, 4 or 5)"),
        (golds("4", [1]), "gold of question 212 has a list as 'output' (need text)"),
        (golds("4", "1") | {"task": "LaMP_4"}, "golds of task 'LaMP_4' (need LaMP_3)"),
        ([], 'no list of golds (need {"task": ..., "golds": [...]})'),
        ({"golds": [{"id": "211"}]}, "gold 0 has no 'id' and 'output' (need both)"),
        ({"golds": [{"id": "211", "output": "4"}] * 2}, "two golds for question 211 (need one)"),
        (b'{"golds": [', f"the file ends inside the value, incomplete: {FETCH}"),
        (b"<html>", f"looks like an HTML page; the download went wrong: {FETCH}"),
    ],
)
def test_wrong_golds_are_named_with_their_place(tmp_path: Path, outputs: Any, says: str) -> None:
    assert message(write(tmp_path, outputs=outputs)) == f"{OUTPUTS}: {says}"


def test_a_gold_outside_the_labels_is_refused(tmp_path: Path) -> None:
    movies = a_task("lamp2")
    question = {"id": "1", "input": "tags: [] description: A man.", "profile": []}
    put(tmp_path / "LaMP_2/new/dev/dev_questions.json", [question])
    put(
        tmp_path / "LaMP_2/new/dev/dev_outputs.json",
        {"task": "LaMP_2", "golds": [{"id": "1", "output": "Comedy"}]},
    )
    with pytest.raises(
        InputError,
        match="gold of question 1 has 'Comedy' as 'output' .need one of sci-fi, based on",
    ):
        lamp.read(movies, tmp_path, split="dev")


def test_missing_files_say_what_is_there_and_how_to_get_them(tmp_path: Path) -> None:
    assert (
        message(tmp_path)
        == f"{tmp_path} has no {QUESTIONS} (it has no LaMP file at all); to get it: {FETCH}"
    )
    put(tmp_path / "LaMP_4/train/train_questions.json", [])
    assert (
        message(tmp_path)
        == f"{tmp_path} has no {QUESTIONS} (it has LaMP_4/train); to get it: {FETCH}"
    )
    put(tmp_path / QUESTIONS, ratings())
    assert (
        message(tmp_path) == f"{OUTPUTS} is missing (need the golds for scores); to get it: {FETCH}"
    )


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ([], "LaMP_3/dev is null (need an object of groups by question id)"),
        ({"LaMP_3/dev": {"211": {}}}, "LaMP_3/dev: question '211' has no 'group' (need text)"),
    ],
)
def test_wrong_groups_are_refused(tmp_path: Path, groups: Any, says: str) -> None:
    put(write(tmp_path) / "groups.json", groups)
    assert message(tmp_path) == f"groups.json: {says}"


# Large files


@pytest.mark.usefixtures("stream")
def test_a_large_file_reads_the_same_user_by_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = ratings()
    questions[0]["profile"][0]["text"] = (
        'quote " backslash \\ lone \ud800 emoji \U0001f600 line\nend'
    )
    pretty = json.dumps(questions, indent=2, ensure_ascii=True).replace("\n", "\r\n").encode()
    write(tmp_path, pretty)
    streamed = read(tmp_path, cache=tmp_path / "cache")
    assert isinstance(streamed.users, lamp.LazyUsers)
    monkeypatch.setattr(lamp, "STREAM_FROM", 2**30)
    plain = read(tmp_path)
    assert list(streamed.users) == list(plain.users)
    assert replace(streamed, users=()) == replace(plain, users=())
    assert streamed.users[-1] == plain.users[-1]
    assert list(streamed.users[1:]) == list(plain.users[1:])
    with pytest.raises(IndexError):
        streamed.users[2]
    assert list(pickle.loads(pickle.dumps(streamed.users))) == list(plain.users)


@pytest.mark.usefixtures("stream")
def test_a_large_dated_file_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_dated(tmp_path, dated())
    streamed = lamp.read(
        LAMP4, root, split="dev", kind="time", cache=tmp_path / "cache", progress=False
    )
    monkeypatch.setattr(lamp, "STREAM_FROM", 2**30)
    plain = lamp.read(LAMP4, root, split="dev", kind="time")
    assert (list(streamed.users), streamed.counts, streamed.hash) == (
        list(plain.users),
        plain.counts,
        plain.hash,
    )


@pytest.mark.usefixtures("stream")
def test_the_second_read_converts_nothing_and_a_changed_file_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    first = read(write(tmp_path), cache=cache)
    with monkeypatch.context() as blocked:
        blocked.setattr(convert, "records", None)
        blocked.setattr(lamp, "_scan", None)
        assert list(read(tmp_path, cache=cache).users) == list(first.users)
    changed = ratings()
    changed[0]["profile"][0]["text"] = "Too sour!!"  # as long as before
    before = (tmp_path / QUESTIONS).stat()
    write(tmp_path, changed)
    os.utime(tmp_path / QUESTIONS, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert read(tmp_path, cache=cache).users[0].history[0].fields["text"] == "Too sour!!"


@pytest.mark.usefixtures("stream")
def test_an_interrupted_conversion_leaves_nothing_that_looks_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    write(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr("numpy.save", killed)
        with pytest.raises(KeyboardInterrupt):
            read(tmp_path, cache=cache)
    assert [path for path in cache.iterdir() if path.is_dir()] == []
    read(tmp_path, cache=cache)
    (copied,) = cache.glob("*/records.jsonl")
    copied.write_bytes(copied.read_bytes()[:-5])
    assert len(list(read(tmp_path, cache=cache).users)) == 2


@pytest.mark.usefixtures("stream")
@pytest.mark.parametrize("name", ["records.jsonl", "offsets.npy", "sums.npy"])
def test_a_converted_record_that_was_changed_is_an_error_that_says_what_to_remove(
    tmp_path: Path, name: str
) -> None:
    cache = tmp_path / "cache"
    read(write(tmp_path), cache=cache)
    (changed,) = cache.glob(f"*/{name}")
    data = bytearray(changed.read_bytes())
    at = (
        data.index(b"Too")
        if name == "records.jsonl"
        else len(data) - (16 if name == "offsets.npy" else 4)
    )
    data[at] ^= 1
    changed.write_bytes(data)
    with pytest.raises(
        InputError, match=f"{changed.parent}.*is damaged: remove its folder and run again"
    ):
        [user.history for user in read(tmp_path, cache=cache).users]


@pytest.mark.usefixtures("stream")
def test_an_index_that_was_changed_or_made_by_other_code_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    first = read(write(tmp_path), cache=cache)
    (index,) = cache.glob("*/index-*.json")
    text = index.read_text()
    index.write_text(text.replace('"rows": [[0], [1]]', '"rows": [[0], [0]]'))
    assert index.read_text() != text
    assert (
        list(read(tmp_path, cache=cache).users) == list(first.users) and index.read_text() == text
    )
    monkeypatch.setattr(sources, "reading", lambda: {"bench/data/lamp.py": "edited"})
    read(tmp_path, cache=cache)
    assert len(list(cache.glob("*/index-*.json"))) == 2


@pytest.mark.usefixtures("stream")
def test_a_converted_file_without_checksums_is_converted_again_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    first = list(read(write(tmp_path), cache=cache).users)
    (sums,) = cache.glob("*/sums.npy")
    sums.unlink()
    assert list(read(tmp_path, cache=cache).users) == first and sums.exists()
    assert "its cached copy is not whole, it is converted again" in capsys.readouterr().err


@pytest.mark.usefixtures("stream")
def test_a_cache_that_cannot_be_written_is_the_user_s_to_move(tmp_path: Path) -> None:
    says = message(write(tmp_path), cache=put(tmp_path / "file", b"") / "cache")
    assert says.startswith(f"cannot write the cache {tmp_path}/file/cache: Not a directory")
    assert "LAMPLIGHT_CACHE" in says


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMPLIGHT_CACHE", "/scratch")
    assert convert.cache_home() == Path("/scratch/data")


# Any damage


_JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        10**40,
        1e308,
        "",
        "x",
        "\x00",
        "\ud800",
        "a\nb",
        "5.0",
        [],
        [[]],
        {},
        {"id": {}},
        "z" * 300,
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid file with some values dropped, replaced or doubled, then perhaps some bytes too."""
    value: Any = copy.deepcopy(draw(st.sampled_from([ratings(), dated(), golds("4", "1")])))
    for _ in range(draw(st.integers(0, 3))):
        place = value
        while isinstance(place, list | dict) and place:
            key = draw(
                st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place)))
            )
            deeper = isinstance(place[key], list | dict) and place[key] and draw(st.booleans())
            if deeper:
                place = place[key]
                continue
            action = draw(st.sampled_from(["drop", "junk", "double"]))
            if action == "drop":
                del place[key]
            elif action == "junk" or isinstance(place, dict):
                place[key] = copy.deepcopy(draw(_JUNK))
            else:
                place.insert(key, copy.deepcopy(place[key]))
            break
    data = json.dumps(value).encode()
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        garbage = st.sampled_from(
            [
                b"\x00",
                b"\xff",
                b'"',
                b"\\",
                b"[",
                b"}",
                b"NaN",
                b"<html>",
                b"\xef\xbb\xbf",
                b"\\u12",
            ]
        )
        data = draw(
            st.sampled_from(
                [data[:at], data[:at] + draw(garbage) + data[at:], data[:at] + data[at + 3 :]]
            )
        )
    return data


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    questions=damaged(),
    outputs=st.one_of(st.just(json.dumps(golds("4", "1")).encode()), damaged()),
    time=st.booleans(),
)
@example(  # the window ends in "1e"
    questions=b"[1e+308, 1e+308]", outputs=json.dumps(golds("4", "1")).encode(), time=False
)
def test_any_damage_is_either_read_or_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, questions: bytes, outputs: bytes, time: bool
) -> None:
    kind: lamp.Kind = "time" if time else "user"
    read_as, folder = (LAMP4, "time/LaMP_4/dev") if time else (LAMP3, "LaMP_3/dev")
    put(tmp_path / folder / "dev_questions.json", questions)
    put(tmp_path / folder / "dev_outputs.json", outputs)

    def outcome(stream_from: int, chunk: int) -> Any:
        monkeypatch.setattr(lamp, "STREAM_FROM", stream_from)
        monkeypatch.setattr(json_stream, "CHUNK", chunk)
        try:
            cache = tmp_path / "cache"
            data = lamp.read(
                read_as,
                tmp_path,
                split="dev",
                kind=kind,
                cache=cache,
                progress=False,
                require_golds=False,
            )
            users = list(data.users)
        except InputError as error:
            assert len(str(error).splitlines()) == 1
            return str(error)
        json.dumps(
            [[user.id, [dict(item.fields) for item in user.history]] for user in users],
            ensure_ascii=False,
        ).encode()
        return users, data.counts, data.hash

    plain, streamed = outcome(2**30, 2**23), outcome(-1, 11)
    # Of two mistakes in one file, the longer window sees a wrong byte first.
    assert plain == streamed or ("not UTF-8" in plain and isinstance(streamed, str))


# Real texts: read where they are, never copied

COUNTS = {
    ("lamp2", "user", "train"): (62, 181),
    ("lamp2", "user", "dev"): (46, 100),
    ("lamp2n", "user", "train"): (23, 128),
    ("lamp2n", "user", "dev"): (17, 94),
    ("lamp3", "user", "train"): (173, 173),
    ("lamp3", "user", "dev"): (124, 124),
    ("lamp4", "user", "train"): (75, 229),
    ("lamp4", "user", "dev"): (54, 161),
    ("lamp5", "user", "train"): (169, 171),
    ("lamp5", "user", "dev"): (122, 129),
    ("lamp7", "user", "train"): (33, 33),
    ("lamp7", "user", "dev"): (23, 23),
    ("lamp2n", "time", "train"): (19, 145),
    ("lamp2n", "time", "dev"): (14, 111),
    ("lamp4", "time", "train"): (22, 163),
    ("lamp4", "time", "dev"): (15, 120),
}


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real LaMP-format texts are not at {REAL}")
@pytest.mark.parametrize(("name", "kind", "split"), COUNTS)
def test_real_files_have_the_people_and_questions_their_readme_counts(
    name: str, kind: lamp.Kind, split: str
) -> None:
    data = lamp.read(a_task(name), REAL, split=split, kind=kind, progress=False)
    assert (len({user.group for user in data.users}), data.question_count) == COUNTS[
        name, kind, split
    ]
    assert data.golds
    assert data.counts["items_after_first_query"] == data.counts["characters_replaced"] == 0

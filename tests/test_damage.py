"""What was damaged, edited or put in another's place on disk is never used:
an error that names it, or made again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import tiny_lm

from bench.cell.artifacts import load_personalizations, load_users, save_personalizations
from bench.cell.likelihoods import File
from bench.cost.bill import Bill
from bench.cost.budget import Budget
from bench.disk import seals, store
from bench.disk.store import Cell, StoredSamples, append, read_samples
from bench.errors import InputError
from bench.lm.patch import LowRank, Patch
from bench.lm.response_cache import ResponseCache
from bench.types import Completion, Item, Personalization, Query, Sample


def patch(seed: int) -> Patch:
    stream = torch.Generator().manual_seed(seed)
    return Patch(
        {"mlp": LowRank(torch.randn(2, 8, generator=stream), torch.randn(8, 2, generator=stream))}
    )


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """Of a cell with two chunks of two users."""
    folder = tmp_path / "cell" / "artifacts"
    for chunk in (0, 1):
        users = [f"u{chunk}{user}" for user in (0, 1)]
        personals = [
            Personalization(
                {"global": user}, (Item(user, {"text": user}),), (patch(10 * chunk + place),)
            )
            for place, user in enumerate(users)
        ]
        save_personalizations(personals, folder, f"adapt-0000{chunk}", cell="key", users=users)
    return folder


def loaded(folder: Path) -> list[Personalization]:
    found = load_personalizations(folder, "adapt-00000", cell="key", users=["u00", "u01"])
    assert found is not None
    return found


def swap(one: Path, other: Path) -> None:
    contents = one.read_bytes(), other.read_bytes()
    one.write_bytes(contents[1])
    other.write_bytes(contents[0])


def swapped_users(path: Path) -> None:
    path.write_text(
        path.read_text().replace('"u00"', '"?"').replace('"u01"', '"u00"').replace('"?"', '"u01"')
    )


def of(folder: Path, number: int = 0) -> Path:
    return folder / f"adapt-0000{number}.json"


def patches(folder: Path) -> list[Path]:
    return [folder / "patches" / f"{patch(seed).id}.safetensors" for seed in (0, 1)]


def flipped(path: Path, at: int = -3) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "two users' files swapped": lambda folder: swap(of(folder), of(folder, 1)),
    "two users' ids swapped": lambda folder: swapped_users(of(folder)),
    "two users' patches swapped": lambda folder: swap(*patches(folder)),
    "text edited": (
        lambda folder: of(folder).write_text(
            of(folder).read_text().replace('"global": "u0', '"global": "v0')
        )
    ),
    "a bit of a patch flipped": lambda folder: flipped(patches(folder)[0]),
    "a patch cut off": (
        lambda folder: patches(folder)[0].write_bytes(patches(folder)[0].read_bytes()[:-4])
    ),
    "a patch multiplied": (
        lambda folder: Patch(
            {"mlp": LowRank(2 * patch(0).weights["mlp"].a, patch(0).weights["mlp"].b)}
        ).save(patches(folder)[0])
    ),
    "a patch emptied": lambda folder: patches(folder)[0].write_bytes(b""),
    "a patch gone": lambda folder: patches(folder)[0].unlink(),
    "emptied": lambda folder: of(folder).write_text(""),
    "a list": lambda folder: of(folder).write_text("[]"),
    "null": lambda folder: of(folder).write_text("null"),
    "of another cell": lambda folder: save_personalizations(
        [Personalization()] * 2, folder, "adapt-00000", cell="other", users=["u00", "u01"]
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_personalization_is_an_error_that_names_the_file_and_what_to_delete(
    artifacts: Path, damage: Callable[[Path], object]
) -> None:
    assert [one.text["global"] for one in loaded(artifacts)] == ["u00", "u01"]
    damage(artifacts)
    with pytest.raises(
        InputError, match=rf"^{artifacts}/.*; delete {artifacts.parent} and run the cell again$"
    ) as said:
        loaded(artifacts)
    assert "\n" not in str(said.value)


def test_personalizations_of_earlier_versions_can_be_read_but_not_gone_on_with(
    artifacts: Path,
) -> None:
    for number in (0, 1):
        of(artifacts, number).write_text(
            json.dumps(json.loads(of(artifacts, number).read_text())["content"])
        )
    assert list(load_users(artifacts)) == ["u00", "u01", "u10", "u11"]
    assert [value["user"] for value in store.read_artifact(of(artifacts))] == ["u00", "u01"]
    with pytest.raises(InputError, match=r"adapt-00000\.json: it has no checksum"):
        loaded(artifacts)


def test_items_by_question_that_an_earlier_version_recorded_as_text_are_found(
    tmp_path: Path,
) -> None:
    value = {
        "text": {"insight": "x", "items/7/2": "1 0", "items/8": ""},
        "items": [["a", {"text": "A"}, None], ["b", {"text": "B"}, None]],
        "patches": [],
        "facts": {},
        "notes": {},
        "user": "u",
    }
    seals.write(tmp_path / "adapt-00000.json", [value], {"name": "adapt-00000"})
    [personal] = load_personalizations(tmp_path, "adapt-00000") or []
    asked = [Query(name, "", "") for name in ("7/2", "8", "9")]
    shown = [[item.id for item in personal.items_for(query)] for query in asked]
    assert shown == [["b", "a"], [], ["a", "b"]]
    assert personal.text == {"insight": "x"}


# the likelihood of golds


@pytest.mark.parametrize("text", ["", "{}", "null", '{"a": 0.5}', None, "[["])
def test_likelihoods_that_were_edited_are_an_error_that_says_what_to_delete(
    tmp_path: Path, text: str | None
) -> None:
    file = File(tmp_path, 0, "key")
    file.finish({"a": (1.5, 10), "b": (2.5, 11)})
    assert file.read() == {"a": (1.5, 10), "b": (2.5, 11)}
    file.path.write_text(file.path.read_text().replace("1.5", "0.5") if text is None else text)
    with pytest.raises(
        InputError,
        match=rf"^{file.path}: .*; delete the file and run the cell again: it is worked out",
    ):
        file.read()


def test_likelihoods_of_another_window_or_cell_are_none(tmp_path: Path) -> None:
    File(tmp_path, 0, "key").finish({"a": (1.5, 10)})
    File(tmp_path, 1, "key").finish({"b": (2.5, 10)})
    with pytest.raises(InputError, match="it belongs to cell key, not to cell other"):
        File(tmp_path, 0, "other").read()
    swap(File(tmp_path, 0, "key").path, File(tmp_path, 1, "key").path)
    with pytest.raises(InputError, match="it belongs to name nll-00001, not to name nll-00000"):
        File(tmp_path, 0, "key").read()


def test_a_damaged_line_of_an_unfinished_window_is_worked_out_again(tmp_path: Path) -> None:
    file = File(tmp_path, 0, "key")
    file.add({"a": (1.5, 10), "b": (2.5, 10)})
    file.partial.write_text(
        file.partial.read_text().replace("1.5", "0.5") + '{"id": "c", "value": 1, "tokens_in": 1}\n'
    )
    assert file.begun() == {"b": (2.5, 10)}


# samples


def sample(name: str, **changes: object) -> Sample:
    return Sample(
        **{"id": name, "user": "u", "group": "g", "raw": "5", "tokens_in": 9, "tokens_out": 1}
        | changes
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "field",
    [
        {"user": 3},
        {"raw": None},
        {"tokens_in": -1},
        {"tokens_out": 1.5},
        {"cut": "x"},
        {"finished": 1},
        {"label_logprobs": ["a"]},
        {"label_logprobs": 3},
        {"prompt": None},
        {"id": 7},
    ],
)
def test_a_sample_with_a_field_of_another_type_is_an_error_that_names_the_line(
    tmp_path: Path, field: dict[str, object]
) -> None:
    cell = Cell(tmp_path, "lamp3", "rag", "k")
    append(cell, [sample("a"), sample("b", **field)])
    with pytest.raises(
        InputError,
        match=rf"^{cell.samples}: line 2 is no sample \({next(iter(field))} .*delete the line",
    ):
        read_samples(cell)


@pytest.mark.parametrize("change", [("5", "1"), ('"user": "u"', '"user": "v"'), ('"a"', '"b"')])
def test_an_answer_that_was_edited_is_an_error_and_one_of_an_earlier_version_is_not(
    tmp_path: Path, change: tuple[str, str]
) -> None:
    cell = Cell(tmp_path, "lamp3", "rag", "k")
    append(cell, [sample("a")])
    text = cell.samples.read_text()
    cell.samples.write_text(text.replace(*change, 1))
    with pytest.raises(
        InputError, match="line 1 is no sample .it was changed after it was written"
    ):
        read_samples(cell)
    cell.samples.write_text(text.rpartition(', "check"')[0] + "}\n")
    assert read_samples(cell) == StoredSamples([sample("a")], 0)


def test_who_goes_on_with_samples_needs_a_checksum_in_each(tmp_path: Path) -> None:
    """Else an answer could be edited unseen, its checksum cut off with it."""
    cell = Cell(tmp_path, "lamp3", "rag", "k")
    append(cell, [sample("a"), sample("b")])
    assert [one.id for one in store.stream_samples(cell, ours=True) if one] == ["a", "b"]
    first, second = cell.samples.read_text().splitlines()
    cell.samples.write_text(first + "\n" + second.rpartition(', "check"')[0] + "}\n")
    with pytest.raises(
        InputError,
        match=rf"^{cell.samples}: line 2 is no sample \(it has no checksum.*delete the line",
    ):
        list(store.stream_samples(cell, ours=True))


# the response cache, and tensors beside it


def test_a_bad_row_of_the_response_cache_is_a_miss_and_is_counted(tmp_path: Path) -> None:
    cache, bad = ResponseCache(tmp_path / "answers.sqlite"), []
    answers = {name: Completion(f"text {name}", 3, 2) for name in "abc"}
    cache.put(answers, 1.0)
    cache._connection.execute(
        "UPDATE texts SET value = replace(value, 'text a', 'text x') WHERE key = 'a'"
    )
    cache._connection.execute(
        "UPDATE texts SET value = (SELECT value FROM texts WHERE key = 'c') WHERE key = 'b'"
    )
    found = [cache.get(key, lambda: bad.append(1)) for key in "abcd"]
    assert found == [None, None, (answers["c"], 1.0), None] and len(bad) == 2
    cache.put({"a": answers["a"]}, 2.0)
    assert cache.get("a") == (answers["a"], 2.0)


def test_rows_of_earlier_versions_are_left_alone_and_written_again(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "answers.sqlite") as old:
        old.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        old.execute("INSERT INTO answers VALUES ('a', '{}')")
    assert ResponseCache(tmp_path / "answers.sqlite").get("a") is None


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be one" * 40, None])
def test_a_damaged_database_is_an_error_that_says_what_to_delete(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "answers.sqlite"
    if content is None:  # its pages overwritten, the header intact
        cache = ResponseCache(path)
        cache.put({str(number): Completion("text" * 50, 1, 1) for number in range(200)}, 1.0)
        cache._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        cache._connection.close()
        content = path.read_bytes()[:100] + bytes(len(path.read_bytes()) - 100)
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=rf"^{path}: the response cache is damaged .*; delete {path}\*"
    ):
        ResponseCache(path).get("1")


@pytest.mark.parametrize(
    "damage", [flipped, lambda path: path.write_bytes(b""), lambda path: flipped(path, 2)]
)
def test_kept_tensors_that_were_damaged_are_made_again_and_counted(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    lm = tiny_lm()
    lm.cache, lm.budget = ResponseCache(tmp_path / "answers.sqlite"), Budget(progress=False)
    try:
        with lm.budget.phase("directions"):
            lm.keep({"what": "x"}, {"x": torch.ones(2)}, seconds=7.5, bill=Bill())
            assert lm.recall({"what": "x"}) is not None
            [path] = tmp_path.glob("*.safetensors")
            damage(path)
            assert lm.recall({"what": "x"}) is None
        assert lm.budget.report()["directions"]["cache_damaged"] == 1
    finally:
        lm.cache = None

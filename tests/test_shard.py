"""A cell in shards and in windows is the cell as a whole;
identical sweeps at once do each cell once.
"""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from cells import CHAMELEON, MOCKED, TINY, run, start

from bench.cell.windows import Ahead, checked_size
from bench.cost.bill import Bill, Cost
from bench.data.sample import generator
from bench.errors import InputError

VOLATILE = ("cost", "started", "finished", "environment")
THREE = ("-m", "shard.count=3", "shard.index=0,1,2")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    root = tmp_path_factory.mktemp("data") / "lamp"
    generator.write(root, train_users=40, dev_users=140)
    return (*TINY, "data=lamp", f"data.root={root}")


@pytest.fixture
def mocked(words: tuple[str, ...]) -> tuple[str, ...]:
    """The same on a model without weights."""
    return (*MOCKED, *words[len(TINY) :])


def cell(folder: Path) -> Path:
    [found] = (folder / "runs").glob("lamp*/*/*/")
    return found


def left(folder: Path) -> dict[str, Any]:
    """What a reader finds: record without clock and machine, scores,
    samples by id, artifacts by name.
    """
    at = cell(folder)
    record = json.loads((at / "record.json").read_text())
    samples = [json.loads(line) for line in (at / "samples.jsonl").read_text().splitlines()]
    for one in samples:
        del one["check"]  # of numbers that may differ by their rounding
    likelihoods: dict[str, float] = {}
    for path in sorted((at / "artifacts").glob("nll-*.json")):
        likelihoods |= json.loads(path.read_text())["content"]
    return {
        "record": {name: value for name, value in record.items() if name not in VOLATILE},
        "scores": json.loads((at / "scores.json").read_text()),
        "samples": sorted(samples, key=lambda one: str(one["id"])),
        "adapted": {
            path.name: json.loads(path.read_text())
            for path in (at / "artifacts").glob("adapt-*.json")
        },
        "patches": sorted(path.name for path in (at / "artifacts").glob("patches/*")),
        "nll": likelihoods,
    }


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two values differ; numbers may by the rounding that
    other neighbours in a batch bring.
    """
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [
            found
            for name in one
            for found in differences(one[name], other[name], f"{place}.{name}")
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [
            found for index, (a, b) in pairs for found in differences(a, b, f"{place}[{index}]")
        ]
    if (
        isinstance(one, float)
        and isinstance(other, float)
        and math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-5)
    ):
        return []
    return [] if one == other else [f"{place}: {str(one)[:80]} != {str(other)[:80]}"]


def made(name: str, tmp_path: Path, *words: str) -> Path:
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    code, said = run(*words, folder=folder)
    assert code == 0, said
    return folder


@pytest.mark.parametrize(
    "cell_words",
    [
        ("task=lamp3", "method=instruct", "protocol.history=other"),
        ("task=lamp4", "method=instruct", "limit=7"),
        ("task=lamp3", *CHAMELEON, "method.mode=user", "limit=4"),
        ("task=lamp3", *CHAMELEON),
    ],
    ids=["another user's history", "likelihood of golds", "patches of users", "a patch for all"],
)
def test_merged_shards_are_the_cell_as_a_whole(
    cell_words: tuple[str, ...],
    words: tuple[str, ...],
    mocked: tuple[str, ...],
    tmp_path: Path,
) -> None:
    if "method=instruct" in cell_words:
        words = mocked
    whole = made("whole", tmp_path, "-m", *words, *cell_words)  # as a sweep words its overrides
    parts = made("parts", tmp_path, *THREE, *words, *cell_words)
    assert differences(left(parts), left(whole)) == []
    assert cell(parts).name == cell(whole).name and not (cell(parts) / "shards").exists()
    costs = [json.loads((cell(one) / "record.json").read_text())["cost"] for one in (parts, whole)]
    assert costs[0]["generate"]["tokens_in"] == costs[1]["generate"]["tokens_in"] > 0
    record = json.loads((cell(parts) / "record.json").read_text())
    assert record["environment"]["shards"] == 3


def test_a_missing_shard_is_named_and_the_last_one_merges(
    mocked: tuple[str, ...], tmp_path: Path
) -> None:
    rule = (*mocked, "method=majority", "shard.count=3")
    code, said = run(*rule, "shard.index=2", folder=tmp_path)
    assert code == 0 and "waits for shard 0, 1" in said, said
    code, said = run(*rule, "shard.index=0", folder=tmp_path)
    assert code == 0 and "waits for shard 1\n" in said, said
    assert not list((tmp_path / "runs").glob("**/record.json"))
    code, said = run(*rule, "shard.index=1", folder=tmp_path)
    assert code == 0 and "mae" in said, said
    for again in ("shard.index=0", "shard.count=1"):
        code, said = run(*rule, again, folder=tmp_path)
        assert code == 0 and "was done" in said, said


def test_a_killed_shard_goes_on_and_the_rest_is_the_whole(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    task = (*words, "task=lamp4", "method=instruct", "model.batch_tokens=1000")
    whole = made("whole", tmp_path, *task)
    parts = tmp_path / "parts"
    parts.mkdir()
    killed = 0
    for seconds in (0.5, 1.0, 1.5, 2.0):
        code, _ = run(*task, "shard.count=2", "shard.index=0", folder=parts, kill_after=seconds)
        killed += code == -signal.SIGKILL
    assert killed
    for index in (0, 1):
        code, said = run(*task, "shard.count=2", f"shard.index={index}", folder=parts)
        assert code == 0, said
    assert differences(left(parts), left(whole)) == []


def test_a_shard_that_cannot_be_is_bad_input(mocked: tuple[str, ...], tmp_path: Path) -> None:
    for wrong in (
        ("shard.count=2", "shard.index=2"),
        ("shard.count=2", "budget.minutes=5"),
        ("window=100",),
    ):
        code, said = run(*mocked, "method=majority", *wrong, folder=tmp_path)
        assert code == 2 and "Traceback" not in said, said


def test_a_shard_that_fails_is_a_failed_cell(words: tuple[str, ...], tmp_path: Path) -> None:
    code, said = run(*THREE, *words, *CHAMELEON, "method.min_pairs=1000", folder=tmp_path)
    assert code == 1, said
    assert json.loads((cell(tmp_path) / "record.json").read_text())["status"] == "error"


def test_windows_change_no_answer_in_full_precision(words: tuple[str, ...], tmp_path: Path) -> None:
    task = (*words, "method=instruct", "limit=140")
    one, two = (made(f"window{size}", tmp_path, *task, f"window={size}") for size in (4096, 128))
    assert differences(left(one), left(two)) == []
    orders = [
        [json.loads(line)["id"] for line in (cell(at) / "samples.jsonl").open()]
        for at in (one, two)
    ]
    questions = [row["id"] for row in json.loads((cell(one) / "scores.json").read_text())]
    assert set(orders[1][:128]) == set(questions[:128]) != set(orders[0][:128])


def test_two_identical_sweeps_at_once_do_each_cell_once(
    mocked: tuple[str, ...], tmp_path: Path
) -> None:
    sweep = (
        "-m",
        *mocked,
        "method=instruct,majority",
        "protocol.history=own,none",
        f"results.root={tmp_path / 'runs'}",
    )
    children = [start(sweep, output=tmp_path / f"said{number}.txt") for number in (0, 1)]
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0]
    said = "".join((tmp_path / f"said{number}.txt").read_text() for number in (0, 1))
    assert said.count("(was done)") == 4 and said.count("record:") == 8
    for path in (tmp_path / "runs").glob("lamp*/*/*/samples.jsonl"):
        ids = [json.loads(line)["id"] for line in path.open()]
        assert len(ids) == len(set(ids)) == 10


def test_values_are_found_in_any_order_and_the_first_of_an_id_counts() -> None:
    ahead = Ahead(iter([("b", 1), ("a", 2), ("b", 3), ("c", 4)]))
    assert ahead.take(["a"]) == [2]
    assert ahead.take(["b", "c"]) == [1, 4]
    with pytest.raises(KeyError, match="that of d among them"):
        ahead.take(["d"])


def test_a_window_is_whole_chunks() -> None:
    assert checked_size(256) == 256
    with pytest.raises(InputError, match="multiple of 128"):
        checked_size(300)


def test_costs_of_shards_add_up_but_for_the_peak_of_memory() -> None:
    def cost(seconds: float, peak: int) -> Bill:
        return Bill({"generate": Cost(seconds, tokens_in=10, peak_memory=peak, inside="fit")}, 1.0)

    both = cost(2.0, 700) + cost(3.0, 500)
    assert both.limited == 2.0
    assert both.phases["generate"] == Cost(
        5.0, tokens_in=20, peak_memory=700, joules=None, inside="fit"
    )

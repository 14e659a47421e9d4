"""The store against kill -9, full disks and rivals: real processes where a process matters, faked
errors elsewhere.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.cell import likelihoods, run, shard, staleness
from bench.disk.claims import LONG_DEAD, Watch, me
from bench.disk.store import (
    Busy,
    Cell,
    ClaimLost,
    StoredSamples,
    StoreError,
    append,
    claim,
    finished,
    key,
    read_json,
    read_samples,
    records,
    resolve,
    write_json,
    write_record,
    write_rows,
)
from bench.errors import InputError
from bench.types import Sample

HOME = Path(__file__).parent.parent

APPENDER = """
import sys
from pathlib import Path
from bench.disk.store import Cell, append, read_samples
from bench.types import Sample
cell = Cell(Path(sys.argv[1]), "lamp3", "rag", "k")
number = len(read_samples(cell).samples)
print("ready", flush=True)
while True:
    batch = [Sample(str(number + i), "u", "", "answer", 1, 1, prompt="word " * 5000) for i in range(4)]
    append(cell, batch)
    number += 4
    print(number, flush=True)
"""

RIVAL = """
import os, sys, time
from pathlib import Path
from bench.disk.store import Cell, claim
log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)
for key in sys.argv[3:]:
    with claim(Cell(Path(sys.argv[1]), "lamp3", "rag", key), poll=0.001):
        os.write(log, f"{key} in {os.getpid()}\\n".encode())
        time.sleep(0.004)
        os.write(log, f"{key} out {os.getpid()}\\n".encode())
    time.sleep(0.002)
"""

HOLDER = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
from bench.disk.store import Cell, claim
with ExitStack() as stack:
    for key in sys.argv[2:]:
        stack.enter_context(claim(Cell(Path(sys.argv[1]), "lamp3", "rag", key)))
    print("ready", flush=True)
    time.sleep(600)
"""

RECORDER = """
import sys
from pathlib import Path
from bench.disk.store import Cell, write_record
for number in range(10**9):
    cell = Cell(Path(sys.argv[1]), "lamp3", "rag", "k")
    write_record(cell, {"status": "ok", "number": number, "again": [number] * 5000})
    if number == 0:
        print("ready", flush=True)
"""

SMALL_DISK = """
import resource, sys
from pathlib import Path
from bench.disk.store import Cell, append
from bench.disk.files import StoreError
from bench.types import Sample
cell = Cell(Path(sys.argv[1]), "lamp3", "rag", "k")
append(cell, [Sample("0", "u", "", "5", 1, 1)])
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
try:
    append(cell, [Sample(str(i), "u", "", "5", 1, 1) for i in range(1, 9)])
except StoreError as error:
    print(error)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=HOME,
        stdout=subprocess.PIPE,
        text=True,
    )


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    process = start(code, *arguments)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> str:
    """kill -9; returns what the process had still said."""
    process.send_signal(signal.SIGKILL)
    return process.communicate()[0]


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return Cell(tmp_path, "lamp3", "rag", "k")


def sample(name: str, raw: str = "5") -> Sample:
    return Sample(name, "u1", "u1", raw, 10, 1)


def holder_of(cell: Cell) -> Path:
    (only,) = (cell.folder / "claim").iterdir()
    return only


def make_old(path: Path) -> None:
    os.utime(path, (time.time() - 2 * LONG_DEAD,) * 2)


# keys


PARTS = {"method": {"k": 4, "style": "lamp"}, "layers": [3, 4], "seed": 0, "base": None}


def test_key_does_not_change_with_order_of_names_or_with_tuples() -> None:
    turned = {"base": None, "seed": 0, "layers": (3, 4), "method": {"style": "lamp", "k": 4}}
    assert key(PARTS) == key(turned)
    assert len(key(PARTS)) == 16 and int(key(PARTS), 16) >= 0


def test_key_changes_with_any_part() -> None:
    others = [
        {**PARTS, "method": {"k": 5, "style": "lamp"}},
        {**PARTS, "method": {"k": 4}},
        {**PARTS, "method": {"k": "4", "style": "lamp"}},
        {**PARTS, "layers": [4, 3]},
        {**PARTS, "layers": [[3], 4]},
        {**PARTS, "seed": 1},
        {**PARTS, "seed": False},
        {**PARTS, "base": ""},
        {**PARTS, "more": None},
    ]
    assert len({key(parts) for parts in [PARTS, *others]}) == len(others) + 1


@pytest.mark.parametrize(
    ("parts", "where"),
    [
        ({"data": {"file": Path("x")}}, r"^data\.file: .*PosixPath"),
        ({"layers": [1, {2}]}, r"^layers\[1\]: \{2\} \(set\)"),
        ({"a": {"b": [{"c": float("nan")}]}}, r"^a\.b\[0\]\.c: nan"),
        ({"a": {1: "x"}}, r"^a: the name 1 "),
    ],
)
def test_key_refuses_what_is_not_json_and_says_where(parts: dict[str, Any], where: str) -> None:
    with pytest.raises(InputError, match=where):
        key(parts)


# samples


def test_samples_come_back_as_they_were_with_any_text(cell: Cell) -> None:
    texts = ["é 漢字 🙂", "lone \udc80 surrogate", "two\nlines\r\u2028\x85\x00end", '"\\']
    batch = [sample(str(number), text) for number, text in enumerate(texts)]
    batch.append(Sample("p", "u", "", "", 3, 4, 5, False, (-0.5, float("-inf")), "why?"))
    append(cell, batch[:2])
    append(cell, batch[2:])
    assert read_samples(cell) == StoredSamples(batch, 0)
    assert "漢字" in cell.samples.read_text("utf-8")


def test_a_cell_without_samples_has_none(cell: Cell) -> None:
    assert read_samples(cell) == StoredSamples([], 0)


def test_the_first_of_two_samples_with_one_id_counts(cell: Cell) -> None:
    append(cell, [sample("a", "first"), sample("b"), sample("a", "second")])
    assert [(s.id, s.raw) for s in read_samples(cell).samples] == [("a", "first"), ("b", "5")]


@pytest.mark.parametrize("tail", [1, 100_000], ids=["short line", "line longer than a block"])
def test_a_line_cut_at_any_byte_is_dropped_and_the_next_append_is_clean(
    cell: Cell, tail: int
) -> None:
    append(cell, [sample("a")])
    kept = cell.samples.read_bytes()
    append(cell, [sample("é", "漢" * tail)])
    whole = cell.samples.read_bytes()
    cuts = range(len(kept) + 1, len(whole))
    for cut in cuts if tail == 1 else [cuts[0], cuts[65_535], cuts[65_536], cuts[-1]]:
        cell.samples.write_bytes(whole[:cut])
        assert read_samples(cell) == StoredSamples([sample("a")], 1)
        append(cell, [sample("b")])
        assert read_samples(cell) == StoredSamples([sample("a"), sample("b")], 0)
        assert cell.samples.read_bytes().startswith(kept + b'{"id": "b"')


def test_a_file_that_is_one_cut_line_starts_again(cell: Cell) -> None:
    append(cell, [sample("a")])
    cell.samples.write_bytes(cell.samples.read_bytes()[:-1])
    append(cell, [sample("b")])
    assert read_samples(cell) == StoredSamples([sample("b")], 0)


@pytest.mark.parametrize("line", ["{broken", "[1]", "null", '{"id": "a"}', '{"idd": "a"}'])
def test_a_corrupt_line_in_the_middle_is_an_error_that_names_file_and_line(
    cell: Cell, line: str
) -> None:
    append(cell, [sample("a")])
    with cell.samples.open("a") as file:
        file.write(line + "\n")
    append(cell, [sample("b")])
    with pytest.raises(InputError, match=rf"{cell.samples}: line 2 "):
        read_samples(cell)


def test_kill_in_the_middle_of_appends_loses_no_finished_batch_and_repeats_none(cell: Cell) -> None:
    chance = random.Random(7)
    total = 0
    for _ in range(15):
        process = started(APPENDER, cell.root)
        time.sleep(chance.uniform(0.0, 0.03))
        said = kill(process).split()
        stored = read_samples(cell)
        assert [s.id for s in stored.samples] == [
            str(number) for number in range(len(stored.samples))
        ]
        assert len(stored.samples) >= int(said[-1] if said else total)
        assert stored.cut_lines in (0, 1)
        total = len(stored.samples)
    append(cell, [sample("last")])
    stored = read_samples(cell)
    assert len(stored.samples) == total + 1 and stored.samples[-1].id == "last"
    assert stored.cut_lines == 0
    assert total > 15


# records


def test_only_an_ok_record_is_finished_and_others_stay_until_replaced(cell: Cell) -> None:
    assert finished(cell) is None
    for status in ("error", "over_budget", "oom"):
        write_record(cell, {"status": status})
        assert finished(cell) is None
        assert read_json(cell.record) == {"status": status}
    write_record(cell, {"status": "ok", "text": "é \ud800"})
    assert finished(cell) == {"status": "ok", "text": "é \ud800"}
    assert [path.name for path in cell.folder.iterdir()] == ["record.json"]


def test_a_broken_record_is_an_error_that_names_the_file(cell: Cell) -> None:
    cell.folder.mkdir(parents=True)
    for text in ("{", "[]", "\xff"):
        cell.record.write_text(text, "latin-1")
        with pytest.raises(InputError, match=str(cell.record)):
            finished(cell)


def test_a_reader_sees_the_old_record_or_the_new_one_even_after_kill(cell: Cell) -> None:
    process = started(RECORDER, cell.root)
    seen = set()
    until = time.monotonic() + 10
    while len(seen) < 20 and time.monotonic() < until:
        record = read_json(cell.record)
        assert record["again"] == [record["number"]] * 5000
        seen.add(record["number"])
    kill(process)
    record = read_json(cell.record)
    assert record["again"] == [record["number"]] * 5000
    assert len(seen) == 20


def test_a_write_that_fails_keeps_the_old_record_and_leaves_nothing_behind(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record(cell, {"status": "ok", "n": 1})
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(errno.EDQUOT))
        with pytest.raises(StoreError, match="quota"):
            write_record(cell, {"status": "ok", "n": 2})
    assert finished(cell) == {"status": "ok", "n": 1}
    assert [path.name for path in cell.folder.iterdir()] == ["record.json"]


def test_a_value_that_is_not_json_is_refused_before_anything_is_written(cell: Cell) -> None:
    with pytest.raises(InputError, match=r"^facts\.layers\[0\]: "):
        write_record(cell, {"facts": {"layers": [object()]}})
    assert not cell.folder.exists()


# claims


def log_of_rivals(root: Path, rivals: int, keys: list[str]) -> dict[str, list[list[str]]]:
    """Run processes that each enter all cells; for every cell, its log lines in order."""
    log = root / "log"
    log.touch()
    processes = [start(RIVAL, root, log, *keys) for _ in range(rivals)]
    assert [process.wait(60) for process in processes] == [0] * rivals
    for process in processes:
        process.communicate()
    lines = [line.split() for line in log.read_text().splitlines()]
    return {key: [line[1:] for line in lines if line[0] == key] for key in keys}


def assert_never_two_inside(lines: list[list[str]], visits: int) -> None:
    assert len(lines) == 2 * visits
    for enter, leave in zip(lines[::2], lines[1::2], strict=True):
        assert (enter[0], leave[0], enter[1]) == ("in", "out", leave[1])


def test_two_processes_are_never_both_inside_one_cell(tmp_path: Path) -> None:
    lines = log_of_rivals(tmp_path, 2, ["k"] * 40)["k"]
    assert_never_two_inside(lines, 80)
    assert len({pid for _, pid in lines}) == 2


def test_four_processes_racing_for_stale_claims_are_never_two_inside(tmp_path: Path) -> None:
    keys = [f"k{number}" for number in range(16)]
    kill(started(HOLDER, tmp_path, *keys))
    for name in keys[::2]:
        old = holder_of(Cell(tmp_path, "lamp3", "rag", name))
        make_old(old.rename(old.with_name("1@elsewhere@@@token")))
    for lines in log_of_rivals(tmp_path, 4, keys).values():
        assert_never_two_inside(lines, 4)


@pytest.mark.parametrize("reaped", [True, False], ids=["gone", "zombie"])
def test_the_claim_of_a_killed_process_is_taken_over_at_once(cell: Cell, reaped: bool) -> None:
    process = started(HOLDER, cell.root, "k")
    with (
        pytest.raises(Busy, match=f"{cell.folder}: held by process {process.pid} on "),
        claim(cell, wait=False),
    ):
        pass
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | (0 if reaped else os.WNOWAIT))
    with claim(cell, wait=False):
        assert holder_of(cell).name.startswith(f"{os.getpid()}@")
    process.communicate()
    assert list(cell.folder.iterdir()) == []


def test_a_number_given_to_another_process_does_not_keep_a_claim(cell: Cell) -> None:
    with ExitStack() as stack:
        stack.enter_context(claim(cell))
        pid, host, inside, begun, token = holder_of(cell).name.split("@")
        assert begun.isdigit()
        holder_of(cell).rename(cell.folder / "claim" / "@".join((pid, host, inside, "1", token)))
        with claim(cell, wait=False):
            pass


def test_a_claim_of_another_machine_is_respected_until_its_heart_stops(cell: Cell) -> None:
    (cell.folder / "claim").mkdir(parents=True)
    theirs = cell.folder / "claim" / "999999999@elsewhere@@@token"
    theirs.touch()
    with pytest.raises(Busy, match="process 999999999 on elsewhere"), claim(cell, wait=False):
        pass
    make_old(theirs)
    with claim(cell, wait=False):
        assert not theirs.exists()


def test_a_beating_heart_keeps_a_claim_longer_than_stale_after(cell: Cell) -> None:
    watch = Watch(0.3)
    with claim(cell, stale_after=0.3):
        until = time.monotonic() + 0.6
        while time.monotonic() < until:
            assert watch.alive(holder_of(cell))
            time.sleep(0.02)


def test_an_owner_that_slept_too_long_leaves_the_new_owner_alone(cell: Cell) -> None:
    with ExitStack() as second:
        with claim(cell):
            make_old(holder_of(cell))
            second.enter_context(claim(cell, wait=False))
        with pytest.raises(Busy), claim(cell, wait=False):
            pass


def elsewhere(cell: Cell, minutes: float) -> Path:
    """A claim of a host whose clock is so many minutes ahead."""
    (cell.folder / "claim").mkdir(parents=True)
    theirs = cell.folder / "claim" / "1@elsewhere@@@token"
    theirs.touch()
    os.utime(theirs, (time.time() + 60 * minutes,) * 2)
    return theirs


@pytest.mark.parametrize("minutes", [-20, 20], ids=["late", "early"])
def test_a_live_claim_of_a_host_with_another_clock_is_not_taken(cell: Cell, minutes: float) -> None:
    theirs, watch = elsewhere(cell, minutes), Watch(0.1)
    for beat in range(20):
        assert watch.alive(theirs)
        os.utime(theirs, (time.time() + 60 * minutes + beat,) * 2)
        time.sleep(0.02)
    with pytest.raises(Busy), claim(cell, wait=False):
        pass


@pytest.mark.parametrize(
    "minutes", [-20, 0, 20, 10**6], ids=["late", "right", "early", "in the far future"]
)
def test_a_dead_claim_of_any_time_is_waited_for_no_longer_than_it_lives(
    cell: Cell, minutes: float
) -> None:
    theirs, before = elsewhere(cell, minutes), time.monotonic()
    with claim(cell, stale_after=0.2, poll=0.01):
        assert not theirs.exists()
    assert 0.2 <= time.monotonic() - before < 2


def test_a_watch_that_was_stopped_itself_declares_nobody_dead(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, watch, now = elsewhere(cell, 0), Watch(60), 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert watch.alive(theirs)
    now = 5000.0  # both were suspended, and the holder has not come to beat yet
    assert watch.alive(theirs)


WRITES: dict[str, Callable[[Cell], object]] = {
    "answers": lambda cell: append(cell, [sample("b")]),
    "record": lambda cell: write_record(cell, {"status": "ok"}),
    "artifact": lambda cell: write_json(cell.artifacts / "fit.json", []),
    "rows": lambda cell: write_rows(cell.scores, []),
    "a shard's": lambda cell: append(Cell(cell.folder, "shards", "2", "0"), [sample("b")]),
}


def left(cell: Cell) -> list[Path]:
    """Files with something in them."""
    files = (path for path in cell.folder.rglob("*") if path.is_file() and path.stat().st_size)
    return sorted(path for path in files if "claim" not in path.parts)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_who_has_lost_the_claim_writes_nothing_more(
    cell: Cell, write: Callable[[Cell], object]
) -> None:
    with claim(cell):
        append(cell, [sample("a")])
        before = left(cell)
        make_old(holder_of(cell))
        # as another takes it over
        holder_of(cell).rename(cell.folder / "claim" / "1@elsewhere@@@token")
        with pytest.raises(ClaimLost, match=f"^{cell.folder}: another process has taken this over"):
            write(cell)
        assert left(cell) == before and read_samples(cell) == StoredSamples([sample("a")], 0)
    append(cell, [sample("b")])  # outside of a claim nobody is asked


REMOVALS: dict[str, Callable[[Cell], object]] = {
    "parts": shard.remove,
    "what other code left": lambda cell: staleness._clear(SimpleNamespace(cell=cell)),  # type: ignore[arg-type]
    "an unfinished window": lambda cell: likelihoods.disk.remove(
        likelihoods.File(cell.artifacts, 0, "k").partial
    ),
}


@pytest.mark.parametrize("remove", REMOVALS.values(), ids=REMOVALS)
def test_who_has_lost_the_claim_removes_nothing_more(
    cell: Cell, remove: Callable[[Cell], object]
) -> None:
    part = Cell(cell.folder, "shards", "2", "0")
    append(cell, [sample("a")])
    append(part, [sample("a")])
    likelihoods.File(cell.artifacts, 0, "k").add({"a": (1.0, 1)})
    before = left(cell)
    with claim(cell):
        holder_of(cell).rename(cell.folder / "claim" / "1@elsewhere@@@token")
        with pytest.raises(ClaimLost):
            remove(cell)
        assert left(cell) == before
    remove(cell)
    assert len(left(cell)) < len(before)


def test_a_part_of_a_cell_that_another_holds_writes_nothing_into_it(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even its settings, which say that the folder is a cell."""

    @contextmanager
    def stopped(_: Cell) -> Iterator[None]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("bench.cell.run.claimed", stopped)
    who: Any = SimpleNamespace(plan=SimpleNamespace(cell=cell, config={}))
    with pytest.raises(KeyboardInterrupt):
        run._run_part(who, shard.Shard(cell, 0, 2))
    assert not cell.config.exists()


@pytest.mark.parametrize("name", ["notes", "7x", "\u0663", "9" * 60])
def test_a_foreign_file_in_a_claim_is_no_traceback(cell: Cell, name: str) -> None:
    """It may be a claim of a later version: it is waited for,
    and taken over when it gives no sign of life.
    """
    (cell.folder / "claim").mkdir(parents=True)
    foreign = cell.folder / "claim" / "@".join((name, *me().split("@")[1:3], "", "token"))
    foreign.touch()
    if name.isascii() and name.isdigit():
        with claim(cell, wait=False):
            return
    with pytest.raises(Busy), claim(cell, wait=False):
        pass
    make_old(foreign)
    with claim(cell, wait=False):
        pass


def test_who_holds_a_cell_is_told_in_letters_that_a_terminal_does_not_obey(cell: Cell) -> None:
    (cell.folder / "claim").mkdir(parents=True)
    (cell.folder / "claim" / "1@\x1b[2Jhost@@@token").touch()
    with pytest.raises(Busy, match=r"process 1 on \\x1b\[2Jhost"), claim(cell, wait=False):
        pass


def test_a_claim_covers_places_elsewhere(cell: Cell, tmp_path: Path) -> None:
    with claim(cell, also=[tmp_path / "base.json"]):
        holder_of(cell).unlink()
        write_json(tmp_path / "other.json", 1)
        with pytest.raises(ClaimLost):
            write_json(tmp_path / "base.json", 1)


def test_a_claim_is_released_on_an_exception_and_nothing_is_left(cell: Cell) -> None:
    with pytest.raises(ZeroDivisionError), claim(cell):
        raise ZeroDivisionError
    assert list(cell.folder.iterdir()) == []
    with claim(cell, wait=False):
        pass


def test_a_stale_claim_that_a_rival_grabs_between_look_and_grab_is_the_rivals(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cell.folder / "claim").mkdir(parents=True)
    theirs = cell.folder / "claim" / "1@elsewhere@@@token"
    theirs.touch()
    make_old(theirs)
    touch = os.utime
    with ExitStack() as rival:

        def touch_then_lose_the_race(path: Path) -> None:
            monkeypatch.setattr(os, "utime", touch)
            touch(path)
            rival.enter_context(claim(cell, wait=False, stale_after=-1))

        monkeypatch.setattr(os, "utime", touch_then_lose_the_race)
        with pytest.raises(Busy), claim(cell, wait=False):
            pass
        assert holder_of(cell).exists()


def test_a_crash_in_the_middle_of_a_release_blocks_nobody(cell: Cell) -> None:
    (cell.folder / "claim").mkdir(parents=True)
    with claim(cell, wait=False):
        assert holder_of(cell).exists()


def test_who_waits_is_told_once_and_enters_after_the_release(cell: Cell) -> None:
    told: list[str] = []
    entered = threading.Event()

    def wait() -> None:
        with claim(cell, poll=0.01, on_wait=told.append):
            entered.set()

    with claim(cell):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.15)
        assert not entered.is_set()
    thread.join(10)
    assert entered.is_set()
    assert told == [f"{cell.folder}: held by process {os.getpid()} on {os.uname().nodename}"]


# disks that refuse


def failing(number: int) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


def enter_claim(cell: Cell) -> None:
    with claim(cell):
        pass


VERBS: list[Callable[[Cell], None]] = [
    lambda cell: append(cell, [sample("a")]),
    lambda cell: write_record(cell, {}),
    lambda cell: write_json(cell.scores, 1),
    enter_claim,
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "no space left on device; free some space and run the same command again"),
        (errno.EDQUOT, "free some space"),
        (
            errno.EROFS,
            "read-only file system; make it writable, or write elsewhere with results.root=FOLDER",
        ),
        (errno.EACCES, "permission denied; make it writable"),
        (errno.EIO, "input/output error; run the same command again"),
    ],
)
def test_a_disk_that_refuses_is_one_line_that_names_the_folder_and_what_to_do(
    cell: Cell,
    monkeypatch: pytest.MonkeyPatch,
    verb: Callable[[Cell], None],
    number: int,
    advice: str,
) -> None:
    monkeypatch.setattr(Path, "mkdir", failing(number))
    with pytest.raises(StoreError) as caught:
        verb(cell)
    said = str(caught.value)
    assert (
        said.startswith(f"{cell.folder}: ")
        and advice in said
        and "results.root=" in said
        and "\n" not in said
    )


@pytest.mark.parametrize("verb", VERBS)
def test_a_root_that_cannot_be_made_is_a_store_error(
    tmp_path: Path, verb: Callable[[Cell], None]
) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", Path("/proc/nothing")):
        with pytest.raises(StoreError, match=str(root)):
            verb(Cell(root, "lamp3", "rag", "k"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_without_space_is_a_store_error(cell: Cell) -> None:
    cell.folder.mkdir(parents=True)
    cell.samples.symlink_to("/dev/full")
    with pytest.raises(StoreError, match="no space left on device; free some space"):
        append(cell, [sample("a")])


def test_a_batch_that_fits_only_in_part_is_taken_back(cell: Cell) -> None:
    said = start(SMALL_DISK, cell.root).communicate(timeout=60)[0]
    assert "file too large; free some space" in said
    assert [s.id for s in read_samples(cell).samples] == ["0"]
    assert read_samples(cell).cut_lines == 0


def test_claim_does_not_rename_the_errors_of_what_runs_inside(cell: Cell) -> None:
    with pytest.raises(FileNotFoundError), claim(cell):
        raise FileNotFoundError


# finding cells


def test_a_thousand_records_are_found_and_nothing_below_them(tmp_path: Path) -> None:
    for number in range(1000):
        folder = tmp_path / f"lamp{number % 7}" / "rag" / f"{number:016x}"
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(f'{{"status": "ok", "n": {number}}}')
    write_json(folder / "artifacts" / "user" / "record.json", {"n": -1})
    found = records(tmp_path)
    assert sorted(record["n"] for _, record in found.records) == list(range(1000))
    assert found.broken == []


def test_records_come_once_with_their_folder_and_broken_ones_with_the_reason(
    tmp_path: Path,
) -> None:
    cells = [Cell(tmp_path / "runs", "lamp3", "rag", name) for name in "abc"]
    write_record(cells[0], {"status": "error"})
    append(cells[1], [sample("a")])
    cells[1].record.write_text("{")
    append(cells[2], [sample("a")])
    (tmp_path / "runs" / "circle").symlink_to(tmp_path)
    found = records(tmp_path / "runs", tmp_path, tmp_path / "nothing")
    assert found.records == [(cells[0].folder, {"status": "error"})]
    ((folder, why),) = found.broken
    assert folder.name == "b" and "record.json: broken JSON" in why


def test_a_cell_is_found_by_its_folder_or_the_beginning_of_its_key(tmp_path: Path) -> None:
    runs, published = tmp_path / "runs", tmp_path / "published"
    one, two = Cell(runs, "lamp3", "rag", "abc1"), Cell(runs, "lamp2", "oppu", "abd2")
    write_record(one, {})
    append(two, [sample("a")])
    write_record(Cell(published, "lamp3", "rag", "abc1"), {})
    roots = [runs, published]
    assert (
        resolve("abc", roots)
        == resolve("abc1", roots)
        == resolve(str(one.folder), roots)
        == one.folder
    )
    assert resolve("abd", roots) == two.folder
    with pytest.raises(InputError, match="^ab: several .*: lamp2/oppu/abd2, lamp3/rag/abc1$"):
        resolve("ab", roots)
    for name in ("x", ""):
        with pytest.raises(InputError, match="neither .*: lamp2/oppu/abd2, lamp3/rag/abc1$"):
            resolve(name, roots)
    with pytest.raises(InputError, match="no cells"):
        resolve("x", [tmp_path / "nothing"])

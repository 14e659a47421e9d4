"""Everything that a cell leaves on disk: appended samples, JSON written in one step, its claim; and
how to find cells again.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.checks import shape
from bench.disk import json_lines, seals
from bench.disk.cell_folder import Cell as Cell
from bench.disk.claims import Watch, beat, cover, held, me, take, uncover
from bench.disk.files import ClaimLost as ClaimLost
from bench.disk.files import StoreError as StoreError
from bench.disk.files import json_value
from bench.disk.files import place as place
from bench.disk.files import read_json as read_json
from bench.disk.files import write_json as write_json
from bench.disk.files import write_rows as write_rows
from bench.disk.files import writing as writing
from bench.disk.fingerprints import today
from bench.errors import InputError
from bench.terminal import escape
from bench.types import Sample

SCHEMA = 1
STALE = 60.0  # seconds without a sign of life after which a claim is taken over

_MARKS = {"record.json", "samples.jsonl", "config.yaml"}  # a folder with one of these is a cell


class Busy(Exception):
    """Another process holds the cell: one line that names the folder and the holder."""


def key(parts: Mapping[str, Any]) -> str:
    """16 hex digits that change with any part, and not with the order of names. InputError for a
    part that is not JSON.
    """
    text = json.dumps(json_value(parts), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def append(cell: Cell, samples: Sequence[Sample]) -> None:
    """Add a batch in one write, on disk when this returns.

    A line that a crash cut off is removed first.
    """
    json_lines.append(cell.samples, [json_lines.sealed(asdict(sample)) for sample in samples])


def stream_samples(cell: Cell, *, ours: bool = False) -> Iterator[Sample | None]:
    """The samples as they stand in the file, one at a time; at the end None for a line that a crash
    cut off.

    `ours`: each has to carry its checksum, which earlier versions did not write. Who goes on with
    them asks for it.
    """
    for number, line in enumerate(json_lines.stream(cell.samples), 1):
        yield None if line is None else _sample(line, f"{cell.samples}: line {number}", ours)


@dataclass(frozen=True)
class StoredSamples:
    """The samples of a cell. `cut_lines`: 1 if a crash cut off the last line of the file, else
    0.
    """

    samples: list[Sample]
    cut_lines: int


def read_samples(cell: Cell) -> StoredSamples:
    """The samples of a cell, the first of each id."""
    by_id: dict[str, Sample] = {}
    cut_lines = 0
    for sample in stream_samples(cell):
        if sample is None:
            cut_lines = 1
        else:
            by_id.setdefault(sample.id, sample)
    return StoredSamples(list(by_id.values()), cut_lines)


def _sample(line: bytes, where: str, ours: bool) -> Sample:
    try:
        parsed = json_lines.parse(line)
        fields = parsed.fields
        if ours and not parsed.has_checksum:
            raise ValueError("it has no checksum, so this version did not write it so")
        if wrong := shape.problem(fields, shape.SAMPLE):
            raise ValueError(wrong)
        if fields.get("label_logprobs") is not None:
            fields["label_logprobs"] = tuple(fields["label_logprobs"])
        return Sample(**fields)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{where} is no sample ({error}); delete the line to have its question asked again"
        ) from None


def read_artifact(path: Path) -> Any:
    """What an artifact holds, for a reader; earlier versions' have no checksum.

    InputError if it is damaged.
    """
    return seals.read(path, {}, f"delete {path.parents[1]} and run the cell again", older=True)


def write_record(cell: Cell, record: Mapping[str, Any]) -> None:
    """Write the record, after everything else:
    with status `ok` it means that the cell is complete.
    """
    write_json(cell.record, record)


def finished(cell: Cell) -> dict[str, Any] | None:
    """The record if its status is `ok`. Other records stay until a retry replaces them."""
    record = read_record(cell.record) if os.path.exists(cell.record) else {}
    return record if record.get("status") == "ok" else None


def read_record(path: Path) -> dict[str, Any]:
    """A record as its file has it; InputError if it is none, or lacks a field that its readers
    count on.

    That of another schema is returned as it is: who reads it has to look.
    """
    record = read_json(path)
    wrong = "a record is a JSON object" if not isinstance(record, dict) else ""
    if not wrong and record.get("schema") == SCHEMA:
        wrong = shape.problem(record, shape.RECORD)
    if wrong:
        raise InputError(f"{path}: {wrong}; delete the file and run the cell again")
    found: dict[str, Any] = record
    model = found.get("model")
    if isinstance(model, dict) and isinstance(model.get("base"), str):
        model["base"] = today(model["base"])
    return found


@dataclass(frozen=True)
class Found:
    """Records with their cell folders, by path;
    and the folders that could not be read, with the reason.
    """

    records: list[tuple[Path, dict[str, Any]]]
    broken: list[tuple[Path, str]]


def records(*roots: Path) -> Found:
    """Every `record.json` under the roots, each once. A root that is not there holds none."""
    found = Found([], [])
    for folder in _cells(roots, found.broken):
        path = folder / "record.json"
        try:
            if path.exists():
                found.records.append((folder, read_record(path)))
        except InputError as error:
            found.broken.append((folder, str(error)))
    return found


def resolve(name: str, roots: Iterable[Path]) -> Path:
    """The cell folder that `name` is: a path, or the beginning of one key only, also as
    `task/method/key`.

    The first root wins for equal keys.
    """
    path = Path(name)
    if name and any((path / mark).exists() for mark in _MARKS):
        return path

    by_key: dict[str, Path] = {}
    for folder in _cells(roots, []):
        by_key.setdefault(folder.name, folder)
    depth = 3 if name.count("/") == 2 else 1
    fitting = []
    for folder in by_key.values():
        if name and "/".join(folder.parts[-depth:]).startswith(name):
            fitting.append(folder)
    if len(fitting) == 1:
        return fitting[0]

    problem = "neither a cell folder nor the beginning of a cell's key"
    if fitting:
        problem = "several cells begin with this"
    there = _names(fitting or list(by_key.values()))
    raise InputError(f"{name or '(empty name)'}: {problem}; there are: {there}")


def _names(folders: Sequence[Path]) -> str:
    """The first ten cells by name, and how many more."""
    names = sorted("/".join(folder.parts[-3:]) for folder in folders)
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return (", ".join(names[:10]) or "no cells") + more


def _cells(roots: Iterable[Path], broken: list[tuple[Path, str]]) -> Iterator[Path]:
    """The cell folders under the roots, by name; those that cannot be read go to `broken`."""
    # folders by device and number: roots may overlap, and links may lead in a circle
    seen: set[tuple[int, int]] = set()
    todo = [root for root in roots if root.is_dir()][::-1]
    while todo:
        folder = todo.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                is_folder = {entry.name: entry.is_dir() for entry in entries}
        except OSError as error:
            broken.append((folder, f"{folder}: {(error.strerror or str(error)).lower()}"))
            continue

        if _MARKS & is_folder.keys():
            yield folder  # and nothing below: artifacts can be many
            continue
        for name in sorted(is_folder, reverse=True):
            if is_folder[name] and not name.startswith("."):
                todo.append(folder / name)


def running(folder: Path) -> bool:
    """Whether a live process holds the cell of this folder."""
    return held(folder / "claim")


@contextmanager
def claim(
    cell: Cell,
    *,
    wait: bool = True,
    stale_after: float = STALE,
    poll: float = 0.5,
    on_wait: Callable[[str], None] | None = None,
    also: Sequence[Path] = (),
) -> Iterator[None]:
    """Hold the cell alone. Who had to wait should look first whether it is `finished` by now.

    A claim is stale, and taken over, when its process on this machine is dead, or when it gave no
    sign of life while this process watched it for `stale_after` seconds (or for an hour). While
    another holds the cell: Busy if not `wait`, else a look every `poll` seconds; `on_wait` is told
    once who holds it. Inside, what is written to the cell, and to what it covers `also`, is refused
    (ClaimLost) once another has taken it over.
    """
    mine, watch, waits = cell.folder / "claim" / me(), Watch(stale_after), False
    while True:
        with writing(cell.folder):
            cell.folder.mkdir(parents=True, exist_ok=True)
            holder = take(mine, watch)
        if holder is None:
            break
        pid, host = (*holder.split("@"), "?")[:2]
        busy = escape.terminal(f"{cell.folder}: held by process {pid} on {host}")
        if not wait:
            raise Busy(busy)
        if on_wait and not waits:
            on_wait(busy)
        waits = True
        time.sleep(poll)

    done, places = threading.Event(), (cell.folder, *also)
    try:
        cover(places, mine)
        threading.Thread(target=beat, args=(mine, done, stale_after / 6), daemon=True).start()
        yield
    finally:
        done.set()
        uncover(places, mine)
        # not ours any more: taken over while this process was stopped for long
        with suppress(OSError):
            mine.unlink()
            mine.parent.rmdir()

"""Large LaMP files, kept in the cache folder as JSON lines with offsets: one user is one seek."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.data.file_bar import bar
from bench.data.json_stream import Source, records
from bench.disk.env import cache_folder
from bench.disk.shortcut import load_checked, save_checked
from bench.disk.shortcut import load_json as load_json
from bench.disk.shortcut import save_json as save_json
from bench.errors import InputError
from bench.terminal import escape

_ABANDONED = 24 * 3600


class Records(Protocol):
    """Records by number: a list, or `Lines` on disk."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


def cache_home() -> Path:
    """`$LAMPLIGHT_CACHE/data`, by default `~/.cache/lamplight/data`."""
    return cache_folder() / "data"


@dataclass(frozen=True)
class Lines:
    """JSON lines on disk: record i is `offsets[i]:offsets[i + 1]` (bytes). Safe to use after a fork
    and to pickle.

    `sums`: a checksum of each, checked when it is read: files of many gigabytes are never read as a
    whole for it.
    """

    path: Path
    offsets: np.ndarray[Any, np.dtype[np.int64]]
    sums: np.ndarray[Any, np.dtype[np.uint32]]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start, end = self.offsets[index : index + 2].tolist()
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                text = file.read(end - start)
            if zlib.crc32(text) != int(self.sums[index]):
                raise ValueError("it does not fit its checksum")
            return json.loads(text)
        except (OSError, ValueError) as error:
            raise InputError(
                f"the cached copy {self.path} is damaged: remove its folder and run again"
            ) from error


def convert(source: Source, sha: str, cache: Path, *, progress: bool) -> Lines:
    """The file as JSON lines in `cache`, converted the first time; keyed by path, size, time and
    content.

    The folder is written beside its place and renamed: an interrupted conversion leaves nothing
    that looks complete.
    """
    before = _version(source.path)
    key = hashlib.sha256(json.dumps([*before, sha]).encode()).hexdigest()
    folder = cache / f"{source.path.stem}-{key[:16]}"
    try:
        return _open(folder)
    except (OSError, ValueError):
        if folder.exists():
            escape.say(
                f"{source.label}: its cached copy is not whole, it is converted again", sys.stderr
            )
        shutil.rmtree(folder, ignore_errors=True)
    with _written(cache, folder, before[1]) as fresh:
        _copy(source, fresh, before[1], progress)
        if _version(source.path) != before:
            raise InputError(
                f"{source.label}: changed while it was read; run again when it is complete"
            )
    return _open(folder)


def _open(folder: Path) -> Lines:
    offsets, sums = np.load(folder / "offsets.npy"), np.load(folder / "sums.npy")
    whole = (
        offsets.dtype == np.int64 and sums.dtype == np.uint32 and offsets.shape == (len(sums) + 1,)
    )
    if not whole or (folder / "records.jsonl").stat().st_size != offsets[-1]:
        raise ValueError("incomplete")
    return Lines(folder / "records.jsonl", offsets, sums)


@contextmanager
def _written(cache: Path, folder: Path, size: int) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder` when the block is done,
    and goes when it is not.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for left in cache.glob("converting-*"):
            if time.time() - left.stat().st_mtime > _ABANDONED:
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(
            prefix="converting-", dir=cache, ignore_cleanup_errors=True
        ) as name:
            fresh = Path(name) / "done"
            fresh.mkdir()
            yield fresh
            # Another process may have put the same content there first: then ours is not needed.
            if not folder.exists():
                fresh.rename(folder)
    except OSError as error:
        need = f"about {size / 1e9:.1f} GB; LAMPLIGHT_CACHE names another place"
        raise InputError(
            f"cannot write the cache {cache}: {error.strerror or error} (needs {need})"
        ) from error


def _copy(source: Source, folder: Path, size: int, progress: bool) -> None:
    offsets, sums = [0], list[int]()
    with (
        source.path.open("rb") as file,
        (folder / "records.jsonl").open("wb") as out,
        bar(f"converting {source.label}", size, enabled=progress, unit="bytes") as advance,
    ):
        for _, text in records(source, file):
            # JSON strings hold no raw line ends, so these only ever stand between values.
            line = text.replace("\n", " ").replace("\r", " ").encode() + b"\n"
            offsets.append(offsets[-1] + out.write(line))
            sums.append(zlib.crc32(line))
            advance(offsets[-1] - offsets[-2])
    np.save(folder / "offsets.npy", np.array(offsets, dtype=np.int64))
    np.save(folder / "sums.npy", np.array(sums, dtype=np.uint32))


def digest(path: Path, cache: Path) -> str:
    """SHA-256 of a large file, remembered in `cache/sha256.json` for the same path, size and
    modification time.
    """
    (name, *version), book = _version(path), cache / "sha256.json"
    known = load_checked(book)
    entry = known.get(name)
    if isinstance(entry, list) and entry[:2] == version:
        return str(entry[2])
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    save_checked(book, known | {name: [*version, found]})
    return found


def _version(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return str(path.resolve()), stat.st_size, stat.st_mtime_ns

"""Files that appear whole: JSON written in one step, and errors of the disk that say what to do."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.disk.claims import lost
from bench.disk.env import cache_folder
from bench.errors import InputError


class StoreError(Exception):
    """A result could not be written: one line that names the folder and what to do."""


class ClaimLost(StoreError):
    """Another process has taken over what this one was writing:
    it must stop, and the other goes on.
    """


class Unwritable(StoreError, InputError):
    """The folder is none that can be written to: another must be named."""


_NO_PLACE = (
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.ENOENT,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)


def place(setting: str, text: object) -> Path:
    """The folder that a setting names, `~` and `~user` expanded.

    Raises InputError if it can be none.
    """
    try:
        if not str(text) or "\0" in str(text):
            raise ValueError("a folder has a name")
        return Path(str(text)).expanduser()
    except (RuntimeError, ValueError) as error:  # no such user, or none whose home is known
        raise InputError(
            f"{setting}={text}: {str(error).rstrip('.').lower()}; give a folder"
        ) from None


def is_there(path: Path, label: str = "") -> bool:
    """Whether an optional file is there. Something else of its name must not pass for none.

    Raises InputError for a folder, a pipe or device, a link that leads nowhere, and what cannot be
    looked at.
    """
    try:
        if path.is_file():
            return True
        if not os.path.lexists(path):
            return False
    except OSError as error:
        raise InputError(f"{label or path}: cannot be looked at: {error.strerror}") from None
    kind = "a link that leads nowhere"
    if path.is_dir():
        kind = "a folder"
    elif path.exists():
        kind = "no ordinary file"
    raise InputError(f"{label or path}: {kind} (need a file here, or nothing of this name)")


def still_ours(path: Path) -> None:
    """Raises ClaimLost if this process had claimed what it is about to write,
    and holds it no more.
    """
    if (claimed := lost(path)) is not None:
        raise ClaimLost(
            f"{claimed}: another process has taken this over, as this one stood still for too long;"
            " nothing more was written here, the other goes on with it"
        )


@contextmanager
def writing(folder: Path, elsewhere: str | None = None) -> Iterator[None]:
    """Inside, a disk that is full or cannot be written becomes a StoreError that says what to do.

    `elsewhere`: how the command is told to write to another folder, where that is neither
    results.root nor the cache.
    """
    try:
        yield
    except OSError as error:
        if elsewhere is None:
            in_cache = folder.is_relative_to(cache_folder())
            elsewhere = "LAMPLIGHT_CACHE=FOLDER" if in_cache else "results.root=FOLDER"
        what = (error.strerror or str(error)).lower()
        kind = Unwritable if error.errno in _NO_PLACE else StoreError
        advice = _advice(error.errno)
        raise kind(f"{folder}: {what}; {advice}write elsewhere with {elsewhere}") from error


def _advice(number: int | None) -> str:
    """What else one can do about an error of the disk."""
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (
            "free some space and run the same command again: nothing that was finished is lost; or "
        )
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "make it writable, or "
    if number == errno.EIO:
        return "run the same command again: nothing that was finished is lost; or "
    return ""


def encoded(text: str) -> bytes:
    """A lone surrogate is no UTF-8; backslashreplace writes it as \\ud800,
    which is how JSON spells it.
    """
    return text.encode("utf-8", "backslashreplace")


def write(fd: int, text: str) -> None:
    """All of a text, on disk when this returns."""
    rest = memoryview(encoded(text))
    while rest:  # a nearly full disk takes a part, and says why only when asked again
        rest = rest[os.write(fd, rest) :]
    os.fsync(fd)


def json_value(value: Any, where: str = "") -> Any:
    """The value as JSON has it; InputError that names the part that is not JSON."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list | tuple):
        return [json_value(part, f"{where}[{index}]") for index, part in enumerate(value)]
    if not isinstance(value, Mapping):
        raise InputError(f"{where or 'value'}: {value!r:.80} ({type(value).__name__}) is not JSON")
    for name in value:
        if not isinstance(name, str):
            raise InputError(
                f"{where or 'value'}: the name {name!r} is not a string, so this is not JSON"
            )
    return {
        name: json_value(part, f"{where}.{name}" if where else name) for name, part in value.items()
    }


def _json_text(value: Any) -> str:
    return json.dumps(json_value(value), ensure_ascii=False, indent=1)


def write_json(path: Path, value: Any) -> None:
    """Replace `path` in one step: a reader, or a crash at any moment,
    sees the old file or the new one.
    """
    replace(path, [_json_text(value) + "\n"])


def write_rows(path: Path, rows: Iterable[Any]) -> None:
    """The file that `write_json` writes for a list of objects,
    with one of them in memory at a time.
    """

    def texts() -> Iterator[str]:
        lead = "[\n "
        for row in rows:
            yield lead + _json_text(row).replace("\n", "\n ")
            lead = ",\n "
        yield "\n]\n" if lead[0] == "," else "[]\n"

    replace(path, texts())


def replace(path: Path, parts: Iterable[str | bytes]) -> None:
    """Put parts, one after the other, in the place of a file, in one step.

    Raises StoreError if the disk refuses, and if what is written has been taken over by
    another process.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                for part in parts:
                    file.write(encoded(part) if isinstance(part, str) else part)
                file.flush()
                os.fsync(file.fileno())
            still_ours(path)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        # some network file systems cannot sync a folder; the file itself is safe
        with suppress(OSError):
            os.fsync(folder)
        os.close(folder)


def remove(path: Path) -> None:
    """Take away a file, or a folder with all in it, where there is one.

    Raises StoreError if the disk refuses, and if it has been taken over by another process.
    """
    with writing(path.parent):
        still_ours(path)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """The value in a JSON file; InputError naming the file when it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: broken JSON ({error}); delete the file and run the cell again"
        ) from None

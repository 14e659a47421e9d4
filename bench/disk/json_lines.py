"""Files of JSON lines that grow while a cell runs: a line is on disk when it is written, and
carries a checksum.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.disk.files import encoded, still_ours, write, writing

_MARK = b', "check": "'


def sealed(fields: Mapping[str, Any]) -> str:
    """An object as a line, with a checksum of what stands before it as its last field."""
    text = json.dumps(fields, ensure_ascii=False)
    return f'{text[:-1]}{_MARK.decode()}{_sum(encoded(text))}"}}\n'


@dataclass(frozen=True)
class JSONLine:
    """The object on a line, and whether it has a checksum: lines of earlier versions have none."""

    fields: dict[str, Any]
    has_checksum: bool


def parse(line: bytes) -> JSONLine:
    """Raises ValueError if the line is no object, or does not fit its checksum."""
    head, mark, tail = line.rpartition(_MARK)
    if mark and tail.rstrip() != _sum(head + b"}").encode() + b'"}':
        raise ValueError("it was changed after it was written: it does not fit its checksum")
    fields = json.loads(head + b"}" if mark else line)
    if not isinstance(fields, dict):
        raise ValueError("no JSON object")
    return JSONLine(fields, bool(mark))


def append(path: Path, lines: Sequence[str]) -> None:
    """Add lines in one write, on disk when this returns. A line that a crash cut off is removed
    first.

    Raises ClaimLost if another process has taken over what is written to.
    """
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as file:
            still_ours(path)
            size = _drop_cut_line(file.fileno())
            try:
                write(file.fileno(), "".join(lines))
            except OSError:
                with suppress(OSError):  # should this fail too, the next reader drops the cut line
                    os.ftruncate(file.fileno(), size)
                raise


def stream(path: Path) -> Iterator[bytes | None]:
    """The lines of a file, one at a time; at the end None for a line that a crash cut off.

    No file has none.
    """
    if not os.path.exists(path):
        return
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                yield None
                return
            yield line


def _sum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:12]


def _drop_cut_line(fd: int) -> int:
    size = end = os.fstat(fd).st_size
    while end:
        start = max(0, end - (1 << 16))
        end = start + os.pread(fd, end - start, start).rfind(b"\n") + 1
        if end > start:
            break
    if end < size:
        os.ftruncate(fd, end)
    return end

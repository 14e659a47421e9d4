"""Small JSON files that only save time: one that cannot be read is empty, and one that cannot be
written is left out.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.disk.files import StoreError, read_json, replace
from bench.errors import InputError


def load_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is none, or if it cannot be read."""
    try:
        value = read_json(path)
    except InputError:
        return {}
    return value if isinstance(value, dict) else {}


def save_json(path: Path, value: dict[str, Any]) -> None:
    """Replace the file in one step. A cache that cannot be written costs time, not the run."""
    # on one line, unlike a result: an index of a large data file has a number for every question
    text = json.dumps(value)
    with suppress(StoreError):
        replace(path, [text])


def load_checked(path: Path) -> dict[str, Any]:
    """What `save_checked` wrote; empty also if it was changed since."""
    content = load_json(path)
    value = content.get("value")
    if isinstance(value, dict) and content.get("check") == _check(path, value):
        return value
    return {}


def save_checked(path: Path, value: dict[str, Any]) -> None:
    """As `save_json`, with a checksum of the value and of the file's name."""
    save_json(path, {"check": _check(path, value), "value": value})


def _check(path: Path, value: dict[str, Any]) -> str:
    return hashlib.sha256(f"{path.name} {json.dumps(value)}".encode()).hexdigest()[:16]

"""Small JSON files that only save time: what cannot be read is empty, what cannot be written is
not.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any


def load_json(path: Path) -> dict[str, Any]:
    """A small JSON object of ours; empty when it is absent or unreadable: it is only ever a
    shortcut.
    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def save_json(path: Path, value: dict[str, Any]) -> None:
    """Write atomically. A cache that cannot be written costs time, not the run."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file)
        os.replace(name, path)
    except OSError:
        return


def load_checked(path: Path) -> dict[str, Any]:
    """What `save_checked` wrote; empty also where it was changed since."""
    found = load_json(path)
    value = found.get("value")
    return value if isinstance(value, dict) and found.get("check") == _check(path, value) else {}


def save_checked(path: Path, value: dict[str, Any]) -> None:
    """As `save_json`, with a checksum of the value and of the file's name."""
    save_json(path, {"check": _check(path, value), "value": value})


def _check(path: Path, value: dict[str, Any]) -> str:
    return hashlib.sha256(f"{path.name} {json.dumps(value)}".encode()).hexdigest()[:16]

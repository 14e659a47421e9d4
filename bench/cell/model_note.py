"""What the loaded model says of itself, kept for the record of its cell: how its prompts are
rendered, and what libraries warned of while it was loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.disk import store
from bench.disk.store import Cell


def write(cell: Cell, facts: Mapping[str, Any]) -> None:
    """Keep the facts, JSON values."""
    store.write_json(_path(cell), dict(facts))


def read(cell: Cell) -> dict[str, Any]:
    """The facts; none if no model was loaded for the cell."""
    path = _path(cell)
    return dict(store.read_json(path)) if path.exists() else {}


def _path(cell: Cell) -> Path:
    return cell.artifacts / "model.json"

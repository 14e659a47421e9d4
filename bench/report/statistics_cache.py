"""Statistics by content: of equal scores, computed by equal code, nothing is computed twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from bench.disk import store
from bench.disk.env import cache_folder
from bench.errors import InputError

BENCH = Path(__file__).parents[1]
READS = ("cells", "significance", "differences", "scores")
"""Modules of this package that hand the scores to the code in `score`."""
Statistics = Mapping[str, Mapping[str, Any]]
"""Metrics by name, as JSON has them."""


@cache
def version() -> str:
    """A hash of the code that reads scores and computes intervals and tests."""
    files = sorted((BENCH / "score").glob("*.py"))
    files += [BENCH / "report" / f"{name}.py" for name in READS]
    sources = (path.name.encode() + b"\0" + path.read_bytes() for path in files)
    return hashlib.sha256(b"\0".join(sources)).hexdigest()


def digest(path: Path) -> str:
    """A hash of the file's content; InputError where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from None


def computed_once(parts: Sequence[Any], compute: Callable[[], Statistics]) -> Statistics:
    """What was computed of these parts (JSON values), now or before. A damaged file is as good as
    none.

    It lies in the cache folder; where that cannot be written, all is computed each time.
    """
    name = hashlib.sha256(json.dumps([version(), *parts]).encode()).hexdigest()
    path = cache_folder() / "statistics" / name[:2] / f"{name}.json"
    with suppress(OSError, ValueError, LookupError, TypeError):
        body = json.loads(path.read_bytes())
        if body["check"] == _check(body["found"]):
            return dict(body["found"])
    statistics = compute()
    with suppress(store.StoreError, OSError):
        store.write_json(path, {"check": _check(statistics), "found": statistics})
    return statistics


def _check(statistics: Statistics) -> str:
    return hashlib.sha256(json.dumps(statistics, sort_keys=True).encode()).hexdigest()

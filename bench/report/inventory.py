"""Every readable record below some folders;
what cannot be read is said on stderr, not left out in silence.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.disk import store
from bench.report.significance import fresh
from bench.terminal import escape


def readable(roots: Sequence[Path]) -> list[tuple[Path, dict[str, Any]]]:
    """Records of this schema with their folders, and metrics from the scores at hand; of copies of
    a cell, the first root's.
    """
    found = store.records(*roots)
    older = [
        (folder, outdated(folder))
        for folder, record in found.records
        if record.get("schema") != store.SCHEMA
    ]
    for _, reason in (*found.broken, *older):
        left_out(reason)
    known = [
        (folder, record) for folder, record in found.records if record.get("schema") == store.SCHEMA
    ]
    return [
        (folder, fresh(folder, record))
        for folder, record in {
            record["key"]: (folder, record) for folder, record in reversed(known)
        }.values()
    ]


def left_out(reason: str) -> None:
    """Say on stderr what the report goes on without."""
    escape.say(f"bench.report: left out: {escape.line(reason)}", sys.stderr)


def outdated(folder: Path) -> str:
    """What to say of a record that another version wrote."""
    return (
        f"{folder / 'record.json'}: not of schema {store.SCHEMA}, which this version reads; run the"
        " cell again"
    )

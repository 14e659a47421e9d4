"""Every readable record below some folders;
what cannot be read is said on stderr, not left out in silence.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.disk import store
from bench.errors import InputError
from bench.report.significance import FinishedCell, fresh
from bench.terminal import escape


def readable(roots: Sequence[Path]) -> list[FinishedCell]:
    """Records of this schema with their folders, and metrics from the scores at hand; of copies of
    a cell, the first root's.
    """
    at_hand = store.records(*roots)
    for _, reason in at_hand.broken:
        left_out(reason)

    known = []
    for folder, record in at_hand.records:
        if record.get("schema") == store.SCHEMA:
            known.append(FinishedCell(folder, record))
        else:
            left_out(outdated(folder))

    # from the last to the first, so that the first of several copies stays
    cells = {cell.record["key"]: cell for cell in reversed(known)}
    return [FinishedCell(cell.folder, fresh(cell.folder, cell.record)) for cell in cells.values()]


def at_least_one(roots: Sequence[Path]) -> list[FinishedCell]:
    """The same; InputError if there are none."""
    cells = readable(roots)
    if not cells:
        raise InputError(
            f"no records below {', '.join(map(str, roots))}; run a cell first: python -m bench"
        )
    return cells


def check_folders(roots: Sequence[Path]) -> None:
    """Raises InputError if one of the results folders is not there."""
    for root in roots:
        if not root.is_dir():
            raise InputError(
                f"{root}: no such folder; run a cell (python -m bench) or name another with"
                " --results"
            )


def left_out(reason: str) -> None:
    """Say on stderr what the report goes on without."""
    escape.say(f"bench.report: left out: {escape.line(reason)}", sys.stderr)


def outdated(folder: Path) -> str:
    """What to say of a record that another version wrote."""
    return (
        f"{folder / 'record.json'}: not of schema {store.SCHEMA}, which this version reads; run the"
        " cell again"
    )

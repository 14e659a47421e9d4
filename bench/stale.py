"""Work of other code: a finished cell, or one half done, whose method or engine has been edited since.

`stale=` decides. `keep` takes it as it is and says so, `rerun` does it again, `error` refuses. `auto` does it again
where git shows one of the differing files as changed or untracked, and keeps it else: a release that was updated does
not throw away what is there, and whoever edits a method never gets its old answers.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import sources, store
from bench.plan import Plan
from bench.types import InputError


@dataclass(frozen=True)
class Standing:
    """What of a cell holds: its finished record, or None where it is to be run; and which files differ since."""

    record: Mapping[str, Any] | None
    differs: Sequence[str] = ()

    @property
    def told(self) -> str:
        """A word for the result line."""
        if not self.differs:
            return "was done"
        return f"was done with other code: {_some(self.differs)}; stale=rerun runs it again"


def standing(plan: Plan) -> Standing:
    """The finished record, if its code still counts. Raises InputError where `stale=error` and it does not.

    Records of version 0.1 do not say their code, and count.
    """
    done = store.finished(plan.cell)
    if done is None:
        return Standing(None)
    differs = _differing(done.get("sources"), plan)
    return Standing(done if _counts(plan, differs, "done") else None, differs)


def begin(plan: Plan) -> None:
    """Before any work on the cell, with its claim held: what other code left is removed or kept, as `stale=` says.

    What is kept although a part of it is from other code is named in the record.
    """
    note = _note(plan)
    before = store.read_json(note) if note.exists() else {}
    differs = _differing(before.get("sources"), plan)
    again = store.finished(plan.cell) is not None  # it did not stand, else nobody would begin
    mixed: set[str] = set()
    if again or not _counts(plan, differs, "begun"):
        _clear(plan)
    elif differs:
        mixed = {*before.get("sources_mixed", ()), *differs}
        print(f"{plan.cell.folder}: goes on with other code than it began with: {_some(differs)}", file=sys.stderr)
    store.write_json(note, {"sources": sources.of(plan.method), "sources_mixed": sorted(mixed)})


def noted(plan: Plan) -> dict[str, Any]:
    """Of a cell at work, for its record: the hash of each file that made it, and files that changed on the way."""
    note = _note(plan)
    if not note.exists():
        return {"sources": sources.of(plan.method), "sources_mixed": []}
    return dict(store.read_json(note))


def _counts(plan: Plan, differs: Sequence[str], what: str) -> bool:
    """Whether earlier work is taken as it is."""
    if not differs:
        return True
    match plan.config["stale"]:
        case "keep":
            return True
        case "error":
            raise InputError(
                f"{plan.cell.folder}: was {what} with other code ({_some(differs)}); "
                "stale=rerun runs it again, stale=keep takes it as it is"
            )
        case "rerun":
            return False
        case _:
            return not sources.edited(differs)


def _differing(before: Any, plan: Plan) -> list[str]:
    """Files that were added, removed or changed since; none where nothing is known of the files before."""
    if not isinstance(before, Mapping) or not before:
        return []
    now = sources.of(plan.method)
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def _clear(plan: Plan) -> None:
    """Remove all that earlier code left; its record first, so that it never stands beside new answers."""
    cell = plan.cell
    left = [cell.record, cell.samples, cell.scores, cell.folder / "golds.json", cell.folder / "predictions.json"]
    if any(path.exists() for path in left):
        print(f"{cell.folder}: runs again, as its code has changed", file=sys.stderr)
    with store.writing(cell.folder):
        for path in left:
            path.unlink(missing_ok=True)
        for folder in (cell.artifacts, cell.folder / "shards"):
            shutil.rmtree(folder, ignore_errors=True)


def _note(plan: Plan) -> Path:
    return plan.cell.artifacts / "sources.json"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

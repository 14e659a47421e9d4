"""Work of other code: a finished cell, or one half done, whose method or engine has been edited
since.

`stale=` decides. `keep` takes it as it is and says so, `rerun` does it again, `error` refuses.
`auto` does it again where git shows one of the differing files as changed or untracked, and keeps
it else: a release that was updated does not throw away what is there, and whoever edits a method
never gets its old answers.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cell.plan import Plan
from bench.disk import files, seals, sources, store
from bench.terminal import escape


@dataclass(frozen=True)
class Standing:
    """What of a cell still counts: its finished record, or None if it is to be run; and the files
    that differ since.
    """

    record: Mapping[str, Any] | None
    differs: Sequence[str] = ()

    @property
    def remark(self) -> str:
        """A word for the result line."""
        if not self.differs:
            return "was done"
        return f"was done with other code: {sources.some(self.differs)}; stale=rerun runs it again"


def standing(plan: Plan) -> Standing:
    """The finished record, if its code still counts. Raises InputError if it does not and
    `stale=error`.

    Records of version 0.1 do not say their code, and count.
    """
    done = store.finished(plan.cell)
    if done is None:
        return Standing(None)
    differs = sources.differing(done.get("sources"), sources.of(plan.method, plan.spec.engine))
    return Standing(done if _counts(plan, differs, "done") else None, differs)


def begin(plan: Plan) -> None:
    """Before any work on the cell, with its claim held: what other code left is removed or kept, as
    `stale=` says.

    What is kept although a part of it is from other code is named in the record.
    """
    before = _noted(plan) or {}
    differs = sources.differing(before.get("sources"), sources.of(plan.method, plan.spec.engine))
    again = store.finished(plan.cell) is not None  # it did not stand, else nobody would begin
    mixed: set[str] = set()
    if again or not _counts(plan, differs, "begun"):
        _clear(plan)
    elif differs:
        mixed = {*before.get("sources_mixed", ()), *differs}
        files_changed = sources.some(differs)
        escape.say(
            f"{plan.cell.folder}: goes on with other code than it began with: {files_changed}",
            sys.stderr,
        )
    now = {"sources": sources.of(plan.method, plan.spec.engine), "sources_mixed": sorted(mixed)}
    seals.write(_note(plan), now, _owner(plan))


def noted(plan: Plan) -> dict[str, Any]:
    """Of a cell at work, for its record: the hash of each file that made it,
    and files that changed on the way.
    """
    return _noted(plan) or {
        "sources": sources.of(plan.method, plan.spec.engine),
        "sources_mixed": [],
    }


def _counts(plan: Plan, differs: Sequence[str], what: str) -> bool:
    """Whether earlier work is taken as it is."""
    return sources.counts(differs, plan.config["stale"], f"{plan.cell.folder}: was {what}")


def _clear(plan: Plan) -> None:
    """Remove all that earlier code left; its record first,
    so that it never stands beside new answers.
    """
    cell = plan.cell
    left = [
        cell.record,
        cell.samples,
        cell.scores,
        cell.folder / "golds.json",
        cell.folder / "predictions.json",
    ]
    if any(path.exists() for path in left):
        escape.say(f"{cell.folder}: runs again, as its code has changed", sys.stderr)
    for path in (*left, cell.artifacts, cell.folder / "shards"):
        files.remove(path)


def _note(plan: Plan) -> Path:
    return plan.cell.artifacts / "sources.json"


def _owner(plan: Plan) -> seals.Owner:
    return {"cell": plan.cell.key, "name": "sources"}


def _noted(plan: Plan) -> dict[str, Any] | None:
    """What the cell at work says of its code; None if it says nothing.

    Raises InputError if that is damaged.
    """
    if not _note(plan).exists():
        return None
    remedy = f"delete {plan.cell.folder} and run the cell again"
    return dict(seals.read(_note(plan), _owner(plan), remedy))

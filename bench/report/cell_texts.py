"""The texts of a cell: its golds, and what its method wrote on its way (insights, pairs,
profiles).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.disk import store
from bench.errors import InputError
from bench.report.cells import task_of
from bench.report.inventory import left_out


def cell_of(folder: Path) -> store.Cell:
    """The cell of a folder, whose place says what it is: a record may say otherwise."""
    *_, task, method, key = folder.resolve().parts
    return store.Cell(folder.resolve().parents[2], task, method, key)


def golds_of(folder: Path, task: str, scored: Mapping[str, Any]) -> dict[str, str]:
    """The golds as texts, by question: of golds.json,
    or where that is missing the labels and ratings of scores.json.
    """
    path = folder / "golds.json"
    if path.exists():
        return _golds(path)
    kind = task_of(task)
    golds = {}
    for id, row in scored.items():
        number = row.get("gold")
        if number is not None:
            is_label = kind.kind == "classification"
            golds[id] = kind.labels[int(number)] if is_label else f"{number:g}"
    return golds


def _golds(path: Path) -> dict[str, str]:
    golds = store.read_json(path)
    if not isinstance(golds, dict) or not all(isinstance(gold, str) for gold in golds.values()):
        raise InputError(f"{path}: not a text for each question; delete the file")
    return golds


@dataclass(frozen=True)
class Note:
    """What a method has noted. `name`: which kind of note; `user`: of whom, empty for all users.
    `content`: a text, or rows of texts.
    """

    name: str
    user: str
    content: Any

    @property
    def title(self) -> str:
        return f"{self.name} of {self.user}" if self.user else self.name

    @property
    def text(self) -> str:
        """A text as it is; rows of texts a line each."""
        if not isinstance(self.content, list):
            return str(self.content)
        lines = []
        for row in self.content:
            lines.append(" | ".join(map(str, row)) if isinstance(row, list) else str(row))
        return "\n".join(lines)


def notes_of(path: Path) -> Iterator[Note]:
    """The notes in a file of personalizations; a damaged file has none."""
    try:
        personals = store.read_artifact(path)
    except InputError as error:
        return left_out(str(error))
    values = personals if isinstance(personals, list) else [None]
    whole = [value for value in values if isinstance(value, dict)]
    if values and not whole:
        return left_out(f"{path}: no list of personalizations")
    for personal in whole:
        notes = personal.get("notes")
        for name, note in notes.items() if isinstance(notes, dict) else ():
            for user, content in _by_user(personal, note).items():
                yield Note(name, user, content)


def _by_user(personal: Mapping[str, Any], note: Any) -> dict[str, Any]:
    """A note of one user, of all, or of each user apart."""
    if "user" in personal:
        return {str(personal["user"]): note}
    return note if isinstance(note, dict) else {"": note}

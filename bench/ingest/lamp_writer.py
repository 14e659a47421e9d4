"""A split in LaMP's layout, written user by user: questions with their profiles, and the golds."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from bench.data.task import Task
from bench.ingest.split_rule import Part
from bench.ingest.spool import SpooledRow


class ListWriter:
    """A JSON list, one entry a line, in memory for one entry."""

    def __init__(self, file: TextIO, before: str = "[", after: str = "]") -> None:
        self.file, self.after, self.count = file, after, 0
        file.write(before)

    def add(self, value: Any) -> None:
        self.file.write(",\n" if self.count else "\n")
        self.file.write(json.dumps(value, ensure_ascii=False))
        self.count += 1

    def close(self) -> None:
        self.file.write(f"\n{self.after}\n")
        self.file.close()


class SplitWriter:
    """The two files of `time/{task.folder}/{split}` below a folder, to be used with `with`.

    The layout is that of LaMP's time-based sets, in which several questions name one user.
    """

    def __init__(self, root: Path, task: Task, split: str) -> None:
        folder = root / "time" / task.folder / split
        folder.mkdir(parents=True, exist_ok=True)
        self.task = task
        self._questions = ListWriter(_opened(folder / f"{split}_questions.json"))
        before = json.dumps({"task": task.official})[:-1] + ', "golds": ['
        self._golds = ListWriter(_opened(folder / f"{split}_outputs.json"), before, "]}")

    def __enter__(self) -> SplitWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._questions.close()
        self._golds.close()

    def add(self, part: Part) -> None:
        """A user's questions, each with the whole history."""
        profile = [item_of(self.task, entry) for entry in part.history]
        for entry in part.questions:
            question = {"id": str(entry.number), "user_id": part.user}
            if entry.day:
                question["date"] = entry.day
            self._questions.add(
                question | {"input": input_of(self.task, entry), "profile": profile}
            )
            self._golds.add({"id": str(entry.number), "output": entry.output})


def item_of(task: Task, entry: SpooledRow) -> dict[str, str]:
    """An item of a profile."""
    item = {"id": str(entry.number), task.source: entry.input, str(task.target): entry.output}
    return item | ({"date": entry.day} if entry.day else {})


def input_of(task: Task, entry: SpooledRow) -> str:
    """A question in the words of the task."""
    return task.input_template.replace("{" + task.source + "}", entry.input)


def _opened(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8")

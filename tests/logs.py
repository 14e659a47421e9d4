"""Logs of what users wrote, as files, and what `python -m bench.ingest` makes of them."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.data import lamp
from bench.data.lamp import Dataset
from bench.data.task import Task
from bench.data.task_yaml import read_task
from bench.ingest.__main__ import main
from bench.types import User

WORDS = ["battery", "camera", "screen", "sound", "value", "money", "shipping", "quality", "build"]


def text(rng: random.Random, count: int = 12) -> str:
    """Words that no other text has in the same number: no two are near each other."""
    return " ".join(f"{rng.choice(WORDS)}{rng.randrange(10**6)}" for _ in range(count))


Record = dict[str, Any]


def records(users: int = 12, rows: int = 10, seed: int = 0) -> list[Record]:
    """A log: each user's rows, a day apart, with ratings from 1 to 5."""
    rng = random.Random(seed)
    found = []
    for user in range(users):
        for day in range(rows):
            found.append(
                {
                    "user": f"user{user}",
                    "text": text(rng),
                    "stars": str(1 + (user + day) % 5),
                    "date": f"2024-03-{day + 1:02d}",
                }
            )
    return found


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], **form: Any) -> Path:
    encoding = form.pop("encoding", "utf-8")
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(rows[0]), **form)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_lines(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Outcome:
    """What the command did."""

    code: int
    out: str
    err: str
    root: Path

    @property
    def task(self) -> Task:
        return read_task(self.root)

    def split(self, name: str) -> Dataset:
        return lamp.read(self.task, self.root, split=name, kind="time", progress=False)

    @property
    def users(self) -> list[User]:
        return [*self.split("train").users, *self.split("dev").users]


def run(root: Path, capsys: pytest.CaptureFixture[str], *words: Any) -> Outcome:
    """The command with these words, into a folder."""
    capsys.readouterr()
    code = main([*map(str, words), "--out", str(root)])
    said = capsys.readouterr()
    # Lines are wrapped at a width that no test is about.
    return Outcome(code, " ".join(said.out.split()), said.err, root)

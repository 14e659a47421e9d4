"""The folder of a cell, and what its files are called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cell:
    """The place of one cell's results: `root/task/method/key`."""

    root: Path
    task: str
    method: str
    key: str

    @property
    def folder(self) -> Path:
        return self.root / self.task / self.method / self.key

    @property
    def record(self) -> Path:
        return self.folder / "record.json"

    @property
    def samples(self) -> Path:
        return self.folder / "samples.jsonl"

    @property
    def scores(self) -> Path:
        return self.folder / "scores.json"

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

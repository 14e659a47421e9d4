"""The response cache: what a model answered to a prompt, in one SQLite file that several processes may share."""

from __future__ import annotations

import errno
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from bench.store import writing
from bench.types import Completion


class ResponseCache:
    """Completions by key; `folder` keeps tensors worth remembering beside them. The key holds everything that can
    change the answer: model, base, prompt, patches, decoding.

    With each the seconds that it took: what a budget counts when the answer is used again. Answers of an older version
    have none.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        self.hits = 0
        with writing(self.folder), _disk():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT NOT NULL)")

    @staticmethod
    def key(parts: Mapping[str, object]) -> str:
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def get(self, key: str) -> tuple[Completion, float | None] | None:
        """The answer, and the seconds that it took."""
        row = self._connection.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        value = json.loads(row[0])
        logprobs, seconds = value["label_logprobs"], value.pop("seconds", None)
        return Completion(**value | {"label_logprobs": None if logprobs is None else tuple(logprobs)}), seconds

    def put(self, answers: Mapping[str, Completion], seconds: float) -> None:
        """Store a batch of answers, which took so many seconds each, in one transaction."""
        rows = [(key, json.dumps(asdict(answer) | {"seconds": seconds})) for key, answer in answers.items()]
        with writing(self.folder), _disk(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)


@contextmanager
def _disk() -> Iterator[None]:
    """SQLite's own words for a full or read-only disk, as the system's error."""
    try:
        yield
    except sqlite3.OperationalError as error:
        number = errno.ENOSPC if "full" in str(error) else errno.EROFS if "readonly" in str(error) else errno.EIO
        raise OSError(number, str(error)) from error

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
    """

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        self.folder.mkdir(parents=True, exist_ok=True)
        self.hits = 0
        self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT NOT NULL)")

    @staticmethod
    def key(parts: Mapping[str, object]) -> str:
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def get(self, key: str) -> Completion | None:
        row = self._connection.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        value = json.loads(row[0])
        logprobs = value["label_logprobs"]
        return Completion(**value | {"label_logprobs": None if logprobs is None else tuple(logprobs)})

    def put(self, answers: Mapping[str, Completion]) -> None:
        """Store a batch of answers in one transaction."""
        rows = [(key, json.dumps(asdict(answer))) for key, answer in answers.items()]
        with writing(self.folder), _disk(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", rows)


@contextmanager
def _disk() -> Iterator[None]:
    """SQLite's own words for a full or read-only disk, as the system's error."""
    try:
        yield
    except sqlite3.OperationalError as error:
        number = errno.ENOSPC if "full" in str(error) else errno.EROFS if "readonly" in str(error) else errno.EIO
        raise OSError(number, str(error)) from error

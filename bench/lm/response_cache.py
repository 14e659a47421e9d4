"""The response cache: what a model answered to a prompt,
in one SQLite file that several processes may share.
"""

from __future__ import annotations

import errno
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from bench.disk.store import writing
from bench.errors import InputError
from bench.types import Completion


class CachedAnswer(NamedTuple):
    """A completion, and the seconds that it took; None where an earlier version did not say."""

    completion: Completion
    seconds: float | None


class ResponseCache:
    """Completions by key; `folder` keeps tensors worth remembering beside them. The key holds
    everything that can change the answer: model, base, prompt, patches, decoding.

    With each the seconds that it took, what a budget counts when the answer is used again, and a
    checksum. Answers of earlier versions stand in a table of their own, without one: they are
    written again.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.folder = path, path.parent
        self.hits = 0
        with writing(self.folder), self._disk():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS texts (key TEXT PRIMARY KEY, value TEXT NOT NULL, sum"
                " TEXT NOT NULL)"
            )

    @staticmethod
    def key(parts: Mapping[str, object]) -> str:
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def get(self, key: str, damaged: Callable[[], None] = lambda: None) -> CachedAnswer | None:
        """The answer; None where there is none. `damaged` hears of a row that does not fit its
        checksum.
        """
        with writing(self.folder), self._disk():
            row = self._connection.execute(
                "SELECT value, sum FROM texts WHERE key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        text, written_sum = row
        if written_sum != checksum(key, text):
            damaged()
            return None
        fields = json.loads(text)
        seconds = fields.pop("seconds", None)
        if fields["label_logprobs"] is not None:  # JSON has no tuples
            fields["label_logprobs"] = tuple(fields["label_logprobs"])
        return CachedAnswer(Completion(**fields), seconds)

    def put(self, answers: Mapping[str, Completion], seconds: float) -> None:
        """Store a batch of answers, which took so many seconds each, in one transaction."""
        rows = []
        for key, answer in answers.items():
            # Without its prompt, which whoever asks again has at hand.
            fields = asdict(replace(answer, prompt="")) | {"seconds": seconds}
            text = json.dumps(fields)
            rows.append((key, text, checksum(key, text)))
        with writing(self.folder), self._disk(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR REPLACE INTO texts VALUES (?, ?, ?)", rows)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """SQLite's own words for a full or read-only disk, as the system's error;
        InputError for a damaged file.
        """
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OSError(_error_number(str(error)), str(error)) from error
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"{self.path}: the response cache is damaged ({error}); delete {self.path}*, and"
                " what it held is written again"
            ) from None


def _error_number(message: str) -> int:
    """The system's number of what SQLite says."""
    if "full" in message:
        return errno.ENOSPC
    if "readonly" in message:
        return errno.EROFS
    return errno.EIO


def checksum(key: str, value: object) -> str:
    """Of an answer and the question that it belongs to."""
    return hashlib.sha256(f"{key} {value!s}".encode("utf-8", "surrogatepass")).hexdigest()[:16]

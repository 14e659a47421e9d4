"""A cell held by one process at a time; whoever has to wait says for whom."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from bench.disk import store
from bench.terminal import escape


def claimed(cell: store.Cell, *, also: Sequence[Path] = ()) -> AbstractContextManager[None]:
    """Hold the cell alone, and with it the folders `also`."""
    return store.claim(cell, also=also, on_wait=_say_for_whom)


def _say_for_whom(holder: str) -> None:
    escape.say(f"waiting for {holder}", sys.stderr)

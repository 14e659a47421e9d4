"""Output whose reader may have gone: `python -m bench ... | head` ends,
or goes on working, without a traceback.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO, cast


class Unpiped:
    """A stream that drops what it is given once nobody reads it any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        """Everything from here on goes nowhere, also what the stream still holds when the
        interpreter ends.
        """
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def unpiped() -> None:
    """Make the standard streams of this process such streams."""
    sys.stdout, sys.stderr = (cast(TextIO, Unpiped(one)) for one in (sys.stdout, sys.stderr))
    atexit.register(sys.stdout.flush)

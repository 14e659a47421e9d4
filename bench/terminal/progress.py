"""How far the work is: bars with the time left on a terminal,
a line every half minute on a plain stream.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

SECONDS = 30.0
"""Between two lines on a plain stream."""


class Screen:
    """All open bars of a cell as one display,
    since two that each redraw the same lines erase each other.
    """

    def __init__(self, *, show: bool) -> None:
        self.show = show
        self._live: Any = None
        self._tasks: dict[str, Any] = {}
        self._open: list[Progress] = []
        self._ended = threading.Event()

    def bar(self, name: str, total: int | None) -> Progress:
        """A bar, below those that are open. One of a name that was there before takes its line."""
        return Progress(self, name, total)

    def within(self, steps: float) -> None:
        """So many steps of the batch in work are behind the innermost bar,
        until its next `advance`.
        """
        if self._open:
            self._open[-1].within(steps)

    def open(self, bar: Progress) -> Any:
        """The line of a bar on the terminal; None where there is no terminal,
        or nothing is to be shown.
        """
        self._open.append(bar)
        if not self.show:
            return None
        if not sys.stderr.isatty():
            if len(self._open) == 1:
                self._ended = threading.Event()
                threading.Thread(
                    target=self._report, args=(self._ended, sys.stderr), daemon=True
                ).start()
            return None
        if self._live is None:
            self._live = _display()
            self._live.start()
        if bar.name in self._tasks:
            self._live.reset(self._tasks[bar.name], total=bar.total)
        else:
            self._tasks[bar.name] = self._live.add_task(bar.name, total=bar.total)
        return self._tasks[bar.name]

    def move(self, line: Any, done: float) -> None:
        self._live.update(line, completed=done)

    def close(self, bar: Progress, line: Any) -> None:
        """Stop a bar's clock; with the last one the display ends, and what it shows stays."""
        self._open.remove(bar)
        if line is not None:
            self._live.stop_task(line)
        if not self._open:
            self._ended.set()
            if self._live is not None:
                self._live.stop()
            self._live, self._tasks = None, {}

    def _report(self, ended: threading.Event, stream: Any) -> None:
        """On a plain stream, how far the innermost bar is, every half minute,
        also while one batch takes long.
        """
        while not ended.wait(SECONDS):
            if self._open:
                self._open[-1].report(stream)


def _display() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    counts = TextColumn("{task.completed:.0f}/{task.total}")
    columns = (TextColumn("{task.description:>12}"), BarColumn(), counts)
    return Bars(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True))


class Progress:
    """One bar: advance it, close it. On a plain stream a line every half minute and at the end."""

    def __init__(self, screen: Screen, name: str, total: int | None) -> None:
        self.name, self.total, self.done = name, total, 0
        self._start, self._within = time.monotonic(), 0.0
        self._screen, self._line = screen, screen.open(self)

    def advance(self, steps: int = 1) -> None:
        self.done += steps
        self.within(0.0)

    def within(self, steps: float) -> None:
        """So many more steps than are done, of a batch in work:
        they may move back when the batch ends elsewhere.
        """
        self._within = steps
        if self._line is not None:
            self._screen.move(self._line, self.done + steps)

    def close(self) -> None:
        if self._screen.show and self._line is None and self.done:
            self._say(f"{time.monotonic() - self._start:.1f} s", sys.stderr)
        self._screen.close(self, self._line)

    def report(self, stream: Any) -> None:
        """A line: how many steps are done, and the time left where it can be told,
        else the time that went by.
        """
        took, done = time.monotonic() - self._start, self.done + self._within
        if self.total is not None and done:
            self._say(f"about {took / done * max(0.0, self.total - done):.0f} s left", stream)
        else:
            self._say(f"for {took:.0f} s", stream)

    def _say(self, clock: str, stream: Any) -> None:
        of = f"  {self.done + self._within:.0f}/{self.total}" if self.total is not None else ""
        if self.total is None and self.done:
            of = f"  {self.done}"
        print(f"{self.name:>12}{of}  {clock}", file=stream, flush=True)

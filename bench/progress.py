"""How far the work is: bars with the time left on a terminal, now and then a line on a plain stream."""

from __future__ import annotations

import sys
import time
from typing import Any

SECONDS = 30
"""Between two lines on a plain stream."""


class Screen:
    """All open bars of a cell as one display, since two that each redraw the same lines erase each other."""

    def __init__(self, *, show: bool) -> None:
        self.show = show
        self._live: Any = None
        self._tasks: dict[str, Any] = {}
        self._open = 0

    def bar(self, name: str, total: int | None) -> Progress:
        """A bar, below those that are open. One of a name that was there before takes its line."""
        return Progress(self, name, total)

    def open(self, name: str, total: int | None) -> Any:
        """The line of a bar on the terminal; None where there is no terminal, or nothing is to be shown."""
        if not self.show or not sys.stderr.isatty():
            return None
        if self._live is None:
            self._live = _display()
            self._live.start()
        self._open += 1
        if name in self._tasks:
            self._live.reset(self._tasks[name], total=total)
        else:
            self._tasks[name] = self._live.add_task(name, total=total)
        return self._tasks[name]

    def advance(self, line: Any, steps: int) -> None:
        self._live.update(line, advance=steps)

    def close(self, line: Any) -> None:
        """Stop a bar's clock; with the last one the display ends, and what it shows stays."""
        self._live.stop_task(line)
        self._open -= 1
        if not self._open:
            self._live.stop()
            self._live, self._tasks = None, {}


def _display() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:>12}"), BarColumn(), MofNCompleteColumn())
    return Bars(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True))


class Progress:
    """One bar: advance it, close it. On a plain stream a line every half minute and at the end."""

    def __init__(self, screen: Screen, name: str, total: int | None) -> None:
        self.name, self.total, self.done = name, total, 0
        self._start = self._said = time.monotonic()
        self._screen, self._line = screen, screen.open(name, total)

    def advance(self, steps: int = 1) -> None:
        self.done += steps
        if self._line is not None:
            self._screen.advance(self._line, steps)
        elif self._screen.show and time.monotonic() - self._said > SECONDS:
            self._said = time.monotonic()
            pace = (self._said - self._start) / self.done
            self._say(f"about {pace * ((self.total or self.done) - self.done):.0f} s left")

    def close(self) -> None:
        if self._line is not None:
            self._screen.close(self._line)
        elif self._screen.show and self.done:
            self._say(f"{time.monotonic() - self._start:.1f} s")

    def _say(self, clock: str) -> None:
        of = f"/{self.total}" if self.total is not None else ""
        print(f"{self.name:>12}  {self.done}{of}  {clock}", file=sys.stderr, flush=True)

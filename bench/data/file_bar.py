"""The progress bar of reading and fetching files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(
    title: str, total: int | None, *, enabled: bool, unit: str = ""
) -> Iterator[Callable[[float], None]]:
    """A progress bar on stderr that goes away when done; yields the function that advances it."""
    if not enabled:
        return (yield lambda amount: None)
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    look = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn())
    with Progress(*look, console=Console(stderr=True), transient=True) as live:
        job = live.add_task(title, total=total)
        yield lambda amount: live.advance(job, amount)

"""Who holds a folder: one owner at a time among processes and machines that share a disk.

`claim` is a folder with one file whose name says who holds it and whose time is the last sign of
life. It appears with its file in one rename. A stale file is taken over by renaming it: of many
takers one finds it there. Who holds a claim and writes asks before each write whether it is still
theirs: a process that stood still for longer than a claim lives may have been given up by the
others.
"""

from __future__ import annotations

import errno
import os
import platform
import secrets
import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

LONG_DEAD = 3600.0
"""Seconds by which no two clocks differ: an older sign of life needs no watching."""
DISPLAYED = 600.0
"""Seconds that a sign of life may be off the local clock for a reader who looks but once."""

_ours: dict[Path, Path] = {}  # by what is claimed: the file that says that it is this process's


class Watch:
    """One observer's eyes on a claim, who looks again and again.

    How long it has given no sign of life is told by the observer's own steady clock: the clock of
    the claim's host may be minutes off, and its time may lie in the future. A pause of the observer
    itself counts for little, because the holder may have been stopped together with it.
    """

    def __init__(self, stale_after: float) -> None:
        self._stale_after = stale_after
        self._seen: tuple[str, int] | None = None
        self._last = self._still = 0.0

    def alive(self, claimed: Path) -> bool:
        """Whether the holder may be at work.

        Raises FileNotFoundError if the claim was released.
        """
        seen, now = (claimed.name, claimed.stat().st_mtime_ns), time.monotonic()
        if seen == self._seen:
            self._still += min(now - self._last, max(self._stale_after / 6, 1.0))
        else:
            self._seen, self._still = seen, 0.0
        self._last = now
        if _dead(claimed.name) or time.time() - seen[1] / 1e9 > LONG_DEAD:
            return False
        return self._still <= self._stale_after


def take(mine: Path, watch: Watch) -> str | None:
    """Make the claim ours and return None, or return the name of its live holder."""
    while True:
        try:
            holder = next(iter(os.listdir(mine.parent)), None)
        except FileNotFoundError:
            holder = None
        if holder is None:
            if _create(mine):
                return None
            continue
        theirs = mine.with_name(holder)
        try:
            if watch.alive(theirs):
                return holder
            os.utime(theirs)  # before the rename: our claim must look alive from its first moment
            theirs.rename(mine)
            return None
        except FileNotFoundError:  # released, or another was quicker to take it over
            continue


def cover(places: Sequence[Path], mine: Path) -> None:
    """From now on this process writes to these places only while `mine` is there."""
    _ours.update(dict.fromkeys(places, mine))


def uncover(places: Sequence[Path], mine: Path) -> None:
    """The end of `cover`."""
    for place in places:
        if _ours.get(place) == mine:
            del _ours[place]


def lost(path: Path) -> Path | None:
    """What this process had claimed and holds no more, of the claims that cover this path;
    None if all is well.
    """
    for place in (path, *path.parents):
        if (mine := _ours.get(place)) is not None:
            try:
                # a network file system looks again when a file is opened
                os.close(os.open(mine, os.O_RDONLY))
            except FileNotFoundError:
                return place
    return None


def held(claim: Path) -> bool:
    """Whether somebody seems to hold this claim, at a glance.

    For a reader: nobody may be locked out by it.
    """
    try:
        return any(_seems_alive(one) for one in claim.iterdir())
    except (FileNotFoundError, NotADirectoryError):  # there is none, or it was just released
        return False


def _seems_alive(claimed: Path) -> bool:
    return abs(time.time() - claimed.stat().st_mtime) <= DISPLAYED and not _dead(claimed.name)


def _create(mine: Path) -> bool:
    private = mine.parent.with_name(f"claim.{mine.name}")
    # a crash in a release left it empty, and not everywhere may a rename replace it
    with suppress(OSError):
        mine.parent.rmdir()
    try:
        private.mkdir()
        (private / mine.name).touch()
        private.rename(mine.parent)
        return True
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    finally:
        shutil.rmtree(private, ignore_errors=True)


def beat(mine: Path, done: threading.Event, seconds: float) -> None:
    """Give a sign of life every so many seconds until `done`."""
    while not done.wait(seconds):
        with suppress(OSError):  # a network file system may be away for a moment
            os.utime(mine)


def me() -> str:
    """The file name of a claim of this process: number, machine,
    start time and a token that makes it unique.
    """
    pid = os.getpid()
    return "@".join((str(pid), *_machine(), _start(pid) or "", secrets.token_hex(4)))


def _machine() -> tuple[str, str]:
    """Host name, and what tells apart machines and containers of one name: only inside one do
    process ids count.
    """
    inside = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        inside = f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return platform.node(), inside


def _dead(holder: str) -> bool:
    pid, host, inside, start = (*holder.split("@"), "", "", "")[:4]
    # no process of ours, or no claim
    if (host, inside) != _machine() or not (pid.isascii() and pid.isdigit()):
        return False
    now = _start(int(pid))
    # another start time: the number was given again
    return now is None or bool(now and start and now != start)


def _start(pid: int) -> str | None:
    """When a live process started, in clock ticks ("" where the system does not tell);
    None for a dead one.
    """
    try:
        state, *rest = (
            Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        )
        return None if state in "ZX" else rest[18]
    except OSError:  # no such process, or no /proc, or not ours to see
        pass
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # or a number that no process has
        return None
    except PermissionError:
        pass
    return ""

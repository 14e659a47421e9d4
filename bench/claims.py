"""Who holds a folder: one owner at a time among processes and machines that share a disk.

`claim` is a folder with one file whose name says who holds it and whose time is the last sign of life.
It appears with its file in one rename. A stale file is taken over by renaming it: of many takers one finds it there.
"""

from __future__ import annotations

import errno
import os
import platform
import secrets
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path


def take(mine: Path, stale_after: float) -> str | None:
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
            if _alive(theirs, stale_after):
                return holder
            os.utime(theirs)  # before the rename: our claim must look alive from its first moment
            theirs.rename(mine)
            return None
        except FileNotFoundError:  # released, or another was quicker to take it over
            continue


def held(claim: Path, stale_after: float) -> bool:
    """Whether somebody alive holds this claim."""
    try:
        return any(_alive(one, stale_after) for one in claim.iterdir())
    except FileNotFoundError:  # there is none, or it was just released
        return False


def _alive(claimed: Path, stale_after: float) -> bool:
    return time.time() - claimed.stat().st_mtime <= stale_after and not _dead(claimed.name)


def _create(mine: Path) -> bool:
    private = mine.parent.with_name(f"claim.{mine.name}")
    with suppress(OSError):  # a crash in a release left it empty, and not everywhere may a rename replace it
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
    """The file name of a claim of this process: number, machine, start time and a token that makes it unique."""
    pid = os.getpid()
    return "@".join((str(pid), *_machine(), _start(pid) or "", secrets.token_hex(4)))


def _machine() -> tuple[str, str]:
    """Host name, and what tells apart machines and containers of one name: only inside one do process ids count."""
    inside = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        inside = f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return platform.node(), inside


def _dead(holder: str) -> bool:
    pid, host, inside, start = (*holder.split("@"), "", "", "")[:4]
    if (host, inside) != _machine():
        return False
    now = _start(int(pid))
    return now is None or bool(now and start and now != start)  # another start time: the number was given again


def _start(pid: int) -> str | None:
    """When a live process started, in clock ticks ("" where the system does not tell); None for a dead one."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return None if state in "ZX" else rest[18]
    except OSError:  # no such process, or no /proc, or not ours to see
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""

"""Being asked to end: by hand (INT), or by a scheduler or a shutdown (TERM). Both stop cleanly."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType


class Terminated(KeyboardInterrupt):
    """The process was asked to end (TERM):
    everything that ends cleanly when it is stopped by hand does so now.
    """


def listen() -> None:
    """From now on TERM raises Terminated.

    Who handles it already (a launcher that puts jobs back) keeps doing so.
    """
    here = threading.current_thread() is threading.main_thread()  # signals are the main thread's
    if here and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _raise)


def say_stopped(stop: KeyboardInterrupt) -> int:
    """Say that the work stops, in a line; the exit code."""
    print("\nstopped; the same command goes on from here", file=sys.stderr)
    return 143 if isinstance(stop, Terminated) else 130


def _raise(_number: int, _frame: FrameType | None) -> None:
    raise Terminated

"""How a command ends that could not do what it was asked: one line on stderr, and an exit code."""

from __future__ import annotations

import sys

from bench.disk.files import StoreError
from bench.errors import InputError
from bench.terminal import escape


def say(speaker: str, error: InputError | StoreError) -> int:
    """Say what went wrong. The exit code: 2 for bad input, 1 if a result could not be written.

    `speaker`: what the line begins with, as `bench.report`.
    """
    escape.say(f"{speaker}: {escape.line(str(error))}", sys.stderr)
    return 2 if isinstance(error, InputError) else 1

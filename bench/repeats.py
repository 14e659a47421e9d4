"""Repeats of a method: the same users, questions and base, with the method's own random draws made anew.

A method draws from its field `seed`: insights, the start of probes and adapters, the order of examples. Repeat 0 draws
from the seed as it is given; every other from a number made of the seed and the repeat. What the whole cell draws from
`seed` (who fits) is not touched, so that repeats differ in nothing but the method's luck.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from typing import Any

from bench.types import InputError

MOST = 1000


def expanded(arguments: Sequence[str]) -> list[str]:
    """The command line with `repeats=N` as the sweep `repeat=0,...,N-1`. InputError where N is no count."""
    found = [word for word in arguments if word.startswith("repeats=")]
    if not found:
        return list(arguments)
    number = found[-1].partition("=")[2]
    if not number.isdecimal() or not 1 <= int(number) <= MOST:
        raise InputError(f"repeats={number}: how often to draw a method anew, a whole number from 1 to {MOST}")
    kept = [word for word in arguments if word not in found]
    sweep = [] if {"-m", "--multirun"} & set(kept) else ["-m"]
    return [*sweep, *kept, f"repeat={','.join(map(str, range(int(number))))}"]


def drawn(values: dict[str, Any]) -> dict[str, Any]:
    """The settings of a cell whose method draws as this repeat of it; one that draws nothing has repeat 0 alone."""
    repeat, method = values["repeat"], values["method"]
    if not repeat:
        return values
    if "seed" in method:
        return values | {"method": method | {"seed": seed_of(method["seed"], repeat)}}
    if not values["experiment"]:
        print(f"repeat={repeat} is repeat=0 here: this method draws nothing of its own", file=sys.stderr)
    return values | {"repeat": 0}


def seed_of(seed: int, repeat: int) -> int:
    """The number that a repeat draws from: below 2**28, so that what is made of it fits any generator."""
    if not repeat:
        return seed
    return int(hashlib.sha256(f"repeat/{seed}/{repeat}".encode()).hexdigest()[:7], 16)

"""Repeats of a method: the same users, questions and base, with the method's own random draws made
anew.

A method and its parts draw from their fields `seed`: insights, profiles, the start of probes and
adapters, the order of examples, random items. A class whose seed is read with some settings alone
says so (`ONLY_WITH`). Repeat 0 draws from the seed as it is given; every other from a number made
of the seed and the repeat. What the whole cell draws from `seed` (who fits) is not touched, so that
repeats differ in nothing but the method's luck.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.errors import InputError

MOST = 1000


def expanded(arguments: Sequence[str]) -> list[str]:
    """The command line with `repeats=N` as the sweep `repeat=0,...,N-1`.

    InputError if N is no count.
    """
    given = [word for word in arguments if word.startswith("repeats=")]
    if not given:
        return list(arguments)

    number = given[-1].partition("=")[2]
    if not number.isdecimal() or not 1 <= int(number) <= MOST:
        raise InputError(
            f"repeats={number}: how often to draw a method anew, a whole number from 1 to {MOST}"
        )
    others = [word for word in arguments if word not in given]
    sweep = [] if {"-m", "--multirun"} & set(others) else ["-m"]
    numbers = ",".join(map(str, range(int(number))))
    return [*sweep, *others, f"repeat={numbers}"]


def drawn(values: dict[str, Any], *, alone: bool) -> dict[str, Any]:
    """The settings of a cell as this repeat of it: each seed that its method draws from is another.

    A method that draws nothing has repeat 0 alone. `alone`: the cell is no part of a sweep, in
    which others may draw; then another repeat of it is an InputError.
    """
    repeat, method = values["repeat"], values["method"]
    if not repeat:
        return values
    if draws(method):
        return values | {"method": _anew("method", method, repeat)}
    if alone:
        raise InputError(_nothing(values))
    if not values["experiment"]:
        print(f"{_nothing(values)}: it is repeat=0 here", file=sys.stderr)
    return values | {"repeat": 0}


def check_sweep(cells: Sequence[Mapping[str, Any]]) -> None:
    """Raises InputError if a sweep asks for repeats and none of its methods draws.

    `cells`: their settings.
    """
    repeated = [values for values in cells if values["repeat"]]
    if repeated and not any(draws(values["method"]) for values in repeated):
        raise InputError(
            f"{_nothing(repeated[0])}, nor does any other method of this sweep; leave repeats out"
        )


def draws(method: Mapping[str, Any]) -> bool:
    """Whether a configured method, or a part of it, draws from a seed as its settings stand."""
    return next(_seeds("method", method), None) is not None


def _seeds(path: str, part: Mapping[str, Any]) -> Iterator[str]:
    """The seeds that are drawn from, as `method.profile.seed`."""
    for name, value in _read(path, part):
        if name == "seed":
            yield f"{path}.{name}"
        elif isinstance(value, Mapping):
            yield from _seeds(f"{path}.{name}", value)


def _anew(path: str, part: Mapping[str, Any], repeat: int) -> dict[str, Any]:
    """The part with another number in place of each of these seeds."""
    redrawn = dict(part)
    for name, value in _read(path, part):
        if name == "seed":
            redrawn[name] = seed_of(value, repeat)
        elif isinstance(value, Mapping):
            redrawn[name] = _anew(f"{path}.{name}", value, repeat)
    return redrawn


def _read(path: str, part: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields of a part that are read as the others stand (`ONLY_WITH` of its class)."""
    from bench.checks.fields import unread

    ignored = unread(path, part)
    for name, value in part.items():
        if name not in ignored:
            yield name, value


def _nothing(values: Mapping[str, Any]) -> str:
    name = str(values["method"]["_target_"]).rpartition(".")[2]
    return f"repeat={values['repeat']}: {name} draws nothing of its own with these settings"


def seed_of(seed: int, repeat: int) -> int:
    """The number that a repeat draws from: below 2**28,
    so that what is made of it fits any generator.
    """
    if not repeat:
        return seed
    return int(hashlib.sha256(f"repeat/{seed}/{repeat}".encode()).hexdigest()[:7], 16)

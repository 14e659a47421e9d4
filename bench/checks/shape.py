"""What a record, a sample and a score must look like before anybody counts with them.

A results folder may be older, damaged, or somebody else's. Each reader asks here first, so that a
wrong field is one line with its name, and never an exception somewhere in a table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Shape = Mapping[str, Any]


@dataclass(frozen=True)
class JSONKind:
    """A kind of value: what to call it, and how it is known."""

    name: str
    known: Callable[[Any], bool]


_LARGEST = 1e250
"""What a sum of many still holds; the largest square of a rating that counts is 1e200."""


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _number(value: Any) -> bool:
    return _whole(value) or (
        isinstance(value, float) and math.isfinite(value) and abs(value) <= _LARGEST
    )


def _numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(part, int | float) for part in value)


TEXT = JSONKind("a text", lambda value: isinstance(value, str))
TEXT_OR_NULL = JSONKind("a text or null", lambda value: value is None or isinstance(value, str))
NAME = JSONKind(
    "a text that is not empty", lambda value: isinstance(value, str) and value.strip() != ""
)
WHOLE = JSONKind("a whole number", _whole)
COUNT = JSONKind("a whole number from 0", lambda value: _whole(value) and value >= 0)
COUNT_OR_NULL = JSONKind(
    "a whole number from 0 or null", lambda value: value is None or COUNT.known(value)
)
NUMBER = JSONKind("a number", _number)
NUMBER_OR_NULL = JSONKind("a number or null", lambda value: value is None or _number(value))
FLAG = JSONKind("true or false", lambda value: isinstance(value, bool))
OBJECT = JSONKind("an object", lambda value: isinstance(value, Mapping))
OBJECT_OR_NULL = JSONKind(
    "an object or null", lambda value: value is None or isinstance(value, Mapping)
)
TASK_KIND = JSONKind(
    "classification, rating or generation",
    lambda value: value in ("classification", "rating", "generation"),
)
TEXTS = JSONKind(
    "a list of texts",
    lambda value: isinstance(value, list) and all(map(TEXT.known, value)),
)
LAYERS = JSONKind(
    "a list of whole numbers", lambda value: isinstance(value, list) and all(map(_whole, value))
)
LOGPROBS = JSONKind("a list of numbers or null", lambda value: value is None or _numbers(value))

# In a shape `name?` may be missing, and `*` stands for every other name.
INTERVAL: Shape = {"value": NUMBER, "low?": NUMBER_OR_NULL, "high?": NUMBER_OR_NULL, "users": COUNT}
PHASE: Shape = {
    "seconds?": NUMBER_OR_NULL,
    "reused?": NUMBER_OR_NULL,
    "cache_hits?": NUMBER_OR_NULL,
    "cache_damaged?": NUMBER_OR_NULL,
    "tokens_in?": NUMBER_OR_NULL,
    "tokens_out?": NUMBER_OR_NULL,
    "peak_memory?": NUMBER_OR_NULL,
    "joules?": NUMBER_OR_NULL,
}
RECORD: Shape = {
    "schema": WHOLE,
    "key": NAME,
    "status": NAME,
    "error": TEXT_OR_NULL,
    "cell": {
        "task": NAME,
        "method": NAME,
        "model": NAME,
        "base": NAME,
        "protocol": NAME,
        "decoding": NAME,
        "seed": WHOLE,
        "variant": TEXT,
    },
    "config": {"method": OBJECT, "protocol?": OBJECT, "model?": OBJECT},
    "model?": {"dtype?": TEXT, "base?": TEXT},
    "task?": {"kind": TASK_KIND, "labels": TEXTS},
    "data": {
        "name": NAME,
        "split": NAME,
        "kind": NAME,
        "hash": NAME,
        "users": COUNT,
        "queries": COUNT,
    },
    "leaks": {"examples?": OBJECT, "*": COUNT_OR_NULL},
    "metrics": {"*": INTERVAL},
    "unscored": TEXT_OR_NULL,
    "counts": {"*": NUMBER_OR_NULL},
    "facts": {"layers?": LAYERS, "users_edited?": NUMBER_OR_NULL},
    "cost": {"*": PHASE},
    "environment": {"git?": OBJECT_OR_NULL},
    "started?": TEXT_OR_NULL,
    "finished?": TEXT_OR_NULL,
}
SAMPLE: Shape = {
    "id": TEXT,
    "user": TEXT,
    "group": TEXT,
    "raw": TEXT,
    "tokens_in": COUNT,
    "tokens_out": COUNT,
    "cut?": COUNT,
    "finished?": FLAG,
    "label_logprobs?": LOGPROBS,
    "prompt?": TEXT,
    "thought?": COUNT,
    "thought_cut?": FLAG,
}
SCORE: Shape = {
    "id": TEXT,
    "group": TEXT,
    "gold": NUMBER_OR_NULL,
    "official": NUMBER_OR_NULL,
    "lenient": NUMBER_OR_NULL,
    "values": {"*": NUMBER},
}


def problem(value: Any, shape: Shape) -> str:
    """The first field that is missing or of a wrong kind, in words; empty if all fits."""
    return next(_problems(value, shape, ""), "")


def _problems(value: Any, shape: Shape, where: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{where or 'it'} is not an object"
        return

    for name, wanted in shape.items():
        for field in _fields_of(name, value, shape):
            path = f"{where}.{field}" if where else field
            if field in value:
                yield from _wrong(value[field], wanted, path)
            elif not name.endswith("?"):
                yield f"{path} is missing"


def _fields_of(name: str, value: Mapping[str, Any], shape: Shape) -> list[str]:
    """The fields that an entry of a shape speaks of: one, or for `*` all that no entry names."""
    if name != "*":
        return [name.removesuffix("?")]
    named = {entry.removesuffix("?") for entry in shape}
    return [field for field in value if field not in named]


def _wrong(value: Any, wanted: JSONKind | Shape, path: str) -> Iterator[str]:
    if not isinstance(wanted, JSONKind):
        yield from _problems(value, wanted, path)
    elif not wanted.known(value):
        yield f"{path} is {str(value)[:40]!r}, not {wanted.name}"

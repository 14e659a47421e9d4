"""Names of classes in keys and records of schema 1, for those that lie elsewhere now.

A cell's key holds the names of the classes that its method is made of. Published keys must stay
what they are, so a class that has moved is written into a key under the name that it had; and a
recorded configuration may name either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TARGET = "_target_"

SCHEMA_1: Mapping[str, str] = {
    "bench.data.protocol.Protocol": "bench.protocol.Protocol",
    "bench.data.retrieval.Retriever": "bench.data.rank.Retriever",
    "bench.data.selection.PCASelection": "bench.data.retrieval.PCASelection",
    "methods.aloe.aloe.Aloe": "methods.aloe.Aloe",
    "methods.chameleon.chameleon.Chameleon": "methods.chameleon.method.Chameleon",
    "methods.dpo.dpo.DPO": "methods.dpo.DPO",
}
"""Today's name of a class, and its name in schema 1."""

_TODAY = {old: new for new, old in SCHEMA_1.items()}


def class_today(name: str) -> str:
    """Where a class that a record names lies today."""
    return _TODAY.get(name, name)


def in_schema_1(value: Any) -> Any:
    """A configured value with every class under the name that keys have for it."""
    if isinstance(value, Mapping):
        renamed = {}
        for name, entry in value.items():
            renamed[name] = _named(entry) if name == TARGET else in_schema_1(entry)
        return renamed
    if isinstance(value, list):
        return list(map(in_schema_1, value))
    return value


def _named(target: Any) -> Any:
    return SCHEMA_1.get(target, target) if isinstance(target, str) else target

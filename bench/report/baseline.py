"""The baseline of a cell: the plain instruct cell that was asked the same in the same way.

One definition, for the comparison at the end of a run, for tables and for the page.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from functools import cache
from typing import Any

from bench.checks import conf_files
from bench.disk import store

Record = Mapping[str, Any]

METHOD = "instruct"
_FITTING = ("name", "fit_split", "group_size", "_target_")
"""Of a protocol, what a cell that fits nothing has no use for."""
_ASKING = ("leak", "limit", "decoding")
"""Sections of a configuration that change what every method is asked, or how it answers."""


def is_plain(record: Record) -> bool:
    """Whether the cell is a finished instruct cell as published: each user's own selected history,
    and batches as they are.
    """
    config = record["config"]
    history = _section(config["method"]).get("history", "selected")
    answered = record["status"] == "ok" and record.get("schema") == store.SCHEMA
    named = record["cell"]["method"] == METHOD
    return bool(answered and named and history == "selected" and not config.get("noise_floor"))


def asked_alike(record: Record, other: Record) -> bool:
    """Whether two cells put the same questions, with the same items shown, to the same model."""
    return _asking(record) == _asking(other)


def find(record: Record, others: Iterable[Record]) -> Record | None:
    """The baseline of a finished cell among others; None if there is none, or if the cell is one.

    Of several the one of the same seed, else the first seed; then the one with the fewest settings.
    """
    if is_plain(record):
        return None
    fitting = [other for other in others if is_plain(other) and asked_alike(record, other)]
    return min(fitting, key=lambda other: _distance(record, other), default=None)


def _asking(record: Record) -> dict[str, Any]:
    """What may not differ between a cell and its baseline."""
    config = record["config"]
    return {
        "task": record["cell"]["task"],
        "base": record["cell"]["base"],
        "data": record["data"]["hash"],
        "model": record.get("model"),  # two adapted bases are two models
        "items": _selection(config),
        "users": _protocol(config),
        "sections": [config.get(name) for name in _ASKING],
    }


def _distance(record: Record, other: Record) -> tuple[Any, ...]:
    seed, theirs = record["cell"]["seed"], other["cell"]["seed"]
    return (seed != theirs, theirs, str(other["cell"].get("variant", "")), other["key"])


def _selection(config: Mapping[str, Any]) -> dict[str, Any]:
    """Which items a question shows; a cell's method may say it in a section of its own."""
    of_method = _section(config.get("method")).get("select")
    return _without(_section(of_method or config.get("selection")), ("_target_",))


def _protocol(config: Mapping[str, Any]) -> dict[str, Any]:
    """Who is tested on what; a field that an older record does not have stands at its default."""
    return _without(_defaults() | _section(config.get("protocol")), _FITTING)


def _without(section: Mapping[str, Any], names: Container[str]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if name not in names}


def _section(value: Any) -> dict[str, Any]:
    """A part of a configuration; a damaged record may have anything in its place."""
    return dict(value) if isinstance(value, Mapping) else {}


@cache
def _defaults() -> dict[str, Any]:
    return dict(conf_files.option("protocol", "seen"))

"""A cell's variant: the overrides of its command line that tell it from others of its method."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_NOT_THE_CELL = ("experiment=", "scale=", "results.root=", "progress=", "dry=", "stale=")
"""Overrides that change no answer."""

_TELLING = (
    "noise_floor=",
    "limit=",
    "protocol.",
    "base.",
    "model.",
    "model@",
    "selection.",
    "leak=",
    "decoding.",
    "adapter.",
    "retriever.",
    "profile.",
    "budget.",
)
"""Overrides outside `method` that a variant names."""


def portable(overrides: Sequence[str]) -> list[str]:
    """The overrides of a command line without `+` and without this machine's folders."""
    return [without_folder(word.lstrip("+")) for word in overrides]


def of_the_cell(words: Sequence[str]) -> list[str]:
    """The words that ask for this cell and no other."""
    return [word for word in words if not word.startswith(_NOT_THE_CELL)]


def variant(words: Sequence[str], experiment: Mapping[str, Any] | None) -> str:
    """The overrides in one text: first the method's own, without `method.`, then the others. Of an
    experiment's cell only those that its other cells need not have.
    """
    of_method = []
    others = []
    for word in own_words(words, experiment):
        if word.startswith("method."):
            of_method.append(word.removeprefix("method."))
        elif word.startswith(_TELLING):
            others.append(word)
    return " ".join(of_method + others)


def own_words(words: Sequence[str], experiment: Mapping[str, Any] | None) -> Sequence[str]:
    """Of an experiment's cell, the overrides that its other cells need not have."""
    if experiment is None:
        return words
    return [word for word in words if word.partition("=")[0] in experiment["own"]]


def without_folder(word: str) -> str:
    """An override with a path as its last name."""
    name, _, value = word.partition("=")
    value = value.strip("'")  # a name with blanks and the like is quoted
    if "/" in value and os.path.exists(value):
        return f"{name}={Path(value).name}"
    return word

"""Overrides in the words that Hydra's grammar knows:
a hub id or a folder as a model, a value in quotes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from bench.checks.catalog import groups


def expanded(words: Iterable[str]) -> list[str]:
    """`model=` with a hub id or a folder in the words that Hydra knows, and all else as it is."""
    given, found = list(words), list[str]()
    for word in given:
        key, _, value = word.partition("=")
        text = _unquoted(value)
        if key != "model" or not _is_source(text):
            found.append(word)
            continue
        found += ["model=folder", f"model.source={quoted(os.path.expanduser(text))}"]
        if not any(other.startswith("model.name=") for other in given):
            found.append(f"model.name={_model_name(text)}")
    return found


def _model_name(source: str) -> str:
    """The last part of a hub id or folder, in letters that a folder of results may have."""
    last = source.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last)


def quoted(value: str) -> str:
    """The value in quotes where Hydra's grammar needs them."""
    try:
        plain = parsed_override(f"x={value}")
        if not plain.is_sweep_override() and plain.value() == value:
            return value
    except HydraException:
        pass
    return str(QuotedString(value, Quote.single).with_quotes())


def parsed_override(word: str) -> Override:
    """One override, parsed. Raises HydraException where it does not fit the grammar."""
    return OverridesParser.create().parse_override(word)


def _unquoted(value: str) -> str:
    return (
        value[1:-1].replace("\\'", "'")
        if len(value) > 1 and value[0] == value[-1] == "'"
        else value
    )


def _is_source(value: str) -> bool:
    """Whether a model is named by hub id or folder, and not by its file in conf/model."""
    return (
        "/" in value
        or value.startswith(".")
        or (value not in groups()["model"] and os.path.isdir(value))
    )

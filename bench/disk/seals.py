"""Artifacts as JSON with the name of their owner and a checksum: what was damaged, edited or put in
another's place is never used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.disk.files import encoded, json_value, read_json, write_json
from bench.errors import InputError

Owner = Mapping[str, Any]


def write(path: Path, content: Any, owner: Owner) -> None:
    """Replace the file in one step."""
    parts = json_value({"owner": owner, "content": content})
    write_json(path, {"check": _check(parts)} | parts)


def read(path: Path, owner: Owner, remedy: str, *, older: bool = False) -> Any:
    """The content. `owner`: whose it must be, as far as is known. `older`: also content without a
    checksum, as earlier versions wrote it.

    Raises InputError, which names the file and the `remedy`, if it is damaged, another's, or not as
    it was written.
    """
    try:
        value = read_json(path)
    except InputError as error:
        raise InputError(f"{str(error).partition('; ')[0]}; {remedy}") from None
    if not isinstance(value, dict) or set(value) != {"check", "owner", "content"}:
        if older:
            return value
        raise InputError(
            f"{path}: it has no checksum, so this version did not write it so; {remedy}"
        )
    if value.pop("check") != _check(value):
        raise InputError(
            f"{path}: it was changed after it was written: it does not fit its checksum; {remedy}"
        )
    for name, expected in json_value(owner).items():
        actual = value["owner"].get(name)
        if actual != expected:
            raise InputError(
                f"{path}: it belongs to {_named({name: actual})}, not to"
                f" {_named({name: expected})}; {remedy}"
            )
    return value["content"]


def _check(parts: Mapping[str, Any]) -> str:
    """Of owner and content, in any order of names."""
    text = json.dumps([parts["owner"], parts["content"]], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(encoded(text)).hexdigest()[:16]


def _named(owner: Owner) -> str:
    """The owner in a few words."""
    text = ", ".join(f"{name} {value}" for name, value in owner.items())
    return text if len(text) <= 80 else f"{text[:77]}..."

"""An item's texts cut after so many words: as OPPU's code does it,
or with the white space left as it is.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice

from bench.types import Item

_WORD = re.compile(r"\S+")


def shortened(item: Item, words: int) -> Item:
    """The item with at most so many words of each field, joined by single blanks:
    line breaks are lost (OPPU).
    """
    return replace(
        item, fields={name: " ".join(text.split()[:words]) for name, text in item.fields.items()}
    )


def cut(item: Item, words: int) -> Item:
    """The item with at most so many words of each field; the white space between them stays."""
    return replace(item, fields={name: _first(text, words) for name, text in item.fields.items()})


def _first(text: str, words: int) -> str:
    found = list(islice(_WORD.finditer(text), words + 1))
    if len(found) <= words:
        return text
    return text[: found[words - 1].end()] if words else ""

"""A template filled in: a history item as one line of a prompt, lines joined, slots replaced.

A template is text with slots. Slots are found once, in the template alone, so braces, brackets and
quotes in a user's text are ordinary characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import Formatter

from bench.types import Item, Line, Part

_SLOT = re.compile(r"\[(HISTORY|QUERY|INSIGHT)\]")


def item_line(template: str, elastic: str, item: Item, number: int, rank: int) -> Line:
    """One item in a template such as `{i}. {score} is ... "{text}".`;
    `elastic` is the field that may shrink.
    """
    before, text, after = "", "", ""
    for literal, name, _, _ in Formatter().parse(template):
        if text or (name is None and after):
            after += literal
        else:
            before += literal
        if name is None:
            continue
        value = str(number) if name == "i" else item.fields[name]
        if name == elastic and not text:
            text = value
        elif text:
            after += value
        else:
            before += value
    return Line(before, text, after, rank)


def led_by(joiner: str, line: Line) -> Line:
    """The line with its joiner before it: a line that is left out takes its joiner along."""
    return Line(joiner + line.before, line.text, line.after, line.rank)


def joined(lines: Sequence[Line], joiner: str) -> list[Part]:
    """The lines with a joiner before each except for the first."""
    return [line if index == 0 else led_by(joiner, line) for index, line in enumerate(lines)]


def fill(template: str, slots: Mapping[str, Sequence[Part]]) -> list[Part]:
    """The template with its slots filled; neighbouring strings are merged."""
    parts: list[Part] = []
    for index, piece in enumerate(_SLOT.split(template)):
        for part in slots[piece] if index % 2 else (piece,):
            if parts and isinstance(parts[-1], str) and isinstance(part, str):
                parts[-1] += part
            else:
                parts.append(part)
    return parts

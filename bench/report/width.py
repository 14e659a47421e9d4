"""Text tables no wider than the terminal, or 100 columns where there is none:
what does not fit stands below.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

COLUMNS = 100
GAP = 2
NOTHING = ("", "-")
LEAST = 40
"""A terminal that says it is narrower is not believed: a number with its interval would not fit."""

COMMAND = "python -m bench"
"""How a command begins that somebody may want to copy."""

Rows = Sequence[Sequence[str]]


def limit() -> int:
    """Columns of the terminal (COLUMNS says otherwise), or 100 where the output goes elsewhere."""
    return max(LEAST, shutil.get_terminal_size((COLUMNS, 24)).columns)


def prose(lines: Sequence[str], columns: int | None = None) -> list[str]:
    """Lines of prose, each broken where it is too long; what goes on is set in.

    A command stays in one piece.
    """
    columns = columns or limit()
    found = []
    for line in lines:
        said, mark, command = line.partition(COMMAND)
        if mark and len(line) > columns:
            found += [*_broken(said.rstrip(), columns), f"  {mark}{command}"]
        else:
            found += _broken(line, columns)
    return found


def _broken(line: str, columns: int) -> list[str]:
    return textwrap.wrap(line, columns, subsequent_indent="  ", break_on_hyphens=False) or [""]


def folded(
    rows: Rows,
    labels: int,
    right: Sequence[bool],
    columns: int | None = None,
    *,
    rule: int = 0,
    sparse: bool = False,
) -> list[str]:
    """The rows (the head first) as lines. Where the columns are too many, the rest follows in
    further blocks.

    The first `labels` columns begin every block; a row with nothing to say in a block is not in it.
    `right`: the columns whose cells are set to the right. A text that alone is too wide goes on in
    the next line. `rule`: a line stands below so many rows, the head counted; 0: none. `sparse`:
    labels that the row above has are left out.
    """
    columns = columns or limit()
    widths = _fitting(
        [max(map(len, column)) for column in zip(*rows, strict=True)], labels, columns
    )
    blocks = _blocks(widths, labels, columns)
    told = [any(row[place] not in NOTHING for place in range(labels, len(row))) for row in rows]
    found: list[str] = []
    for number, block in enumerate(blocks):
        head, *body = (
            [
                row
                for row, says in zip(part, at, strict=True)
                if _is_told(row, block[labels:], says, number)
            ]
            for part, at in ((rows[:1], [False]), *_parts(rows, told, rule))
        )
        lines = [_lines(row, block, widths, right) for row in head]
        texts = [line for one in lines for line in one]
        for place, part in enumerate(body):
            if place and part and body[0]:
                texts.append("-" * max(map(len, texts)))
            shown = sparsely(part, labels) if sparse else part
            texts += [line for row in shown for line in _lines(row, block, widths, right)]
        found += ["", *texts] if found else texts
    return found


def sparsely(rows: Rows, labels: int) -> list[list[str]]:
    """The rows without the labels that the row above has too."""
    found, last = [], [""] * labels
    for row in rows:
        own = list(row[:labels])
        same = next((place for place in range(labels) if own[place] != last[place]), labels)
        found.append([*[""] * same, *row[same:]])
        last = own
    return found


def _parts(rows: Rows, told: Sequence[bool], rule: int) -> list[tuple[Rows, Sequence[bool]]]:
    """The rows below the head, apart where the line stands between them."""
    cut = rule or len(rows)
    return [(rows[1:cut], told[1:cut]), (rows[cut:], told[cut:])]


def _is_told(row: Sequence[str], places: Sequence[int], says: bool, block: int) -> bool:
    """Whether a row stands in this block: it has something there,
    or nothing anywhere and this is the first.
    """
    return any(row[place] not in NOTHING for place in places) or (not says and block == 0)


def _fitting(widths: list[int], labels: int, columns: int) -> list[int]:
    """The widths, with labels in little more than half of the line and
    every other column in what is then left.
    """
    most = columns * 11 // 20
    shown = widths[:labels]
    while shown and sum(shown) + GAP * labels > most and max(shown) > GAP:
        shown[shown.index(max(shown))] -= 1
    left = columns - sum(shown) - GAP * len(shown)
    return shown + [min(width, left) for width in widths[labels:]]


def _blocks(widths: Sequence[int], labels: int, columns: int) -> list[list[int]]:
    """Which columns stand side by side: the labels, and as many others as fit."""
    first, blocks = list(range(labels)), [list[int]()]
    start = sum(widths[place] + GAP for place in first)
    used = start
    for place in range(labels, len(widths)):
        if blocks[-1] and used + widths[place] > columns:
            blocks.append([])
            used = start
        blocks[-1].append(place)
        used += widths[place] + GAP
    return [first + block for block in blocks]


def _lines(
    row: Sequence[str], block: Sequence[int], widths: Sequence[int], right: Sequence[bool]
) -> list[str]:
    """A row of a block: one line, or several where a cell is wider than its column."""
    parts = {
        place: (
            [row[place]]
            if len(row[place]) <= widths[place]
            else textwrap.wrap(row[place], widths[place], break_on_hyphens=False)
        )
        for place in block
    }
    found = []
    for number in range(max(map(len, parts.values()))):
        cells = {
            place: texts[number] if number < len(texts) else "" for place, texts in parts.items()
        }
        placed = [
            text.rjust(widths[place]) if right[place] else text.ljust(widths[place])
            for place, text in cells.items()
        ]
        found.append((" " * GAP).join(placed).rstrip())
    return found

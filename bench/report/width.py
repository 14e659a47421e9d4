"""Text tables no wider than the terminal, or 100 columns where there is none:
what does not fit stands below.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

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
    broken = []
    for line in lines:
        sentence, mark, command = line.partition(COMMAND)
        if mark and len(line) > columns:
            broken += [*_broken(sentence.rstrip(), columns), f"  {mark}{command}"]
        else:
            broken += _broken(line, columns)
    return broken


def _broken(line: str, columns: int) -> list[str]:
    return textwrap.wrap(line, columns, subsequent_indent="  ", break_on_hyphens=False) or [""]


@dataclass(frozen=True)
class Layout:
    """Rows (the head first) and how they are set.

    The first `labels` columns begin every block. `right`: the columns whose cells are set to the
    right. `rule`: a line stands below so many rows, the head counted; 0: none. `sparse`: labels
    that the row above has are left out.
    """

    rows: Rows
    labels: int
    right: Sequence[bool]
    rule: int = 0
    sparse: bool = False

    @property
    def parts(self) -> list[Rows]:
        """The rows below the head, apart where the line stands between them."""
        cut = self.rule or len(self.rows)
        return [self.rows[1:cut], self.rows[cut:]]


def folded(layout: Layout, columns: int | None = None) -> list[str]:
    """The table as lines. Where the columns are too many, the rest follows in further blocks; a row
    with nothing to say in a block is not in it. A text that alone is too wide goes on in the next
    line.
    """
    columns = columns or limit()
    widths = _widths(layout, columns)
    lines: list[str] = []
    for number, at in enumerate(_blocks(widths, layout.labels, columns)):
        if number:
            lines.append("")
        lines += _Block(layout, widths, at, is_first=number == 0).lines()
    return lines


def sparsely(rows: Rows, labels: int) -> list[list[str]]:
    """The rows without the labels that the row above has too."""
    sparse = []
    above = [""] * labels
    for row in rows:
        same = 0
        while same < labels and row[same] == above[same]:
            same += 1
        sparse.append([*[""] * same, *row[same:]])
        above = list(row[:labels])
    return sparse


def _widths(layout: Layout, columns: int) -> list[int]:
    """The width of each column, with labels in little more than half of the line and
    every other column in what is then left.
    """
    widths = [max(map(len, cells)) for cells in zip(*layout.rows, strict=True)]
    labels, others = widths[: layout.labels], widths[layout.labels :]
    most = columns * 11 // 20
    while labels and sum(labels) + GAP * len(labels) > most and max(labels) > GAP:
        labels[labels.index(max(labels))] -= 1
    left = columns - sum(labels) - GAP * len(labels)
    return labels + [min(width, left) for width in others]


def _blocks(widths: Sequence[int], labels: int, columns: int) -> list[list[int]]:
    """Which columns stand side by side: the labels, and as many others as fit."""
    first = list(range(labels))
    start = sum(widths[:labels]) + GAP * labels
    blocks, used = [list[int]()], start
    for column in range(labels, len(widths)):
        if blocks[-1] and used + widths[column] > columns:
            blocks.append([])
            used = start
        blocks[-1].append(column)
        used += widths[column] + GAP
    return [first + block for block in blocks]


@dataclass(frozen=True)
class _Block:
    """Some columns of a table, side by side. `widths`: of all columns; `columns`: those in it."""

    layout: Layout
    widths: Sequence[int]
    columns: Sequence[int]
    is_first: bool

    def lines(self) -> list[str]:
        """The head, then the rows above and those below the line."""
        head = self.layout.rows[0]
        lines = self._row(head) if self.is_first or _says(head, self._others) else []
        above, below = map(self._spoken, self.layout.parts)
        lines += self._part(above)
        if above and below:
            lines.append("-" * max(map(len, lines)))
        return lines + self._part(below)

    @cached_property
    def _others(self) -> Sequence[int]:
        """Its columns without the labels."""
        return self.columns[self.layout.labels :]

    def _spoken(self, rows: Rows) -> Rows:
        """The rows that stand here: those with something to say in this block, and in the first
        one those that say nothing anywhere.
        """
        everywhere = range(self.layout.labels, len(self.widths))
        spoken = []
        for row in rows:
            says_nothing = self.is_first and not _says(row, everywhere)
            if says_nothing or _says(row, self._others):
                spoken.append(row)
        return spoken

    def _part(self, rows: Rows) -> list[str]:
        lines = []
        for row in sparsely(rows, self.layout.labels) if self.layout.sparse else rows:
            lines += self._row(row)
        return lines

    def _row(self, row: Sequence[str]) -> list[str]:
        """One line, or several where a cell is wider than its column."""
        cells = [_wrapped(row[column], self.widths[column]) for column in self.columns]
        lines = []
        for texts in zip_longest(*cells, fillvalue=""):
            placed = map(self._placed, texts, self.columns)
            lines.append((" " * GAP).join(placed).rstrip())
        return lines

    def _placed(self, text: str, column: int) -> str:
        width = self.widths[column]
        return text.rjust(width) if self.layout.right[column] else text.ljust(width)


def _says(row: Sequence[str], columns: Iterable[int]) -> bool:
    return any(row[column] not in NOTHING for column in columns)


def _wrapped(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return [text]
    return textwrap.wrap(text, width, break_on_hyphens=False)

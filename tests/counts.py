"""Density of the code by room, a thermometer of how fast it reads: `python tests/counts.py`.

Columns, each per 100 lines: comprehensions, expression nodes (of lines that are not blank),
comments on a line of their own, lines of more than 100 characters.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).parents[1]
WIDEST = 100

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True)
class Counts:
    """What a piece of code holds."""

    lines: int = 0
    code_lines: int = 0
    comprehensions: int = 0
    expressions: int = 0
    comments: int = 0
    long_lines: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.lines + other.lines,
            self.code_lines + other.code_lines,
            self.comprehensions + other.comprehensions,
            self.expressions + other.expressions,
            self.comments + other.comments,
            self.long_lines + other.long_lines,
        )

    @property
    def comprehensions_per_100(self) -> float:
        return 100 * self.comprehensions / max(1, self.lines)

    @property
    def expressions_per_line(self) -> float:
        return self.expressions / max(1, self.code_lines)

    @property
    def comments_per_100(self) -> float:
        return 100 * self.comments / max(1, self.lines)

    @property
    def long_lines_per_100(self) -> float:
        return 100 * self.long_lines / max(1, self.lines)


def counts_of(source: str) -> Counts:
    """The counts of one file."""
    lines = source.splitlines()
    nodes = list(ast.walk(ast.parse(source)))
    return Counts(
        lines=len(lines),
        code_lines=sum(bool(line.strip()) for line in lines),
        comprehensions=sum(isinstance(node, COMPREHENSIONS) for node in nodes),
        expressions=sum(isinstance(node, ast.expr) for node in nodes),
        comments=sum(_comments(source, lines)),
        long_lines=sum(len(line) > WIDEST for line in lines),
    )


def _comments(source: str, lines: list[str]) -> Iterator[bool]:
    """For each comment, whether it has a line of its own."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield lines[token.start[0] - 1].lstrip().startswith("#")


def by_room(repo: Path) -> dict[str, Counts]:
    """The counts of every folder of the product."""
    rooms: dict[str, Counts] = {}
    for path in sorted((*repo.glob("bench/**/*.py"), *repo.glob("methods/**/*.py"))):
        room = path.relative_to(repo).parent.as_posix()
        counts = counts_of(path.read_text(encoding="utf-8"))
        rooms[room] = rooms.get(room, Counts()) + counts
    return rooms


def total(rooms: dict[str, Counts]) -> Counts:
    return sum(rooms.values(), Counts())


def table(rooms: dict[str, Counts]) -> str:
    """One line for each room, and one for all."""
    rows = [f"{'room':22}{'lines':>8}{'compr.':>8}{'expr.':>8}{'comm.':>8}{'long':>8}"]
    for name, counts in [*rooms.items(), ("all", total(rooms))]:
        rows.append(
            f"{name:22}{counts.lines:8}"
            f"{counts.comprehensions_per_100:8.1f}{100 * counts.expressions_per_line:8.0f}"
            f"{counts.comments_per_100:8.1f}{counts.long_lines_per_100:8.1f}"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    print(table(by_room(Path(sys.argv[1]) if len(sys.argv) > 1 else REPO)))

"""What the tables of real questions in docs/results/real_questions.md could have seen, from the published cells
behind their rows.

A row there has a name in words, so its cell is found by its numbers: value, differences to the
baseline and their intervals. Its p and `detects` stand beside each difference. A row whose numbers
no published cell has is an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.report.cells import ENOUGH, task_of
from bench.report.inventory import readable
from bench.score.metrics import Kind, Scored, aggregate
from bench.score.stats import Paired, paired

TABLE = re.compile(
    r"^### .*\(LaMP-(?P<task>\w+)\).*\n(?:(?![#|]).*\n)*(?P<table>\|  ?\| \w+ \| difference"
    r" (?:.*\n)+?)\n",
    re.MULTILINE,
)
DRAWS = 10_000

Rows = list[list[str]]


@dataclass(frozen=True)
class Cell:
    """A published cell of real questions: its method, kind of split and scores."""

    method: str
    kind: str
    scored: tuple[Scored, ...]


def with_detects(text: str, published: Path) -> str:
    """The page with `detects` beside every difference to a baseline. Raises LookupError for a row
    of no cell.
    """
    for found in list(TABLE.finditer(text)):
        made = _table(
            found["table"], f"lamp{found['task'].lower()}", found[0].splitlines()[0], published
        )
        text = text.replace(found["table"], made)
    return text


def _table(table: str, task: str, title: str, published: Path) -> str:
    head, _, *rows = _plain([_cells(line) for line in table.splitlines()])
    asked = task_of(task)
    kind, labels = asked.kind, asked.labels
    names = [head[1], head[3]]
    among = [
        one
        for one in _published(published)[task]
        if one.kind == ("time" if "dated" in title else "user")
    ]
    [own] = [row for row in rows if row[0].startswith("**")]
    base = _baseline(own, names, among, kind, labels)
    wide = "Holm" in head  # there one p is corrected: the loss's, or else the official metric's
    made = [_joined(head, ["detects"] if wide else ["detects", "p"], ["detects"])]
    made.append(["---"] * len(made[0]))
    for row in rows:
        compared = row is not own and not row[0].startswith("random directions")
        both = _found(row, names, among, base, kind, labels) if compared else {}
        first, second = both.get(names[0]), both.get(names[1]) if row[3] else None
        behind = [_detects(first)] if wide else [_detects(first), _p(first)]
        made.append(_joined(row, behind, [_detects(second)]))
    lines = ["| " + " | ".join(row) + " |" for row in made]
    lines[:2] = [lines[0].replace("|  |", "| |", 1), "|" + "---|" * len(made[0])]
    return "\n".join(lines) + "\n"


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip()[1:-1].split("|")]


def _plain(rows: Rows) -> Rows:
    """The rows without the columns that are made here: `detects`, and the p of the official metric
    before the loss.
    """
    kept = [place for place, name in enumerate(rows[0]) if name != "detects"]
    if rows[0][kept[3]] == "p":
        kept.pop(3)
    return [[row[place] for place in kept if place < len(row)] for row in rows]


def _joined(row: list[str], first: list[str], second: list[str]) -> list[str]:
    """A row with what stands behind its two differences."""
    return [*row[:3], *first, *row[3:5], *second, *row[5:]]


@cache
def _published(root: Path) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for finished in readable([root]):
        record = finished.record
        if record["data"]["name"] == "lamp" and record["status"] == "ok":
            rows = tuple(finished.scored())
            cell = Cell(record["cell"]["method"], record["data"]["kind"], rows)
            found.setdefault(record["cell"]["task"], []).append(cell)
    return found


def _baseline(
    own: list[str], names: list[str], among: Sequence[Cell], kind: Kind, labels: Sequence[str]
) -> Cell:
    """The first cell of the model's own prompt with these numbers; others have the same answers."""
    for one in among:
        if one.method == "instruct" and _values(one.scored, names, kind, labels) == [
            own[1].split()[0],
            own[3],
        ]:
            return one
    raise LookupError(f"{own[0]}: no published cell has {own[1]} and {own[3]}")


def _found(
    row: list[str],
    names: list[str],
    among: Sequence[Cell],
    base: Cell,
    kind: Kind,
    labels: Sequence[str],
) -> dict[str, Paired]:
    """The comparison whose numbers the row has. Cells that share all of them share what they
    detect.
    """
    asked = {one.id for one in base.scored}
    values = [value for value in (row[1].split()[0], row[3]) if value]
    for cell in among:
        scored = [one for one in cell.scored if one.id in asked]
        if len(scored) < len(asked) or _values(scored, names, kind, labels) != values:
            continue
        both = paired(kind, labels, scored, base.scored, draws=1)
        told = [said.replace("-0.000", "+0.000") for said in (row[2], row[4])]
        if all(_said(both[name]) == said for name, said in zip(names, told, strict=True) if said):
            return paired(kind, labels, scored, base.scored, draws=DRAWS)
    raise LookupError(f"{row[0]}: no published cell has {row[1]}, {row[2]} and {row[3]}, {row[4]}")


def _values(
    scored: Sequence[Scored], names: list[str], kind: Kind, labels: Sequence[str]
) -> list[str]:
    values = aggregate(kind, labels, scored)
    return [f"{values[name]:z.3f}" for name in names if name in values]


def _said(one: Paired) -> str:
    """A difference as the page has it; where no user differs in a loss there is no interval to
    tell.
    """
    difference = f"{one.difference:+z.3f}"
    if one.low is None or one.high is None:
        return difference
    return f"{difference} [{one.low:+z.3f}, {one.high:+z.3f}]" + ("^" if one.users < ENOUGH else "")


def _detects(one: Paired | None) -> str:
    return "" if one is None else "-" if one.detectable is None else f"{one.detectable:.3f}"


def _p(one: Paired | None) -> str:
    return (
        ""
        if one is None
        else "< 0.001"
        if one.p_permutation < 0.001
        else f"{one.p_permutation:.3f}"
    )

"""A grid of words as text, Markdown, LaTeX or HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.report.width import folded, prose, sparsely
from bench.terminal import escape

SENTENCES = ' style="text-align:left;white-space:normal"'
Format = Literal["text", "md", "csv", "tex", "html"]


@dataclass(frozen=True)
class Grid:
    """A table: `above` and `below` are lines of prose. The first `labels` columns say which row it
    is.

    `rule`: so many rows stand above a line that parts them from the others; 0 for no line. `texts`:
    the last column holds sentences, not numbers: it stands to the left and may be long.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    above: Sequence[str] = ()
    below: Sequence[str] = ()
    labels: int = 1
    rule: int = 0
    texts: bool = False

    @property
    def right(self) -> list[bool]:
        """Which columns stand to the right."""
        count = len(self.head)
        return [self.labels <= place < count - self.texts for place in range(count)]


def grids(found: Sequence[Grid], format: Format) -> str:
    """All grids, one after the other; in HTML as a page of its own."""
    render = {"text": _text, "md": _markdown, "csv": _csv, "tex": _latex, "html": _html}[format]
    body = "\n\n".join(render(grid) for grid in found)
    if format != "html":
        return body
    style = (
        "body{font:16px/1.5 system-ui,sans-serif;margin:2rem}td,th{padding:.2rem"
        " .7rem;border-bottom:1px solid #ccc;"
    )
    style += "text-align:right;white-space:nowrap}th[scope=row]{text-align:left}"
    style += "div{overflow-x:auto}tbody+tbody{border-top:3px double #555}"
    head = (
        '<!doctype html><html lang="en"><meta'
        f' charset="utf-8"><title>{escape.html(found[0].title)}</title>'
    )
    return f"{head}<style>{style}</style>\n{body}\n</html>"


def aligned(
    rows: Sequence[Sequence[str]], labels: int = 1, columns: int | None = None
) -> list[str]:
    """Columns two spaces apart, numbers to the right; what is wider than the terminal stands below
    (`width.folded`).
    """
    shown = [[escape.line(cell) for cell in row] for row in rows]
    right = [
        all(cell == "" or cell[0] in "+-<0123456789" for cell in cells)
        for _, *cells in zip(*shown, strict=True)
    ]
    return folded(shown, labels, right, columns)


def piped(rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table, its head the first row."""
    cells = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return ["| " + " | ".join(map(escape.markdown, row)) + " |" for row in cells]


def _text(grid: Grid) -> str:
    rows = [[escape.line(cell) for cell in row] for row in (grid.head, *grid.rows)]
    lines = folded(rows, grid.labels, grid.right, rule=grid.rule and grid.rule + 1, sparse=True)
    above, below = (
        prose([escape.line(one) for one in found])
        for found in ((grid.title, *grid.above), grid.below)
    )
    return "\n".join([*above, "", *lines, *([""] if below else []), *below])


def flat_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV, their names the columns in order of appearance; what a row has not is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return _written([names, *([row.get(name, "") for name in names] for row in rows)])


def _csv(grid: Grid) -> str:
    return _written([grid.head, *grid.rows])


def _written(rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(
        [escape.csv(cell) for cell in row] for row in rows
    )
    return out.getvalue().rstrip("\n")


def _markdown(grid: Grid) -> str:
    prose = ([escape.prose(line) for line in lines] for lines in (grid.above, grid.below))
    above, below = ("\n".join(f"{line}  " for line in lines).rstrip() for lines in prose)
    parts = [f"### {escape.markdown(grid.title)}", above, table_of(grid), below]
    return "\n\n".join(part for part in parts if part)


def table_of(grid: Grid) -> str:
    """The table alone, as Markdown."""
    return "\n".join(piped([grid.head, *_ruled(grid)]))


def _ruled(grid: Grid) -> list[Sequence[str]]:
    """The rows with one of dashes for the line: Markdown's tables have none of their own."""
    line = [["―"] * len(grid.head)] if grid.rule else []
    return [*grid.rows[: grid.rule], *line, *grid.rows[grid.rule :]]


def _latex(grid: Grid) -> str:
    columns = "".join("r" if right else "l" for right in grid.right)
    if grid.texts:
        columns = columns[:-1] + r"p{.7\textwidth}"
    lines = [" & ".join(map(escape.latex, row)) + r" \\" for row in (grid.head, *_sparse(grid))]
    if grid.rule:
        lines.insert(grid.rule + 1, r"\midrule")
    caption = " ".join([grid.title + ".", *grid.above, *grid.below])
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape.latex(caption)}}}",
            r"\resizebox{\textwidth}{!}{%  needs graphicx and booktabs",
            rf"\begin{{tabular}}{{{columns}}}",
            *(r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"),
            r"\end{tabular}}",
            r"\end{table}",
        ]
    )


def _html(grid: Grid) -> str:
    head = "".join(f'<th scope="col">{escape.html(cell)}</th>' for cell in grid.head)
    rows = [
        "".join(
            (
                f'<th scope="row">{escape.html(cell)}</th>'
                if place < grid.labels
                else f"<td{'' if grid.right[place] else SENTENCES}>{escape.html(cell)}</td>"
            )
            for place, cell in enumerate(row)
        )
        for row in grid.rows
    ]
    above, below = (
        "".join(f"<p>{escape.html(line)}</p>" for line in lines)
        for lines in (grid.above, grid.below)
    )
    parts = [rows[: grid.rule], rows[grid.rule :]] if grid.rule else [rows]
    body = "</tbody>\n<tbody>".join("\n".join(f"<tr>{row}</tr>" for row in part) for part in parts)
    title = f"<h2>{escape.html(grid.title)}</h2>"
    table = f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"
    return f"{title}{above}\n<div>{table}</div>\n{below}"


def _sparse(grid: Grid) -> list[list[str]]:
    """The rows without the labels that the row above has too; below the line all stand again."""
    parts = (grid.rows[: grid.rule], grid.rows[grid.rule :])
    return [row for part in parts for row in sparsely(part, grid.labels)]

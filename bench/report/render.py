"""A grid of words as text, Markdown, LaTeX or HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.report.width import Layout, folded, prose, sparsely
from bench.terminal import escape

SENTENCES = ' style="text-align:left;white-space:normal"'
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem}td,th{padding:.2rem"
    " .7rem;border-bottom:1px solid #ccc;"
    "text-align:right;white-space:nowrap}th[scope=row]{text-align:left}"
    "div{overflow-x:auto}tbody+tbody{border-top:3px double #555}"
)
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
        last = len(self.head) - self.texts
        return [self.labels <= column < last for column in range(len(self.head))]


def grids(tables: Sequence[Grid], format: Format) -> str:
    """All grids, one after the other; in HTML as a page of its own."""
    render = {"text": _text, "md": _markdown, "csv": _csv, "tex": _latex, "html": _html}[format]
    body = "\n\n".join(map(render, tables))
    return _html_page(tables[0].title, body) if format == "html" else body


def aligned(
    rows: Sequence[Sequence[str]], labels: int = 1, columns: int | None = None
) -> list[str]:
    """Columns two spaces apart, numbers to the right; what is wider than the terminal stands below
    (`width.folded`).
    """
    clean = _clean(rows)
    right = []
    for _, *cells in zip(*clean, strict=True):
        right.append(all(map(_is_number, cells)))
    return folded(Layout(clean, labels, right), columns)


def _clean(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    """The cells as a terminal may show them."""
    clean = []
    for row in rows:
        clean.append(list(map(escape.line, row)))
    return clean


def _is_number(cell: str) -> bool:
    """Whether a cell stands to the right: a number, or nothing."""
    return cell == "" or cell[0] in "+-<0123456789"


def piped(rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table, its head the first row."""
    head, *body = rows
    lines = []
    for row in (head, ["---"] * len(head), *body):
        cells = " | ".join(map(escape.markdown, row))
        lines.append(f"| {cells} |")
    return lines


def _text(grid: Grid) -> str:
    rule = grid.rule + 1 if grid.rule else 0  # the head is a row too
    rows = _clean([grid.head, *grid.rows])
    table = folded(Layout(rows, grid.labels, grid.right, rule=rule, sparse=True))

    above = prose(list(map(escape.line, [grid.title, *grid.above])))
    below = prose(list(map(escape.line, grid.below)))
    if below:
        below = ["", *below]
    return "\n".join([*above, "", *table, *below])


def flat_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV, their names the columns in order of appearance; what a row has not is empty."""
    names: dict[str, None] = {}
    for row in rows:
        names |= dict.fromkeys(row)

    lines: list[Sequence[Any]] = [list(names)]
    for row in rows:
        lines.append([row.get(name, "") for name in names])
    return _as_csv(lines)


def _csv(grid: Grid) -> str:
    return _as_csv([grid.head, *grid.rows])


def _as_csv(rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in rows:
        writer.writerow(map(escape.csv, row))
    return out.getvalue().rstrip("\n")


def _markdown(grid: Grid) -> str:
    title = f"### {escape.markdown(grid.title)}"
    parts = [title, _lines(grid.above), table_of(grid), _lines(grid.below)]
    return "\n\n".join(filter(None, parts))


def _lines(lines: Sequence[str]) -> str:
    """Prose of Markdown in which every line stays a line: two blanks at its end break it."""
    return "  \n".join(map(escape.prose, lines)).rstrip()


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
    head, *rows = map(_latex_row, [grid.head, *_sparse(grid)])
    if grid.rule:
        rows.insert(grid.rule, r"\midrule")
    caption = " ".join([grid.title + ".", *grid.above, *grid.below])
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape.latex(caption)}}}",
        r"\resizebox{\textwidth}{!}{%  needs graphicx and booktabs",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        head,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _latex_row(row: Sequence[str]) -> str:
    return " & ".join(map(escape.latex, row)) + r" \\"


def _html_page(title: str, body: str) -> str:
    head = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape.html(title)}</title>'
    )
    return f"{head}<style>{STYLE}</style>\n{body}\n</html>"


def _html(grid: Grid) -> str:
    head = ""
    for cell in grid.head:
        head += f'<th scope="col">{escape.html(cell)}</th>'
    rows = [_html_row(grid, row) for row in grid.rows]
    parts = [rows[: grid.rule], rows[grid.rule :]] if grid.rule else [rows]
    body = "</tbody>\n<tbody>".join(map("\n".join, parts))

    title = f"<h2>{escape.html(grid.title)}</h2>"
    table = f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"
    return f"{title}{_paragraphs(grid.above)}\n<div>{table}</div>\n{_paragraphs(grid.below)}"


def _html_row(grid: Grid, row: Sequence[str]) -> str:
    cells = []
    for column, cell in enumerate(row):
        text = escape.html(cell)
        if column < grid.labels:
            cells.append(f'<th scope="row">{text}</th>')
        else:
            cells.append(f"<td{'' if grid.right[column] else SENTENCES}>{text}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _paragraphs(lines: Sequence[str]) -> str:
    return "".join(f"<p>{escape.html(line)}</p>" for line in lines)


def _sparse(grid: Grid) -> list[list[str]]:
    """The rows without the labels that the row above has too; below the line all stand again."""
    above, below = grid.rows[: grid.rule], grid.rows[grid.rule :]
    return [*sparsely(above, grid.labels), *sparsely(below, grid.labels)]

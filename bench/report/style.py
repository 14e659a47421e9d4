"""One look for every figure: series told apart by marker, dash and hatch as well as by colour, and
a caption below.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.terminal import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers tell apart too.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "ooo", "---", "+++", "|||")
WIDTH, HEIGHT = 4.2, 3.1  # inches of a panel
LINE = 0.17  # inches of a line of the caption
LOOK: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "lines.markersize": 5,
    "legend.frameon": False,
    "svg.hashsalt": "lamplight",  # the same figure is the same file
    "hatch.linewidth": 0.6,
    "text.parse_math": False,  # a name in dollars is a name
}


@dataclass(frozen=True)
class Mark:
    """How one series is drawn."""

    colour: str
    marker: str
    dash: Any
    hatch: str
    filled: bool = True

    @property
    def point(self) -> dict[str, Any]:
        """Its marker, as matplotlib's arguments."""
        return {"marker": self.marker, "fillstyle": "full" if self.filled else "none"}


def marks(names: Sequence[str]) -> dict[str, Mark]:
    """The same mark for the same name throughout a figure;
    no two of twenty alike even without colour.
    """
    series = {}
    for index, name in enumerate(names):
        series[name] = Mark(
            COLOURS[index % len(COLOURS)],
            MARKERS[index % len(MARKERS)],
            DASHES[index % len(DASHES)],
            HATCHES[index % len(HATCHES)],
            filled=index // len(MARKERS) % 2 == 0,
        )
    return series


def panels(
    count: int, *, columns: int = 2, width: float = WIDTH, height: float = HEIGHT
) -> tuple[Figure, list[Any]]:
    """A figure with so many axes, row by row."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = -(-count // columns)
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(max(5.0, width * columns), height * rows))
        axes = [figure.add_subplot(rows, columns, place + 1) for place in range(count)]
    return figure, axes


def finish(figure: Figure, title: str, caption: Sequence[str], *, legend: bool = True) -> Figure:
    """Title above, one legend for all panels and the caption below them; the figure grows, the
    panels do not shrink.
    """
    width, height = figure.get_size_inches()
    title = textwrap.fill(title, int(width * 11))
    lines = _wrapped(caption, int(width * 17))
    handles = _handles(figure) if legend else {}
    columns = _legend_columns(list(handles), width)
    rows = -(-len(handles) // columns)

    below = 0.15 + LINE * len(lines) + 0.2 * rows
    above = 0.02 + 0.2 * (1 + title.count("\n"))
    total = height + below + above
    figure.set_size_inches(width, total)
    figure.tight_layout(rect=(0, below / total, 1, 1 - above / total))
    figure.text(0.02, 1 - 0.1 / total, title, va="top", fontsize=10, fontweight="bold")
    figure.text(0.02, 0.08 / total, "\n".join(lines), va="bottom", fontsize=7.5, color="#333333")
    if handles:
        figure.legend(
            handles.values(),
            handles.keys(),
            loc="lower center",
            ncols=columns,
            fontsize=8,
            bbox_to_anchor=(0.5, (0.12 + LINE * len(lines)) / total),
            borderaxespad=0,
            frameon=False,
            handlelength=3.2,
        )
    return figure


def _wrapped(caption: Sequence[str], letters: int) -> list[str]:
    lines: list[str] = []
    for sentence in caption:
        lines += textwrap.wrap(escape.line(sentence), letters)
    return lines


def _handles(figure: Figure) -> dict[str, Any]:
    """What the panels have drawn, by name: each series once."""
    handles = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles[str(name)] = handle
    return handles


def _legend_columns(names: Sequence[str], width: float) -> int:
    """How many entries stand side by side in a figure of so many inches."""
    entry = 0.75 + 0.07 * max(map(len, names), default=0)  # inches of a mark and its name
    return max(1, min(len(names), int(width / entry)))

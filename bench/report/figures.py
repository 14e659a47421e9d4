"""An experiment's figures as files: PNG to look at, SVG for the page and for print."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report import base_results, cost_plots, plots, similarity_plot
from bench.report.base_results import Tables
from bench.report.runs import Results
from bench.report.style import LOOK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESOLUTION = 160  # dots per inch of the PNG

DRAWN_BY: Mapping[str, Callable[[Tables], Figure | None]] = {
    "lines": plots.lines,
    "bars": plots.bars,
    "efficiency": cost_plots.efficiency,
    "pareto": cost_plots.pareto,
    "similarity": similarity_plot.similarity,
}
"""What draws a figure; it gives None where there is nothing to show."""
NAMES: Mapping[str, Sequence[str]] = {
    "table": ("pareto",),
    "lines": ("lines",),
    "bars": ("bars", "pareto"),
    "efficiency": ("efficiency",),
    "pareto": ("pareto",),
    "similarity": ("similarity",),
}
"""The figures of an experiment of each `show.kind`."""


def save(results: Results, folder: Path) -> list[Path]:
    """Write every figure as NAME-SCALE-KIND.png and .svg; the paths written. A base of its own has
    its own figures.
    """
    written = []
    for name, figure in figures(results):
        for suffix in ("png", "svg"):
            path = folder / f"{results.experiment.name}-{results.experiment.scale}-{name}.{suffix}"
            path.write_bytes(image(figure, suffix))
            written.append(path)
    return written


def figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Each figure that has something to show, by name."""
    bases = base_results.by_base(results)
    for tables in bases:
        base = f"-{tables.base}" if len(bases) > 1 else ""
        for name, figure in of_tables(tables):
            yield name + base, figure


def of_tables(tables: Tables) -> Iterator[tuple[str, Figure]]:
    """The figures of one base's results that have something to show, by name."""
    for name in NAMES.get(tables.experiment.show.kind, ()):
        figure = DRAWN_BY[name](tables)
        if figure is not None:
            yield name, figure


def image(figure: Figure, suffix: str) -> bytes:
    """The figure as a PNG or SVG file; the same figure gives the same bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    out = io.BytesIO()
    metadata = {"Date": None} if suffix == "svg" else None
    with mpl.rc_context(LOOK):
        figure.savefig(out, format=suffix, dpi=RESOLUTION, metadata=metadata)
    return out.getvalue()

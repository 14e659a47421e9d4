"""An experiment's figures as files: PNG to look at, SVG for the page and for print."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report import base_results, plots, similarity_plot
from bench.report.base_results import Tables
from bench.report.runs import Results
from bench.report.style import LOOK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESOLUTION = 160  # dots per inch of the PNG


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
    apart = base_results.by_base(results)
    for tables in apart:
        base = f"-{tables.base}" if len(apart) > 1 else ""
        for name, figure in of_tables(tables):
            yield name + base, figure


def of_tables(tables: Tables) -> Iterator[tuple[str, Figure]]:
    """The figures of one base's results."""
    yield from plots.drawn(tables)
    yield from _similarity(tables)


def image(figure: Figure, suffix: str) -> bytes:
    """The figure as a PNG or SVG file; the same figure gives the same bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    out = io.BytesIO()
    with mpl.rc_context(LOOK):
        figure.savefig(
            out, format=suffix, dpi=RESOLUTION, metadata={"Date": None} if suffix == "svg" else None
        )
    return out.getvalue()


def _similarity(tables: Tables) -> Iterator[tuple[str, Figure]]:
    if tables.experiment.show.kind != "similarity":
        return
    from bench.report import similarity

    maps = {}
    for (place, arm), runs in tables.results.cells.items():
        for run in runs:
            found = similarity.of_cell(run.folder) if run.folder and run.state == "ok" else None
            if found:
                seed = [f"seed {run.seed}"] if len(runs) > 1 else []
                maps[", ".join([arm, *(value for _, value in place), *seed])] = found["kinds"]
    if figure := similarity_plot.maps_of(tables, maps):
        yield "similarity", figure

"""An experiment's tables as one text, or with its figures as files in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.disk import store
from bench.report import base_results, csv_table, dataset_table, grids, render
from bench.report.experiments import Results
from bench.report.render import Format

SUFFIXES: dict[Format, str] = {
    "text": "txt",
    "md": "md",
    "csv": "csv",
    "tex": "tex",
    "html": "html",
}


def text(found: Sequence[Results], format: Format) -> str:
    """The tables of one experiment at one scale or several, each base apart."""
    apart = [tables for results in found for tables in base_results.by_base(results)]
    if format == "csv":
        counted = [one for one in found if one.experiment.show.kind == "statistics"]
        whole = [dataset_table.grid(one.experiment, one.roots, rounded=False) for one in counted]
        whole += [
            grid for one in apart if one.experiment.show.kind == "case" for grid in grids.grids(one)
        ]
        return render.grids(whole, format) if whole else csv_table.as_csv(apart)
    return render.grids([grid for tables in apart for grid in grids.grids(tables)], format)


def files(results: Results, folder: Path) -> list[Path]:
    """Write the tables in every format, and the figures as PNG and SVG; the paths written."""
    from bench.report import figures

    with store.writing(folder, "--out DIR"):
        folder.mkdir(parents=True, exist_ok=True)
        name, written = f"{results.experiment.name}-{results.experiment.scale}", []
        for format, suffix in SUFFIXES.items():
            path = folder / f"{name}.{suffix}"
            path.write_text(text([results], format) + "\n", encoding="utf-8")
            written.append(path)
        return [*written, *figures.save(results, folder)]

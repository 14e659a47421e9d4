"""An experiment's tables as one text, as a page, or with its figures as files in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.disk import store
from bench.report import base_results, csv_table, dataset_table, grids, render
from bench.report.base_results import Tables
from bench.report.render import Format, Grid
from bench.report.runs import Results
from bench.terminal import escape

SUFFIXES: dict[Format, str] = {
    "text": "txt",
    "md": "md",
    "csv": "csv",
    "tex": "tex",
    "html": "html",
}


def text(scales: Sequence[Results], format: Format) -> str:
    """The tables of one experiment at one scale or several, each base apart."""
    bases: list[Tables] = []
    for results in scales:
        bases += base_results.by_base(results)
    if format == "csv":
        return _csv(bases)
    laid_out: list[Grid] = []
    for tables in bases:
        laid_out += grids.grids(tables)
    return render.grids(laid_out, format)


def _csv(bases: Sequence[Tables]) -> str:
    """Numbers for other programs: of an experiment's cells not rounded, one flat table of all."""
    laid_out: list[Grid] = []
    for tables in bases:
        if tables.experiment.show.kind == "statistics":
            results = tables.results
            laid_out.append(dataset_table.grid(results.experiment, results.roots, rounded=False))
        if tables.experiment.show.kind == "case":
            laid_out += grids.grids(tables)
    return render.grids(laid_out, "csv") if laid_out else csv_table.as_csv(bases)


def page(results: Results) -> str:
    """The tables as a page of Markdown that says what it is and which command writes it."""
    experiment = results.experiment
    command = f"python -m bench.report {experiment.name} --scale {experiment.scale}"
    head = f"# {escape.markdown(experiment.title)}"
    made = f"Written by `{command} --format md --out FOLDER` from the published records."
    return "\n\n".join([head, made, text([results], "md")]) + "\n"


def pages(results: Results, folder: Path, format: Format) -> list[Path]:
    """Write the tables in one format alone; the paths written."""
    with store.writing(folder, "--out DIR"):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{_stem(results)}.{SUFFIXES[format]}"
        content = page(results) if format == "md" else text([results], format) + "\n"
        path.write_text(content, encoding="utf-8")
    return [path]


def _stem(results: Results) -> str:
    return f"{results.experiment.name}-{results.experiment.scale}"


def files(results: Results, folder: Path) -> list[Path]:
    """Write the tables in every format, and the figures as PNG and SVG; the paths written."""
    from bench.report import figures

    with store.writing(folder, "--out DIR"):
        folder.mkdir(parents=True, exist_ok=True)
        name, written = _stem(results), []
        for format, suffix in SUFFIXES.items():
            path = folder / f"{name}.{suffix}"
            path.write_text(text([results], format) + "\n", encoding="utf-8")
            written.append(path)
        return [*written, *figures.save(results, folder)]

"""One static HTML page for everything below some results folders: no network, no framework, all
data inside it.

Whatever comes from a record or an answer is JSON in the page, with `<`, `>` and `&` escaped, and is
shown as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.disk import store
from bench.errors import InputError
from bench.report import base_results, caveats, experiments, figures, grid_head, grids, runs
from bench.report.answers import Answers, baselines
from bench.report.base_results import Tables
from bench.report.cells import NLL, Record, cost, flat, kind_of, main_metric, unedited, users
from bench.report.inventory import at_least_one
from bench.report.runs import Results
from bench.report.significance import FinishedCell
from bench.score.metrics import DIRECTION, PRIMARY
from bench.terminal import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATES = Path(__file__).parent / "templates"
MADE_BY = "python -m bench.report page"
NAMED = ("task", "method", "variant", "model", "base", "protocol", "decoding", "seed")
AS_THEY_ARE = ("counts", "facts", "leaks", "cost", "environment")
"""Sections of a record that the page shows as they are."""
Data = dict[str, Any]
"""An object of JSON."""


def write(roots: Sequence[Path], path: Path, *, users: int) -> str:
    """Write the page; a line that says where.

    `users`: so many of each cell are shown with their texts.
    """
    if users < 0:
        raise InputError(
            f"--users {users}: how many users of each cell to show with their texts, 0 or more"
        )
    text = page(roots, users=users)
    with store.writing(path.parent, "--out FILE"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return f"wrote {path} ({len(text) / 1e6:.1f} MB)"


def page(roots: Sequence[Path], *, users: int = 50) -> str:
    """The page as text. InputError where there is nothing to show."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    cells = at_least_one(roots)
    script, style = _template("page.js"), _template("page.css")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    title = f"Lamplight results: {', '.join(root.name for root in roots)}"
    last = max(str(cell.record.get("finished") or "") for cell in cells) or "at no known time"
    return environment.get_template("page.html.j2").render(
        title=escape.visible(title),
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=embedded(escape.tree(collected(cells, roots, users))),
        footer=escape.line(f"{len(cells)} cells, the last finished {last}. Made by {MADE_BY}."),
    )


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def embedded(value: Any) -> str:
    """JSON that can stand inside a script element:
    nothing in it can end the element or begin another.
    """
    # ASCII: line separators and lone surrogates are escaped too
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def collected(cells: Sequence[FinishedCell], roots: Sequence[Path], users: int) -> Data:
    """All that the page knows, as JSON values: cells, experiments,
    answers (with each text once), baselines.
    """
    all_results = []
    for name in experiments.names():
        for scale in runs.scales(name, roots):
            all_results.append(runs.results(experiments.load(name, scale), roots))

    texts, answers = Answers(users), {}
    for cell in cells:
        rows = texts.of(cell.folder, cell.record)
        if rows:
            answers[cell.record["key"]] = rows

    ordered = sorted(cells, key=_order)
    return {
        "cells": [_cell(cell, texts) for cell in ordered],
        "experiments": list(chain.from_iterable(map(_experiment, all_results))),
        "answers": answers,
        "texts": texts.texts,
        "baselines": baselines([cell.record for cell in ordered], all_results),
        "higher": DIRECTION,
    }


def _order(cell: FinishedCell) -> list[str]:
    named = cell.record["cell"]
    return list(map(str, (named["task"], named["method"], named["variant"], named["seed"])))


def _cell(cell: FinishedCell, texts: Answers) -> Data:
    """A cell as the page has it."""
    hidden = texts.hidden.get(cell.record["key"], 0)
    return facts_of(cell.record) | {"hidden_users": hidden, "notes": texts.notes(cell.folder)}


def facts_of(record: Record) -> Data:
    """What the page's table of cells, and the view of one, know of a record."""
    cell, data, metrics = record["cell"], record["data"], record["metrics"]
    kind, likelihoods = kind_of(metrics), [metrics[name] for name in NLL if name in metrics]
    facts: Data = {name: cell[name] for name in NAMED}
    facts["variant"] = "; ".join(filter(None, [str(cell["variant"]), unedited([record])]))
    return facts | {
        "key": record["key"],
        "status": record["status"],
        "error": record["error"],
        "unscored": record["unscored"],
        "warnings": caveats.warnings(record),
        "unparsed": record["counts"].get("unparsed"),
        "leaking": sum(count for count in record["leaks"].values() if isinstance(count, int)),
        "data": f"{data['name']}/{data['split']} {data['kind']} {data['hash'][:8]}",
        "primary": list(PRIMARY[kind]) if kind else ["", ""],
        "value": main_metric(metrics),
        "metrics": metrics,
        "nll": likelihoods[0]["value"] if likelihoods else None,
        "users": users(record),
        "seconds": cost(record, "seconds"),
        "config": flat(record["config"]),
        **{name: record[name] for name in AS_THEY_ARE},
    }


def _experiment(results: Results) -> Iterator[Data]:
    """The tables and figures of an experiment, once for each base."""
    experiment = results.experiment
    for tables in base_results.by_base(results):
        yield {
            "name": experiment.name,
            "title": experiment.title,
            "scale": experiment.scale,
            "base": tables.base,
            "grids": list(map(asdict, grids.grids(tables))),
            "figures": _figures(tables),
        }


def _figures(tables: Tables) -> list[Data]:
    images = []
    for name, figure in figures.of_tables(tables):
        alt = f"{tables.experiment.title}: {name}. {' '.join(grid_head.head(tables))}"
        images.append({"alt": alt, "source": _inline(figure)})
    return images


def _inline(figure: Figure) -> str:
    """An image, not markup: what an SVG holds cannot act in the page."""
    return "data:image/svg+xml;base64," + base64.b64encode(figures.image(figure, "svg")).decode()

"""One static HTML page for everything below some results folders: no network, no framework, all
data inside it.

Whatever comes from a record or an answer is JSON in the page, with `<`, `>` and `&` escaped, and is
shown as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.disk import store
from bench.errors import InputError
from bench.report import base_results, caveats, experiments, figures, grid_head, grids, runs
from bench.report.answers import Answers, baselines
from bench.report.cells import NLL, cost, flat, kind_of, unedited, users
from bench.report.inventory import readable
from bench.report.runs import Results
from bench.score.metrics import DIRECTION, PRIMARY
from bench.terminal import escape

TEMPLATES = Path(__file__).parent / "templates"
MADE_BY = "python -m bench.report page"
Data = dict[str, Any]


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

    found = readable(roots)
    if not found:
        raise InputError(
            f"no records below {', '.join(map(str, roots))}; run a cell first: python -m bench"
        )
    script, style = (
        (TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.js", "page.css")
    )
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    title = f"Lamplight results: {', '.join(root.name for root in roots)}"
    last = max((str(record.get("finished") or "") for _, record in found), default="")
    return environment.get_template("page.html.j2").render(
        title=escape.visible(title),
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=embedded(escape.tree(collected(found, roots, users))),
        footer=escape.line(
            f"{len(found)} cells, the last finished {last or 'at no known time'}. Made by"
            f" {MADE_BY}."
        ),
    )


def embedded(value: Any) -> str:
    """JSON that can stand inside a script element:
    nothing in it can end the element or begin another.
    """
    # ASCII: line separators and lone surrogates are escaped too
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def collected(found: Sequence[tuple[Path, Data]], roots: Sequence[Path], users: int) -> Data:
    """All that the page knows, as JSON values: cells, experiments,
    answers (with each text once), baselines.
    """
    shown = [
        runs.results(experiments.load(name, scale), roots)
        for name in experiments.names()
        for scale in runs.scales(name, roots)
    ]
    texts = Answers(users)
    answers = {
        record["key"]: rows for folder, record in found if (rows := texts.of(folder, record))
    }
    found = sorted(
        found,
        key=lambda one: [
            str(one[1]["cell"][name]) for name in ("task", "method", "variant", "seed")
        ],
    )
    cells = [
        _cell(record)
        | {
            "hidden_users": texts.hidden.get(record["key"], 0),
            "notes": texts.notes(folder),
        }
        for folder, record in found
    ]
    return {
        "cells": cells,
        "experiments": [one for results in shown for one in _experiment(results)],
        "answers": answers,
        "texts": texts.texts,
        "baselines": baselines([record for _, record in found], shown),
        "higher": DIRECTION,
    }


def _cell(record: Mapping[str, Any]) -> Data:
    cell, kind = record["cell"], kind_of(record["metrics"])
    data, metrics = record["data"], record["metrics"]
    named = {
        name: cell[name]
        for name in ("task", "method", "variant", "model", "base", "protocol", "decoding", "seed")
    }
    named["variant"] = "; ".join(filter(None, [str(cell["variant"]), unedited([record])]))
    return named | {
        "key": record["key"],
        "status": record["status"],
        "error": record["error"],
        "unscored": record["unscored"],
        "warnings": caveats.warnings(record),
        "unparsed": record["counts"].get("unparsed"),
        "leaking": sum(count for count in record["leaks"].values() if isinstance(count, int)),
        "data": f"{data['name']}/{data['split']} {data['kind']} {data['hash'][:8]}",
        "primary": list(PRIMARY[kind]) if kind else ["", ""],
        "value": PRIMARY[kind][0] if kind else "",
        "metrics": metrics,
        "nll": next((metrics[name]["value"] for name in NLL if name in metrics), None),
        "users": users(record),
        "seconds": cost(record, "seconds"),
        "config": flat(record["config"]),
        **{name: record[name] for name in ("counts", "facts", "leaks", "cost", "environment")},
    }


def _experiment(results: Results) -> list[Data]:
    """The tables and figures of an experiment, once for each base."""
    found = []
    for tables in base_results.by_base(results):
        drawn = [
            {
                "alt": f"{results.experiment.title}: {name}. {' '.join(grid_head.head(tables))}",
                "source": _inline(figure),
            }
            for name, figure in figures.of_tables(tables)
        ]
        found.append(
            {
                "name": results.experiment.name,
                "title": results.experiment.title,
                "scale": results.experiment.scale,
                "base": tables.base,
                "grids": [asdict(grid) for grid in grids.grids(tables)],
                "figures": drawn,
            }
        )
    return found


def _inline(figure: Any) -> str:
    """An image, not markup: what an SVG holds cannot act in the page."""
    return "data:image/svg+xml;base64," + base64.b64encode(figures.image(figure, "svg")).decode()

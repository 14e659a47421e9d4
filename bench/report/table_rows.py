"""The rows of a table of cells, in words: which cell, its metrics, its costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.cells import NLL, Record, cost, interval, run_name, unedited, users
from bench.score.metrics import PRIMARY, Kind

Row = dict[str, str]
"""The words of a row by column."""


def primary_metrics(kind: Kind | None) -> tuple[str, ...]:
    """The metrics that the papers print of such a task."""
    return PRIMARY[kind] if kind else ()


def rows_of_cells(
    records: Sequence[Record], kind: Kind | None, *, common: Sequence[str], with_decoding: bool
) -> list[Row]:
    """A row for each cell. `common`: words that stand above the table, and so in no row;
    `with_decoding`: whether each row says how its model wrote.
    """
    primary, in_head = primary_metrics(kind), not with_decoding
    rows = []
    for record in records:
        row = _labels(record, common)
        if in_head:
            row["decoding"] = ""
        rows.append(row | _metrics(record, primary) | _costs(record))
    return rows


def _labels(record: Record, common: Sequence[str]) -> Row:
    cell = record["cell"]
    # the row of a mean says it itself
    bare = record["unedited"] if "unedited" in record else unedited([record])
    variant = [word for word in cell["variant"].split() if word not in common]
    return {
        "method": f"{cell['method']}, {bare}" if bare else cell["method"],
        "variant": " ".join(variant),
        "decoding": cell["decoding"],
        "seed": run_name(record),
    }


def _metrics(record: Record, primary: Sequence[str]) -> Row:
    """The papers' metrics with intervals, how many users and answers they are of, and the other
    metrics without.
    """
    metrics, unparsed = record["metrics"], record["counts"].get("unparsed")
    row = {}
    for name in primary:
        row[name] = with_interval(metrics[name]) if name in metrics else "-"
    row["users"] = str(users(record))
    row["unparsed"] = "-" if unparsed is None else str(unparsed)
    for name in NLL:
        row[name] = _value(metrics.get(name))
    for name in primary:
        row[f"lenient_{name}"] = _value(metrics.get(f"lenient_{name}"))
    return row


def _costs(record: Record) -> Row:
    tokens = cost(record, "tokens_in") + cost(record, "tokens_out")
    return {
        "seconds": f"{cost(record, 'seconds'):,.1f}",
        "tokens": f"{tokens:,.0f}",
        "key": record["key"][:8],
    }


def _value(metric: Mapping[str, Any] | None) -> str:
    return f"{metric['value']:z.3f}" if metric else "-"


def with_interval(metric: Mapping[str, Any]) -> str:
    """A metric with its interval over users, or with its deviation over seeds."""
    apart = f" ± {metric['apart']:.3f}" if "apart" in metric else ""
    if "sd" in metric:
        spread = f"(sd {metric['sd']:.3f})"
    else:
        spread = interval(metric.get("low"), metric.get("high"), int(metric["users"]))
    return f"{metric['value']:z.3f}{apart} {spread}".strip()

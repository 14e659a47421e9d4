"""An experiment as one flat table of unrounded numbers, for other programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from bench.report.base_results import Tables
from bench.report.render import flat_csv
from bench.report.runs import Place

Row = dict[str, Any]


def as_csv(bases: Sequence[Tables]) -> str:
    """One row per place, arm and metric, not rounded: the paper's numbers,
    ours, the comparison, cost and state.
    """
    rows: list[Row] = []
    for tables in bases:
        rows += _rows(tables)
    return flat_csv(rows)


def _rows(tables: Tables) -> Iterator[Row]:
    for place, arm in tables.summaries:
        for metric in tables.metrics(place) or [""]:
            row = _labels(tables, place, arm, metric)
            row |= _numbers(tables, place, arm, metric)
            for model, number in tables.paper_numbers(place, metric, arm).items():
                row[f"paper.{model}"] = number.value
            yield row


def _labels(tables: Tables, place: Place, arm: str, metric: str) -> Row:
    """Which row it is, and whether it is whole."""
    summary = tables.summaries[place, arm]
    return {
        "experiment": tables.experiment.name,
        "scale": tables.experiment.scale,
        "base": tables.base,
        **dict(place),
        "arm": arm,
        "metric": metric,
        "state": summary.problem or summary.unedited or "ok",
        "seeds": summary.seeds,
    }


def _numbers(tables: Tables, place: Place, arm: str, metric: str) -> Row:
    """Our value, its cost, and the comparison with the baseline."""
    summary = tables.summaries[place, arm]
    row = _fields("", summary.values.get(metric)) | _fields("cost.", summary.cost)

    comparison = tables.rows.get((place, arm, metric))
    if comparison:
        row |= _fields("minus_baseline.", comparison.paired)
        row["minus_baseline.baseline"] = tables.experiment.show.baseline_of(arm)
        row["minus_baseline.p_permutation_holm_metrics"] = comparison.holm
        row["minus_baseline.p_permutation_holm"] = comparison.holm_table
    return row


def _fields(prefix: str, value: Any) -> Row:
    """The fields of a dataclass; nothing of None."""
    if value is None:
        return {}
    return {prefix + field.name: getattr(value, field.name) for field in fields(value)}

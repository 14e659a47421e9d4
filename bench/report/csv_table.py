"""An experiment as one flat table of unrounded numbers, for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.report.base_results import Tables
from bench.report.render import flat_csv


def as_csv(found: Sequence[Tables]) -> str:
    """One row per place, arm and metric, not rounded: the paper's numbers,
    ours, the comparison, cost and state.
    """
    rows: list[dict[str, Any]] = []
    for tables in found:
        corrected = tables.corrected
        for (place, arm), one in tables.summaries.items():
            for metric in tables.metrics(place) or [""]:
                value, against = (
                    one.values.get(metric),
                    tables.comparisons.get((place, arm, metric)),
                )
                row: dict[str, Any] = {
                    "experiment": tables.experiment.name,
                    "scale": tables.experiment.scale,
                    "base": tables.base,
                }
                row |= {
                    **dict(place),
                    "arm": arm,
                    "metric": metric,
                    "state": one.problem or one.unedited or "ok",
                    "seeds": one.seeds,
                }
                row |= (
                    _fields("", value)
                    | _fields("cost.", one.cost)
                    | _fields("minus_baseline.", against)
                )
                if against:
                    row["minus_baseline.baseline"] = tables.experiment.show.baseline_of(arm)
                    of_metrics, of_table = corrected[place, arm, metric]
                    row["minus_baseline.p_permutation_holm_metrics"] = of_metrics
                    row["minus_baseline.p_permutation_holm"] = of_table
                printed = tables.paper_numbers(place, metric, arm)
                rows.append(
                    row | {f"paper.{model}": number.value for model, number in printed.items()}
                )
    return flat_csv(rows)


def _fields(prefix: str, value: Any) -> dict[str, Any]:
    return (
        {prefix + name: getattr(value, name) for name in value.__dataclass_fields__}
        if value
        else {}
    )

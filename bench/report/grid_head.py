"""What stands above an experiment's tables, and the names of their axes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.report import questions
from bench.report.base_results import BASES, Tables
from bench.report.experiments import FAMILIES


def head(tables: Tables) -> list[str]:
    """What the numbers are of: never to be taken for the paper's."""
    records = [run.record for run in tables.results.runs if run.record]
    scale = tables.experiment.scale
    if not records:
        return [f"Scale {scale}: nothing has run yet. {run_hint(tables)}", *tables.results.notes]
    models, data = _listed(map(_model, records)), _listed(map(_data, records))
    protocols = _listed(record["cell"]["protocol"] for record in records)
    family = tables.experiment.family
    odd = "" if tables.base == BASES[family] else f" (NOT the paper's: {FAMILIES[family]})"
    ours = (
        f"Ours, scale {scale}: model {models}; data {data}; base {tables.base}{odd}; protocol"
        f" {protocols}."
    )
    return [ours, *_missing(tables), *_revisions(records), *tables.results.notes]


def _model(record: Mapping[str, Any]) -> str:
    """Name and number format, as `smollm2-135m bfloat16`."""
    return f"{record['cell']['model']} {record.get('model', {}).get('dtype', '')}".strip()


def _data(record: Mapping[str, Any]) -> str:
    data = record["data"]
    return f"{data['name']}/{data['split']} ({data['kind']} split)"


def _missing(tables: Tables) -> list[str]:
    """How many arms are not whole, and the command that runs them; nothing if all are."""
    summaries = tables.summaries.values()
    missing = sum(summary.problem != "" for summary in summaries)
    if not missing:
        return []
    count = f"{missing} of {len(summaries)} arms are missing or incomplete."
    return [f"{count} {run_hint(tables)}"]


def _revisions(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which revisions of the code the cells ran on; nothing if it was one."""
    revisions = sorted({_revision(record)[:7] for record in records} - {""})
    if len(revisions) < 2:
        return []
    return [f"Its cells ran on {len(revisions)} revisions of the code: {', '.join(revisions)}."]


def _revision(record: Mapping[str, Any]) -> str:
    """Of the checkout that ran the cell; empty for an installed package,
    and for a rule, which asks no model.
    """
    if record["cell"]["method"] == "majority":
        return ""
    git = record.get("environment", {}).get("git")
    return str(git["revision"]) if git else ""


def run_hint(tables: Tables) -> str:
    return f"Run them: {questions.commands(tables.experiment, tables.results.runs)}"


def title(tables: Tables) -> str:
    return f"{tables.experiment.title} [scale {tables.experiment.scale}]"


def axes_of(tables: Tables) -> list[str]:
    """The axes that tell rows apart: one model for all is said in the head."""
    axes: dict[str, None] = {}
    models = set()
    for place in tables.results.places:
        values = dict(place)
        axes |= dict.fromkeys(values)
        models.add(values.get("model"))

    has_run = any(run.record for run in tables.results.runs)
    if has_run and len(models) == 1:
        axes.pop("model", None)
    return list(axes)


def short_names(axes: Sequence[str]) -> list[str]:
    """Axes by their last names, where no two have the same."""
    last = [axis.rpartition(".")[2] for axis in axes]
    return last if len(set(last)) == len(last) else list(axes)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))

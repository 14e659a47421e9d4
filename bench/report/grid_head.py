"""What stands above an experiment's tables, and the names of their axes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.report import comparability, questions
from bench.report.base_results import BASES, Tables
from bench.report.cells import Record
from bench.report.experiments import FAMILIES
from bench.report.runs import Place


def title(tables: Tables) -> str:
    return f"{tables.experiment.title} [scale {tables.experiment.scale}]"


def head(tables: Tables) -> list[str]:
    """What the numbers are of: never to be taken for the paper's."""
    records, notes = tables.results.records, tables.results.notes
    scale, family = tables.experiment.scale, tables.experiment.family
    if not records:
        return [f"Scale {scale}: nothing has run yet. {run_hint(tables)}", *notes]

    models, data = _listed(map(_model, records)), _listed(map(_data, records))
    protocols = _listed(map(_protocol, records))
    odd = "" if tables.base == BASES[family] else f" (NOT the paper's: {FAMILIES[family]})"
    ours = (
        f"Ours, scale {scale}: model {models}; data {data}; base {tables.base}{odd}; protocol"
        f" {protocols}."
    )
    return [ours, *missing(tables), *_revisions(records), *notes]


def run_hint(tables: Tables) -> str:
    return f"Run them: {questions.commands(tables.experiment, tables.results.runs)}"


def axes_of(tables: Tables) -> list[str]:
    """The axes that tell rows apart: one model for all is said in the head."""
    axes: dict[str, None] = {}
    models = set()
    for place in tables.results.places:
        values = dict(place)
        axes |= dict.fromkeys(values)
        models.add(values.get("model"))

    if tables.results.records and len(models) == 1:
        axes.pop("model", None)
    return list(axes)


def labels(tables: Tables, place: Place, axes: Sequence[str]) -> list[str]:
    """What a row says of its place, an entry for each axis."""
    words = tables.words(place)
    return [words.get(axis, "") for axis in axes]


def short_names(axes: Sequence[str]) -> list[str]:
    """Axes by their last names, where no two have the same."""
    last = [axis.rpartition(".")[2] for axis in axes]
    return last if len(set(last)) == len(last) else list(axes)


def _model(record: Record) -> str:
    """Name and number format, as `smollm2-135m bfloat16`."""
    return f"{record['cell']['model']} {record.get('model', {}).get('dtype', '')}".strip()


def _data(record: Record) -> str:
    data: Mapping[str, Any] = record["data"]
    return f"{data['name']}/{data['split']} ({data['kind']} split)"


def _protocol(record: Record) -> str:
    return str(record["cell"]["protocol"])


def missing(tables: Tables) -> list[str]:
    """How many arms are not whole, and the command that runs them; nothing if all are."""
    summaries = tables.summaries.values()
    missing = sum(summary.problem != "" for summary in summaries)
    if not missing:
        return []
    count = f"{missing} of {len(summaries)} arms are missing or incomplete."
    return [f"{count} {run_hint(tables)}"]


def _revisions(records: Sequence[Record]) -> list[str]:
    """Which revisions of the code the cells ran on; nothing if it was one."""
    revisions = set(map(_revision, records)) - {""}
    if len(revisions) < 2:
        return []
    names = ", ".join(sorted(revisions))
    return [f"Its cells ran on {len(revisions)} revisions of the code: {names}."]


def _revision(record: Record) -> str:
    """Of the checkout that ran the cell, in short; empty for an installed package,
    and for a rule, which asks no model.
    """
    if record["cell"]["method"] == comparability.RULE:
        return ""
    git = record.get("environment", {}).get("git")
    return str(git["revision"])[:7] if git else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))

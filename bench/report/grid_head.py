"""What stands above an experiment's tables, and the names of their axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    models = _listed(
        f"{record['cell']['model']} {record.get('model', {}).get('dtype', '')}".strip()
        for record in records
    )
    data = _listed(
        f"{one['data']['name']}/{one['data']['split']} ({one['data']['kind']} split)"
        for one in records
    )
    protocols = _listed(record["cell"]["protocol"] for record in records)
    family = tables.experiment.family
    odd = "" if tables.base == BASES[family] else f" (NOT the paper's: {FAMILIES[family]})"
    ours = (
        f"Ours, scale {scale}: model {models}; data {data}; base {tables.base}{odd}; protocol"
        f" {protocols}."
    )
    missing = sum(one.problem != "" for one in tables.summaries.values())
    state = (
        f"{missing} of {len(tables.summaries)} arms are missing or incomplete. {run_hint(tables)}"
    )
    codes = sorted({code[:7] for record in records if (code := _revision(record))})
    mixed = f"Its cells ran on {len(codes)} revisions of the code: {', '.join(codes)}."
    return [
        ours,
        *([state] if missing else []),
        *([mixed] if len(codes) > 1 else []),
        *tables.results.notes,
    ]


def _revision(record: Mapping[str, Any]) -> str:
    """Of the checkout that ran the cell; empty for an installed package,
    and for a rule, which asks no model.
    """
    git = (
        record.get("environment", {}).get("git") if record["cell"]["method"] != "majority" else None
    )
    return str(git["revision"]) if git else ""


def run_hint(tables: Tables) -> str:
    return f"Run them: {questions.commands(tables.experiment, tables.results.runs)}"


def title(tables: Tables) -> str:
    return f"{tables.experiment.title} [scale {tables.experiment.scale}]"


def axes_of(tables: Tables) -> list[str]:
    """The axes that tell rows apart: one model for all is said in the head."""
    places = tables.results.places
    axes = list(dict.fromkeys(axis for place in places for axis, _ in place))
    one = len({dict(place).get("model") for place in places}) == 1 and any(
        run.record for run in tables.results.runs
    )
    return [axis for axis in axes if not (one and axis == "model")]


def short_names(axes: Sequence[str]) -> list[str]:
    """Axes by their last names, where no two have the same."""
    last = [axis.rpartition(".")[2] for axis in axes]
    return last if len(set(last)) == len(last) else list(axes)


def _listed(names: Iterator[str]) -> str:
    return ", ".join(dict.fromkeys(names))

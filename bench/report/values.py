"""What a table says of an arm at a place: metrics over its seeds with intervals, and its cost."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.report import arm_costs, significance
from bench.report.arm_costs import CostSummary
from bench.report.cells import NLL, kind_of, span_of, task_of, unedited
from bench.report.runs import Place, Results, Run
from bench.report.spread import Spread, on_scale, spread
from bench.score.metrics import PRIMARY, Kind


@dataclass(frozen=True)
class Value:
    """One metric of an arm, mean over its seeds, with a 95 % interval over users (None: no interval
    is known).

    `sd`: over repeats of the fit, where there are some; the interval then is over users and
    repeats.
    """

    value: float
    low: float | None
    high: float | None
    users: int
    sd: float | None = None


@dataclass(frozen=True)
class Summary:
    """An arm at a place: its values by metric, its cost, and what is missing (`problem`: empty if
    nothing is).

    `unedited`: says so where CHAMELEON edited nothing, so that its model is the baseline's.
    """

    values: Mapping[str, Value]
    cost: CostSummary | None
    problem: str
    seeds: int
    unedited: str = ""


def summary(runs: Sequence[Run]) -> Summary:
    """The seeds and repeats of one arm at one place, as one."""
    runs = distinct(runs)
    done = [run for run in runs if run.is_ok]
    problem = _problem(runs)
    if not done:
        return Summary({}, None, problem, seeds=0)

    records = [run.finished.record for run in done]
    values = {}
    for name, value in _values(done).items():
        values[name] = _with_spread(done, name, value)
    return Summary(values, arm_costs.mean(records), problem, len(done), unedited(records))


def distinct(runs: Sequence[Run]) -> list[Run]:
    """Each cell once: the repeats of a method that draws nothing are one."""
    # the first of equal cells stays, where the last of them stands
    cells: dict[tuple[str, ...], Run] = {}
    for run in reversed(runs):
        cells[run.cell or (run.seed, run.repeat)] = run
    return list(cells.values())[::-1]


def spread_of(values: Sequence[tuple[Run, float]]) -> Spread | None:
    """How far the repeats of each seed lie apart in a number; None without repeats."""
    by_seed = defaultdict(list)
    for run, value in values:
        by_seed[run.seed].append(value)
    return spread(by_seed)


def metric_of(run: Run, name: str) -> float:
    """A metric of a finished run."""
    return float(run.finished.record["metrics"][name]["value"])


def kind_at(results: Results, place: Place) -> Kind | None:
    """What the task of a place measures, from its finished records, or from the task's own file."""
    for (where, _), runs in results.cells.items():
        for run in runs if where == place else ():
            kind = kind_of(run.finished.record["metrics"]) if run.is_ok else None
            if kind:
                return kind
    task = dict(place).get("task")
    return task_of(task).kind if task else None


def metrics_of(kind: Kind | None, summaries: Sequence[Summary]) -> list[str]:
    """The metrics that the papers print, and the NLL where a cell has it."""
    metrics: list[str] = list(PRIMARY[kind]) if kind else []
    for name in NLL:
        if any(name in summary.values for summary in summaries):
            metrics.append(name)
    return metrics


def _with_spread(runs: Sequence[Run], name: str, value: Value) -> Value:
    """A value with the spread of the repeats beside it and in its interval."""
    apart = spread_of([(run, metric_of(run, name)) for run in runs])
    if apart is None:
        return value
    ends = apart.wider(value.value, value.low, value.high, value.users)
    ends = on_scale(name, ends, span_of(runs[0].finished.record))
    return replace(value, low=ends.low, high=ends.high, sd=apart.sd)


def _values(runs: Sequence[Run]) -> dict[str, Value]:
    """The metrics that all runs have, with intervals over users."""
    cells = [run.finished for run in runs]
    if len(runs) == 1 or not all(run.scores for run in runs):
        return _without_scores([cell.record["metrics"] for cell in cells])
    values = {}
    for name, fields in significance.of_runs(cells[0].task, cells).items():
        values[name] = Value(**fields)
    return values


def _without_scores(cells: Sequence[Mapping[str, Any]]) -> dict[str, Value]:
    """The means of the metrics as the records have them. The intervals of one cell are known, of
    several they are not: without scores.json there are no users to leave out.
    """
    values = {}
    for name in cells[0]:
        metrics = [metrics[name] for metrics in cells if name in metrics]
        if len(metrics) == len(cells):
            values[name] = _mean(metrics)
    return values


def _mean(metrics: Sequence[Mapping[str, Any]]) -> Value:
    first, *others = metrics
    value = statistics.fmean(metric["value"] for metric in metrics)
    users = max(int(metric["users"]) for metric in metrics)
    if others:
        return Value(value, None, None, users)
    return Value(value, first.get("low"), first.get("high"), users)


def _problem(runs: Sequence[Run]) -> str:
    """What is missing, in the words of a cell of a table; empty if nothing is."""
    states = list(map(_state, runs))
    if len(set(states)) == 1:
        return "" if states[0] == "ok" else states[0]

    done = states.count("ok")
    for state in states:
        if not done and state.startswith(("failed", "other questions")):
            return state
    return f"{done} of {len(states)} seeds"


def _state(run: Run) -> str:
    unscored = run.is_ok and not run.finished.record["metrics"]
    return "unscored" if unscored else run.state

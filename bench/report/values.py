"""What a table says of an arm at a place: metrics over its seeds with intervals, costs, and the paired comparison."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.report import fresh
from bench.report.cells import NLL, kind_of, task_of, unedited
from bench.report.experiments import Results, Run
from bench.score.metrics import PRIMARY, Kind

if TYPE_CHECKING:
    from bench.score.stats import Paired

ASIDE = ("load", "base", "score")  # phases that are no cost of personalizing or answering
DRAWS = 2000
"""Of a comparison, by permutation."""
FEW = 20
"""Draws on one side (or as extreme) below which a p may be too coarse for a large table."""


@dataclass(frozen=True)
class Value:
    """One metric of an arm, mean over its seeds, with a 95 % interval over users (None: no interval is known)."""

    value: float
    low: float | None
    high: float | None
    users: int


@dataclass(frozen=True)
class Cost:
    """Per tested user, mean over seeds: seconds (without loading, the base and scoring), bytes of patches, tokens."""

    seconds: float
    fit_seconds: float  # of those, the seconds before the test
    bytes: float
    tokens: float


@dataclass(frozen=True)
class Summary:
    """An arm at a place: its values by metric, its cost, and what is missing (`problem`: empty if nothing is).

    `unedited`: says so where CHAMELEON edited nothing, so that its model is the baseline's.
    """

    values: Mapping[str, Value]
    cost: Cost | None
    problem: str
    seeds: int
    unedited: str = ""


def summary(runs: Sequence[Run]) -> Summary:
    """The seeds of one arm at one place, as one."""
    done = [run for run in runs if run.state == "ok"]
    problem = _problem(runs)
    if not done:
        return Summary({}, None, problem, 0)
    return Summary(_values(done), _cost(done), problem, len(done), unedited(list(map(_record, done))))


def comparison(runs: Sequence[Run], baseline: Sequence[Run], draws: int = DRAWS) -> dict[str, Paired]:
    """Every primary metric and the gold's NLL, arm minus baseline, seed by seed on the same questions.

    Empty where a side has no scores. Raises InputError where the two were scored against different golds.
    """
    other = {run.seed: run for run in baseline if run.state == "ok" and run.scores}
    pairs = [(run, other[run.seed]) for run in runs if run.state == "ok" and run.scores and run.seed in other]
    if not pairs:
        return {}
    kind, labels = task_of(str(_record(pairs[0][0])["cell"]["task"]))
    found = fresh.compared(kind, labels, [(_scores(run), _scores(base)) for run, base in pairs], draws)
    return {name: one for name, one in found.items() if name in (*PRIMARY[kind], *NLL)}


def kind_at(results: Results, place: Any) -> Kind | None:
    """What the task of a place measures, from its finished records, or from the task's own file."""
    for (where, _), runs in results.cells.items():
        for run in runs if where == place else ():
            if run.state == "ok" and (kind := kind_of(_record(run)["metrics"])):
                return kind
    task = dict(place).get("task")
    return task_of(task)[0] if task else None


def metrics_of(kind: Kind | None, summaries: Sequence[Summary]) -> list[str]:
    """The metrics that the papers print, and the NLL where a cell has it."""
    extra = [name for name in NLL if any(name in one.values for one in summaries)]
    return [*(PRIMARY[kind] if kind else ()), *extra]


def _problem(runs: Sequence[Run]) -> str:
    states = [_state(run) for run in runs]
    if all(state == "ok" for state in states):
        return ""
    if len(set(states)) == 1:
        return states[0]
    done = states.count("ok")
    failed = next((state for state in states if state.startswith(("failed", "other questions"))), None)
    return failed if failed and not done else f"{done} of {len(states)} seeds"


def _state(run: Run) -> str:
    return "unscored" if run.state == "ok" and not _record(run)["metrics"] else run.state


def _values(runs: Sequence[Run]) -> dict[str, Value]:
    records = [_record(run) for run in runs]
    shared = [name for name in records[0]["metrics"] if all(name in record["metrics"] for record in records)]
    if len(runs) == 1 or not all(run.scores for run in runs):
        return {name: _alone([record["metrics"][name] for record in records]) for name in shared}
    kind, labels = task_of(str(records[0]["cell"]["task"]))
    found = fresh.of_runs(kind, labels, [_scores(run) for run in runs])
    return {name: Value(**one) for name, one in found.items()}


def _alone(metrics: Sequence[Mapping[str, Any]]) -> Value:
    value, users = statistics.fmean(one["value"] for one in metrics), max(int(one["users"]) for one in metrics)
    if len(metrics) > 1:  # without scores.json there are no users to leave out
        return Value(value, None, None, users)
    return Value(value, metrics[0].get("low"), metrics[0].get("high"), users)


def _cost(runs: Sequence[Run]) -> Cost:
    def mean(of: Any) -> float:
        return statistics.fmean(of(_record(run)) / max(1, _record(run)["data"]["users"]) for run in runs)

    def total(record: Mapping[str, Any], *names: str, without: tuple[str, ...] = ASIDE) -> float:
        phases = (phase for name, phase in record["cost"].items() if name not in without)
        return float(sum(phase.get(name) or 0 for phase in phases for name in names))

    return Cost(
        seconds=mean(lambda record: total(record, "seconds", "reused")),
        fit_seconds=mean(lambda record: total(record, "seconds", "reused", without=(*ASIDE, "generate"))),
        bytes=mean(lambda record: float(record["counts"].get("patch_bytes", 0))),
        tokens=mean(lambda record: total(record, "tokens_in", "tokens_out")),
    )


def _scores(run: Run) -> tuple[Path, Mapping[str, Any]]:
    assert run.folder is not None  # as above
    return run.folder, _record(run)


def _record(run: Run) -> Mapping[str, Any]:
    assert run.record is not None  # callers ask finished runs only
    return run.record

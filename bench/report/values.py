"""What a table says of an arm at a place: metrics over its seeds with intervals, costs, and the
paired comparison.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.report import significance
from bench.report.cells import NLL, kind_of, task_of, unedited
from bench.report.runs import Results, Run
from bench.report.spread import on_scale, spread
from bench.score.metrics import PRIMARY, Kind
from bench.sweep.design import repeat_of

if TYPE_CHECKING:
    from bench.score.stats import Paired

ASIDE = ("load", "base", "score")  # phases that are no cost of personalizing or answering
DRAWS = 2000
"""Of a comparison, by permutation."""
FEW = 20
"""Draws on one side (or as extreme) below which a p may be too coarse for a large table."""


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
class CostSummary:
    """Per tested user, mean over seeds: seconds (without loading, the base and scoring), bytes of
    patches, tokens.
    """

    seconds: float
    fit_seconds: float  # of those, the seconds before the test
    bytes: float
    tokens: float


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
    done = [run for run in runs if run.state == "ok"]
    problem = _problem(runs)
    if not done:
        return Summary({}, None, problem, 0)
    return Summary(
        _with_spread(done, _values(done)),
        _cost(done),
        problem,
        len(done),
        unedited(list(map(_record, done))),
    )


def distinct(runs: Sequence[Run]) -> list[Run]:
    """Each cell once: the repeats of a method that draws nothing are one."""
    return list(
        {run.cell or (run.seed, repeat_of(run.at)): run for run in reversed(runs)}.values()
    )[::-1]


def _with_spread(runs: Sequence[Run], found: Mapping[str, Value]) -> dict[str, Value]:
    """The values with the spread of the repeats beside them and in their intervals."""
    values = {}
    for name, one in found.items():
        apart = spread(_by_seed([(run.seed, _metric(run, name)) for run in runs]))
        values[name] = one
        if apart:
            low, high = on_scale(name, *apart.wider(one.value, one.low, one.high, one.users))
            values[name] = replace(one, low=low, high=high, sd=apart.sd)
    return values


def _widened(pairs: Sequence[tuple[Run, Run]], name: str, one: Paired) -> Paired:
    """A difference whose interval, error and p know that its repeats differ. p is the larger:
    of users, of both.
    """
    apart = spread(
        _by_seed([(run.seed, _metric(run, name) - _metric(base, name)) for run, base in pairs])
    )
    if not apart:
        return one
    from bench.score.power import detectable

    low, high = apart.wider(one.difference, one.low, one.high, one.users)
    error, freedom = apart.both(one.error, one.users)
    p = max(one.p_permutation, apart.p(one.difference, one.error, one.users))
    seen = None if one.detectable is None else max(one.detectable, detectable(error, freedom))
    return replace(one, low=low, high=high, p_permutation=p, error=error, detectable=seen)


def _by_seed(values: Sequence[tuple[str, float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for seed, value in values:
        found.setdefault(seed, []).append(value)
    return found


def _metric(run: Run, name: str) -> float:
    return float(_record(run)["metrics"][name]["value"])


def comparison(
    runs: Sequence[Run], baseline: Sequence[Run], draws: int = DRAWS
) -> dict[str, Paired]:
    """Every primary metric and the gold's NLL, arm minus baseline, run by run of a seed on the same
    questions.

    A repeat is compared with the baseline's same repeat, or where it was not repeated with its only
    run. Empty where a side has no scores. Raises InputError where the two were scored against
    different golds.
    """
    other = {
        (run.seed, repeat_of(run.at)): run for run in baseline if run.state == "ok" and run.scores
    }
    pairs = [
        (run, base)
        for run in distinct(runs)
        if run.state == "ok"
        and run.scores
        and (base := other.get((run.seed, repeat_of(run.at))) or other.get((run.seed, "0")))
    ]
    if not pairs:
        return {}
    kind, labels = task_of(str(_record(pairs[0][0])["cell"]["task"]))
    found = significance.compared(
        kind, labels, [(_scores(run), _scores(base)) for run, base in pairs], draws
    )
    return {
        name: _widened(pairs, name, one)
        for name, one in found.items()
        if name in (*PRIMARY[kind], *NLL)
    }


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
    failed = next(
        (state for state in states if state.startswith(("failed", "other questions"))), None
    )
    return failed if failed and not done else f"{done} of {len(states)} seeds"


def _state(run: Run) -> str:
    return "unscored" if run.state == "ok" and not _record(run)["metrics"] else run.state


def _values(runs: Sequence[Run]) -> dict[str, Value]:
    records = [_record(run) for run in runs]
    shared = [
        name
        for name in records[0]["metrics"]
        if all(name in record["metrics"] for record in records)
    ]
    if len(runs) == 1 or not all(run.scores for run in runs):
        return {name: _alone([record["metrics"][name] for record in records]) for name in shared}
    kind, labels = task_of(str(records[0]["cell"]["task"]))
    found = significance.of_runs(kind, labels, [_scores(run) for run in runs])
    return {name: Value(**one) for name, one in found.items()}


def _alone(metrics: Sequence[Mapping[str, Any]]) -> Value:
    value, users = (
        statistics.fmean(one["value"] for one in metrics),
        max(int(one["users"]) for one in metrics),
    )
    if len(metrics) > 1:  # without scores.json there are no users to leave out
        return Value(value, None, None, users)
    return Value(value, metrics[0].get("low"), metrics[0].get("high"), users)


def _cost(runs: Sequence[Run]) -> CostSummary:
    def mean(of: Any) -> float:
        return statistics.fmean(
            of(_record(run)) / max(1, _record(run)["data"]["users"]) for run in runs
        )

    def total(record: Mapping[str, Any], *names: str, without: tuple[str, ...] = ASIDE) -> float:
        phases = (phase for name, phase in record["cost"].items() if name not in without)
        return float(sum(phase.get(name) or 0 for phase in phases for name in names))

    return CostSummary(
        seconds=mean(lambda record: total(record, "seconds", "reused")),
        fit_seconds=mean(
            lambda record: total(record, "seconds", "reused", without=(*ASIDE, "generate"))
        ),
        bytes=mean(lambda record: float(record["counts"].get("patch_bytes", 0))),
        tokens=mean(lambda record: total(record, "tokens_in", "tokens_out")),
    )


def _scores(run: Run) -> tuple[Path, Mapping[str, Any]]:
    assert run.folder is not None  # as above
    return run.folder, _record(run)


def _record(run: Run) -> Mapping[str, Any]:
    assert run.record is not None  # callers ask finished runs only
    return run.record

"""Run one cell, or a shard of it: find it done, or claim it, work,
and leave a record, also of a failure.
"""

from __future__ import annotations

import datetime
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from omegaconf import DictConfig

from bench.cell import record as records
from bench.cell import shard, staleness, steps
from bench.cell.cell_claim import claimed
from bench.cell.cohort import Cohort, cohort
from bench.cell.job import Job
from bench.cell.plan import Plan, resolve
from bench.cell.shard import Shard
from bench.cell.windows import checked_size
from bench.cost.budget import Budget
from bench.disk import manifest, store
from bench.errors import InputError, MethodError, OverBudget


@dataclass(frozen=True)
class Result:
    """What became of a cell: its record, and whether it was there already.

    `missing`: the shards that it still needs, in words; then there is no record yet. `remark`:
    what the result line says of a record that was there already, as other code may have made it.
    """

    plan: Plan
    record: Mapping[str, Any]
    cached: bool
    missing: str = ""
    remark: str = "was done"


def run(config: DictConfig) -> Result:
    """Run a cell, or find it done.

    A cell that fails leaves a record that says so. InputError for bad input.
    """
    plan = resolve(config)
    if plan.config["experiment"]:
        manifest.note(plan.cell, plan.config["experiment"], plan.overrides)
    checked_size(config.window)
    part = shard.asked(plan.config, plan.cell)
    done = staleness.standing(plan)
    if done.record is not None:
        return Result(plan, done.record, cached=True, remark=done.remark)
    if plan.method.needs_model:
        plan.spec.check()  # before users are read, which may take long
    if part is not None:
        return _run_part(cohort(plan), part)
    with claimed(plan.cell):
        done = staleness.standing(plan)
        if done.record is not None:
            return Result(plan, done.record, cached=True, remark=done.remark)
        staleness.begin(plan)
        return _run_whole(cohort(plan))


def _run_whole(who: Cohort, *, shards: int = 1, dropped: int = 0) -> Result:
    """All steps.

    A step that has left its files is not repeated; `dropped` lines of them were cut off.
    """
    plan = who.plan
    budget = Budget(plan.config["budget"]["minutes"], progress=plan.config["progress"])
    job = Job(who, budget, plan.cell, who.users, dropped)
    frame = _attempt(who, budget, partial(steps.whole, job))
    if shards > 1:
        frame["environment"]["shards"] = shards
    store.write_json(plan.cell.config, plan.config)
    store.write_record(plan.cell, frame)
    return Result(plan, frame, cached=False)


def _run_part(who: Cohort, part: Shard) -> Result:
    """One part of a cell; after the last one, the whole. A part that fails is a failed cell."""
    plan = who.plan
    failure: dict[str, Any] = {}
    with claimed(plan.cell):
        if staleness.standing(plan).record is None:
            # this file marks the folder of a cell; its shards have none
            store.write_json(plan.cell.config, plan.config)
            staleness.begin(plan)
    with claimed(part.cell):
        if not part.done and store.finished(plan.cell) is None:
            failure = _work_on(who, part)
    missing = part.missing()
    done = store.finished(plan.cell)  # if so, its shards are gone
    if done is None and missing and not failure:
        return Result(plan, {}, cached=False, missing=missing)
    with claimed(plan.cell):
        done = store.finished(plan.cell)
        if done is not None:
            return Result(plan, done, cached=True)
        if failure:
            store.write_record(plan.cell, failure)
            return Result(plan, failure, cached=False)
        result = _run_whole(who, shards=part.count, dropped=shard.merge(part, who.users))
        if result.record["status"] == "ok":
            shard.remove(plan.cell)
        return result


def _work_on(who: Cohort, part: Shard) -> dict[str, Any]:
    """A shard's work; what the record says if it failed, else nothing."""
    budget = Budget(progress=who.plan.config["progress"])
    job = Job(who, budget, part.cell, part.users(who.users))
    frame = _attempt(who, budget, partial(steps.part, job))
    if frame["status"] != "ok":
        return frame
    part.finish(job.users, job.dropped)
    return {}


def _attempt(who: Cohort, budget: Budget, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The record of what the work did: its results, or why it failed."""
    started, record, error = _now(), dict[str, Any](), None
    try:
        record, status = work(), "ok"
    except (InputError, store.StoreError):
        raise
    except OverBudget as problem:
        status, error = "over_budget", str(problem)
    except MemoryError as problem:
        status, error = "oom", str(problem)
    except MethodError as problem:
        status, error = "error", "; ".join(filter(None, [str(problem), who.emptied]))
    except Exception as problem:  # a failed cell is a row, not a hole
        traceback.print_exc()
        status = "oom" if type(problem).__name__ == "OutOfMemoryError" else "error"
        error = f"{type(problem).__name__}: {problem}"
    outcome = {"status": status, "error": error, "started": started, "finished": _now()}
    return records.frame(who, budget) | record | outcome


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

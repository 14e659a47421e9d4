"""Run one cell, or a shard of it: find it done, or claim it, work, and leave a record, also of a failure."""

from __future__ import annotations

import datetime
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from bench import manifest, shard, store
from bench import record as records
from bench.budget import Budget
from bench.job import Job, claimed
from bench.plan import Plan, checked, resolve
from bench.shard import Shard
from bench.types import InputError, MethodError, OverBudget
from bench.windows import checked_size


@dataclass(frozen=True)
class Result:
    """What became of a cell: its record, and whether it was there already.

    `missing`: the shards that it still needs, in words; then there is no record yet.
    """

    plan: Plan
    record: Mapping[str, Any]
    cached: bool
    missing: str = ""


def run(config: DictConfig) -> Result:
    """Run a cell, or find it done. A cell that fails leaves a record that says so. Raises InputError on bad input."""
    plan = resolve(config)
    if plan.config["experiment"]:
        manifest.note(plan.cell, plan.config["experiment"], plan.overrides)
    checked_size(config.window)
    part = shard.asked(plan.config, plan.cell)
    done = store.finished(plan.cell)
    if done is not None:
        return Result(plan, done, cached=True)
    if part is not None:
        return _run_part(checked(plan), part)
    with claimed(plan.cell):
        done = store.finished(plan.cell)
        if done is not None:
            return Result(plan, done, cached=True)
        return _run_whole(checked(plan))


def _run_whole(plan: Plan, *, shards: int = 1, dropped: int = 0) -> Result:
    """All steps; those that left their files before (`dropped` lines of them were cut off) are not repeated."""
    budget = Budget(plan.config["budget"]["minutes"], progress=plan.config["progress"])
    job = Job(plan, budget, plan.cell, plan.users, dropped)
    frame = _attempt(plan, budget, job.whole)
    if shards > 1:
        frame["environment"]["shards"] = shards
    store.write_json(plan.cell.config, plan.config)
    store.write_record(plan.cell, frame)
    return Result(plan, frame, cached=False)


def _run_part(plan: Plan, part: Shard) -> Result:
    """One part of a cell; where it was the last one, then the whole. A part that fails is a failed cell."""
    store.write_json(plan.cell.config, plan.config)  # a folder with this is a cell: its parts are none
    failure: dict[str, Any] = {}
    with claimed(part.cell):
        if not part.done and store.finished(plan.cell) is None:
            failure = _work_on(plan, part)
    missing = part.missing()
    done = store.finished(plan.cell)  # then its parts are gone
    if done is None and missing and not failure:
        return Result(plan, {}, cached=False, missing=missing)
    with claimed(plan.cell):
        done = store.finished(plan.cell)
        if done is not None:
            return Result(plan, done, cached=True)
        if failure:
            store.write_record(plan.cell, failure)
            return Result(plan, failure, cached=False)
        result = _run_whole(plan, shards=part.count, dropped=shard.merge(part, plan.users))
        if result.record["status"] == "ok":
            shard.remove(plan.cell)
        return result


def _work_on(plan: Plan, part: Shard) -> dict[str, Any]:
    """A shard's work; what the record says where it failed, else nothing."""
    budget = Budget(progress=plan.config["progress"])
    job = Job(plan, budget, part.cell, part.users(plan.users))
    frame = _attempt(plan, budget, job.part)
    if frame["status"] != "ok":
        return frame
    part.finish(job.users, job.dropped)
    return {}


def _attempt(plan: Plan, budget: Budget, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The record of what the work did: its results, or why it failed."""
    started, record, error = _now(), dict[str, Any](), None
    try:
        record, status = work(), "ok"
    except (InputError, store.StoreError):
        raise
    except (OverBudget, MemoryError) as problem:
        status, error = "over_budget" if isinstance(problem, OverBudget) else "oom", str(problem)
    except MethodError as problem:
        status, error = "error", str(problem)
    except Exception as problem:  # a failed cell is a row, not a hole
        traceback.print_exc()
        status = "oom" if type(problem).__name__ == "OutOfMemoryError" else "error"
        error = f"{type(problem).__name__}: {problem}"
    times = {"started": started, "finished": _now()}
    return records.frame(plan, budget) | record | {"status": status, "error": error} | times


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

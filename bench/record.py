"""The record of a cell (docs/record.md): what ran, on what, what came out and what it cost. Holds no user text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench import env, store
from bench.budget import Budget
from bench.lm.base import fingerprint
from bench.plan import Plan, find_base, known
from bench.score import metrics, stats
from bench.types import Personalization, Sample

_PRIVATE = ("task", "results", "progress", "dry", "adapter", "experiment", "scale", "rules")


def frame(plan: Plan, budget: Budget) -> dict[str, Any]:
    """The part that every cell has, failed or not."""
    data = {
        "name": plan.config["data"]["name"],
        "split": plan.tested.split,
        "fit_split": plan.fitted.split,
        "kind": plan.tested.kind,
        "hash": plan.tested.hash,
        "fit_hash": plan.fitted.hash,
        "users": len({user.group for user in plan.users}),
        "queries": sum(len(user.queries) for user in plan.users),
        "golds": plan.tested.golds,
    }
    return {
        "schema": store.SCHEMA,
        "key": plan.cell.key,
        "cell": plan.names,
        "config": _public(plan.config) | {"method": dict(plan.fields)},
        "model": plan.spec.identity() | {"base": _base(plan)},
        "data": data,
        "leaks": plan.leaks.record(),
        "metrics": {},
        "unscored": None,
        "counts": {},
        "facts": {},
        "cost": budget.report(),
        "environment": env.describe(),
    }


def results(
    plan: Plan,
    samples: Sequence[Sample],
    scored: Sequence[metrics.Scored],
    shared: Personalization,
    personals: Sequence[Personalization],
    dropped: int,
) -> dict[str, Any]:
    """The part that only a finished cell has: metrics with intervals, counts, the method's facts."""
    task = plan.task
    patches = {patch.id: patch.bytes for one in personals for patch in one.patches}
    counts = {
        **{f"data_{name}": count for name, count in plan.tested.counts.items()},
        **{f"protocol_{name}": count for name, count in plan.counts.items()},
        "samples": len(samples),
        "unparsed": sum(metrics.unparsed(task.kind, task.labels, sample.raw) for sample in samples),
        "truncated": sum(sample.cut > 0 for sample in samples),
        "unfinished": sum(not sample.finished for sample in samples),
        "lines_dropped": dropped,
        "fit_users": len(plan.group),
        "patches": len(patches),
        "patch_bytes": sum(patches.values()),
        "patch_bytes_per_user": sum(patches.values()) / max(1, len(personals)),
    }
    result = {"counts": counts, "facts": dict(shared.facts) | _summed([one.facts for one in personals])}
    if not scored:
        return result | {"unscored": f"the {plan.tested.split} split has no golds; predictions.json is for submission"}
    intervals = stats.bootstrap(task.kind, task.labels, scored)
    return result | {"metrics": {name: asdict(interval) for name, interval in intervals.items()}}


def _base(plan: Plan) -> str:
    """The fingerprint of the adapted base: a hash of its weights."""
    path = find_base(plan)
    return "instruct" if plan.base_key is None else fingerprint(path) if path else "not there"


def _summed(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts over the users, of what the method counted for each."""
    total: Counter[str] = Counter()
    for one in facts:
        total.update({name: int(value) for name, value in one.items() if isinstance(value, int)})
    return {f"users_{name}": count for name, count in total.items()}


def _public(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without this machine's folders and without the task's prompts (its own file has them)."""
    shown = {name: known(value) for name, value in config.items() if name not in _PRIVATE}
    return shown | {"data": {name: value for name, value in config["data"].items() if name != "root"}}

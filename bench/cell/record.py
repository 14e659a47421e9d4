"""The record of a cell (docs/record.md): what ran, on what, what came out and what it cost.

Holds no user text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.cell import model_note, staleness
from bench.cell.cohort import Cohort
from bench.cell.key import by_content
from bench.cell.plan import Plan
from bench.cell.scoring import Tally
from bench.cost.budget import Budget
from bench.disk import env, store
from bench.lm.base import fingerprint
from bench.score import stats
from bench.types import Personalization, User

_PRIVATE = (
    "task",
    "results",
    "progress",
    "dry",
    "adapter",
    "experiment",
    "scale",
    "rules",
    "shard",
    "window",
    "stale",
    "protocol",  # told apart from the others, as the key has it
    "chameleon_recipes",  # the method's own fields have what was chosen of them
)


def frame(cohort: Cohort, budget: Budget) -> dict[str, Any]:
    """The part that every cell has, failed or not."""
    plan = cohort.plan
    data = {
        "name": plan.config["data"]["name"],
        "split": plan.tested.split,
        "fit_split": plan.fitted.split,
        "kind": plan.tested.kind,
        "hash": plan.tested.hash,
        "fit_hash": plan.fitted.hash,
        **_people(cohort.users),
        "golds": plan.tested.golds,
    }
    return {
        "schema": store.SCHEMA,
        "key": plan.cell.key,
        "cell": plan.names,
        "task": {"kind": plan.task.kind, "labels": list(plan.task.labels)},
        "config": _public(plan.config) | {"method": dict(plan.fields), "protocol": _protocol(plan)},
        "model": dict(plan.identity) | {"base": _base(cohort)} | model_note.read(plan.cell),
        "data": data,
        "leaks": cohort.leaks.record(),
        "metrics": {},
        "unscored": None,
        "counts": {},
        "facts": {},
        "cost": budget.report(),
        "budget": budget.spent(),
        "environment": env.describe(),
        **staleness.noted(plan),
    }


def results(cohort: Cohort, found: Tally, shared: Personalization, dropped: int) -> dict[str, Any]:
    """The part that only a finished cell has: metrics with intervals,
    counts, the method's facts.
    """
    plan, task = cohort.plan, cohort.plan.task
    counts = {
        **{f"data_{name}": count for name, count in plan.tested.counts.items()},
        **{f"protocol_{name}": count for name, count in cohort.counts.items()},
        "samples": found.samples,
        "unparsed": found.unparsed,
        "truncated": found.truncated,
        "unfinished": found.unfinished,
        "golds_without_word": found.golds_without_word,
        "withheld_questions": found.withheld_questions,
        "withheld_items": found.withheld_items,
        "lines_dropped": dropped,
        "fit_users": len(cohort.group),
        "patches": len(found.patches),
        "patch_bytes": sum(found.patches.values()),
        "patch_bytes_per_user": sum(found.patches.values()) / max(1, found.users),
    }
    if plan.spec.thinking == "on":
        counts |= {"thought_tokens": found.thought_tokens, "thoughts_cut": found.thoughts_cut}
    facts = dict(shared.facts)
    for name, count in found.facts.items():
        facts[f"users_{name}"] = count
    if "edited" in found.facts:  # each user has an edit of their own, or none
        facts["edited"] = found.facts["edited"] > 0
    result = {"counts": counts, "facts": facts}
    if not found.scored:
        return result | {
            "unscored": (
                f"the {plan.tested.split} split has no golds; predictions.json is for submission"
            )
        }
    intervals = stats.intervals(task.kind, task.labels, found.scored)
    result |= _without(plan)
    return result | {"metrics": {name: asdict(interval) for name, interval in intervals.items()}}


def _without(plan: Plan) -> dict[str, Any]:
    """Which metrics the model cannot give, and why; nothing if it gives all."""
    if not plan.method.needs_model or "logprobs" in plan.spec.can:
        return {}
    name = "nll_label" if plan.task.labels else "nll_token"
    return {"metrics_absent": {name: f"model {plan.spec.name} gives no log-probabilities"}}


def _base(cohort: Cohort) -> str:
    """The fingerprint of the adapted base: a hash of its weights."""
    if cohort.base_key is None:
        return "instruct"
    path = cohort.base()
    return fingerprint(path) if path else "not there"


def _protocol(plan: Plan) -> dict[str, Any]:
    """The protocol's settings; only an encoder that is used is looked up."""
    used: Mapping[str, Any] = by_content(plan.protocol.identity())
    return dict(plan.config["protocol"]) | dict(used)


def _people(users: Sequence[User]) -> dict[str, int]:
    """Persons (groups) and questions, in one pass over users that may be on disk."""
    groups, queries = set[str](), 0
    for user in users:
        groups.add(user.group)
        queries += len(user.queries)
    return {"users": len(groups), "queries": queries}


def _public(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without this machine's folders and without the
    task's prompts (its own file has them).
    """
    public = {name: by_content(value) for name, value in config.items() if name not in _PRIVATE}
    public["data"] = dict(config["data"])
    public["data"].pop("root", None)
    return public

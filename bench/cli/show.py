"""What the command line says of a cell: a dry run's plan, the result in a line,
the comparison with the baseline.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from bench.cell import staleness
from bench.cell.cohort import Cohort, cohort
from bench.cell.plan import resolve
from bench.cell.run import Result, run
from bench.cli.comparison import with_baseline
from bench.data.dates import as_of
from bench.disk import exit_codes, store
from bench.errors import InputError
from bench.report import tables
from bench.report.significance import fresh
from bench.terminal import escape, stops
from bench.types import Personalization


def cell(config: DictConfig) -> int:
    """Run (or with `dry=true` only plan) one cell and say what came of it.

    Returns the exit code.
    """
    stops.listen()  # here too: a sweep's job may run in a process that another has started
    try:
        if config.dry:
            escape.say(plan_text(cohort(resolve(config))))
            return 0
        return report(run(config))
    except (InputError, store.StoreError) as error:
        return exit_codes.say("error", error)
    except Exception:  # ours, not the user's: Hydra would report it as bad input
        traceback.print_exc()
        return 1
    except KeyboardInterrupt as stop:
        raise SystemExit(stops.say_stopped(stop)) from None


def report(result: Result) -> int:
    """Print a cell's result. The exit code."""
    if result.missing:
        escape.say(
            f"this shard is done; {result.plan.cell.folder} waits for shard {result.missing}"
        )
        return 0
    record = fresh(result.plan.cell.folder, result.record)
    remark = f"  ({result.remark})" if result.cached else ""
    escape.say(tables.line(record) + remark)
    try:
        comparison = with_baseline(result)
    except InputError as error:  # of another cell's folder: this one is done all the same
        comparison = f"  no comparison with the baseline: {error}"
    if comparison:
        escape.say(comparison)
    escape.say(f"  record: {result.plan.cell.record}")
    return 0 if result.record["status"] == "ok" else 1


def plan_text(who: Cohort) -> str:
    """The plan of a cell, and its first prompt with the first history items in place of the
    method's choice.
    """
    plan = who.plan
    state = "to do"
    if staleness.standing(plan).record:
        state = "done"
    elif os.path.exists(plan.cell.samples):
        state = "interrupted, goes on"
    base: str = plan.base.kind
    if who.base_key:
        base += " (at hand)" if who.base() else " (to be trained first)"
    if not who.shown:
        raise InputError(f"{plan.tested.split}: nobody is left to be tested on {plan.task.name}")
    user = who.first(1)[0]
    personal = Personalization(items=user.history[:10], text={"global": "?"})
    query = user.queries[0]
    request = plan.method.request(plan.task, as_of(user.hidden(), query), query, personal)
    prompt = request.answer or "\n".join(message.text for message in request.messages)
    questions = sum(len(tested.queries) for tested in who.shown)
    lines = [
        f"cell      {plan.cell.folder}  ({state})",
        (
            f"task      {plan.task.name} ({plan.task.title}), {plan.config['data']['name']}"
            f" {plan.tested.split}: {len(who.shown)} users, {questions} questions"
        ),
        f"model     {plan.spec.name}, {plan.spec.resolved_dtype()}, base {base}",
        (
            f"protocol  {plan.protocol.name}, {len(who.drawn)} fit users of {len(who.trainers)},"
            f" seed {plan.seed}"
        ),
        f"method    {_fields(plan.config['method'])}",
        (
            f"prompt of question {query.id}, with its first history items (which ones the"
            " method shows, the run finds out):"
        ),
        prompt,
    ]
    return "\n".join(lines)


def _fields(values: Mapping[str, Any], prefix: str = "") -> str:
    """`history=selected select.n_items=10`: a method's settings in a line."""
    words = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            words.append(_fields(value, f"{prefix}{name}."))
        elif name != "_target_":
            words.append(f"{prefix}{name}={value}")
    return " ".join(filter(None, words))

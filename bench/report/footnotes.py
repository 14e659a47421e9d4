"""What stands above and below an experiment's tables so that nobody believes a number too soon."""

from __future__ import annotations

from collections.abc import Iterator

from bench.report import caveats, questions
from bench.report.base_results import Tables

APART = (
    "Above the line: the paper's numbers, of its own models (7 billion parameters and more) on"
    " LaMP. Below it: ours. They are not to be compared: other models, other data."
)
SURE = 0.05


def doubts(tables: Tables) -> list[str]:
    """What leaks, which answers were unparsed and which arms answered other questions:
    before the numbers.
    """
    done = [(run, run.record) for run in tables.results.runs if run.record and run.state == "ok"]
    unread = [
        f"{run.arm} at {', '.join(tables.words(tables.results.place(run)).values())}: {text}"
        for run, record in done
        if (text := caveats.unparsed(record))
    ]
    return [
        *caveats.of_rows([(run.arm, record) for run, record in done]),
        *(["; ".join(unread) + "."] if unread else []),
        *_others(tables),
    ]


def _others(tables: Tables) -> Iterator[str]:
    command = questions.commands(tables.experiment, tables.results.runs)
    for run in tables.results.runs:
        if run.aside:
            where = ", ".join(tables.words(tables.results.place(run)).values())
            yield f"Left out: {run.arm} at {where}: {run.aside}. Run it as the others: {command}"


def rows_named(tables: Tables) -> list[str]:
    """What the names of rows stand for, where a table calls a value of an axis otherwise."""
    named = tables.experiment.show.rows
    values = dict.fromkeys(
        part for place in tables.results.places for part in place if part[1] in named
    )
    return (
        [f"{', '.join(f'{named[value]}: {axis}={value}' for axis, value in values)}."]
        if values
        else []
    )


def few_users(tables: Tables) -> list[str]:
    """With so few users a permutation has so few outcomes that no p can be small."""
    users = [one.users for one in tables.comparisons.values()]
    if not users:
        return []
    least = 2.0 ** (1 - min(users))
    if least * len(users) < SURE:
        return []
    said = f"With {min(users)} users the least p of a permutation is {least:.2g}"
    return [
        f"{said}: no row of theirs can pass Holm's correction over the {len(users)} rows of this"
        " table."
    ]


def without_scores(tables: Tables) -> Iterator[str]:
    """Finished cells whose scores are not at hand:
    what is known of them is the value in the record.
    """
    for (place, arm), runs in tables.results.cells.items():
        for run in runs:
            if run.state == "ok" and run.record and run.record.get("bare"):
                where = ", ".join([*(value for _, value in place), f"seed {run.seed}"])
                yield f"No interval: {arm} at {where}: {run.record['bare']}."


def failures(tables: Tables) -> list[str]:
    """Each failed cell with its message, once."""
    found = []
    for (place, arm), runs in tables.results.cells.items():
        for run in runs:
            if run.damage:
                found.append(f"Left out: {run.damage}.")
            if run.aside:
                continue
            if run.record and run.state != "ok":
                where = ", ".join([*(value for _, value in place), f"seed {run.seed}"])
                found.append(
                    f"Failed: {arm} at {where}: {run.record['status']}:"
                    f" {run.record['error'] or 'no message'}"
                )
    return found

"""What stands above and below an experiment's tables so that nobody believes a number too soon."""

from __future__ import annotations

from collections.abc import Iterator

from bench.report import caveats, questions
from bench.report.base_results import Tables
from bench.report.runs import Place, Run, place_words

APART = (
    "Above the line: the paper's numbers, of its own models (7 billion parameters and more) on"
    " LaMP. Below it: ours. They are not to be compared: other models, other data."
)
SURE = 0.05


def doubts(tables: Tables) -> list[str]:
    """What leaks, which answers were unparsed and which arms answered other questions:
    before the numbers.
    """
    rows, unparsed = [], []
    for run in tables.results.runs:
        if run.record and run.is_ok:
            rows.append(caveats.NamedRecord(run.arm, run.record))
            text = caveats.unparsed(run.record)
            if text:
                unparsed.append(f"{_where(tables, run)}: {text}")
    answers = [f"{'; '.join(unparsed)}."] if unparsed else []
    return [*caveats.of_rows(rows), *answers, *_others(tables)]


def _others(tables: Tables) -> Iterator[str]:
    command = questions.commands(tables.experiment, tables.results.runs)
    for run in tables.results.runs:
        if run.aside:
            where = _where(tables, run)
            yield f"Left out: {where}: {run.aside}. Run it as the others: {command}"


def _where(tables: Tables, run: Run) -> str:
    """An arm and its place, in the words of the table."""
    words = tables.words(tables.results.place(run))
    return f"{run.arm} at {', '.join(words.values())}"


def rows_named(tables: Tables) -> list[str]:
    """What the names of rows stand for, where a table calls a value of an axis otherwise."""
    names = tables.experiment.show.rows
    meanings: dict[str, None] = {}
    for place in tables.results.places:
        for axis, value in place:
            if value in names:
                meanings[f"{names[value]}: {axis}={value}"] = None
    return [f"{', '.join(meanings)}."] if meanings else []


def few_users(tables: Tables) -> list[str]:
    """With so few users a permutation has so few outcomes that no p can be small."""
    users = [comparison.users for comparison in tables.comparisons.values()]
    if not users:
        return []
    least = 2.0 ** (1 - min(users))
    if least * len(users) < SURE:
        return []
    return [
        f"With {min(users)} users the least p of a permutation is {least:.2g}: no row of theirs can"
        f" pass Holm's correction over the {len(users)} rows of this table."
    ]


def without_scores(tables: Tables) -> Iterator[str]:
    """Finished cells whose scores are not at hand:
    what is known of them is the value in the record.
    """
    for (place, arm), runs in tables.results.cells.items():
        for run in runs:
            if run.is_ok and run.record and run.record.get("bare"):
                yield f"No interval: {_cell(arm, place, run)}: {run.record['bare']}."


def failures(tables: Tables) -> list[str]:
    """Each failed cell with its message, once."""
    lines = []
    for (place, arm), runs in tables.results.cells.items():
        for run in runs:
            if run.damage:
                lines.append(f"Left out: {run.damage}.")
            if run.record and not run.aside and not run.is_ok:
                error = run.record["error"] or "no message"
                lines.append(f"Failed: {_cell(arm, place, run)}: {run.record['status']}: {error}")
    return lines


def _cell(arm: str, place: Place, run: Run) -> str:
    """One cell, as a sentence names it."""
    seed = f"seed {run.seed}"
    return f"{arm} at {place_words(place)}, {seed}" if place else f"{arm} at {seed}"

"""An experiment's numbers beside the paper's: rows are places and metrics, columns are arms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.report import coverage_notes, footnotes, grid_head, paper
from bench.report.base_results import Tables
from bench.report.cells import interval
from bench.report.grid_head import axes_of, short_names, title
from bench.report.render import Grid
from bench.report.runs import Place
from bench.report.values import Summary, Value
from bench.score.metrics import DIRECTION

MANY = 10
"""Arms that stand side by side where no paper has such a table."""
NUMBERS = (
    (
        "Paper: the number as printed, on the paper's own model and data; its star's test is not"
        " known to us."
    ),
    (
        "Ours: the mean over seeds of each seed's metric; 95 %: interval over users, the same users"
        " in all seeds."
    ),
    (
        "±: standard deviation over repeats of the fit, where there are some; the interval then has"
        " their part too."
    ),
)


def numbers(tables: Tables) -> Grid:
    """As in the paper: rows are places and metrics, columns are arms; the paper's number stands
    above ours.

    Where no paper says how they stand and the arms are many, they are rows too.
    """
    axes, arms = axes_of(tables), tables.results.arms
    upright = not tables.printed and len(arms) > MANY
    lay = _below_each_other if upright else _rows
    rows = [
        row
        for place in tables.results.places
        for metric in tables.metrics(place)
        for row in lay(tables, place, metric)
    ]
    printed = [row for row in rows if _of_paper(row[1])] if _other_models(tables) else []
    rows = [*printed, *(row for row in rows if row not in printed)] if printed else rows
    return Grid(
        title=title(tables),
        above=[*grid_head.head(tables), *footnotes.doubts(tables)],
        head=[
            *short_names(axes),
            "metric",
            *(("arm", "ours", "95 %") if upright else ("whose", *arms)),
            "users",
        ],
        rows=[[tables.words(place).get(axis, "") for axis in axes] + row for place, row in rows],
        below=[
            *footnotes.failures(tables),
            *tables.incomparable,
            *_unplaced(tables),
            *footnotes.without_scores(tables),
            *footnotes.rows_named(tables),
            *([footnotes.APART] if printed else []),
            *coverage_notes.of_arms(" ".join(word for _, row in rows for word in row)),
            *(NUMBERS if any(_of_paper(row) for _, row in rows) else NUMBERS[1:]),
        ],
        labels=len(axes) + 2,
        rule=len(printed),
    )


def _of_paper(row: Sequence[str]) -> bool:
    return row[1].startswith("paper (")


def _other_models(tables: Tables) -> bool:
    """Whether the paper's numbers are of another model than ours:
    then a line stands between them.
    """
    models = {dict(place).get("model") for place in tables.results.places}
    return bool(models - {number.model for number in tables.printed})


def _rows(tables: Tables, place: Place, metric: str) -> Iterator[tuple[Place, list[str]]]:
    arms = tables.results.arms
    name = f"{metric} {'↑' if DIRECTION[metric] else '↓'}"
    printed = {arm: tables.paper_numbers(place, metric, arm) for arm in arms}
    for model in dict.fromkeys(model for one in printed.values() for model in one):
        shown = [_printed(printed[arm].get(model)) for arm in arms]
        yield place, [name, f"paper ({model})", *shown, ""]
    summaries = [tables.summaries.get((place, arm)) for arm in arms]
    found = [one.values.get(metric) if one else None for one in summaries]
    users = sorted({one.users for one in found if one})
    ours = [_ours(one, value, metric) for one, value in zip(summaries, found, strict=True)]
    yield place, [name, "ours", *ours, "-".join(map(str, dict.fromkeys((*users[:1], *users[-1:]))))]
    if any(found):
        yield place, [name, "95 %", *map(_interval, found), ""]


def _below_each_other(
    tables: Tables, place: Place, metric: str
) -> Iterator[tuple[Place, list[str]]]:
    name = f"{metric} {'↑' if DIRECTION[metric] else '↓'}"
    for arm in tables.results.arms:
        one = tables.summaries.get((place, arm))
        value = one.values.get(metric) if one else None
        if (shown := _ours(one, value, metric)) != "-":
            yield place, [name, arm, shown, _interval(value), str(value.users) if value else ""]


def _printed(number: paper.Printed | None) -> str:
    return f"{number.value:.3f}{'*' if number.star else ''}" if number else "-"


def _ours(one: Summary | None, value: Value | None, metric: str) -> str:
    if one is None:
        return "-"
    if value is None:
        return one.problem if one.problem else "-"  # a rule has no NLL
    said = ", ".join(filter(None, (one.problem, one.unedited)))
    apart = "" if value.sd is None else f" ± {value.sd:.3f}"
    return f"{value.value:z.3f}{apart}" + (f" ({said})" if said else "")


def _interval(value: Value | None) -> str:
    return interval(value.low, value.high, value.users) if value else ""


def _unplaced(tables: Tables) -> Iterator[str]:
    """The paper's rows of which no place of ours is known to be the same, as printed."""
    tasks = dict.fromkeys(dict(place).get("task", "") for place in tables.results.places)
    for task, row in ((task, row) for task in tasks for row in tables.experiment.show.unplaced):
        here = [one for one in tables.printed if {task, row} <= one.where]
        metrics = [metric for metric in DIRECTION if any(metric in one.where for one in here)]
        for metric in metrics:
            shown = [
                f"{' '.join(one.where - {task, row, metric})} {one.value:.3f}"
                for one in here
                if metric in one.where
            ]
            yield f"Paper, {row} ({task}, {metric}): {', '.join(shown)}."

"""An experiment's numbers beside the paper's: rows are places and metrics, columns are arms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from bench.report import coverage_notes, footnotes, grid_head, paper
from bench.report.base_results import Tables
from bench.report.cells import interval, with_direction
from bench.report.grid_head import axes_of, labels, short_names, title
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


@dataclass(frozen=True)
class NumberRow:
    """One row of the table without its labels: metric, whose numbers, the numbers, users."""

    place: Place
    cells: list[str]
    of_paper: bool = False

    def words(self, tables: Tables, axes: Sequence[str]) -> list[str]:
        """The whole row."""
        return [*labels(tables, self.place, axes), *self.cells]


def numbers(tables: Tables) -> Grid:
    """As in the paper: rows are places and metrics, columns are arms; the paper's number stands
    above ours.

    If no paper says how they stand and the arms are many, they are rows too.
    """
    arms = tables.results.arms
    upright = not tables.printed and len(arms) > MANY
    lay_out = _below_each_other if upright else _side_by_side
    rows: list[NumberRow] = []
    for place in tables.results.places:
        for metric in tables.metrics(place):
            rows += lay_out(tables, place, metric)

    of_paper = sum(row.of_paper for row in rows)
    apart = of_paper > 0 and _is_of_other_models(tables)
    if apart:
        rows.sort(key=lambda row: not row.of_paper)

    axes = axes_of(tables)
    columns = ("arm", "ours", "95 %") if upright else ("whose", *arms)
    return Grid(
        title=title(tables),
        above=[*grid_head.head(tables), *footnotes.doubts(tables)],
        head=[*short_names(axes), "metric", *columns, "users"],
        rows=[row.words(tables, axes) for row in rows],
        below=[
            *footnotes.failures(tables),
            *tables.incomparable,
            *_unplaced(tables),
            *footnotes.without_scores(tables),
            *footnotes.rows_named(tables),
            *([footnotes.APART] if apart else []),
            *_coverage(rows),
            *(NUMBERS if of_paper else NUMBERS[1:]),
        ],
        labels=len(axes) + 2,
        rule=of_paper if apart else 0,
    )


def _coverage(rows: Sequence[NumberRow]) -> list[str]:
    words: list[str] = []
    for row in rows:
        words += row.cells
    return coverage_notes.of_arms(" ".join(words))


def _is_of_other_models(tables: Tables) -> bool:
    """Whether the paper's numbers are of another model than ours, so that a line stands between."""
    models = {dict(place).get("model") for place in tables.results.places}
    return bool(models - {number.model for number in tables.printed})


def _side_by_side(tables: Tables, place: Place, metric: str) -> Iterator[NumberRow]:
    """The paper's numbers, a row for each of its models; ours; and the intervals of ours."""
    yield from _of_paper(tables, place, metric)

    name, ours, intervals, users = with_direction(metric), [], [], set()
    for arm in tables.results.arms:
        summary = tables.summaries.get((place, arm))
        value = summary.values.get(metric) if summary else None
        ours.append(_ours(summary, value))
        intervals.append(_interval(value))
        if value:
            users.add(value.users)

    least_and_most = dict.fromkeys([min(users), max(users)]) if users else {}
    yield NumberRow(place, [name, "ours", *ours, "-".join(map(str, least_and_most))])
    if users:
        yield NumberRow(place, [name, "95 %", *intervals, ""])


def _of_paper(tables: Tables, place: Place, metric: str) -> Iterator[NumberRow]:
    """A row for each model of the paper that has a number for one of the arms."""
    printed, models = {}, dict[str, None]()
    for arm in tables.results.arms:
        printed[arm] = tables.paper_numbers(place, metric, arm)
        models |= dict.fromkeys(printed[arm])
    for model in models:
        words = [_printed(numbers.get(model)) for numbers in printed.values()]
        cells = [with_direction(metric), f"paper ({model})", *words, ""]
        yield NumberRow(place, cells, of_paper=True)


def _below_each_other(tables: Tables, place: Place, metric: str) -> Iterator[NumberRow]:
    """A row for each arm that has something to show."""
    for arm in tables.results.arms:
        summary = tables.summaries.get((place, arm))
        value = summary.values.get(metric) if summary else None
        number = _ours(summary, value)
        if number != "-":
            users = str(value.users) if value else ""
            cells = [with_direction(metric), arm, number, _interval(value), users]
            yield NumberRow(place, cells)


def _printed(number: paper.Printed | None) -> str:
    if number is None:
        return "-"
    return f"{number.value:.3f}{'*' if number.star else ''}"


def _ours(summary: Summary | None, value: Value | None) -> str:
    if summary is None:
        return "-"
    if value is None:
        return summary.problem or "-"  # a rule has no NLL
    spread = "" if value.sd is None else f" ± {value.sd:.3f}"
    doubts = ", ".join(filter(None, (summary.problem, summary.unedited)))
    return f"{value.value:z.3f}{spread}" + (f" ({doubts})" if doubts else "")


def _interval(value: Value | None) -> str:
    return interval(value.low, value.high, value.users) if value else ""


def _unplaced(tables: Tables) -> Iterator[str]:
    """The paper's rows of which no place of ours is known to be the same, as printed."""
    tasks = dict.fromkeys(dict(place).get("task", "") for place in tables.results.places)
    for task, row, metric in product(tasks, tables.experiment.show.unplaced, DIRECTION):
        names = {task, row, metric}
        numbers = []
        for number in tables.printed:
            if names <= number.where:
                arm = " ".join(number.where - names)
                numbers.append(f"{arm} {number.value:.3f}")
        if numbers:
            yield f"Paper, {row} ({task}, {metric}): {', '.join(numbers)}."

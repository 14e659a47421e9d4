"""The tables of an experiment: its numbers beside the paper's, the comparisons with the baseline,
and the costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.report import cases, dataset_table, footnotes, paper, questions
from bench.report.base_results import BASES, Tables
from bench.report.cells import few, interval
from bench.report.experiments import FAMILIES, Place
from bench.report.pairs import DETECTS, sureness
from bench.report.render import Grid
from bench.report.timing import lines
from bench.report.values import Summary, Value
from bench.score.metrics import DIRECTION

MANY = 10  # arms that stand side by side where no paper has such a table
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
COMPARED = (
    (
        "Mean over seeds, on the questions that both answered. p: two-sided, users swapped between"
        " the arms."
    ),
    (
        "Holm: over the comparison's own metrics, as a run prints it; Holm table: over all rows of"
        " this table."
    ),
    DETECTS,
    "helped, harmed: users whom the arm serves better, worse.",
)
COSTS = (
    (
        "Per tested user, mean over seeds. Bytes: of patches, at two bytes a number. Tokens: in and"
        " out."
    ),
    (
        "Seconds: without loading, adapting the base and scoring; with what results kept from other"
        " cells took when made."
    ),
    "Tokens of such results are counted in the cell that made them.",
)


def grids(tables: Tables) -> list[Grid]:
    """Numbers, comparisons and costs; the last two only where there is something to show."""
    if tables.experiment.show.kind == "statistics":
        return [dataset_table.grid(tables.experiment, tables.results.roots)]
    if tables.experiment.show.kind == "case":
        return cases.grids(tables)
    if tables.experiment.show.kind == "efficiency":
        return [times(tables)]
    more = [cosines(tables)] if tables.experiment.show.kind == "similarity" else []
    more += [comparisons(tables), costs(tables)]
    return [numbers(tables), *(grid for grid in more if grid.rows)]


def numbers(tables: Tables) -> Grid:
    """As in the paper: rows are places and metrics, columns are arms; the paper's number stands
    above ours.

    Where no paper says how they stand and the arms are many, they are rows too.
    """
    axes, arms = _axes(tables), tables.results.arms
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
        title=_title(tables),
        above=[*head(tables), *footnotes.doubts(tables)],
        head=[
            *_heads(axes),
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
            *few(" ".join(word for _, row in rows for word in row)),
            *(NUMBERS if any(_of_paper(row) for _, row in rows) else NUMBERS[1:]),
        ],
        labels=len(axes) + 2,
        rule=len(printed),
    )


def _of_paper(row: Sequence[str]) -> bool:
    return row[1].startswith("paper (")


def _other_models(tables: Tables) -> bool:
    """Whether the paper's numbers are of another model than ours: then a line stands between
    them."""
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


def comparisons(tables: Tables) -> Grid:
    """Every arm minus its baseline, with Holm's correction over its metrics and over all rows."""
    found, axes, show = tables.comparisons, _axes(tables), tables.experiment.show
    rows = []
    for (place, arm, metric), one in found.items():
        bounds = interval(one.low, one.high, one.users) or "-"
        change = [
            f"{one.difference:+.3f}",
            bounds,
            *sureness(one, *tables.corrected[place, arm, metric]),
        ]
        where = [tables.words(place).get(axis, "") for axis in axes]
        named = f"{arm} (minus {show.baselines[arm]})" if arm in show.baselines else arm
        rows.append(
            [
                *where,
                named,
                f"{metric} {'↑' if DIRECTION[metric] else '↓'}",
                *change,
                str(one.users),
            ]
        )
    change = [
        "difference",
        "95 %",
        "p",
        "Holm",
        "Holm table",
        "detects",
        "helped",
        "harmed",
        "users",
    ]
    return Grid(
        title=f"{_title(tables)}: each arm minus {show.baseline}",
        head=[*_heads(axes), "arm", "metric", *change],
        rows=rows,
        above=head(tables)[:1],
        below=[
            *COMPARED,
            *footnotes.rows_named(tables),
            *footnotes.few_users(tables),
            *few(" ".join(word for row in rows for word in row)),
        ],
        labels=len(axes) + 2,
    )


def costs(tables: Tables) -> Grid:
    """What each arm costs, beside its first metric."""
    axes, rows = _axes(tables), []
    for (place, arm), one in tables.summaries.items():
        if one.cost is None:
            continue
        metric = next(iter(tables.metrics(place)), "")
        value = one.values.get(metric)
        cost = [
            f"{one.cost.seconds:,.2f}",
            f"{one.cost.fit_seconds:,.2f}",
            f"{one.cost.bytes:,.0f}",
            f"{one.cost.tokens:,.0f}",
        ]
        quality = [metric, f"{value.value:z.3f}" if value else "-"]
        rows.append([*(tables.words(place).get(axis, "") for axis in axes), arm, *quality, *cost])
    return Grid(
        title=f"{_title(tables)}: cost beside quality",
        head=[
            *_heads(axes),
            "arm",
            "metric",
            "value",
            "seconds",
            "before the test",
            "bytes",
            "tokens",
        ],
        rows=rows,
        above=head(tables)[:1],
        below=COSTS,
        labels=len(axes) + 2,
    )


def times(tables: Tables) -> Grid:
    """Seconds of training at every place, and the line of each arm: what is answered after so
    little says nothing.
    """
    axes, rows = _axes(tables), []
    for (place, arm), one in tables.summaries.items():
        cost = (
            [f"{one.cost.fit_seconds:,.2f}", f"{one.cost.tokens:,.0f}"]
            if one.cost
            else [one.problem, ""]
        )
        rows.append([*(tables.words(place).get(axis, "") for axis in axes), arm, *cost])
    fits = [
        f"{one.arm}, {', '.join(value for _, value in one.place)}: {one.fit} ({one.x})"
        for one in lines(tables)
    ]
    return Grid(
        title=_title(tables),
        head=[*_heads(axes), "arm", "seconds", "tokens"],
        rows=rows,
        above=[*head(tables), *footnotes.doubts(tables)],
        below=[
            *footnotes.failures(tables),
            *fits,
            *footnotes.rows_named(tables),
            "Per tested user: seconds of training on this machine, tokens in and out.",
        ],
        labels=len(axes) + 1,
    )


def cosines(tables: Tables) -> Grid:
    """How alike two users' patches are: over all pairs of different users, for A, B and BA of each
    cell.
    """
    from bench.report import similarity

    axes, rows = _axes(tables), []
    for (place, arm), runs in tables.results.cells.items():
        for run in runs:
            for kind, middle, low, high in (
                similarity.apart(run.folder) if run.folder and run.state == "ok" else ()
            ):
                where = [tables.words(place).get(axis, "") for axis in axes]
                rows.append(
                    [*where, arm, run.seed, kind, *(f"{one:.3f}" for one in (middle, low, high))]
                )
    return Grid(
        title=f"{_title(tables)}: cosines of two users' patches",
        head=[*_heads(axes), "arm", "seed", "of", "median", "least", "most"],
        rows=rows,
        above=head(tables)[:1],
        below=[
            "Cosine per shared tensor, mean over tensors. BA is what the model feels; A starts from"
            " noise."
        ],
        labels=len(axes) + 3,
    )


def head(tables: Tables) -> list[str]:
    """What the numbers are of: never to be taken for the paper's."""
    records = [run.record for run in tables.results.runs if run.record]
    scale = tables.experiment.scale
    if not records:
        return [f"Scale {scale}: nothing has run yet. {run_hint(tables)}", *tables.results.notes]
    models = _listed(
        f"{record['cell']['model']} {record.get('model', {}).get('dtype', '')}".strip()
        for record in records
    )
    data = _listed(
        f"{one['data']['name']}/{one['data']['split']} ({one['data']['kind']} split)"
        for one in records
    )
    protocols = _listed(record["cell"]["protocol"] for record in records)
    family = tables.experiment.family
    odd = "" if tables.base == BASES[family] else f" (NOT the paper's: {FAMILIES[family]})"
    ours = (
        f"Ours, scale {scale}: model {models}; data {data}; base {tables.base}{odd}; protocol"
        f" {protocols}."
    )
    missing = sum(one.problem != "" for one in tables.summaries.values())
    state = (
        f"{missing} of {len(tables.summaries)} arms are missing or incomplete. {run_hint(tables)}"
    )
    codes = sorted({code[:7] for record in records if (code := _revision(record))})
    mixed = f"Its cells ran on {len(codes)} revisions of the code: {', '.join(codes)}."
    return [
        ours,
        *([state] if missing else []),
        *([mixed] if len(codes) > 1 else []),
        *tables.results.notes,
    ]


def _revision(record: Mapping[str, Any]) -> str:
    """Of the checkout that ran the cell; empty for an installed package, and for a rule, which asks
    no model.
    """
    git = (
        record.get("environment", {}).get("git") if record["cell"]["method"] != "majority" else None
    )
    return str(git["revision"]) if git else ""


def run_hint(tables: Tables) -> str:
    return f"Run them: {questions.commands(tables.experiment, tables.results.runs)}"


def _title(tables: Tables) -> str:
    return f"{tables.experiment.title} [scale {tables.experiment.scale}]"


def _axes(tables: Tables) -> list[str]:
    """The axes that tell rows apart: one model for all is said in the head."""
    places = tables.results.places
    axes = list(dict.fromkeys(axis for place in places for axis, _ in place))
    one = len({dict(place).get("model") for place in places}) == 1 and any(
        run.record for run in tables.results.runs
    )
    return [axis for axis in axes if not (one and axis == "model")]


def _heads(axes: Sequence[str]) -> list[str]:
    """Axes by their last names, where no two have the same."""
    last = [axis.rpartition(".")[2] for axis in axes]
    return last if len(set(last)) == len(last) else list(axes)


def _listed(names: Iterator[str]) -> str:
    return ", ".join(dict.fromkeys(names))


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

"""The table of an experiment's standings: a row for each arm, and what they show in words below."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report import caveats, footnotes
from bench.report.base_results import Tables
from bench.report.cells import ENOUGH, interval
from bench.report.grid_head import labels, missing, run_hint, short_names, title
from bench.report.render import Grid
from bench.report.standings import ArmStanding, differing_axes, finding, standings
from bench.score.metrics import DIRECTION

RULE = (
    "Evidence: better or worse if p is below .05, corrected (Holm) over the rows of this table;"
    f" from {ENOUGH} users on."
)
SECONDS = "Seconds: for each user, without loading the model and scoring."


def grid(tables: Tables) -> Grid:
    """The rows, and what they show. If all rows have one metric, its name is a column's head."""
    entries, axes = standings(tables), differing_axes(tables)
    metrics = list(dict.fromkeys(entry.metric for entry in entries))
    names, value = [*axes], "value"
    if len(metrics) == 1:
        value = _with_direction(metrics[0])
    else:
        names.append("metric")

    rows = []
    for entry in entries:
        place = labels(tables, entry.place, axes)
        if len(metrics) > 1:
            place.append(_with_direction(entry.metric))
        rows.append([*place, entry.arm, *_numbers(entry)])
    return Grid(
        title=title(tables),
        above=_head(tables),
        head=[
            *short_names(names),
            *("arm", value, "95 %", "difference", "95 %", "p", "evidence", "seconds"),
        ],
        rows=rows,
        below=[
            *footnotes.failures(tables),
            *tables.incomparable,
            _minus(tables),
            RULE,
            SECONDS,
            *_unparsed(tables),
            "",
            *finding(entries, axes),
        ],
        labels=len(names) + 1,
    )


def _head(tables: Tables) -> list[str]:
    records = tables.results.records
    if not records:
        return [f"Nothing has run yet. {run_hint(tables)}", *tables.results.notes]
    models = dict.fromkeys(record["cell"]["model"] for record in records)
    models.pop("none", None)  # of trivial rules
    tasks = dict.fromkeys(record["cell"]["task"] for record in records)
    users = sorted({record["data"]["users"] for record in records})
    asked = str(users[0]) if len(users) == 1 else f"{users[0]} to {users[-1]}"
    what = f"Task {', '.join(tasks)}; model {', '.join(models) or 'none'}, base {tables.base}"
    return [f"{what}; {asked} users.", *missing(tables), *tables.results.notes]


def _numbers(entry: ArmStanding) -> list[str]:
    value, paired, cost = entry.summary.values.get(entry.metric), entry.paired, entry.summary.cost
    cells = [entry.summary.problem or "-", "", "", "", ""]
    if value:
        cells[:2] = [f"{value.value:z.3f}", interval(value.low, value.high, value.users) or "-"]
    if paired is not None and entry.p is not None:
        bounds = interval(paired.low, paired.high, paired.users) or "-"
        cells[2:] = [f"{paired.difference:+.3f}", bounds, f"{entry.p:.4f}"]
    return [*cells, entry.evidence or "", f"{cost.seconds:.2f}" if cost else ""]


def _with_direction(metric: str) -> str:
    """The metric, and whether more of it is better."""
    return f"{metric} {'↑' if DIRECTION.get(metric) else '↓'}"


def _minus(tables: Tables) -> str:
    """What each difference is minus."""
    show = tables.experiment.show
    others = [f"{arm} minus {baseline}" for arm, baseline in show.baselines.items()]
    exceptions = f" ({', '.join(others)})" if others else ""
    return f"Difference: the arm minus {show.baseline}{exceptions}, on the same users."


def _unparsed(tables: Tables) -> Sequence[str]:
    """Which arms gave answers that the official rules cannot read."""
    arms = []
    for run in tables.results.runs:
        if run.record and run.state == "ok" and (text := caveats.unparsed(run.record)):
            where = ", ".join([run.arm, *tables.words(tables.results.place(run)).values()])
            arms.append(f"{where}: {text}")
    return [f"{'; '.join(arms)}."] if arms else []

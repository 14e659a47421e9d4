"""How the arms of an experiment stand: one row for each, its difference to the baseline, and what
the numbers show in a few sentences.

The sentences follow from the rows by one rule. An arm is better or worse than its baseline if its
p, corrected by Holm over all rows of the table, is below .05. Otherwise the two cannot be told
apart, whatever the difference looks like. With fewer than 24 users nothing is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.report import caveats, footnotes
from bench.report.base_results import Tables
from bench.report.cells import ENOUGH, interval
from bench.report.grid_head import axes_of, run_hint, short_names, title
from bench.report.render import Grid
from bench.report.runs import Place
from bench.report.values import Summary
from bench.score.metrics import DIRECTION

if TYPE_CHECKING:
    from bench.score.stats import Paired

SURE = 0.05
FEW = 3
"""Tasks that a sentence names, not counts."""
Evidence = Literal["better", "worse", "cannot tell", "too few users"]

RULE = (
    "Evidence: better or worse if p is below .05, corrected (Holm) over the rows of this table;"
    f" from {ENOUGH} users on."
)
SECONDS = "Seconds: for each user, without loading the model and scoring."


@dataclass(frozen=True)
class ArmStanding:
    """One arm at one place, by the first metric of its task. `paired`: the arm minus its baseline;
    None for the baseline, and for an arm that cannot be compared. `p`: corrected.
    """

    place: Place
    arm: str
    metric: str
    summary: Summary
    baseline: str | None
    paired: Paired | None
    p: float | None

    @property
    def evidence(self) -> Evidence | None:
        """What the comparison with the baseline shows; None without one."""
        if self.paired is None or self.p is None:
            return None
        if self.paired.users < ENOUGH:
            return "too few users"
        if self.p >= SURE:
            return "cannot tell"
        gained = self.paired.difference > 0
        return "better" if gained == DIRECTION[self.metric] else "worse"


def standings(tables: Tables) -> list[ArmStanding]:
    """Every arm at every place, in the order of the experiment."""
    from bench.score.stats import holm

    found = []
    for place, arm in tables.keys:
        metric = tables.first_metric(place)
        baseline = tables.experiment.show.baseline_of(arm)
        paired = tables.comparisons.get((place, arm, metric)) if baseline else None
        summary = tables.summaries[place, arm]
        found.append(ArmStanding(place, arm, metric, summary, baseline, paired, None))

    ps = {str(row): entry.paired.p_permutation for row, entry in enumerate(found) if entry.paired}
    corrected = holm(ps)
    return [_with_p(entry, corrected.get(str(row))) for row, entry in enumerate(found)]


def _with_p(entry: ArmStanding, p: float | None) -> ArmStanding:
    return ArmStanding(
        entry.place, entry.arm, entry.metric, entry.summary, entry.baseline, entry.paired, p
    )


def grid(tables: Tables) -> Grid:
    """The rows as a table. What they show stands below it, in words."""
    entries, axes = standings(tables), _axes(tables)
    rows = [_row(tables, entry, axes) for entry in entries]
    several = len({entry.metric for entry in entries}) > 1
    metric = "value" if several or not entries else _with_direction(entries[0].metric)
    head = ["arm", metric, "95 %", "difference", "95 %", "p", "evidence", "seconds"]
    return Grid(
        title=title(tables),
        above=_head(tables),
        head=[*short_names(axes), *(["metric"] if several else []), *head],
        rows=[row if several else [*row[: len(axes)], *row[len(axes) + 1 :]] for row in rows],
        below=[
            *footnotes.failures(tables),
            *tables.incomparable,
            *_minus(tables),
            RULE,
            SECONDS,
            *_unparsed(tables),
            "",
            *finding(entries),
        ],
        labels=len(axes) + 1 + several,
    )


def _axes(tables: Tables) -> list[str]:
    """The axes on which rows differ; what is the same for all of them stands in the head."""
    places = [dict(place) for place in tables.results.places]
    return [axis for axis in axes_of(tables) if len({place.get(axis) for place in places}) > 1]


def _head(tables: Tables) -> list[str]:
    records = [run.record for run in tables.results.runs if run.record]
    if not records:
        return [f"Nothing has run yet. {run_hint(tables)}", *tables.results.notes]
    models = dict.fromkeys(record["cell"]["model"] for record in records)
    models.pop("none", None)
    tasks = dict.fromkeys(record["cell"]["task"] for record in records)
    users = sorted({record["data"]["users"] for record in records})
    asked = " to ".join(
        str(count) for count in (users if len(users) == 1 else users[:: len(users) - 1])
    )
    what = f"Task {', '.join(tasks)}; model {', '.join(models) or 'none'}, base {tables.base}"
    return [f"{what}; {asked} users.", *tables.results.notes]


def _row(tables: Tables, entry: ArmStanding, axes: Sequence[str]) -> list[str]:
    words = tables.words(entry.place)
    value = entry.summary.values.get(entry.metric)
    paired = entry.paired
    difference, bounds, p = "", "", ""
    if paired is not None and entry.p is not None:
        difference = f"{paired.difference:+.3f}"
        bounds = interval(paired.low, paired.high, paired.users) or "-"
        p = f"{entry.p:.4f}"
    return [
        *(words.get(axis, "") for axis in axes),
        _with_direction(entry.metric),
        entry.arm,
        f"{value.value:z.3f}" if value else entry.summary.problem or "-",
        (interval(value.low, value.high, value.users) or "-") if value else "",
        difference,
        bounds,
        p,
        entry.evidence or "",
        f"{entry.summary.cost.seconds:.2f}" if entry.summary.cost else "",
    ]


def _with_direction(metric: str) -> str:
    """The metric, and whether more of it is better."""
    return f"{metric} {'↑' if DIRECTION.get(metric) else '↓'}"


def _minus(tables: Tables) -> list[str]:
    """What each difference is minus."""
    show = tables.experiment.show
    others = [f"{arm} minus {baseline}" for arm, baseline in show.baselines.items()]
    exceptions = f" ({', '.join(others)})" if others else ""
    return [f"Difference: the arm minus {show.baseline}{exceptions}, on the same users."]


def _unparsed(tables: Tables) -> list[str]:
    """Which arms gave answers that the official rules cannot read."""
    found = []
    for run in tables.results.runs:
        if run.record and run.state == "ok" and (text := caveats.unparsed(run.record)):
            where = ", ".join([run.arm, *tables.words(tables.results.place(run)).values()])
            found.append(f"{where}: {text}")
    return [f"{'; '.join(found)}."] if found else []


def finding(entries: Sequence[ArmStanding]) -> list[str]:
    """What the rows show, a sentence for each baseline; nothing if nothing was compared."""
    baselines = dict.fromkeys(entry.baseline for entry in entries if entry.evidence)
    sentences = []
    for baseline in baselines:
        compared = [entry for entry in entries if entry.baseline == baseline and entry.evidence]
        sentences.append(_sentence(str(baseline), compared))
    return sentences


def _sentence(baseline: str, entries: Sequence[ArmStanding]) -> str:
    """What stands on which side of one baseline."""
    several = len({entry.place for entry in entries}) > 1
    parts = []
    for evidence, words in WORDS.items():
        arms: dict[str, list[ArmStanding]] = {}
        for entry in entries:
            if entry.evidence == evidence:
                arms.setdefault(entry.arm, []).append(entry)
        if arms:
            named = [_named(arm, found, several=several) for arm, found in arms.items()]
            parts.append(f"{words.format(baseline=baseline)}: {', '.join(named)}")
    users = max(entry.paired.users for entry in entries if entry.paired)
    return f"With {users} users, {'; '.join(parts)}."


WORDS: dict[Evidence, str] = {
    "better": "better than {baseline}",
    "worse": "worse than {baseline}",
    "cannot tell": "not told apart from {baseline}",
    "too few users": "not judged (too few users)",
}
"""How a sentence calls the sides of a baseline, in their order."""


def _named(arm: str, entries: Sequence[ArmStanding], *, several: bool) -> str:
    """An arm with its difference, or with the number of tasks on which this holds."""
    if several:
        tasks = [dict(entry.place).get("task", "") for entry in entries]
        return f"{arm} on {', '.join(tasks) if len(tasks) <= FEW else f'{len(tasks)} tasks'}"
    (entry,) = entries
    assert entry.paired is not None
    return f"{arm} ({entry.metric} {entry.paired.difference:+.2f})"

"""How the arms of an experiment stand beside their baseline, and what that shows in a sentence.

The sentence follows from the rows by one rule. An arm is better or worse than its baseline if its
p, corrected by Holm over all rows of the table, is below .05. Otherwise the two cannot be told
apart, whatever the difference looks like. With fewer than 24 users nothing is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from bench.report.base_results import Tables
from bench.report.cells import ENOUGH
from bench.report.grid_head import axes_of
from bench.report.runs import Place
from bench.report.values import Summary
from bench.score.metrics import DIRECTION

if TYPE_CHECKING:
    from bench.score.stats import Paired

SURE = 0.05
FEW = 3
"""Places (tasks, most often) that a sentence names; of more it says how many."""
Evidence = Literal["better", "worse", "cannot tell", "too few users"]

WORDS: dict[Evidence, str] = {
    "better": "better than {baseline}",
    "worse": "worse than {baseline}",
    "cannot tell": "not told apart from {baseline}",
    "too few users": "not judged (too few users)",
}
"""How a sentence calls the sides of a baseline, in their order."""


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
    p: float | None = None

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

    entries = []
    for place, arm in tables.keys:
        metric = tables.first_metric(place)
        baseline = tables.experiment.show.baseline_of(arm)
        paired = tables.comparisons.get((place, arm, metric)) if baseline else None
        summary = tables.summaries[place, arm]
        entries.append(ArmStanding(place, arm, metric, summary, baseline, paired))

    ps = {}
    for row, entry in enumerate(entries):
        if entry.paired:
            ps[str(row)] = entry.paired.p_permutation
    corrected = holm(ps)
    return [replace(entry, p=corrected.get(str(row))) for row, entry in enumerate(entries)]


def differing_axes(tables: Tables) -> list[str]:
    """The axes on which rows differ; what is the same for all of them stands in the head."""
    axes = []
    for axis in axes_of(tables):
        values = {dict(place).get(axis) for place in tables.results.places}
        if len(values) > 1:
            axes.append(axis)
    return axes


def finding(entries: Sequence[ArmStanding], axes: Sequence[str]) -> list[str]:
    """What the rows show, a sentence for each baseline; nothing if nothing was compared. `axes`:
    those on which the rows differ.
    """
    by_baseline: dict[str, list[ArmStanding]] = {}
    for entry in entries:
        if entry.evidence and entry.baseline:
            by_baseline.setdefault(entry.baseline, []).append(entry)
    return [_sentence(baseline, compared, axes) for baseline, compared in by_baseline.items()]


def _sentence(baseline: str, entries: Sequence[ArmStanding], axes: Sequence[str]) -> str:
    """What stands on which side of one baseline."""
    sides = []
    for evidence, words in WORDS.items():
        arms: dict[str, list[ArmStanding]] = {}
        for entry in entries:
            if entry.evidence == evidence:
                arms.setdefault(entry.arm, []).append(entry)
        if arms:
            named = [_named(arm, found, axes) for arm, found in arms.items()]
            sides.append(f"{words.format(baseline=baseline)}: {', '.join(named)}")
    return f"With {_users(entries)} users, {'; '.join(sides)}."


def _users(entries: Sequence[ArmStanding]) -> str:
    counts = sorted({entry.paired.users for entry in entries if entry.paired})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _named(arm: str, entries: Sequence[ArmStanding], axes: Sequence[str]) -> str:
    """An arm with its difference, or with the places where this holds."""
    if axes:
        places = ["/".join(dict(entry.place)[axis] for axis in axes) for entry in entries]
        return f"{arm} ({', '.join(places) if len(places) <= FEW else f'{len(places)} rows'})"
    (entry,) = entries
    assert entry.paired is not None
    return f"{arm} ({entry.metric} {entry.paired.difference:+.2f})"

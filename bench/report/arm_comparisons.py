"""Every arm of an experiment minus its baseline, over all seeds and repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.errors import InputError
from bench.report import significance
from bench.report.comparison_rows import ComparisonRow, in_one_table, rows_of
from bench.report.runs import Place, Results, Run, place_words
from bench.report.significance import CellPair
from bench.report.values import distinct, metric_of, spread_of

if TYPE_CHECKING:
    from bench.score.stats import Paired

DRAWS = 2000
"""Of a comparison, by permutation."""
FEW = 20
"""Draws on one side (or as extreme) below which a p may be too coarse for a large table."""
PER_ROW = 100
"""Draws for each row of a comparison: with fewer, Holm's correction would leave no p below .05 in a
large table.
"""
RowKey = tuple[Place, str, str]
"""Place, arm and metric."""


@dataclass(frozen=True)
class ArmComparisons:
    """The rows of one table. `incomparable`: the arms that did not answer what their baseline did,
    and why.
    """

    rows: Mapping[RowKey, ComparisonRow]
    incomparable: tuple[str, ...]


def of_arms(results: Results, keys: Sequence[tuple[Place, str]]) -> ArmComparisons:
    """The arms at these places, wherever both they and their baselines have scores."""
    comparisons: dict[tuple[Place, str], list[ComparisonRow]] = {}
    incomparable = []
    for place, arm in keys:
        try:
            comparisons[place, arm] = _at(results, place, arm, DRAWS)
        except InputError as error:
            incomparable.append(f"Not compared: {arm} at {place_words(place)}: {error}")

    draws = PER_ROW * sum(map(len, comparisons.values()))
    if draws > DRAWS:
        for (place, arm), rows in comparisons.items():
            if _is_coarse(rows):
                comparisons[place, arm] = _at(results, place, arm, draws)

    by_key: dict[RowKey, ComparisonRow] = {}
    for (place, arm), rows in comparisons.items():
        for row in rows:
            by_key[place, arm, row.metric] = row
    return ArmComparisons(in_one_table(by_key), tuple(incomparable))


def _is_coarse(rows: Sequence[ComparisonRow]) -> bool:
    """Whether more draws could tell a smaller p."""
    least = min((row.paired.p_permutation for row in rows), default=1)
    return least < FEW / DRAWS


def _at(results: Results, place: Place, arm: str, draws: int) -> list[ComparisonRow]:
    baseline = results.experiment.show.baseline_of(arm) or ""
    return comparison(results.cells[place, arm], results.cells.get((place, baseline), ()), draws)


@dataclass(frozen=True)
class RunPair:
    """A run of an arm, and the run of the baseline that it is compared with."""

    run: Run
    base: Run

    @property
    def cells(self) -> CellPair:
        return CellPair(self.run.finished, self.base.finished)

    def difference(self, metric: str) -> float:
        return metric_of(self.run, metric) - metric_of(self.base, metric)


def comparison(
    runs: Sequence[Run], baseline: Sequence[Run], draws: int = DRAWS
) -> list[ComparisonRow]:
    """A row for every primary metric and the gold's NLL, arm minus baseline, run by run of a seed
    on the same questions.

    Empty where a side has no scores. Raises InputError where the two were scored against different
    golds.
    """
    pairs = _pairs(runs, baseline)
    if not pairs:
        return []
    task = pairs[0].run.finished.task
    differences = significance.compared(task, [pair.cells for pair in pairs], draws)
    widened = {}
    for metric, paired in differences.items():
        if metric in task.metrics:
            widened[metric] = _with_repeats(pairs, metric, paired)
    return rows_of(widened)


def _pairs(runs: Sequence[Run], baseline: Sequence[Run]) -> list[RunPair]:
    """A repeat is compared with the baseline's same repeat, or where it was not repeated with its
    only run.
    """
    bases = {(run.seed, run.repeat): run for run in baseline if run.is_ok and run.scores}
    pairs = []
    for run in distinct(runs):
        base = bases.get((run.seed, run.repeat)) or bases.get((run.seed, "0"))
        if base and run.is_ok and run.scores:
            pairs.append(RunPair(run, base))
    return pairs


def _with_repeats(pairs: Sequence[RunPair], metric: str, paired: Paired) -> Paired:
    """A difference whose interval, error and p know that its repeats differ. p is the larger:
    of users, of both.
    """
    apart = spread_of([(pair.run, pair.difference(metric)) for pair in pairs])
    if apart is None:
        return paired
    from bench.score.power import detectable

    ends = apart.wider(paired.difference, paired.low, paired.high, paired.users)
    both = apart.both(paired.error, paired.users)
    p = apart.p(paired.difference, paired.error, paired.users)
    if paired.detectable is not None:
        effect = max(paired.detectable, detectable(both.error, both.freedom))
        paired = replace(paired, detectable=effect)
    return replace(
        paired,
        low=ends.low,
        high=ends.high,
        p_permutation=max(paired.p_permutation, p),
        error=both.error,
    )

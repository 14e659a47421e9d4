"""An experiment's results on one base: summaries, comparisons with the baseline, and the paper's
number for each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from bench.errors import InputError
from bench.report import comparability, paper, questions, values
from bench.report.experiments import Experiment
from bench.report.runs import Place, Results, Run
from bench.report.values import Summary

if TYPE_CHECKING:
    from bench.score.stats import Paired

PER_ROW = 100
"""Draws for each row of a comparison: with fewer, Holm's correction would leave no p below .05 in a
large table.
"""
BASES = {"zero_shot": "instruct", "task_adapted": "task_adapted"}


@dataclass(frozen=True)
class Tables:
    """An experiment's results on one base, ready to be laid out.

    Bases are never in one table: see `by_base`.
    """

    results: Results
    base: str

    @property
    def experiment(self) -> Experiment:
        return self.results.experiment

    @cached_property
    def printed(self) -> tuple[paper.Printed, ...]:
        return (
            paper.table(self.experiment.paper) if self.experiment.show.kind != "statistics" else ()
        )

    @cached_property
    def keys(self) -> list[tuple[Place, str]]:
        """Places in order, and at each the arms in order."""
        both = ((place, arm) for place in self.results.places for arm in self.results.arms)
        return [key for key in both if key in self.results.cells]

    @cached_property
    def summaries(self) -> dict[tuple[Place, str], Summary]:
        return {key: values.summary(self.results.cells[key]) for key in self.keys}

    def words(self, place: Place) -> dict[str, str]:
        """What the table calls the place's value on each axis."""
        return {axis: self.experiment.show.rows.get(value, value) for axis, value in place}

    def at(self, place: Place) -> list[Summary]:
        return [
            self.summaries[place, arm]
            for arm in self.results.arms
            if (place, arm) in self.summaries
        ]

    def metrics(self, place: Place) -> list[str]:
        return values.metrics_of(values.kind_at(self.results, place), self.at(place))

    def paper_numbers(self, place: Place, metric: str, arm: str) -> dict[str, paper.Printed]:
        """The paper's number for each of its models;
        only that of our model where it is the same.
        """
        names = {metric, *(value for _, value in place), *re.split(r"[/ .]", arm), arm}
        names |= {
            self.experiment.show.names[name] for name in names if name in self.experiment.show.names
        }
        found = paper.find(self.printed, names)
        same = [model for model in found if model == dict(place).get("model")]
        return {model: found[model] for model in same or found}

    @property
    def comparisons(self) -> dict[tuple[Place, str, str], Paired]:
        """By place, arm and metric: every arm minus its baseline, where both have scores."""
        return self._compared[0]

    @cached_property
    def corrected(self) -> dict[tuple[Place, str, str], tuple[float, float]]:
        """Of each comparison p with Holm's correction over its own metrics,
        as a run prints it, and over all rows.
        """
        from bench.score.stats import holm

        names = {key: str(key) for key in self.comparisons}
        ps = {key: one.p_permutation for key, one in self.comparisons.items()}
        whole = holm({names[key]: p for key, p in ps.items()})
        found = {}
        for place, arm in dict.fromkeys(key[:2] for key in ps):
            own = holm({key[2]: p for key, p in ps.items() if key[:2] == (place, arm)})
            for metric, p in own.items():
                found[place, arm, metric] = p, whole[names[place, arm, metric]]
        return found

    @property
    def incomparable(self) -> tuple[str, ...]:
        """The arms that did not answer what their baseline did, and why."""
        return self._compared[1]

    @cached_property
    def _compared(self) -> tuple[dict[tuple[Place, str, str], Paired], tuple[str, ...]]:
        found: dict[tuple[Place, str], dict[str, Paired]] = {}
        apart = []
        for place, arm in self.keys:
            try:
                found[place, arm] = self._comparison(place, arm, values.DRAWS)
            except InputError as error:
                apart.append(
                    f"Not compared: {arm} at {', '.join(value for _, value in place)}: {error}"
                )
        needed = PER_ROW * sum(map(len, found.values()))
        for key, metrics in found.items():  # more draws only where they can tell
            least = min((one.p_permutation for one in metrics.values()), default=1)
            if needed > values.DRAWS and least < values.FEW / values.DRAWS:
                found[key] = self._comparison(*key, needed)
        return {
            (*key, metric): one for key, metrics in found.items() for metric, one in metrics.items()
        }, tuple(apart)

    def _comparison(self, place: Place, arm: str, draws: int) -> dict[str, Paired]:
        base = self.results.cells.get((place, self.experiment.show.baseline_of(arm) or ""))
        return values.comparison(self.results.cells[place, arm], base or (), draws)


def by_base(results: Results) -> list[Tables]:
    """The results apart by base; cells that have not run stand with the experiment's own, or the
    first there is.

    Trivial rules ask no model, so they stand with every base.
    """
    finished = [run for run in results.runs if run.record]
    bases = list(
        dict.fromkeys(
            _base(run) for run in [one for one in finished if not _is_rule(one)] or finished
        )
    )
    own = BASES[results.experiment.family]
    home = own if own in bases or not bases else bases[0]
    found = []
    for base in bases or [home]:
        runs = tuple(
            run
            for run in results.runs
            if _is_rule(run) or (_base(run) if run.record else home) == base
        )
        found.append(Tables(questions.same(replace(results, runs=runs)), base))
    return found


def _base(run: Run) -> str:
    return str(run.record["cell"]["base"]) if run.record else ""


def _is_rule(run: Run) -> bool:
    return run.record is not None and run.record["cell"]["method"] == comparability.RULE

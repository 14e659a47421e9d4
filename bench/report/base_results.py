"""An experiment's results on one base: summaries, comparisons with the baseline, and the paper's
number for each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import filterfalse, product
from typing import TYPE_CHECKING

from bench.report import arm_comparisons, comparability, paper, questions, values
from bench.report.arm_comparisons import ArmComparisons, RowKey
from bench.report.comparison_rows import ComparisonRow
from bench.report.experiments import Experiment
from bench.report.runs import Place, Results, Run
from bench.report.values import Summary

if TYPE_CHECKING:
    from bench.score.stats import Paired

BASES = {"zero_shot": "instruct", "task_adapted": "task_adapted", "ours": "task_adapted"}


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
        """The numbers of the paper's table."""
        if self.experiment.show.kind == "statistics":
            return ()
        return paper.table(self.experiment.paper)

    @cached_property
    def keys(self) -> list[tuple[Place, str]]:
        """Places in order, and at each the arms in order."""
        every = product(self.results.places, self.results.arms)
        return [key for key in every if key in self.cells]

    @property
    def cells(self) -> Mapping[tuple[Place, str], list[Run]]:
        return self.results.cells

    @cached_property
    def summaries(self) -> dict[tuple[Place, str], Summary]:
        return {key: values.summary(self.cells[key]) for key in self.keys}

    def words(self, place: Place) -> dict[str, str]:
        """What the table calls the place's value on each axis."""
        return {axis: self.experiment.show.rows.get(value, value) for axis, value in place}

    def at(self, place: Place) -> list[Summary]:
        """The summaries of the arms at a place."""
        return [summary for key, summary in self.summaries.items() if key[0] == place]

    def metrics(self, place: Place) -> list[str]:
        return values.metrics_of(values.kind_at(self.results, place), self.at(place))

    def first_metric(self, place: Place) -> str:
        """The metric that stands for quality; empty if there is none."""
        return next(iter(self.metrics(place)), "")

    def paper_numbers(self, place: Place, metric: str, arm: str) -> dict[str, paper.Printed]:
        """The paper's number for each of its models;
        only that of our model where it is the same.
        """
        where = dict(place)
        names = {metric, arm, *where.values(), *re.split(r"[/ .]", arm)}
        of_paper = self.experiment.show.names
        names |= {of_paper.get(name, name) for name in names}

        numbers = paper.find(self.printed, names)
        model = where.get("model")
        return {model: numbers[model]} if model in numbers else numbers

    @cached_property
    def _compared(self) -> ArmComparisons:
        return arm_comparisons.of_arms(self.results, self.keys)

    @property
    def rows(self) -> Mapping[RowKey, ComparisonRow]:
        """By place, arm and metric: every arm minus its baseline, where both have scores."""
        return self._compared.rows

    @cached_property
    def comparisons(self) -> Mapping[RowKey, Paired]:
        """The differences of the rows alone."""
        return {key: row.paired for key, row in self.rows.items()}

    @property
    def incomparable(self) -> tuple[str, ...]:
        """The arms that did not answer what their baseline did, and why."""
        return self._compared.incomparable


def by_base(results: Results) -> list[Tables]:
    """The results apart by base; cells that have not run stand with the experiment's own, or the
    first there is.

    Trivial rules ask no model, so they stand with every base.
    """
    bases = _bases(results.runs)
    home = BASES[results.experiment.family]
    if bases and home not in bases:
        home = bases[0]

    tables = []
    for base in bases or [home]:
        runs = [run for run in results.runs if _is_rule(run) or (_base(run) or home) == base]
        of_base = replace(results, runs=tuple(runs))
        tables.append(Tables(questions.same(of_base), base))
    return tables


def _bases(runs: Sequence[Run]) -> list[str]:
    """The bases that cells have run on; those of trivial rules only if nothing else has run."""
    of_models = dict.fromkeys(map(_base, filterfalse(_is_rule, runs)))
    of_all = dict.fromkeys(map(_base, runs))
    return list(filter(None, of_models)) or list(filter(None, of_all))


def _base(run: Run) -> str:
    """Empty for a cell that has not ended."""
    return str(run.record["cell"]["base"]) if run.record else ""


def _is_rule(run: Run) -> bool:
    return run.record is not None and run.record["cell"]["method"] == comparability.RULE

"""The tables of an experiment, in their order."""

from __future__ import annotations

from operator import attrgetter

from bench.report import cases, dataset_table, standings_grid
from bench.report.base_results import Tables
from bench.report.comparison_grid import comparisons
from bench.report.cost_grid import cosines, costs, times
from bench.report.number_grid import numbers
from bench.report.render import Grid


def grids(tables: Tables) -> list[Grid]:
    """Numbers, comparisons and costs; the last two only where there is something to show."""
    kind = tables.experiment.show.kind
    if kind == "statistics":
        return [dataset_table.grid(tables.experiment, tables.results.roots)]
    if kind == "case":
        return cases.grids(tables)
    if kind == "standings":
        return [standings_grid.grid(tables)]
    if kind == "efficiency":
        return [times(tables)]

    more = [cosines(tables)] if kind == "similarity" else []
    more += [comparisons(tables), costs(tables)]
    return [numbers(tables), *filter(attrgetter("rows"), more)]

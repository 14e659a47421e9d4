"""Figures show the tables' numbers, lines fit what was planted,
and series can be told apart without colour.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import cell, conf, experiment, manifest

from bench.report import (
    base_results,
    cost_grid,
    cost_plots,
    experiments,
    figures,
    grids,
    output,
    plots,
    runs,
)
from bench.report.style import marks

SIZES = (10, 20, 40)
SKILLS = {"instruct": (0.3, 0.3, 0.3), "chameleon": (0.4, 0.6, 0.9)}


def tables(root: Path, where: Path) -> base_results.Tables:
    found = runs.results(experiments.load("made_table", "small", where), [root])
    [one] = base_results.by_base(found)
    return one


def along(folder: Path, **show: Any) -> base_results.Tables:
    """Two arms at three sizes of the group, one task, one seed;
    fit takes 2 + 3 seconds a fit user, for 20 users.
    """
    root, axis = folder / "results", "protocol.group_size"
    axes = {"task": ["lamp2"], axis: list(SIZES), "model": ["smollm2"], "seed": [0]}
    where = conf(
        folder / "conf", axes=axes, rules=False, show={"baseline": "instruct", "x": axis} | show
    )
    phase = {"tokens_in": 0, "tokens_out": 0, "peak_memory": 0, "joules": None}
    for arm, skills in SKILLS.items():
        for size, skill in zip(SIZES, skills, strict=True):
            cost = {
                "training": phase | {"seconds": 20.0 * (2 + 3 * size)},
                "generate": phase | {"seconds": 6.0},
            }
            one = cell(root, "lamp2", arm, skill=skill, variant=str(size), cost=cost)
            manifest(
                root,
                "made_table",
                arm,
                {"task": "lamp2", axis: size, "model": "smollm2", "seed": 0},
                one,
            )
    return tables(root, where)


def values(found: base_results.Tables, arm: str, metric: str = "accuracy") -> list[Any]:
    return [found.summaries[place, arm].values[metric] for place in found.results.places]


def test_lines_stand_at_the_tables_values_with_their_intervals(tmp_path: Path) -> None:
    found = along(tmp_path, kind="lines")
    figure = plots.lines(found)
    assert figure is not None
    axis = figure.axes[0]
    drawn = {one.get_label(): one for one in axis.containers}
    assert set(drawn) == set(SKILLS)
    for arm, container in drawn.items():
        line, _, [bars] = container.lines
        expected = values(found, arm)
        assert np.allclose(line.get_ydata(), [one.value for one in expected])
        assert np.allclose(line.get_xdata(), SIZES, atol=0.5), "set apart by a hair"
        ends = [sorted(part[:, 1]) for part in bars.get_segments()]
        assert np.allclose(
            ends, [[min(one.low, one.value), max(one.high, one.value)] for one in expected]
        )
    assert "accuracy" in axis.get_ylabel() and "higher is better" in axis.get_ylabel()


def test_a_gain_is_the_paired_difference(tmp_path: Path) -> None:
    found = along(tmp_path, kind="lines", y="gain")
    figure = plots.lines(found)
    assert figure is not None
    [container] = figure.axes[0].containers
    expected = [
        found.comparisons[place, "chameleon", "accuracy"].difference
        for place in found.results.places
    ]
    assert np.allclose(container.lines[0].get_ydata(), expected) and expected[-1] > 0.3


def test_bars_have_the_tables_heights(tmp_path: Path) -> None:
    found = along(tmp_path, kind="bars")
    figure = plots.bars(found)
    assert figure is not None
    boxes = [one for one in figure.axes[0].containers if hasattr(one, "patches")]
    assert len(boxes) == 2
    for arm, box in zip(SKILLS, boxes, strict=True):
        assert np.allclose(
            [patch.get_height() for patch in box.patches], [one.value for one in values(found, arm)]
        )
    assert len({patch.get_hatch() for box in boxes for patch in box.patches}) == 2


def test_the_line_of_training_time_is_the_planted_one(tmp_path: Path) -> None:
    figure = cost_plots.efficiency(along(tmp_path, kind="efficiency"))
    assert figure is not None
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == [f"{arm}: 2 + 3 x, R² 1.000" for arm in SKILLS]


def test_a_panel_of_which_nothing_has_run_says_so(tmp_path: Path) -> None:
    found = along(tmp_path, kind="lines")
    runs = tuple(
        replace(run, at=dict(run.at) | {"task": "lamp3"}, record=None) for run in found.results.runs
    )
    both = base_results.Tables(
        replace(found.results, runs=(*found.results.runs, *runs)), found.base
    )
    figure = plots.lines(both)
    assert figure is not None
    said = ["not run" in [text.get_text() for text in axis.texts] for axis in figure.axes]
    assert said == [False, False, True, True]


def test_the_times_of_a_training_stand_in_the_table_with_their_line(tmp_path: Path) -> None:
    [grid] = grids.grids(along(tmp_path, kind="efficiency"))
    shown = [dict(zip(grid.head, row, strict=True)) for row in grid.rows]
    assert [row["seconds"] for row in shown if row["arm"] == "chameleon"] == [
        "32.00",
        "62.00",
        "122.00",
    ]
    assert "chameleon, lamp2, smollm2: 2 + 3 x, R² 1.000 (protocol.group_size)" in grid.below


def test_the_similarity_maps_and_their_medians_are_those_of_the_cells(tmp_path: Path) -> None:
    found = along(tmp_path, kind="similarity")
    kinds = {
        "A": [[1, 0.9, 0.7], [0.9, 1, 0.8], [0.7, 0.8, 1]],
        "B": [[1, 0, 0.2], [0, 1, 0.1], [0.2, 0.1, 1]],
    }
    for run in found.results.runs:
        if run.folder:
            (run.folder / "similarity.json").write_text(
                json.dumps({"users": ["a", "b", "c"], "kinds": kinds})
            )
    [(name, figure)] = figures.of_tables(found)
    drawn = [axis.get_images()[0].get_array() for axis in figure.axes if axis.get_images()]
    assert name == "similarity" and len(drawn) == 2 * 6
    assert drawn[0].tolist() == kinds["A"] and drawn[1].tolist() == kinds["B"]
    grid = cost_grid.cosines(found)
    assert grid.rows[0][-4:] == ["A", "0.800", "0.700", "0.900"] and grid.rows[1][-4:] == [
        "B",
        "0.100",
        "0.000",
        "0.200",
    ]


@pytest.mark.parametrize(
    ("higher", "expected"), [(True, [(1, 0.2), (2, 0.5)]), (False, [(1, 0.2), (3, 0.1)])]
)
def test_the_frontier_holds_what_none_beats_in_both(
    higher: bool, expected: list[tuple[float, float]]
) -> None:
    points = [(2, 0.5), (3, 0.5), (1, 0.2), (3, 0.1), (2, 0.4)]
    assert cost_plots.frontier(points, higher=higher) == expected


def test_series_differ_in_more_than_colour() -> None:
    found = list(marks([f"arm {number}" for number in range(20)]).values())
    assert (
        len({(one.marker, one.filled) for one in found}) == 20
        and len({one.marker for one in found}) == 10
    )
    assert len({one.hatch for one in found[:9]}) == 9


def test_out_writes_every_format_and_figures_that_are_pictures(tmp_path: Path) -> None:
    root, where = experiment(tmp_path / "results"), conf(tmp_path / "conf")
    found = runs.results(experiments.load("made_table", "small", where), [root])
    paths = output.files(found, tmp_path / "out")
    assert {path.suffix for path in paths} >= {".md", ".csv", ".tex", ".html", ".png", ".svg"}
    for path in paths:
        start = path.read_bytes()[:400]
        assert (
            start
            and (path.suffix != ".png" or start.startswith(b"\x89PNG"))
            and (path.suffix != ".svg" or b"<svg" in path.read_bytes())
        )

"""How arms stand beside a baseline, and the sentence that follows from the numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import cell, conf, manifest

from bench.report import base_results, experiments, render, runs, standings, standings_grid
from bench.report.base_results import Tables
from bench.report.standings import ArmStanding

SKILLS = {"plain": 0.4, "reader": 0.95, "foe": 0.02, "same": 0.42}
"""How often each arm is right."""


def made(root: Path, *, users: int = 60, tasks: tuple[str, ...] = ("lamp2",)) -> Tables:
    """An experiment of arms whose skill is planted, all minus `plain`."""
    arms = {arm: [f"method={arm}"] for arm in SKILLS}
    where = conf(
        root / "conf",
        family="ours",
        paper=None,
        axes={"task": list(tasks), "model": ["smollm2"], "seed": [0]},
        arms=arms,
        rules=False,
        show={"kind": "standings", "baseline": "plain", "x": None},
    )
    for task in tasks:
        for arm, skill in SKILLS.items():
            at = {"task": task, "model": "smollm2", "seed": 0}
            folder = cell(
                root / "results", task, arm, skill=skill, users=users, base="task_adapted"
            )
            manifest(root / "results", "made_table", arm, at, folder, scale="paper")
    found = runs.results(experiments.load("made_table", "paper", where), [root / "results"])
    [tables] = base_results.by_base(found)
    return tables


def by_arm(tables: Tables) -> dict[str, ArmStanding]:
    return {entry.arm: entry for entry in standings.standings(tables)}


@pytest.mark.parametrize("task", ["lamp2", "lamp3"])
def test_planted_skill_is_found_on_the_right_side_in_both_directions(
    tmp_path: Path, task: str
) -> None:
    """Accuracy grows and the error of a rating shrinks as an arm gets better."""
    found = by_arm(made(tmp_path, tasks=(task,)))
    assert {arm: entry.evidence for arm, entry in found.items()} == {
        "plain": None,
        "reader": "better",
        "foe": "worse",
        "same": "cannot tell",
    }


def test_few_users_are_never_judged(tmp_path: Path) -> None:
    found = by_arm(made(tmp_path, users=23))
    assert found["reader"].p is not None and found["reader"].p < 0.01
    assert found["reader"].evidence == "too few users"


def test_p_is_corrected_over_the_rows_of_the_table(tmp_path: Path) -> None:
    tables = made(tmp_path)
    for (_, arm, metric), paired in tables.comparisons.items():
        entry = by_arm(tables)[arm]
        if metric == entry.metric:
            assert entry.p is not None and entry.p >= paired.p_permutation
    assert by_arm(tables)["reader"].p == pytest.approx(
        3 * min(one.p_permutation for one in tables.comparisons.values()), rel=1e-6
    )


def test_the_sentence_says_what_the_rows_say(tmp_path: Path) -> None:
    [sentence] = standings.finding(standings.standings(made(tmp_path)), [])
    assert sentence.startswith("With 60 users, better than plain: reader (accuracy +0.")
    assert "; worse than plain: foe (accuracy -0." in sentence
    assert "; not told apart from plain: same (accuracy" in sentence


def test_the_sentence_counts_tasks_if_there_are_several(tmp_path: Path) -> None:
    tables = made(tmp_path, tasks=("lamp2", "lamp3"))
    [sentence] = standings.finding(standings.standings(tables), ["task"])
    assert "better than plain: reader (lamp2, lamp3)" in sentence


def test_the_last_lines_of_the_text_are_the_table_and_the_sentence(tmp_path: Path) -> None:
    grid = standings_grid.grid(made(tmp_path))
    text = render.grids([grid], "text")
    assert max(map(len, text.splitlines())) <= 100
    assert text.rstrip().endswith(grid.below[-1][-20:])
    assert grid.head[0] == "arm"  # the task and the model are the same for all rows: in the head
    assert "Task lamp2; model smollm2-135m, base task_adapted; 60 users." in text


def test_without_a_winner_the_sentence_still_names_the_baseline(tmp_path: Path) -> None:
    tables = made(tmp_path)
    entries = [entry for entry in standings.standings(tables) if entry.arm != "reader"]
    [sentence] = standings.finding(entries, [])
    assert sentence.startswith("With 60 users, worse than plain: foe")
    assert "better" not in sentence


def test_a_table_of_which_an_arm_has_not_run_says_what_runs_it(tmp_path: Path) -> None:
    tables = made(tmp_path)
    for path in (tmp_path / "results" / "lamp2" / "foe").rglob("record.json"):
        path.unlink()
    results = runs.results(tables.experiment, [tmp_path / "results"])
    [partial] = base_results.by_base(results)
    grid = standings_grid.grid(partial)
    assert any(
        "1 of 4 arms" in line and "python -m bench experiment=" in line for line in grid.above
    )

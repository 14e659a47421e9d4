"""Rows of an experiment: on the same questions, apart from the paper's,
named as in the paper; and their warnings.
"""

from __future__ import annotations

import pytest
from made import cell, conf, experiment, manifest
from test_docs_tables import faults

from bench.report import (
    base_results,
    comparison_grid,
    experiments,
    footnotes,
    number_grid,
    output,
    questions,
    runs,
    timing,
)
from bench.report.render import grids as rendered

pytestmark = pytest.mark.usefixtures("wide")
AT = {"task": "lamp2", "model": "smollm2", "seed": 0}


def tables(root, where, name="made_table", scale="small"):
    [found] = base_results.by_base(runs.results(experiments.load(name, scale, where), [root]))
    return found


def ours(found, arm):
    head = number_grid.numbers(found).head
    return next(
        row[head.index(arm)]
        for row in number_grid.numbers(found).rows
        if "ours" in row and "accuracy ↑" in row
    )


def few_and_many(root, extra=("limit=12",)):
    """Two arms with 12 users and one with 20,
    as where an experiment was begun without an override.
    """
    for arm, users in (("instruct", 12), ("chameleon", 12), ("majority_user", 20)):
        made = cell(
            root, "lamp2", "majority" if users == 20 else arm, users=users, variant=str(users)
        )
        manifest(root, "made_table", arm, AT, made, extra=list(extra) if users == 12 else [])


def test_an_arm_on_other_questions_is_in_no_row_and_said_to_be_left_out(tmp_path):
    few_and_many(tmp_path)
    found = tables(tmp_path, conf(tmp_path / "conf"))
    assert ours(found, "majority_user") == "other questions (39, not 24)"
    assert ours(found, "instruct").startswith("0.") and ours(found, "chameleon").startswith("0.")
    assert not any("majority_user" in key for key in found.comparisons)
    above = " ".join(number_grid.numbers(found).above)
    assert (
        "Left out: majority_user at lamp2, smollm2: other questions (39, not 24). Run it as the"
        " others: " in above
    )


@pytest.mark.parametrize(
    ("extra", "command"),
    [
        (("limit=12",), "python -m bench experiment=made_table scale=small limit=12"),
        (
            ("limit=12", "data.root=my data"),
            "python -m bench experiment=made_table scale=small limit=12 'data.root=my data'",
        ),
        ((), "python -m bench experiment=made_table scale=small"),
    ],
)
def test_a_printed_command_keeps_the_overrides_of_the_cells_at_hand(tmp_path, extra, command):
    few_and_many(tmp_path, extra)
    found = tables(tmp_path, conf(tmp_path / "conf"))
    assert questions.commands(found.experiment, found.results.runs) == command
    above = number_grid.numbers(found).above
    assert any(line.endswith(f"Run them: {command}") for line in above)


def test_arms_on_the_same_questions_stay_as_they_are(tmp_path):
    root, where = experiment(tmp_path / "results"), conf(tmp_path / "conf")
    found = runs.results(experiments.load("made_table", "small", where), [root])
    assert questions.same(found) is found


def test_cells_without_scores_are_told_apart_by_the_number_of_their_questions(tmp_path):
    few_and_many(tmp_path)
    for path in tmp_path.glob("lamp2/*/*/scores.json"):
        path.unlink()
    assert (
        ours(tables(tmp_path, conf(tmp_path / "conf")), "majority_user")
        == "other questions (39, not 24)"
    )


def test_a_line_and_a_note_stand_between_the_papers_numbers_and_those_of_another_model(tmp_path):
    root, where = experiment(tmp_path / "results"), conf(tmp_path / "conf")
    found = runs.results(experiments.load("made_table", "small", where), [root])
    grid = number_grid.numbers(tables(root, where))
    whose = [row[grid.head.index("whose")] for row in grid.rows]
    assert grid.rule and all(word.startswith("paper") for word in whose[: grid.rule])
    assert (
        not any(word.startswith("paper") for word in whose[grid.rule :])
        and footnotes.APART in grid.below
    )
    lines = output.text([found], "text").splitlines()
    at = next(place for place, line in enumerate(lines) if set(line) == {"-"})
    assert "paper (flan_t5_xxl)" in lines[at - 1] and "ours" in lines[at + 1]
    assert output.text([found], "html").count("<tbody>") > output.text([found], "html").count(
        "<table>"
    )
    assert (
        r"\midrule" in output.text([found], "tex").split(r"\midrule", 1)[1].split(r"\bottomrule")[0]
    )
    rows = [line for line in output.text([found], "md").splitlines() if line.startswith("| ―")]
    assert len(rows) == 1 and set(rows[0]) <= set("|― ")


def test_the_papers_own_model_needs_no_line(tmp_path):
    where = conf(tmp_path / "conf")
    manifest(
        tmp_path,
        "made_table",
        "instruct",
        AT | {"model": "mistral"},
        cell(tmp_path, "lamp2", "instruct"),
    )
    grid = number_grid.numbers(tables(tmp_path, where, scale="paper"))
    assert grid.rule == 0 and footnotes.APART not in grid.below


def test_rows_of_oppus_third_table_are_named_as_in_the_paper(tmp_path):
    [found] = base_results.by_base(
        runs.results(experiments.load("oppu_table3", "laptop"), [tmp_path])
    )
    grid = number_grid.numbers(found)
    at = grid.head.index("least_similar")
    assert {row[at] for row in grid.rows} == {"full", "irrelevant"}
    assert "full: protocol.least_similar=None, irrelevant: protocol.least_similar=4." in grid.below


@pytest.mark.parametrize(
    ("sizes", "said"), [((10, 20), "two points, so no R²"), ((10, 20, 40), "R² 1.000")]
)
def test_a_line_has_an_r2_from_three_points_on(tmp_path, sizes, said):
    where = conf(
        tmp_path / "conf",
        show={"kind": "efficiency", "baseline": None, "x": "items"},
        paper=None,
        rules=False,
    )
    phase = {"tokens_in": 0, "tokens_out": 0, "peak_memory": 0, "joules": None}
    for size in sizes:
        made = cell(
            tmp_path,
            "lamp2",
            "instruct",
            variant=str(size),
            cost={"training": phase | {"seconds": 3.0 * size}},
        )
        manifest(tmp_path, "made_table", "instruct", AT | {"items": size}, made)
    [line] = timing.lines(tables(tmp_path, where))
    assert line.fit.endswith(said)


def test_few_users_are_warned_of_at_the_foot_of_the_comparisons(tmp_path):
    where = conf(tmp_path / "conf")
    for arm, skill in (("instruct", 0.2), ("chameleon", 0.9)):
        manifest(
            tmp_path / "few",
            "made_table",
            arm,
            AT,
            cell(tmp_path / "few", "lamp2", arm, skill=skill, users=6),
        )
    said = (
        "With 6 users the least p of a permutation is 0.031: no row of theirs can pass Holm's"
        " correction over the 2"
    )
    assert any(
        line.startswith(said)
        for line in comparison_grid.comparisons(tables(tmp_path / "few", where)).below
    )
    many = comparison_grid.comparisons(tables(experiment(tmp_path / "many"), where)).below
    assert not any("least p" in line for line in many)


def test_what_leaks_and_is_unparsed_stands_above_an_experiments_numbers(tmp_path):
    leaks = {"fit_test_overlap_users": 40, "items_after_query": None, "examples": {}}
    counts = {"unparsed": 5, "samples": 39}
    for arm in ("instruct", "chameleon"):
        more = {"leaks": leaks, "counts": counts} if arm == "chameleon" else {}
        manifest(tmp_path, "made_table", arm, AT, cell(tmp_path, "lamp2", arm, **more))
    above = number_grid.numbers(tables(tmp_path, conf(tmp_path / "conf"))).above
    assert "leaks (chameleon): 40 fit users are tested users" in above
    assert "chameleon at lamp2, smollm2: 5 of 39 answers unparsed." in above


def test_every_published_experiment_renders_and_its_markdown_is_tables(published):
    shown = 0
    for name in experiments.names():
        for scale in runs.scales(name, [published]):
            found = runs.results(experiments.load(name, scale), [published])
            apart = base_results.by_base(found)
            assert not any(run.aside or run.damage for one in apart for run in one.results.runs)
            text = rendered(
                [number_grid.numbers(one) for one in apart if found.experiment.arms], "md"
            )
            shown += "| --- |" in text
            assert faults(text) == []
    assert shown > 8


@pytest.fixture
def published():
    from conftest import ROOT

    return ROOT / "results" / "published"


def test_a_record_of_any_published_cell_is_a_line_and_a_row(published):
    from bench.report import tables as overview
    from bench.report.inventory import readable

    records = [cell.record for cell in readable([published])]
    text = overview.table(records)
    assert all(
        record["key"][:8] in text or record["cell"]["method"] == "majority" for record in records
    )
    assert all(overview.line(record) for record in records)

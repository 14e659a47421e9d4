"""An experiment's tables from made-up cells: the paper's numbers in their places, and nothing
missing in silence.
"""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT
from made import answered, cell, conf, experiment, manifest

from bench.disk import claims
from bench.errors import InputError
from bench.report import (
    arm_comparisons,
    base_results,
    comparison_grid,
    cost_grid,
    experiments,
    number_grid,
    output,
    paper,
    runs,
)
from bench.report.__main__ import main
from bench.report.comparison_text import against
from bench.report.differences import ScoredCell
from bench.report.similarity import compare, of_cell
from bench.score.metrics import score_one
from bench.score.stats import holm, intervals_of_runs

pytestmark = pytest.mark.usefixtures("wide")

LABELS = ["1", "2", "3", "4", "5"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A results folder and a conf folder with one experiment; read only."""
    root = tmp_path_factory.mktemp("made")
    return experiment(root / "results"), conf(root / "conf")


def results(made, scale="small", name="made_table"):
    root, where = made
    return runs.results(experiments.load(name, scale, where), [root])


def tables(made, scale="small"):
    [found] = base_results.by_base(results(made, scale))
    return found


def rows(grid):
    return [dict(zip(grid.head, row, strict=True)) for row in grid.rows]


def only(found, **wanted):
    """The only row with these words at the beginning of these columns."""
    fitting = [
        row for row in found if all(row[name].startswith(word) for name, word in wanted.items())
    ]
    assert len(fitting) == 1, (wanted, found)
    return fitting[0]


def test_paper_numbers_stand_above_ours_in_their_own_rows_and_columns(made):
    found = rows(number_grid.numbers(tables(made)))
    for model, instruct, chameleon in (
        ("mistral", "0.198", "0.396"),
        ("flan_t5_xxl", "0.238", "0.420"),
    ):
        row = only(found, task="lamp2", metric="accuracy", whose=f"paper ({model})")
        assert (row["instruct"], row["chameleon"], row["majority_user"]) == (
            instruct,
            chameleon,
            "-",
        )
    row = only(found, task="lamp3", metric="rmse", whose="paper (flan_t5_xxl)")
    assert (row["instruct"], row["chameleon"]) == ("0.818", "0.714")


def test_only_the_papers_number_of_our_model_stands_where_it_is_the_same(made):
    found = [row["whose"] for row in rows(number_grid.numbers(tables(made, "paper")))]
    assert "paper (mistral)" in found and "paper (flan_t5_xxl)" not in found


def test_our_number_is_the_mean_of_the_seeds_metrics_with_one_interval_over_users(made):
    runs = [
        [
            score_one("rating", LABELS, one.raw, gold, id=one.id, group=one.group)
            for one, gold in pairs
        ]
        for pairs in (answered("lamp3", 0.5, seed=seed) for seed in (0, 1))
    ]
    expected = intervals_of_runs("rating", LABELS, runs)["mae"]
    found = rows(number_grid.numbers(tables(made)))
    assert (
        only(found, task="lamp3", metric="mae", whose="ours")["instruct"] == f"{expected.value:.3f}"
    )
    interval = f"[{expected.low:.3f}, {expected.high:.3f}]^"  # of 20 users
    assert only(found, task="lamp3", metric="mae", whose="95 %")["instruct"] == interval
    assert only(found, task="lamp3", metric="mae", whose="ours")["users"] == "20"


def test_many_arms_that_no_paper_lays_out_stand_below_each_other_with_the_same_numbers(
    made, monkeypatch
):
    found = results(made)
    unprinted = replace(found, experiment=replace(found.experiment, paper=None))
    [one] = base_results.by_base(unprinted)
    wide = rows(number_grid.numbers(one))
    monkeypatch.setattr(number_grid, "MANY", 1)
    tall = number_grid.numbers(one)
    assert tall.head == ["task", "metric", "arm", "ours", "95 %", "users"]
    for whose, column in (("ours", "ours"), ("95 %", "95 %")):
        for row in (row for row in wide if row["whose"] == whose):
            for arm in ("majority_user", "instruct", "chameleon"):
                same = [
                    one[column]
                    for one in rows(tall)
                    if (one["task"], one["metric"], one["arm"]) == (row["task"], row["metric"], arm)
                ]
                assert same == [row[arm]] or (same == [] and row[arm] in ("-", "")), (arm, row)


def test_a_failed_seed_is_said_in_the_cell_and_its_error_below(made):
    grid = number_grid.numbers(tables(made))
    assert only(rows(grid), task="lamp3", metric="mae", whose="ours")["chameleon"].endswith(
        "(1 of 2 seeds)"
    )
    assert [
        line
        for line in grid.below
        if line.startswith("Failed: chameleon at lamp3, smollm2, seed 1: oom: it broke")
    ]


def test_cells_that_have_not_run_say_so_and_how_to_run_them(made):
    grid = number_grid.numbers(tables(made, "paper"))
    assert {row["chameleon"] for row in rows(grid) if row["whose"] == "ours"} == {"not run"}
    assert "python -m bench experiment=made_table" in " ".join(grid.above)


def test_running_and_failed_cells_are_told_from_those_that_have_not_run(tmp_path):
    root, where = tmp_path / "results", conf(tmp_path / "conf")
    at = {"model": "smollm2", "seed": 0}
    failed = cell(root, "lamp2", "chameleon", status="error", seed=0)
    manifest(root, "made_table", "chameleon", {"task": "lamp2", **at}, failed)
    begun = root / "lamp3" / "chameleon" / ("a" * 16)
    (begun / "claim").mkdir(parents=True)
    (begun / "claim" / claims.me()).touch()
    killed = root / "lamp3" / "chameleon" / ("b" * 16)
    (killed / "claim").mkdir(parents=True)
    (killed / "claim" / "1@elsewhere@@@0").touch()
    os.utime(killed / "claim" / "1@elsewhere@@@0", (0, 0))
    manifest(root, "made_table", "chameleon", {"task": "lamp3", **at}, begun)
    manifest(root, "made_table", "instruct", {"task": "lamp3", **at}, killed)
    runs = {(run.arm, run.at["task"], run.seed): run.state for run in results((root, where)).runs}
    assert runs["chameleon", "lamp2", "0"] == "failed: error"
    assert runs["chameleon", "lamp3", "0"] == "running"
    assert runs["instruct", "lamp3", "0"] == "not run"
    assert runs["chameleon", "lamp3", "1"] == runs["majority_user", "lamp2", "0"] == "not run"


def test_the_head_says_whose_numbers_these_are(made):
    above = " ".join(number_grid.numbers(tables(made)).above)
    for word in (
        "scale small",
        "smollm2-135m bfloat16",
        "lamp/dev",
        "task_adapted (NOT the paper's",
    ):
        assert word in above


def test_arms_that_ran_on_different_data_are_a_note_and_the_rest_is_compared(tmp_path):
    root, where = experiment(tmp_path / "results"), conf(tmp_path / "conf")
    path = next((root / "lamp2" / "chameleon").glob("*/scores.json"))
    scores = json.loads(path.read_text())
    scores[0]["group"] = "another"
    path.write_text(json.dumps(scores))
    found = tables((root, where))
    [note] = found.incomparable
    assert note.startswith(
        "Not compared: chameleon at lamp2, smollm2: query 0-0: the two arms differ in gold or group"
    )
    assert note in number_grid.numbers(found).below
    compared = {(dict(place)["task"], arm) for place, arm, _ in found.comparisons}
    assert compared == {
        ("lamp2", "majority_user"),
        ("lamp3", "majority_user"),
        ("lamp3", "chameleon"),
    }


def test_the_papers_rows_of_no_known_place_stand_below(tmp_path):
    [found] = base_results.by_base(runs.results(experiments.load("oppu_table4"), [tmp_path]))
    below = number_grid.numbers(found).below
    assert (
        "Paper, row1_partial_unknown (lamp2, accuracy): retrieval_k1 0.530, oppu_k0 0.486, oppu_k1"
        " 0.624." in below
    )
    assert len([line for line in below if line.startswith("Paper, row")]) == 2 * 2 * 2


def test_bases_are_never_in_one_table(tmp_path):
    root, where = tmp_path / "results", conf(tmp_path / "conf")
    experiment(root, base="instruct")
    adapted = cell(root, "lamp2", "chameleon", skill=0.9, base="task_adapted")
    at = {"task": "lamp2", "model": "smollm2", "seed": 0}
    manifest(root, "made_table", "chameleon_adapted", at, adapted)
    apart = base_results.by_base(results((root, where)))
    assert [one.base for one in apart] == ["instruct", "task_adapted"]
    for one in apart:
        found = [run for run in one.results.runs if run.record]
        assert {run.record["cell"]["base"] for run in found if run.arm != "majority_user"} == {
            one.base
        }
        assert any(run.arm == "majority_user" for run in found), (
            "a rule has no base and belongs to both"
        )
    assert all("chameleon_adapted" not in key for key in apart[0].comparisons)


def test_two_experiments_never_share_a_table(capsys):
    assert main(["chameleon_table1", "oppu_table1"]) == 2
    assert "one experiment at a time" in capsys.readouterr().err


def test_every_arm_is_compared_with_the_baseline_and_corrected_over_the_table(made):
    one = tables(made)
    grid = comparison_grid.comparisons(one)
    arms = {(row["arm"], row["task"]) for row in rows(grid)}
    assert arms == {
        (arm, task) for arm in ("majority_user", "chameleon") for task in ("lamp2", "lamp3")
    }
    adjusted = holm({str(key): found.p_permutation for key, found in one.comparisons.items()})
    shown = {
        str(key): row["Holm table"] for key, row in zip(one.comparisons, rows(grid), strict=True)
    }
    assert len(adjusted) == len(grid.rows) == 8
    assert shown == {key: f"{p:.4f}" for key, p in adjusted.items()}
    better = only(rows(grid), arm="chameleon", task="lamp2", metric="accuracy")
    assert 0 < float(better["detects"]) < 0.5
    assert float(better["difference"]) > 0.2 and better["harmed"].startswith("0 ")


def test_a_comparison_has_the_same_correction_in_a_run_and_in_a_table(made):
    """Over its own metrics; a table has the one over all its rows beside it, and both are named."""
    one = tables(made)
    place, _ = next(key for key in one.keys if dict(key[0])["task"] == "lamp3")
    runs = [one.results.cells[place, arm][0] for arm in ("chameleon", "instruct")]
    apart = replace(one.results, runs=tuple(runs))
    alone = base_results.by_base(apart)[0]
    told = against(*(ScoredCell(run.record, run.scores) for run in runs))
    grid = comparison_grid.comparisons(alone)
    for metric in ("mae", "rmse"):
        line = next(line for line in told.splitlines() if line.split()[:1] == [metric])
        shown = next(row for row in rows(grid) if row["metric"].startswith(f"{metric} "))
        assert f"{shown['p']}  {shown['Holm']}  " in line
    assert "Holm: over the comparison's metrics (mae, rmse)" in told
    assert "Holm table: over all rows of this table" in " ".join(grid.below)


def test_a_cell_without_scores_has_its_value_and_no_interval(tmp_path):
    where = conf(tmp_path / "conf")
    made = cell(tmp_path / "runs", "lamp2", "instruct")
    (made / "scores.json").unlink()
    at = {"task": "lamp2", "model": "smollm2", "seed": 0}
    manifest(tmp_path / "runs", "made_table", "instruct", at, made)
    grid = number_grid.numbers(tables((tmp_path / "runs", where)))
    assert only(rows(grid), metric="accuracy", whose="95 %", task="lamp2")["instruct"] == ""
    assert "No interval: instruct at lamp2, smollm2, seed 0: no scores at hand" in " ".join(
        grid.below
    )


def test_an_arm_with_a_baseline_of_its_own_is_compared_with_that_one(made):
    found = results(made)
    show = replace(found.experiment.show, baselines={"chameleon": "majority_user"})
    [one] = base_results.by_base(replace(found, experiment=replace(found.experiment, show=show)))
    place, metric = next(
        (place, metric) for place, arm, metric in one.comparisons if arm == "chameleon"
    )
    mean = {arm: one.summaries[place, arm].values[metric].value for arm in found.arms}
    difference = one.comparisons[place, "chameleon", metric].difference
    assert difference == pytest.approx(mean["chameleon"] - mean["majority_user"])
    assert mean["majority_user"] != mean["instruct"]
    assert only(
        rows(comparison_grid.comparisons(one)),
        arm="chameleon (minus majority_user)",
        task="lamp2",
        metric="accuracy",
    )


@pytest.mark.parametrize(
    "path", sorted((ROOT / "conf" / "experiment").glob("*.yaml")), ids=lambda path: path.stem
)
def test_what_an_experiment_compares_with_is_one_of_its_arms(path):
    one = experiments.load(path.stem, "paper")
    named = [*one.show.baselines, *one.show.baselines.values(), *filter(None, [one.show.baseline])]
    assert set(named) <= set(one.arms)


def test_costs_stand_beside_quality_and_leave_out_loading(made):
    row = only(rows(cost_grid.costs(tables(made))), arm="chameleon", task="lamp2")
    assert (row["seconds"], row["before the test"], row["bytes"], row["tokens"]) == (
        "0.93",
        "0.62",
        "400",
        "93",
    )


def test_costs_count_what_kept_results_took_when_they_were_made(tmp_path):
    """Else the arm that ran first would pay for all."""
    root, at = tmp_path / "results", {"task": "lamp2", "model": "smollm2", "seed": 0}
    phase = {"tokens_in": 0, "tokens_out": 0, "peak_memory": 0, "joules": None}
    for arm, seconds, reused in (("instruct", 40.0, 0.0), ("chameleon", 0.5, 39.5)):
        cost = {
            "pairs": phase | {"seconds": seconds, "reused": reused},
            "generate": phase | {"seconds": 20.0},
        }
        manifest(root, "made_table", arm, at, cell(root, "lamp2", arm, cost=cost))
    found = rows(cost_grid.costs(tables((root, conf(tmp_path / "conf")))))
    assert [(row["seconds"], row["before the test"]) for row in found] == [("3.00", "2.00")] * 2


def test_training_the_base_is_no_cost_of_a_method(tmp_path):
    root, at = tmp_path / "results", {"task": "lamp2", "model": "smollm2", "seed": 0}
    spent = {"tokens_in": 700, "tokens_out": 0, "peak_memory": 0, "joules": None, "reused": 0.0}
    cost = {
        name: spent | {"seconds": seconds}
        for name, seconds in (("base", 4000.0), ("fit", 40.0), ("generate", 20.0))
    }
    manifest(root, "made_table", "chameleon", at, cell(root, "lamp2", "chameleon", cost=cost))
    [row] = [
        one
        for one in rows(cost_grid.costs(tables((root, conf(tmp_path / "conf")))))
        if one["arm"] == "chameleon"
    ]
    assert (row["seconds"], row["before the test"], row["tokens"]) == ("3.00", "2.00", "70")


def test_a_method_that_edited_nothing_is_said_to_be_the_baseline(tmp_path):
    root = tmp_path / "results"
    for seed, layers in ((0, []), (1, [3])):
        bare = cell(root, "lamp2", "chameleon", seed=seed, facts={"layers": layers})
        manifest(
            root,
            "made_table",
            "chameleon",
            {"task": "lamp2", "model": "smollm2", "seed": seed},
            bare,
        )
    made = (root, conf(tmp_path / "conf"))
    found = rows(number_grid.numbers(tables(made)))
    shown = only(found, task="lamp2", metric="accuracy", whose="ours")["chameleon"]
    assert shown.endswith("(edited nothing in 1 of 2 seeds)")


def test_an_arm_that_asks_for_no_layer_is_said_to_edit_nothing(tmp_path):
    root = tmp_path / "results"
    asked = cell(
        root,
        "lamp2",
        "chameleon",
        facts={"layers": []},
        config={"method": {"n_layers": 0}, "seed": 0},
    )
    manifest(
        root, "made_table", "chameleon", {"task": "lamp2", "model": "smollm2", "seed": 0}, asked
    )
    found = rows(number_grid.numbers(tables((root, conf(tmp_path / "conf")))))
    assert (
        "edited nothing" in only(found, task="lamp2", metric="accuracy", whose="ours")["chameleon"]
    )


def test_cells_of_several_revisions_of_the_code_are_said_to_be(tmp_path):
    root, at = tmp_path / "results", {"task": "lamp2", "model": "smollm2", "seed": 0}
    for arm, revision in (("instruct", "a" * 40), ("chameleon", "b" * 40)):
        made = cell(root, "lamp2", arm, environment={"git": {"revision": revision, "dirty": False}})
        manifest(root, "made_table", arm, at, made)
    above = number_grid.numbers(tables((root, conf(tmp_path / "conf")))).above
    assert "Its cells ran on 2 revisions of the code: aaaaaaa, bbbbbbb." in above


def test_a_try_with_other_overrides_does_not_replace_the_experiments_own_cell(tmp_path):
    root, at = tmp_path / "results", {"task": "lamp2", "model": "smollm2", "seed": 0}
    whole = cell(root, "lamp2", "chameleon", skill=0.9)
    few = cell(
        root, "lamp2", "chameleon", users=3, variant="limit=3", finished="2026-02-01T00:00:00+00:00"
    )
    manifest(root, "made_table", "chameleon", at, whole)
    manifest(root, "made_table", "chameleon", at, few, overrides=["limit=3"], extra=["limit=3"])
    found = results((root, conf(tmp_path / "conf")))
    [run] = [run for run in found.runs if run.arm == "chameleon" and run.record]
    assert run.folder == whole and any("1 more cells" in note for note in found.notes)


def test_a_failed_cell_of_the_experiment_does_not_hide_behind_a_try_with_other_overrides(tmp_path):
    root, at = tmp_path / "results", {"task": "lamp2", "model": "smollm2", "seed": 0}
    manifest(root, "made_table", "chameleon", at, cell(root, "lamp2", "chameleon", status="oom"))
    few = cell(root, "lamp2", "chameleon", users=3, variant="limit=3")
    manifest(root, "made_table", "chameleon", at, few, overrides=["limit=3"], extra=["limit=3"])
    found = rows(number_grid.numbers(tables((root, conf(tmp_path / "conf")))))
    assert only(found, task="lamp2", metric="accuracy", whose="ours")["chameleon"] == "failed: oom"


def test_the_same_cells_in_two_folders_are_no_other_runs(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "copy")
    twice = runs.results(
        experiments.load("made_table", "small", made[1]), [made[0], tmp_path / "copy"]
    )
    assert len(twice.runs) == len(results(made).runs) and not any(
        "more cells" in note for note in twice.notes
    )


def test_numbers_on_an_axis_are_in_order_whatever_was_run_beside_the_file(tmp_path):
    axes = {"model": ["smollm2"], "task": ["lamp2"], "protocol.group_size": [1, 6, 24], "seed": [0]}
    where = conf(tmp_path / "conf", axes=axes)
    for size in (16, 2, 100, 6):
        made = cell(tmp_path, "lamp2", "instruct", skill=size / 200)
        at = {"model": "smollm2", "task": "lamp2", "protocol.group_size": size, "seed": 0}
        manifest(tmp_path, "made_table", "instruct", at, made)
    places = [dict(place)["protocol.group_size"] for place in results((tmp_path, where)).places]
    assert list(dict.fromkeys(places)) == ["1", "2", "6", "16", "24", "100"]


def test_a_scale_that_is_not_there_is_bad_input(made):
    with pytest.raises(InputError, match="scale=smal: choose paper or small"):
        results(made, "smal")


def test_a_large_table_has_draws_enough_for_its_correction(made, monkeypatch):
    monkeypatch.setattr(arm_comparisons, "PER_ROW", 10_000)
    one = tables(made)
    least = {key: found.p_permutation for key, found in one.comparisons.items()}
    assert min(least.values()) < 1 / 80_000 * 3, (
        "the clear ones are drawn again, 10,000 times for each of 8 rows"
    )
    few = max(least, key=lambda key: least[key])
    assert round(least[few] * 2001, 6) % 1 == 0, "the others keep the draws they had"


def test_latex_has_as_many_cells_as_columns_and_escapes_its_own_signs(made):
    text = output.text([results(made)], "tex")
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert (
        {line.count(" & ") for line in body[:9]} == {6}
        and r"majority\_user" in text
        and r"95 \%" in text
    )


def test_html_and_markdown_escape_what_a_record_says(made, tmp_path):
    root = tmp_path / "results"
    bad = cell(
        root,
        "lamp2",
        "chameleon",
        status="error",
        error="<script>alert(1)</script> | more\n# heading",
    )
    manifest(root, "made_table", "chameleon", {"task": "lamp2", "model": "smollm2", "seed": 0}, bad)
    assert "<script>" not in output.text([results((root, made[1]))], "html")
    said = output.text([results((root, made[1]))], "md")
    assert r"\<script\>" in said and "\n# heading" not in said
    grid = [
        line for line in output.text([results(made)], "md").splitlines() if line.startswith("| ")
    ]
    assert grid and all(line.count("|") == grid[0].count("|") for line in grid[:9])


def test_csv_has_paper_ours_and_comparison_unrounded(made):
    found = list(csv.DictReader(io.StringIO(output.text([results(made)], "csv"))))
    row = only(found, task="lamp2", arm="chameleon", metric="accuracy")
    assert (row["paper.mistral"], row["state"], row["seeds"]) == ("0.396", "ok", "2")
    assert 0 < float(row["minus_baseline.p_permutation_holm"]) < 0.05 and len(row["value"]) > 5
    assert row["minus_baseline.baseline"] == "instruct"
    ps = [
        float(row[f"minus_baseline.p_permutation{which}"])
        for which in ("", "_holm_metrics", "_holm")
    ]
    assert ps == sorted(ps) and float(row["minus_baseline.detectable"]) > 0


def test_names_of_the_paper_are_found_where_an_axis_is_called_otherwise(tmp_path):
    where = conf(
        tmp_path / "conf",
        paper="oppu.table3_irrelevant_history",
        family="task_adapted",
        axes={"model": ["llama2"], "task": ["lamp1"], "protocol.least_similar": [None, 100]},
        arms={"oppu_k1": ["method=oppu"]},
        show={"kind": "table", "baseline": None, "names": {"None": "full", "100": "irrelevant"}},
        rules=False,
    )
    found = rows(number_grid.numbers(tables((tmp_path, where), "paper")))
    for axis, value in (("None", "0.675"), ("100", "0.699")):
        row = only(found, **{"least_similar": axis, "metric": "accuracy", "whose": "paper"})
        assert row["oppu_k1"] == value


def test_every_experiment_renders_with_no_results_at_all_and_finds_its_paper_table():
    for name in experiments.names():
        found = experiments.load(name)
        text = output.text([runs.results(found, [])], "text")
        assert found.title in text
        if found.paper and found.show.kind == "table":
            assert "paper (" in text and len(paper.table(found.paper)) > 0, name


def test_an_unknown_experiment_is_an_error_that_lists_the_known(capsys, made):
    assert main(["chameleon_table9"]) == 2
    assert "chameleon_table1" in capsys.readouterr().err
    with pytest.raises(InputError, match="made_table"):
        experiments.load("other", conf=made[1])


def test_a_report_of_an_experiment_loads_no_torch_and_no_hydra(tmp_path):
    code = "import sys; from bench.report.__main__ import main; assert main(sys.argv[1:]) == 0; "
    code += "print(sorted({'torch', 'transformers', 'hydra', 'matplotlib'} & set(sys.modules)))"
    command = [sys.executable, "-c", code, "chameleon_table1", "--results", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_similarity_of_patches_is_that_of_their_tensors_and_of_the_product(tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    rng, paths, products = np.random.default_rng(0), [], []
    for index in range(3):
        a, b = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 5), (4, 2)))
        b *= index != 2  # an untrained patch: B is 0
        save_file({"layer.a": a, "layer.b": b}, tmp_path / f"{index}.safetensors")
        paths.append(tmp_path / f"{index}.safetensors")
        products.append((a.ravel(), b.ravel(), (b @ a).ravel()))
    found = compare(paths)
    for place, kind in enumerate(("A", "B", "BA")):
        one, two, nothing = (product[place] for product in products)
        cosine = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
        assert found[kind][0, 1] == pytest.approx(cosine, abs=1e-6) and found[kind][
            0, 0
        ] == pytest.approx(1)
        assert found[kind][0, 2] == (0 if kind != "A" else pytest.approx(found["A"][2, 0]))
        assert nothing is not None


def test_similarity_is_kept_beside_the_record_when_the_artifacts_are_gone(tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    artifacts = tmp_path / "artifacts"
    (artifacts / "patches").mkdir(parents=True)
    for name in "pq":
        save_file(
            {"m.a": np.ones((1, 2), "f4"), "m.b": np.ones((2, 1), "f4")},
            artifacts / f"patches/{name}.safetensors",
        )
    users = [
        {"user": "u1", "patches": ["p"]},
        {"user": "u2", "patches": ["q"]},
        {"user": "u3", "patches": []},
    ]
    (artifacts / "adapt-00000.json").write_text(json.dumps(users))
    first = of_cell(tmp_path)
    shutil.rmtree(artifacts)
    assert of_cell(tmp_path) == first and first["users"] == ["u1", "u2"]
    assert first["kinds"]["BA"] == pytest.approx(np.ones((2, 2)))
    assert of_cell(Path(tmp_path / "other")) is None


def test_statistics_of_the_data_stand_beside_the_papers(tmp_path, capsys):
    from bench.data.sample import generator
    from bench.sweep import data_statistics

    generator.write(tmp_path / "data")
    arguments = [
        "--data",
        str(tmp_path / "data"),
        "--task",
        "lamp3",
        "--n-test",
        "5",
        "--results",
        str(tmp_path),
    ]
    assert data_statistics.main([*arguments, "--scale", "laptop"]) == 0
    counts = json.loads((tmp_path / "experiments/oppu_table2/statistics-laptop.json").read_text())[
        "tasks"
    ]["lamp3"]
    assert counts["peft_users"] == 5 and counts["peft_len_out"] == counts["base_len_out"] == 1
    capsys.readouterr()
    assert (
        main(["oppu_table2", "--results", str(tmp_path), "--scale", "laptop", "--format", "csv"])
        == 0
    )
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert only(found, task="lamp3", whose="paper")["history items"] == "959.8"
    assert only(found, task="lamp3", whose="ours")["history items"] == str(
        counts["peft_avg_history"]
    )
    assert only(found, task="lamp1", whose="ours")["history items"] == "not counted"

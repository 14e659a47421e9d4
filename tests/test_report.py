"""Tables and comparisons from made-up cells on disk: what a reader must see,
and what must never share a table.
"""

import csv
import io
import json
import random
import subprocess
import sys
from dataclasses import asdict

import pytest

from bench.report import cells, comparison_text, page, tables
from bench.report.__main__ import main
from bench.report.differences import ScoredCell
from bench.score.metrics import Scored, score_one
from bench.score.stats import holm, intervals, paired

pytestmark = pytest.mark.usefixtures("wide")

STARS = ["1", "2", "3", "4", "5"]


def record(
    key, method="instruct", *, mae=0.4, task="lamp3", base="instruct", seed=0, variant="", **changes
):
    """A finished cell's record; `changes` replace whole fields."""
    names = {"task": task, "method": method, "model": "smollm2", "base": base, "protocol": "seen"}
    metrics = {}
    for name, value in {
        "mae": mae,
        "rmse": mae + 0.1,
        "lenient_mae": mae - 0.1,
        "lenient_rmse": mae,
    }.items():
        metrics[name] = {"value": value, "low": value - 0.05, "high": value + 0.05, "users": 40}
    return {
        "schema": 1,
        "key": key,
        "status": "ok",
        "error": None,
        "cell": {**names, "decoding": "greedy", "seed": seed, "variant": variant},
        "config": {"method": {"name": method}, "seed": seed},
        "data": {
            "name": "sample",
            "split": "dev",
            "kind": "user",
            "hash": "d1" * 8,
            "users": 99,
            "queries": 99,
        },
        "metrics": metrics,
        "unscored": None,
        "counts": {"unparsed": 7},
        "leaks": {},
        "facts": {},
        "cost": {
            "fit": {"seconds": 1.5, "tokens_in": 1000, "tokens_out": 10, "joules": None},
            "generate": {"seconds": 2.0, "tokens_in": 300, "tokens_out": 5, "joules": None},
        },
        "environment": {},
    } | changes


def scores(skill, seed=0, users=20):
    """Scored rating queries of users with one to three queries:
    right with the given probability.
    """
    rng, golds = random.Random(seed), random.Random(9)
    found = []
    for user in range(users):
        for query in range(1 + user % 3):
            gold = golds.choice(STARS)
            answer = gold if rng.random() < skill else rng.choice(STARS)
            found.append(
                score_one("rating", STARS, answer, gold, id=f"{user}-{query}", group=f"u{user}")
            )
    return found


def write(root, made, scored=None):
    folder = root / made["cell"]["task"] / made["cell"]["method"] / made["key"]
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(made))
    if scored is not None:
        (folder / "scores.json").write_text(json.dumps([asdict(one) for one in scored]))
    return folder


def row(text, word):
    """The only line with this word."""
    found = [line for line in text.splitlines() if word in line]
    assert len(found) == 1, (word, text)
    return found[0]


def test_row_shows_metrics_with_interval_cost_and_counts():
    text = tables.table([record("k" * 16, "rag", mae=0.4, variant="k=4")])
    for cell in (
        "k=4",
        "0.400 [0.350, 0.450]",
        "0.500 [0.450, 0.550]",
        "0.300",
        " 40 ",
        "3.5",
        "1,315",
        " 7 ",
        "kkkkkkkk",
    ):
        assert cell in row(text, "rag"), cell
    assert "lower is better: mae, rmse, lenient_mae, lenient_rmse" in text


def test_trivial_rules_come_first_then_instruct_then_the_others_by_name_and_number():
    methods = [
        ("rag", "k=10"),
        ("instruct", ""),
        ("chameleon", ""),
        ("rag", "k=4"),
        ("majority", ""),
    ]
    made = [
        record(f"{index}" * 16, method, variant=variant)
        for index, (method, variant) in enumerate(methods)
    ]
    places = [
        tables.table(made).index(word)
        for word in ("\nmajority", "\ninstruct", "\nchameleon", "k=4", "k=10")
    ]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "other",
    [
        {"base": "task_adapted"},
        {"data": {**record("")["data"], "split": "test"}},
        {"data": {**record("")["data"], "hash": "e2" * 8}},
        {"cell": {**record("")["cell"], "model": "llama3"}},
        {"cell": {**record("")["cell"], "protocol": "unseen"}},
        {"model": {"dtype": "float32"}},
    ],
)
def test_cells_that_may_not_be_compared_never_share_a_table(other):
    same, apart = record("a" * 16), record("b" * 16, **other)
    assert heads(tables.table([same, record("c" * 16)])) == 1
    text = tables.table([same, apart])
    assert heads(text) == 2
    blocks = text.split("\n\n")
    assert (
        sum("aaaaaaaa" in block for block in blocks)
        == sum("bbbbbbbb" in block for block in blocks)
        == 1
    )
    assert not any("aaaaaaaa" in block and "bbbbbbbb" in block for block in blocks)


def heads(text):
    return sum(line.startswith("method ") for line in text.splitlines())


def test_a_table_without_trivial_rules_says_what_to_run():
    made = record("a" * 16)
    assert "no trivial rule" in tables.table([made]) and "no trivial rule" in tables.table(
        [made], "md"
    )
    rule = record("b" * 16, cell={**made["cell"], "method": "majority"})
    assert "no trivial rule" not in tables.table([made, rule])


def test_decoding_is_a_column_only_where_it_differs():
    likely = record("b" * 16, cell={**record("")["cell"], "decoding": "likelihood"})
    assert "likelihood" in row(tables.table([record("a" * 16), likely]), "bbbbbbbb")
    assert "decoding" not in tables.table([record("a" * 16)]).splitlines()[2]


def test_seeds_have_a_row_each_and_a_row_with_their_mean():
    text = tables.table(
        [
            record(f"{seed}" * 16, "rag", mae=mae, seed=seed)
            for seed, mae in enumerate((0.3, 0.5, 0.7))
        ]
    )
    assert text.count("\nrag") == 4
    mean = row(text, "mean of 3 seeds")
    assert "0.500 (sd 0.200)" in mean and "0.600 (sd 0.200)" in mean
    assert "mean of" not in tables.table(
        [record("a" * 16, "rag"), record("b" * 16, "rag", variant="k=9", seed=1)]
    )


def test_cells_with_other_settings_are_told_apart_and_not_averaged():
    def settings(limit, seed):
        return {"config": {"method": {"name": "rag"}, "seed": seed, "limit": limit}}

    made = [
        record(f"{place}" * 16, "rag", seed=seed, **settings(limit, seed))
        for place, (limit, seed) in enumerate([(24, 0), (None, 1), (None, 2)])
    ]
    text = tables.table(made)
    assert "limit=24" in row(text, "0000") and row(text, "mean of").split()[1] == "limit=None"
    assert "mean of 2 seeds" in text


def test_numbers_in_variants_are_sorted_as_numbers():
    words = ["alpha_p=0.25", "alpha_p=0.5", "alpha_p=1.0", "lr=0.0002", "lr=1e-3", "lr=0.01"]
    made = [
        record(f"{index}" * 16, "rag", variant=word) for index, word in enumerate(reversed(words))
    ]
    text = tables.table(made)
    assert [text.index(word) for word in words] == sorted(text.index(word) for word in words)


def test_cells_that_share_a_seed_are_not_averaged():
    assert "mean of" not in tables.table(
        [record("a" * 16, seed=0), record("b" * 16, seed=0), record("c" * 16, seed=1)]
    )


def test_failed_seed_is_not_in_the_mean_but_counted_beside_it():
    failed = record("c" * 16, seed=2, status="oom", error="no memory", metrics={})
    text = tables.table([record("a" * 16, mae=0.3), record("b" * 16, mae=0.5, seed=1), failed])
    assert "0.400" in row(text, "mean of 2 seeds   ")
    assert "1 of 3 seeds" in row(text, "mean of 2 seeds:")


def test_mean_over_seeds_tells_how_many_edited_layers_the_seeds_share():
    layers = ([3, 4, 5], [4, 5, 6], [9])
    made = [
        record(str(seed) * 16, "chameleon", seed=seed, facts={"layers": own})
        for seed, own in enumerate(layers)
    ]
    # (2/4 + 0 + 0) / 3
    assert "layers shared by two seeds: 17%" in row(tables.table(made), "mean of 3 seeds:")
    assert "layers shared" not in tables.table(made[:1])


@pytest.mark.parametrize(
    "facts", [{"edited": False, "layers": [3]}, {"layers": []}, {"users_edited": 0}], ids=str
)
def test_a_cell_that_edited_nothing_is_labelled_so_wherever_it_is_shown(facts):
    bare, other = (
        record("a" * 16, "chameleon", facts=facts),
        record("b" * 16, "chameleon", seed=1, facts={"edited": True}),
    )
    assert tables.line(bare).startswith("chameleon, edited nothing on ")
    assert "edited nothing" not in tables.line(other)
    text = tables.table([bare, other])
    assert row(text, "a" * 8).startswith(
        "chameleon, edited nothing "
    ) and "edited nothing" not in row(text, "b" * 8)
    assert "edited nothing in 1 of 2 seeds" in row(text, "mean of 2 seeds")
    assert cells.label(bare) == "chameleon, edited nothing"
    assert (
        page.facts_of(bare)["variant"] == "edited nothing" and page.facts_of(other)["variant"] == ""
    )


def test_failed_and_unscored_cells_are_rows_that_say_why():
    failed = record(
        "b" * 16,
        "oppu",
        status="error",
        error="ValueError: bad\nthing | here",
        metrics={},
        counts={},
    )
    unscored = record("c" * 16, "pag", metrics={}, unscored="the test split has no golds")
    made = [record("a" * 16), failed, unscored]
    for shown in (made, [failed, unscored]):
        text = tables.table(shown)
        assert row(text, "oppu   ") and row(text, "pag   ")
        assert "error: ValueError: bad thing | here" in row(text, "oppu bbbbbbbb:")
        assert "unscored: the test split has no golds" in row(text, "pag cccccccc:")
    assert "error: ValueError: bad thing \\| here" in row(
        tables.table(made, "md"), "oppu bbbbbbbb:"
    )


def test_text_columns_begin_or_end_at_one_place():
    lines = tables.table(
        [record("a" * 16, "rag"), record("b" * 16, "a_long_method", variant="x=1")]
    ).splitlines()
    head, *rows = lines[2:5]
    assert len({line.index("0.400 [") for line in rows}) == 1
    assert all(
        line.index("3.5") + len("3.5") == head.index("seconds") + len("seconds") for line in rows
    )


def test_markdown_has_a_head_a_rule_and_equal_cells():
    lines = [
        line for line in tables.table([record("a" * 16)], "md").splitlines() if line.startswith("|")
    ]
    assert len(lines) == 3 and len({line.count("|") for line in lines}) == 1
    assert set(lines[1]) == set("| -")


def test_csv_has_every_cell_unrounded_and_no_means():
    made = [
        record("a" * 16, mae=0.123456),
        record("b" * 16, seed=1),
        record("c" * 16, task="lamp7", error="a,\nb"),
    ]
    rows = {line["key"]: line for line in csv.DictReader(io.StringIO(tables.table(made, "csv")))}
    assert len(rows) == 3
    first = rows["a" * 16]
    assert (
        float(first["metrics.mae.value"]) == 0.123456
        and float(first["metrics.mae.low"]) == 0.123456 - 0.05
    )
    assert (first["cell.method"], first["data.split"], first["cost.fit.seconds"]) == (
        "instruct",
        "dev",
        "1.5",
    )
    assert rows["c" * 16]["error"] == "a,\nb"


def test_line_says_the_result_or_why_there_is_none():
    assert (
        tables.line(record("a" * 16, "rag", variant="k=4"))
        == "rag (k=4) on lamp3 (sample/dev), seed 0: mae 0.400 [0.350, 0.450], rmse 0.500 [0.450,"
        " 0.550]; 40 users, 3.5 s; 7 answers unparsed"
    )
    assert "oom: no memory;" in tables.line(
        record("a" * 16, status="oom", error="no memory", metrics={})
    )


def test_comparison_shows_the_numbers_of_the_paired_test(tmp_path, capsys):
    arms = scores(0.9, seed=1), scores(0.3, seed=2)[:-2]
    write(tmp_path, record("aaaa" * 4, "rag", config={"method": {"k": 4, "name": "rag"}}), arms[0])
    write(tmp_path, record("abbb" * 4), arms[1])
    assert (
        main(
            [
                "compare",
                "aa",
                str(tmp_path / "lamp3/instruct" / ("abbb" * 4)),
                "--results",
                str(tmp_path),
            ]
        )
        == 0
    )
    text = capsys.readouterr().out
    expected = paired("rating", STARS, *arms)
    adjusted = holm({name: expected[name].p_permutation for name in ("mae", "rmse")})
    for name in ("mae", "rmse"):
        result, shown = expected[name], row(text, f"{name}  ")
        assert f"{result.difference:+.3f}  [{result.low:.3f}, {result.high:.3f}]^" in shown
        ps = [f"{result.p_permutation:.4f}", f"{adjusted[name]:.4f}", f"{result.detectable:.3f}"]
        assert shown.split()[6:9] == ps
        assert f"{round(result.helped * result.users)} ({result.helped:.0%})" in shown
    a, b = (sum(one.values["mae"] for one in arm) / len(arms[1]) for arm in (arms[0][:-2], arms[1]))
    assert row(text, "mae  ").split()[1:3] == [f"{a:.3f}", f"{b:.3f}"]
    assert f"{len(arms[1])} common queries of {expected['mae'].users} users, 2 left out" in text
    assert (
        row(text, "method.name").split() == ["method.name", "rag", "instruct"]
        and "method.k" not in text
    )
    assert "A  rag" in text and "B  instruct" in text and "warning" not in text


def test_comparison_of_f1_averages_over_the_labels_of_the_task():
    labels = ["[1]", "[2]"]
    arms = [
        [
            score_one("classification", labels, raw, "[1]", id=str(i), group=str(i))
            for i, raw in enumerate(answers)
        ]
        for answers in (["[1]", "[1]", "[2]"], ["[2]", "[2]", "[1]"])
    ]
    made = [record(key * 16, task="lamp1") for key in "ab"]
    cells = []
    for cell, answers in zip(made, arms, strict=True):
        cells.append(ScoredCell(cell, [asdict(one) for one in answers]))
    text = comparison_text.compare_text(*cells)
    assert f"{paired('classification', labels, *arms)['f1'].difference:+.3f}" in row(text, "f1  ")


def test_comparison_warns_where_more_than_the_method_differs():
    rows = [asdict(one) for one in scores(0.5)]
    other = record("b" * 16, base="task_adapted", data={**record("")["data"], "hash": "other"})
    cell = ScoredCell(record("a" * 16), rows)
    text = comparison_text.compare_text(cell, ScoredCell(other, rows))
    assert "not the same data, base" in row(text, "warning")
    other = record("b" * 16, cell={**record("")["cell"], "model": "llama3"})
    text = comparison_text.compare_text(cell, ScoredCell(other, rows))
    assert "not the same model" in row(text, "warning")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["compare", "a", "b"], "a"),
        (["compare", "zzz", "b"], "zzz"),
        (["compare", "aaaa", "bbbb"], "lamp3 and lamp4"),
        (["compare", "aaaa", "cccc"], "error: it broke"),
        (["compare", "aaaa", "dddd"], "surprise"),
        (["--task", "lamp9"], "lamp3, lamp4"),
        (["--format", "md", "compare", "aaaa", "aabb"], "--format"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, capsys, arguments, problem):
    write(tmp_path, record("aaaa" * 4), scores(0.5))
    write(tmp_path, record("aabb" * 4), scores(0.5))
    write(
        tmp_path,
        record("bbbb" * 4, task="lamp4"),
        [Scored("1", "u", None, None, None, {"rouge1": 1.0, "rougeL": 1.0})],
    )
    write(tmp_path, record("cccc" * 4, status="error", error="it broke", metrics={}))
    odd = write(tmp_path, record("dddd" * 4))
    (odd / "scores.json").write_text('[{"id": "1", "surprise": 2}]')
    assert main(["--results", str(tmp_path), *arguments]) == 2
    shown = capsys.readouterr()
    assert problem in shown.err and shown.err.count("\n") == 1 and not shown.out


@pytest.mark.parametrize("folder", ["missing", "."])
def test_no_results_is_an_error_that_says_what_to_do(tmp_path, capsys, folder):
    assert main(["--results", str(tmp_path / folder)]) == 2
    assert "python -m bench" in capsys.readouterr().err


def test_table_reads_all_roots_once_and_names_what_it_cannot_read(tmp_path, capsys):
    for root, mae in (("one", 0.4), ("two", 0.8)):
        write(tmp_path / root, record("a" * 16, "rag", mae=mae), scores(1 - mae))
    write(tmp_path / "two", record("b" * 16, "pag", task="lamp5"))
    broken = write(tmp_path / "two", record("c" * 16))
    (broken / "record.json").write_text("{")
    write(tmp_path / "two", record("d" * 16, schema=99))
    assert main(["--results", str(tmp_path / "one"), "--results", str(tmp_path / "two")]) == 0
    shown = capsys.readouterr()
    first = intervals("rating", STARS, scores(0.6))["mae"]
    assert f"{first.value:.3f} [{first.low:.3f}" in row(shown.out, "rag") and row(
        shown.out, "pag  "
    )
    assert "c" * 16 in shown.err and "schema" in row(shown.err, "d" * 16)
    assert main(["--results", str(tmp_path / "two"), "--task", "lamp5"]) == 0
    assert "rag" not in capsys.readouterr().out


def test_a_thousand_cells_are_a_thousand_rows():
    made = [
        record(f"{index:016x}", f"m{index % 50}", seed=index // 50, task=f"lamp{index % 7}")
        for index in range(1000)
    ]
    assert tables.table(made).count("0.400 [") == 1000


def test_report_loads_no_torch_and_a_table_that_was_made_before_no_numpy(tmp_path, capsys):
    write(tmp_path, record("a" * 16), scores(0.5))
    write(tmp_path, record("b" * 16), scores(0.6))
    main(["--results", str(tmp_path)])
    code = "import sys; from bench.report.__main__ import main; assert main(sys.argv[1:]) == 0; "
    heavy = code + "print(sorted({'torch', 'transformers', 'hydra', 'numpy'} & set(sys.modules)))"
    for arguments, loaded in (([], "[]"), (["compare", "a", "b"], "['numpy']")):
        command = [sys.executable, "-c", heavy, "--results", str(tmp_path), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == loaded

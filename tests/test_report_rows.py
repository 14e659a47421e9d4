"""Which rows share a table, what a reader is warned of where the number stands,
and how wide a table may be.
"""

from __future__ import annotations

import json

import pytest
from made import cell
from test_report import record, row, scores, write

from bench.report import caveats, page, tables, width
from bench.report.__main__ import main

LEAKS = {
    "fit_test_overlap_users": 40,
    "fit_test_overlap_texts": 1,
    "fit_history_holds_query": 0,
    "query_in_history_exact": 2,
    "query_in_history_near": 0,
    "items_after_query": None,
    "examples": {"fit_test_overlap_users": ["u1"]},
}
SAID = (
    "40 fit users are tested users, 1 tested question is also a fit user's, 2 history items are the"
    " question itself"
)


def data(users, queries):
    return {**record("")["data"], "users": users, "queries": queries}


def test_rows_on_other_questions_never_share_a_table():
    few, many = record("a" * 16, data=data(12, 12)), record("b" * 16, data=data(24, 24))
    text = tables.table([few, many, record("c" * 16, "rag", data=data(24, 24))])
    blocks = text.split("\n\n")
    assert "12 questions of 12 users" in text and "24 questions of 24 users" in text
    assert not any("aaaaaaaa" in block and "bbbbbbbb" in block for block in blocks)
    assert any("cccccccc" in block and "bbbbbbbb" in block for block in blocks)


def test_rows_of_other_choices_of_users_never_share_a_table_though_they_are_as_many():
    def chosen(key, seed=0, **protocol):
        config = {"method": {"name": "rag"}, "protocol": protocol, "seed": seed}
        return record(key * 16, "rag", seed=seed, config=config)

    text = tables.table([chosen("a", choose="bin", bin=0), chosen("b", choose="bin", bin=4)])
    assert not any("aaaaaaaa" in block and "bbbbbbbb" in block for block in text.split("\n\n"))
    longest = [
        chosen("a", choose="longest", n_test=5),
        chosen("b", choose="longest", n_test=5, bin=4),
    ]
    assert any(
        "aaaaaaaa" in block and "bbbbbbbb" in block for block in tables.table(longest).split("\n\n")
    )


def test_seeds_that_choose_other_users_are_one_arm_with_a_mean():
    config = {"method": {"name": "rag"}, "protocol": {"choose": "bin", "bin": 1}}
    made = [
        record(f"{seed}" * 16, "rag", seed=seed, config=config, data=data(20, 50 + seed))
        for seed in (0, 1)
    ]
    assert "mean of 2 seeds" in tables.table(made)


@pytest.mark.usefixtures("wide")
def test_a_rule_stands_in_every_table_of_its_questions_whatever_the_base_and_once():
    rule = {"config": {"method": {"rule": "user"}}}
    made = [
        record("a" * 16, base="instruct"),
        record("b" * 16, base="task_adapted"),
        record("c" * 16, data=data(9, 9)),
        record("d" * 16, "majority", base="task_adapted", **rule),
        record("e" * 16, "majority", base="instruct", **rule),
    ]
    sections = [one for one in tables.table(made).split("\n\n") if " on sample/dev" in one]
    assert len(sections) == 3
    for section, key in zip(sorted(sections, key=lambda one: "cccc" in one), "abc", strict=True):
        assert key * 8 in section and section.count("\nmajority ") == (key != "c")
        assert ("no trivial rule" in section) == (key == "c")
    flagged = record(
        "f" * 16, "majority", config={"method": {"rule": "user"}, "leak": "flag"}, leaks=LEAKS
    )
    # what leaks is never hidden behind another
    assert tables.table([*made[:4], flagged]).count("\nmajority ") == 4
    alone = tables.table(made[3:])
    assert "model" not in alone.splitlines()[0] and "base" not in alone.splitlines()[0]


@pytest.mark.usefixtures("wide")
def test_what_leaks_and_what_is_unparsed_stands_where_the_result_stands(tmp_path, capsys):
    leaking = record("a" * 16, "chameleon", leaks=LEAKS, counts={"unparsed": 12, "samples": 40})
    clear = record("b" * 16, "rag")
    assert caveats.leaks(leaking) == SAID and not caveats.leaks(clear)
    assert tables.line(leaking).endswith(f"; 12 of 40 answers unparsed; leaks: {SAID}")
    text = tables.table([leaking, clear])
    assert text.index(f"leaks (chameleon aaaaaaaa): {SAID}") < text.index("\nmethod ")
    assert f"leaks (all rows): {SAID}" in tables.table([leaking])
    assert row(text, "chameleon   ").split().count("12") == 1
    for made in (leaking, clear):
        write(tmp_path, made, scores(0.5))
    assert main(["compare", "aaaa", "bbbb", "--results", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert (
        f"A: leaks: {SAID}" in said
        and "A: 12 of 40 answers unparsed" in said
        and "B: leaks" not in said
    )


def test_what_was_dropped_is_said_to_be():
    dropped = record("a" * 16, leaks=LEAKS, config={"method": {}, "leak": "drop"})
    assert caveats.leaks(dropped).startswith(
        "40 fit users are tested users (dropped), 1 tested question is also"
    )


def test_the_page_of_a_cell_begins_with_what_leaks(tmp_path):
    cell(tmp_path, "lamp2", "instruct", leaks=LEAKS, counts={"unparsed": 3, "samples": 39})
    found = page.page([tmp_path])
    [shown] = json.loads(found.split('id="data">')[1].split("</script>")[0])["cells"]
    assert (
        shown["warnings"] == ["3 of 39 answers unparsed", f"leaks: {SAID}"]
        and shown["leaking"] == 43
    )


LONG = (
    "method.kinds.lora.learning_rate=0.0005 protocol.group_size=24"
    " base.max_examples.classification=480"
)


@pytest.mark.parametrize("columns", [60, 80, 100, 140])
def test_no_table_is_wider_than_the_terminal_and_no_word_is_lost(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    made = [
        record(key * 16, "a_method_of_a_long_name", variant=f"{LONG} {key}=1", leaks=LEAKS)
        for key in "ab"
    ]
    made.append(record("c" * 16, "rag", status="error", error=f"{LONG} broke", metrics={}))
    text = tables.table(made)
    assert max(map(len, text.splitlines())) <= columns
    together = "".join(text.split())
    for word in ("aaaaaaaa", "lenient_rmse", "1,315", "broke", "0.500[0.450,0.550]"):
        assert word in together, word


def test_a_pipe_has_a_hundred_columns(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert width.limit() == 100  # pytest's output is no terminal


def test_a_command_stays_in_one_piece():
    line = f"3 of 8 arms are missing. Run them: python -m bench experiment=chameleon_table1 {LONG}"
    assert width.prose([line], 60)[-1] == f"  python -m bench experiment=chameleon_table1 {LONG}"


def test_a_comparison_is_no_wider_than_the_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for key, value in (("a", 1), ("b", 2)):
        config = {
            "method": {"name": "rag", "a_setting_with_a_long_name": value},
            "limit": LONG if value == 1 else None,
        }
        write(
            tmp_path,
            record(key * 16, "rag", variant=LONG, config=config, leaks=LEAKS),
            scores(0.4 * value),
        )
    assert main(["compare", "aaaa", "bbbb", "--results", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80 and "method.a_setting_with_a_long_name  1" in text

"""OPPU's Figure 5, one user's case from the files of its cells;
and what was counted stands beside the result.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import task_named, tiny_lm
from made import cell, conf, manifest
from test_oppu import SHARED, oppu, reviewer

from bench.cost.budget import Budget
from bench.report import base_results, cases, caveats, experiments, output, runs, tables
from bench.report.__main__ import main


def made(folder: Path, *, texts: bool = True) -> Path:
    """Two arms that answer the same questions,
    one of which has noted what it learnt of every user.
    """
    root = folder / "runs"
    for arm, method, skill in (("plain", "instruct", 0.2), ("own", "oppu", 0.9)):
        place = cell(root, "lamp2", method, skill=skill, users=6, texts=texts, base="task_adapted")
        manifest(root, "made_table", arm, {"task": "lamp2", "model": "smollm2", "seed": 0}, place)
        notes = [
            {"user": f"u{at}", "notes": {"history": [f"item 1 of u{at}", "line\none"]}}
            for at in range(6)
        ]
        (place / "artifacts").mkdir()
        if arm == "own":
            (place / "artifacts" / "adapt-00000.json").write_text(json.dumps(notes))
    return root


def case(folder: Path, user: str | None = None, *, texts: bool = True) -> list[list[str]]:
    arms = {"plain": ["method=instruct"], "own": ["method=oppu"]}
    axes = {"task": ["lamp2"], "model": ["smollm2"], "seed": [0]}
    show = {"kind": "case", "baseline": "plain", "x": None, "user": user}
    where = conf(
        folder / "conf",
        arms=arms,
        axes=axes,
        show=show,
        paper=None,
        rules=False,
        family="task_adapted",
    )
    found = runs.results(
        experiments.load("made_table", "small", where), [made(folder, texts=texts)]
    )
    [one] = base_results.by_base(found)
    [grid] = cases.grids(one)
    return [[grid.title], *map(list, grid.rows), *([line] for line in grid.below)]


def test_a_case_has_history_question_gold_and_every_answer(tmp_path: Path) -> None:
    rows = case(tmp_path, "u4")
    assert "user u4" in rows[0][0]
    assert rows[1:3] == [["history", "", "item 1 of u4"], ["history", "", "line one"]]
    samples = [
        {(one := json.loads(line))["id"]: one["raw"] for line in path.read_text().splitlines()}
        for path in (tmp_path / "runs" / "lamp2").glob("*/*/samples.jsonl")
    ]
    [golds] = {path.read_text() for path in (tmp_path / "runs").glob("lamp2/*/*/golds.json")}
    for at in (0, 1):  # u4 has two questions: question, gold, two answers
        question, gold, plain, own = rows[3 + 4 * at : 7 + 4 * at]
        id = question[0].removeprefix("question ")
        assert id.startswith("4-") and question[2] == f"4's history and {id[2:]} What now?"
        assert gold == ["gold", "", json.loads(golds)[id]]
        assert {plain[2], own[2]} == {answers[id] for answers in samples} and (
            plain[0],
            own[0],
        ) == ("plain", "own")
        assert {row[1] for row in (plain, own)} <= {"0.000", "1.000"}
        assert (own[1] == "1.000") == (own[2] == gold[2])


def test_a_case_reads_as_text_in_every_format(tmp_path: Path) -> None:
    case(tmp_path, "u4")
    found = experiments.load("made_table", "small", tmp_path / "conf")
    for path in output.files(runs.results(found, [tmp_path / "runs"]), tmp_path / "out"):
        assert "item 1 of u" in path.read_text()
    text = (tmp_path / "out" / "made_table-small.txt").read_text().splitlines()
    [first] = {line.index(word) for line in text for word in ("item 1", "line one") if word in line}
    assert max(map(len, text)) <= 100 and any(
        line[first:].startswith("4's history") for line in text
    )


def test_without_a_choice_it_is_the_first_user_whose_answers_differ(tmp_path: Path) -> None:
    rows = case(tmp_path)
    answers = [row[2] for row in rows if row[0] in ("plain", "own")]
    assert answers[0] != answers[1]


def test_a_user_who_is_not_there_and_cells_without_texts_are_said(tmp_path: Path) -> None:
    assert "no tested user nobody; there are u0, u1" in case(tmp_path / "a", "nobody")[1][1]
    assert "texts" in case(tmp_path / "b", texts=False)[1][1]


def test_a_user_is_for_a_case_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["oppu_table1", "--user", "u1"]) == 2
    assert "--user is for a case study" in capsys.readouterr().err
    assert main(["--user", "u1"]) == 2


def test_oppu_notes_what_it_has_learnt_from(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.lm import bank

    monkeypatch.setattr(bank, "train_all", lambda lm, jobs, *_: [bank.Patch()] * len(jobs))
    user = reviewer("ann", 24, dated=True)
    [personal] = oppu(k=0).adapt(
        tiny_lm(), task_named("lamp3"), [user], SHARED, Budget(progress=False)
    )
    assert len(personal.notes["history"]) == 20 and "thing 23 " in personal.notes["history"][-1]


@pytest.mark.parametrize(
    ("part", "name", "count", "said"),
    [
        ("counts", "golds_without_word", 3, "3 golds without a word that official ROUGE reads"),
        ("facts", "users_rankings_tied", 1, "1 ranking decided by ties alone"),
        ("facts", "users_embedder_cut", 1200, "1,200 history items longer than the embedder reads"),
    ],
)
def test_what_says_less_than_it_seems_stands_beside_the_result(
    part: str, name: str, count: int, said: str, tmp_path: Path
) -> None:
    place = cell(tmp_path, "lamp2", "rag")
    record: dict[str, Any] = json.loads((place / "record.json").read_text())
    record["config"]["leak"] = "flag"
    assert caveats.counted(record) == []
    record[part][name] = count
    assert caveats.counted(record) == [said] and said in tables.line(record)
    record[part][name] = "many"  # a record of somebody else's
    assert caveats.counted(record) == []

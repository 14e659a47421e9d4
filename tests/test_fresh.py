"""Intervals are made when a report is made: from the scores at hand,
by the code at hand, and kept by content.
"""

import json
from types import SimpleNamespace

import pytest
from made import cell

from bench.cli import show
from bench.disk.env import cache_folder
from bench.report import significance, statistics_cache
from bench.report.__main__ import main
from bench.report.cells import task_of
from bench.score import stats


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMPLIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def counted(monkeypatch):
    """How often intervals were computed."""
    calls = []
    compute = stats.intervals_of_runs
    monkeypatch.setattr(stats, "intervals_of_runs", lambda *args: calls.append(1) or compute(*args))
    return calls


def older(folder, **changes):
    """The record as another version left it: intervals that are none of ours."""
    record = json.loads((folder / "record.json").read_text())
    for one in record["metrics"].values():
        one |= {"low": -7.0, "high": 7.0}
    (folder / "record.json").write_text(json.dumps(record | changes))
    return record | changes


def shown(root, capsys):
    capsys.readouterr()
    assert main(["--results", str(root)]) == 0
    return capsys.readouterr().out


def test_two_cells_with_equal_answers_show_equal_intervals_whatever_their_records_say(
    tmp_path, capsys
):
    folders = [cell(tmp_path / "runs", "lamp2", method, skill=0.5) for method in ("rag", "pag")]
    older(folders[0])
    out = shown(tmp_path / "runs", capsys)
    lines = [line for line in out.splitlines() if line.startswith(("rag", "pag")) and "[" in line]
    words = [line.partition("0.")[2].split("  ")[:2] for line in lines]
    assert len(words) == 2 and words[0] == words[1] and "7.000" not in out


def test_without_scores_there_is_no_interval_and_the_table_says_so(tmp_path, capsys):
    folder = cell(tmp_path / "runs", "lamp3", "rag")
    older(folder)
    (folder / "scores.json").unlink()
    out = shown(tmp_path / "runs", capsys)
    assert (
        "[" not in next(line for line in out.splitlines() if line.startswith("rag"))
        and "7.000" not in out
    )
    assert "no scores at hand, so no interval" in out


def test_a_result_that_was_done_is_told_with_todays_interval(tmp_path, capsys):
    folder = cell(tmp_path, "lamp3", "rag")
    record = older(folder)
    place = SimpleNamespace(folder=folder, record=folder / "record.json", root=tmp_path)
    plan = SimpleNamespace(cell=place, task=SimpleNamespace(name="lamp3"))
    assert (
        show.report(
            SimpleNamespace(missing="", plan=plan, record=record, cached=True, remark="was done")
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "7.000" not in out and "]^, rmse" in out and "(was done)" in out


def test_equal_scores_are_computed_once(tmp_path, capsys, counted, monkeypatch):
    runs = tmp_path / "runs"
    folder = cell(runs, "lamp3", "rag")
    counted.clear()
    once = shown(runs, capsys)
    assert shown(runs, capsys) == once and len(counted) == 1
    rows = json.loads((folder / "scores.json").read_text())
    rows[0]["values"]["mae"] += 1
    (folder / "scores.json").write_text(json.dumps(rows))
    assert shown(runs, capsys) != once and len(counted) == 2
    monkeypatch.setattr(statistics_cache, "version", lambda: "another")
    shown(runs, capsys)
    assert len(counted) == 3


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"check": "x", "found": {}}', "edited"])
def test_a_damaged_file_of_kept_statistics_is_as_good_as_none(tmp_path, capsys, counted, damage):
    runs = tmp_path / "runs"
    cell(runs, "lamp3", "rag")
    counted.clear()
    once = shown(runs, capsys)
    [path] = (cache_folder() / "statistics").rglob("*.json")
    path.write_text(
        path.read_text().replace('"users": 20', '"users": 21') if damage == "edited" else damage
    )
    assert shown(runs, capsys) == once and len(counted) == 2


def test_statistics_are_of_the_code_that_reads_the_scores_too(tmp_path, monkeypatch):
    for path in (
        *(statistics_cache.BENCH / "score").glob("*.py"),
        *(statistics_cache.BENCH / "report").glob("*.py"),
    ):
        (tmp_path / path.parent.name).mkdir(exist_ok=True)
        (tmp_path / path.parent.name / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(statistics_cache, "BENCH", tmp_path)
    versions = {statistics_cache.version.__wrapped__()}
    for name in ("score/stats.py", "report/cells.py", "report/scores.py", "report/significance.py"):
        with (tmp_path / name).open("a") as file:
            file.write("\n")
        versions.add(statistics_cache.version.__wrapped__())
    assert len(versions) == 5


def test_where_nothing_can_be_kept_all_is_computed(tmp_path, capsys, counted, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LAMPLIGHT_CACHE", str(tmp_path / "file"))
    cell(tmp_path / "runs", "lamp3", "rag")
    counted.clear()
    assert (
        shown(tmp_path / "runs", capsys) == shown(tmp_path / "runs", capsys) and len(counted) == 2
    )


def test_a_comparison_is_kept_with_all_it_says(tmp_path, monkeypatch):
    cells = []
    for skill in (0.8, 0.3):
        folder = cell(tmp_path / "runs", "lamp2", "rag", skill=skill)
        record = json.loads((folder / "record.json").read_text())
        cells.append(significance.FinishedCell(folder, record))
    task = task_of("lamp2")
    pair = significance.CellPair(*cells)
    first = significance.compared(task, [pair], 100)
    monkeypatch.setattr(stats, "paired_runs", None)
    assert significance.compared(task, [pair], 100) == first
    with pytest.raises(TypeError):
        significance.compared(task, [pair], 101)

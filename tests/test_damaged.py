"""Records, scores and samples with a field missing or of a wrong kind:
left out by name, and the rest goes on.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import ROOT
from made import cell, conf, experiment, manifest

from bench.checks import shape
from bench.cli import comparison
from bench.disk import store
from bench.errors import InputError
from bench.report import answers, baseline, experiments, output, runs, tables
from bench.report.__main__ import main
from bench.report.inventory import readable

pytestmark = pytest.mark.usefixtures("wide")

ODD: tuple[Any, ...] = (
    None,
    "x",
    "",
    -1,
    10**400,
    1.5,
    float("nan"),
    True,
    [],
    {},
    [{}],
    {"a": None},
    "\x1b[2J/../..",
)
GOOD = "0123456789abcdef"


def real() -> dict[str, Any]:
    """A published record of the method with the most facts."""
    path = next((ROOT / "results" / "published" / "lamp3" / "chameleon").glob("*/record.json"))
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for name, inner in value.items():
        yield (*path, name)
        if isinstance(inner, dict):
            yield from places(inner, (*path, name))


def altered(value: dict[str, Any], path: tuple[Any, ...], odd: Any) -> dict[str, Any]:
    """A copy with this field changed, or removed where `odd` is KeyError."""
    found = copy.deepcopy(value)
    inside = found
    for name in path[:-1]:
        inside = inside[name]
    if odd is KeyError:
        del inside[path[-1]]
    else:
        inside[path[-1]] = odd
    return found


def test_whatever_a_record_lacks_or_has_it_is_left_out_or_shown_and_nothing_breaks() -> None:
    """What the shape lets pass, every table can render; mutations of each of some 250 fields."""
    record = real()
    good = record | {"key": GOOD}
    shown = 0
    for path in places(record):
        for odd in (KeyError, *ODD):
            one = altered(record, path, odd)
            if one.get("schema") != store.SCHEMA or shape.problem(one, shape.RECORD):
                continue
            shown += 1
            assert GOOD[:8] in tables.table([one, good])
            tables.line(one)
            assert isinstance(baseline.is_plain(one), bool)
            assert isinstance(baseline.asked_alike(one, good), bool)
    assert shown > 1000  # most of a configuration may be anything


def test_a_field_that_every_table_needs_is_named_where_it_is_missing() -> None:
    record = real()
    for path in [
        ("cell", "method"),
        ("data", "hash"),
        ("metrics", "mae", "users"),
        ("cost",),
        ("counts",),
        ("key",),
    ]:
        assert (
            shape.problem(altered(record, path, KeyError), shape.RECORD)
            == f"{'.'.join(path)} is missing"
        )
    assert shape.problem(record, shape.RECORD) == ""


@pytest.fixture
def made(tmp_path, monkeypatch):
    root = experiment(tmp_path / "results", texts=True)
    monkeypatch.setattr(experiments, "CONF", conf(tmp_path / "conf"))
    return root


COMMANDS = (
    (),
    ("--format", "md"),
    ("--format", "csv"),
    ("made_table",),
    ("made_table", "--format", "csv"),
)


@pytest.mark.parametrize("words", [*COMMANDS, ("page",)], ids=" ".join)
def test_a_record_without_a_field_is_named_and_the_others_are_shown(made, tmp_path, capsys, words):
    path = next(made.glob("lamp2/chameleon/*/record.json"))
    record = json.loads(path.read_text())
    del record["counts"]
    path.write_text(json.dumps(record))
    out = ("--out", str(tmp_path / "page.html")) if words == ("page",) else ()
    assert main([*words, *out, "--results", str(made)]) == 0
    said = capsys.readouterr()
    whole = said.out + said.err + ((tmp_path / "page.html").read_text() if out else "")
    assert (
        f"{path}: counts is missing; delete the file and run the cell again" in whole
        or "csv" in words
    )
    assert "instruct" in whole


NAMES = ("scores.json", "golds.json", "samples.jsonl", "artifacts/fit.json")
CONTENTS = ("{", "[]", "{}", "null", "3", '["x"]', '[{"id": 3}]', '[{"notes": 3}]', "[" * 10**5)
HARMLESS = {(name, "[]") for name in NAMES} - {("samples.jsonl", "[]"), ("golds.json", "[]")}
HARMLESS |= {
    ("golds.json", "{}"),
    ("artifacts/fit.json", '[{"id": 3}]'),
    ("artifacts/fit.json", '[{"notes": 3}]'),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_beside_a_record_is_named_and_the_page_goes_without_it(made, capsys, name):
    folder = next(made.glob("lamp2/chameleon/*/record.json")).parent
    (folder / name).parent.mkdir(exist_ok=True)
    record = store.read_record(folder / "record.json")
    for content in CONTENTS:
        (folder / name).write_text(content + "\n")
        shown = answers.Answers(2)
        assert isinstance(shown.of(folder, record) + shown.notes(folder), list)
        assert (str(folder / name) in capsys.readouterr().err) == (
            (name, content) not in HARMLESS
        ), content


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_damaged_scores_are_named_and_the_rest_is_shown(made, capsys, words):
    path = next(made.glob("lamp2/chameleon/*/scores.json"))
    path.write_text('["x"]')
    assert main([*words, "--results", str(made)]) == 0
    said = capsys.readouterr()
    assert "instruct" in said.out
    assert words != ("made_table",) or f"Left out: {path}: row 1: it is not an object" in said.out


def test_odd_scores_are_named_by_file_and_row(made, capsys):
    path = next(made.glob("lamp2/chameleon/*/scores.json"))
    rows = json.loads(path.read_text())
    rng = random.Random(0)
    other = next(made.glob("lamp2/instruct/*/scores.json")).parent.name
    for place in places(rows[0]):
        for odd in (KeyError, *rng.sample(ODD, 6)):
            path.write_text(json.dumps([altered(rows[0], place, odd), *rows[1:]]))
            code = main(["compare", path.parent.name, other, "--results", str(made)])
            said = capsys.readouterr()
            assert code == 0 or (code == 2 and said.err.count("\n") == 1), (place, odd)
    path.write_text(json.dumps([rows[0] | {"gold": 99.0}, *rows[1:]]))
    assert main(["compare", path.parent.name, other, "--results", str(made)]) == 2
    assert f"{path}: row 1: [99.0, " in capsys.readouterr().err


def test_odd_manifests_are_named_and_the_rest_is_shown(made):
    folder = made / "experiments" / "made_table" / "small"
    path = next(folder.glob("chameleon-*.json"))
    content, one = json.loads(path.read_text()), experiments.load("made_table", "small")
    for place in places(content):
        for odd in (KeyError, *ODD):
            path.write_text(json.dumps(altered(content, place, odd)))
            found = runs.results(one, [made])
            assert sum(run.arm == "instruct" and run.state == "ok" for run in found.runs) == 4
            assert all(
                isinstance(run.seed, str) and found.place(run) is not None for run in found.runs
            )
    path.write_text("{")
    assert f"Left out: {path}" in output.text([runs.results(one, [made])], "text")


def test_a_manifest_leads_to_no_folder_outside_the_results(made, tmp_path):
    elsewhere = cell(tmp_path / "elsewhere", "lamp2", "chameleon")
    manifest(made, "made_table", "far", {"task": "lamp2", "model": "smollm2", "seed": 0}, None)
    path = next((made / "experiments" / "made_table" / "small").glob("far-*.json"))
    for place in (f"../elsewhere/{elsewhere.name}", str(elsewhere), f"../../{elsewhere.name}"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"cell": place}))
        found = runs.results(experiments.load("made_table", "small"), [made])
        assert all(run.arm != "far" for run in found.runs) and str(path) in " ".join(found.notes)


def test_a_damaged_record_beside_a_run_is_named_and_its_comparison_goes_on(made, capsys):
    mine = next(made.glob("lamp2/chameleon/*/record.json"))
    damaged = next(made.glob("lamp2/instruct/*/record.json"))
    damaged.write_text(json.dumps({"schema": 1}))
    place = store.Cell(made, "lamp2", "chameleon", mine.parent.name)
    plan = SimpleNamespace(cell=place, task=SimpleNamespace(name="lamp2"))
    comparison.with_baseline(SimpleNamespace(plan=plan, record=store.read_record(mine)))  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert said.startswith(f"left out: {damaged}: key is missing") and said.count("\n") == 1


def test_samples_of_a_wrong_kind_are_a_line_with_its_number(made):
    path = next(made.glob("lamp2/chameleon/*/samples.jsonl"))
    first, *rest = path.read_text().splitlines()
    sample = json.loads(first)
    place = store.Cell(made, "lamp2", "chameleon", path.parent.name)
    for name in sample:
        for odd in ({"a": 1}, [None], -1.5):
            path.write_text("\n".join([json.dumps(sample | {name: odd}), *rest]) + "\n")
            with pytest.raises(InputError, match="line 1 is no sample"):
                store.read_samples(place)


def test_every_published_record_has_the_shape(capsys):
    found = readable([ROOT / "results" / "published"])
    assert len(found) > 300 and capsys.readouterr().err == ""

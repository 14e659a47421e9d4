"""Repeats of a method: what is drawn anew, how a command asks for them,
and the one row that tells of them.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cells import CHAMELEON, TINY, run
from conftest import ROOT
from hydra import compose, initialize_config_dir
from made import cell, conf, manifest
from omegaconf import OmegaConf

from bench.cell.repeats import check_sweep, drawn, expanded, seed_of
from bench.disk import store
from bench.errors import InputError
from bench.report import arm_comparisons, experiments, runs, tables, values
from bench.report.spread import Ends, Spread, spread
from bench.score.stats import Paired


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["method=dpo", "repeats=3"], ["-m", "method=dpo", "repeat=0,1,2"]),
        (["-m", "repeats=2", "seed=0,1"], ["-m", "seed=0,1", "repeat=0,1"]),
        (["experiment=controls", "repeats=1"], ["-m", "experiment=controls", "repeat=0"]),
        (["method=dpo"], ["method=dpo"]),
    ],
)
def test_repeats_are_a_sweep(words: list[str], told: list[str]) -> None:
    assert expanded(words) == told


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.5", ""])
def test_a_number_of_repeats_that_is_none_is_refused(number: str) -> None:
    with pytest.raises(InputError, match=f"repeats={number}: how often"):
        expanded([f"repeats={number}"])


def test_the_first_repeat_draws_from_the_seed_itself_and_no_two_draw_alike() -> None:
    assert seed_of(7, 0) == 7
    numbers = [seed_of(seed, repeat) for seed in range(20) for repeat in range(1, 20)]
    assert len(set(numbers)) == len(numbers) and min(numbers) > 20


def test_a_repeat_draws_insights_pairs_and_layers_anew_for_the_same_people(tmp_path: Path) -> None:
    words = (*TINY, *CHAMELEON, "task=lamp3", "limit=3", "protocol.group_size=8")
    code, said = run(*words, "repeats=2", folder=tmp_path)
    assert code == 0, said
    first, second = sorted(
        (record for _, record in store.records(tmp_path / "runs").records),
        key=lambda one: one["cell"]["repeat"],
    )
    assert [one["cell"]["repeat"] for one in (first, second)] == [0, 1]
    assert [one["cell"]["seed"] for one in (first, second)] == [0, 0]
    assert first["key"] != second["key"] and first["data"] == second["data"]
    fits = [
        store.read_json(
            tmp_path / "runs" / "lamp3" / "chameleon" / one["key"] / "artifacts" / "fit.json"
        )["content"][0]
        for one in (first, second)
    ]
    told = [fit["notes"]["insights"] for fit in fits]
    assert list(told[0]) == list(told[1]), "the same people"
    assert all(told[0][name] != told[1][name] for name in told[0]), "with other insights"
    assert (
        fits[0]["notes"]["pairs"] != fits[1]["notes"]["pairs"]
        and fits[0]["patches"] != fits[1]["patches"]
    )
    plain, said = run(*words, "repeat=0", folder=tmp_path)
    assert plain == 0 and "(was done)" in said.splitlines()[-2], (
        "a cell without repeats is the first of them"
    )
    code, said = run(
        *TINY, "task=lamp3", "method=instruct", "repeat=3", "dry=true", folder=tmp_path
    )
    assert code == 2 and "repeat=3: Instruct draws nothing of its own" in said
    code, said = run(
        *TINY, "task=lamp3", "method=instruct", "repeats=2", "dry=true", folder=tmp_path
    )
    assert code == 2 and "nor does any other method of this sweep" in said


def configured(*words: str) -> dict[str, Any]:
    """The settings of a cell as the command line makes them."""
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        found = OmegaConf.to_container(compose("config", list(words)), resolve=True)
    assert isinstance(found, dict)
    return {str(name): value for name, value in found.items() if name != "hydra"}


@pytest.mark.parametrize(
    ("words", "anew"),
    [
        (("method=chameleon",), {"seed"}),
        (("method=dpo",), {"seed"}),
        (("method=random_history",), {"seed"}),
        (("method=pag",), {"profile.seed"}),
        (("method=pag", "retriever.ranker=random"), {"profile.seed", "retriever.seed"}),
        (("method=rag", "retriever.ranker=random"), {"retriever.seed"}),
        (("method=oppu",), {"seed"}),
        (("method=oppu", "method.form=pag"), {"seed", "profile.seed"}),
        (("method=oppu", "method.form=plain", "retriever.ranker=random"), {"seed"}),
        (("method=llm_rec", "method.decoding.rule=sample"), {"seed"}),
    ],
)
def test_a_repeat_has_another_number_in_every_seed_that_is_drawn_from(
    words: tuple[str, ...], anew: set[str]
) -> None:
    first = configured(*words, "repeat=0")
    second = drawn(first | {"repeat": 2}, alone=True)
    before, after = (dict(leaves("", values["method"])) for values in (first, second))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == anew and before.keys() == after.keys()
    assert {after[name] for name in anew} == {seed_of(0, 2)}
    assert {**second, "method": 0, "repeat": 0} == {
        **first,
        "method": 0,
        "repeat": 0,
    }, "nothing else is another"


@pytest.mark.parametrize("name", ["instruct", "rag", "llm_rec", "majority"])
def test_a_method_that_draws_nothing_as_its_settings_stand_has_no_repeats(name: str) -> None:
    values = configured(f"method={name}", "repeat=1")
    with pytest.raises(
        InputError, match=r"^repeat=1: \w+ draws nothing of its own with these settings$"
    ):
        drawn(values, alone=True)
    assert drawn(values, alone=False)["repeat"] == 0
    with pytest.raises(InputError, match="nor does any other method of this sweep"):
        check_sweep([values | {"repeat": 0}, values])
    check_sweep([values, configured("method=pag", "repeat=1")])


def leaves(path: str, part: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """Every value of a configuration by its dotted name."""
    for name, value in part.items():
        if isinstance(value, dict):
            yield from leaves(f"{path}{name}.", value)
        else:
            yield path + name, value


def test_the_spread_is_pooled_over_seeds_and_widens_the_interval() -> None:
    found = spread({"0": [0.1, 0.3], "1": [0.5, 0.5, 0.8]})
    assert found is not None
    variance = (0.02 + 2 * statistics.variance([0.5, 0.5, 0.8])) / 3
    assert found.sd == pytest.approx(variance**0.5) and found.freedom == 3
    assert found.error == pytest.approx((variance / 5) ** 0.5)
    assert spread({"0": [0.1], "1": [0.5]}) is None, "seeds are no repeats"
    ends = found.wider(0.44, 0.3, 0.6, users=24)
    low, high = ends.low, ends.high
    assert low is not None and high is not None and low < 0.3 and high > 0.6
    still = Spread(0.0, 0.0, 2).wider(0.44, 0.3, 0.6, 24)
    assert (still.low, still.high) == (pytest.approx(0.3), pytest.approx(0.6))
    assert found.wider(0.44, None, None, 1) == Ends(None, None)


def test_intervals_with_the_repeats_part_cover() -> None:
    """Of 24 users and 3 repeats: the truth lies inside in 94 of 100 cases,
    without the repeats' part in fewer.
    """
    rng, covered, bare, significant = random.Random(0), 0, 0, 0
    for _ in range(2000):
        people = [rng.gauss(0, 0.5) for _ in range(24)]
        error = statistics.stdev(people) / 24**0.5
        luck = [rng.gauss(0, 0.15) for _ in range(3)]
        value = statistics.fmean(people) + statistics.fmean(luck)
        half = 2.069 * error  # Student's t of 23 degrees
        found = spread({"0": [value + one - statistics.fmean(luck) for one in luck]})
        assert found is not None
        ends = found.wider(value, value - half, value + half, 24)
        low, high = ends.low, ends.high
        assert low is not None and high is not None
        covered += low <= 0 <= high
        bare += value - half <= 0 <= value + half
        significant += found.p(value, error, 24) < 0.05
    assert 0.93 < covered / 2000 < 0.97 and bare / 2000 < 0.89, (covered, bare)
    assert significant / 2000 < 0.07


def repeated(root: Path, skills: tuple[float, ...]) -> None:
    """A baseline, which draws nothing, and a method with a repeat of each skill."""
    base = cell(root, "lamp2", "instruct", skill=0.5)
    for repeat, skill in enumerate(skills):
        at = {"task": "lamp2", "model": "smollm2", "seed": 0} | (
            {"repeat": repeat} if repeat else {}
        )
        own = cell(root, "lamp2", "chameleon", skill=skill)
        record = store.read_json(own / "record.json")
        store.write_json(
            own / "record.json", record | {"cell": record["cell"] | {"repeat": repeat}}
        )
        manifest(root, "made_table", "instruct", at, base)
        manifest(root, "made_table", "chameleon", at, own)


def difference(cells: list[runs.Run], base: list[runs.Run], metric: str) -> Paired:
    """An arm minus its baseline in one metric."""
    [row] = [row for row in arm_comparisons.comparison(cells, base) if row.metric == metric]
    return row.paired


def test_an_experiment_shows_repeats_as_one_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, skills = tmp_path / "results", (0.6, 0.9, 0.75)
    repeated(root, skills)
    known = experiments.load("made_table", "small", conf(tmp_path / "conf"))
    found = runs.results(known, [root])
    [place] = [
        place for place in found.places if dict(place) == {"task": "lamp2", "model": "smollm2"}
    ]
    cells_there = [run for run in found.cells[place, "chameleon"] if run.record]
    shown = values.summary(cells_there).values["accuracy"]
    single = [values.summary([run]).values["accuracy"] for run in cells_there]
    assert shown.value == pytest.approx(statistics.fmean(one.value for one in single))
    assert shown.sd == pytest.approx(statistics.stdev(one.value for one in single))
    assert shown.high - shown.low > max(one.high - one.low for one in single)
    base = [run for run in found.cells[place, "instruct"] if run.record]
    assert values.summary(base).seeds == 1 and values.summary(base).values["accuracy"].sd is None
    both = difference(cells_there, base, "accuracy")
    monkeypatch.setattr(values, "spread", lambda _: None)
    bare = difference(cells_there, base, "accuracy")
    assert both.difference == pytest.approx(
        shown.value - values.summary(base).values["accuracy"].value
    )
    assert both.low < bare.low and both.high > bare.high and both.p_permutation > bare.p_permutation


def test_the_table_of_all_cells_shows_repeats_as_one_row(tmp_path: Path) -> None:
    root = tmp_path / "results"
    repeated(root, (0.3, 0.95, 0.6))
    text = tables.table([record for _, record in store.records(root).records])
    row, *_, note = [line for line in text.splitlines() if line.startswith("chameleon")]
    assert "0, 3 repeats" in row and " ± " in row and "[0.000, 1.000]" in row, (
        "no interval leaves the scale"
    )
    assert note == "chameleon 0, 3 repeats: layers shared by two repeats: 100%"

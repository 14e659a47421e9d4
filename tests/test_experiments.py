"""Experiments: what their cells are, that all of them compose and run,
and what a dry run says of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir

from bench.disk import manifest
from bench.errors import InputError
from bench.report.__main__ import main as report
from bench.sweep import forecast
from bench.sweep.design import Argument, Design, PlannedCell, key_of, merged
from tests import cells

CONF = Path(__file__).parents[1] / "conf"
PAPER = CONF.parent / "bench" / "assets" / "paper_tables.yaml"
NAMES = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
SCALES = ("paper", "laptop", "smoke")
RULES = {"rating": ["global", "median"], "generation": ["query"]}


@cache
def read(path: str) -> Any:
    return yaml.safe_load((CONF / path).read_text(encoding="utf-8"))


def kind_of(words: Sequence[str]) -> str:
    [task] = [word.partition("=")[2] for word in words if key_of(word) == "task"]
    return str(read(f"task/{task}.yaml")["kind"])


def text(value: Any) -> str:
    return "null" if value is None else str(value)


def design(name: str, scale: str, *given: Argument) -> Design:
    experiment, of_scale = (
        read(f"experiment/{name}.yaml")["experiment"],
        read(f"scale/{scale}.yaml"),
    )
    return Design(experiment, of_scale, given, read("config.yaml")["rules"], kind_of, text)


def given(key: str, *values: Any) -> Argument:
    return Argument(key, values, tuple(f"{key}={text(value)}" for value in values))


def made_up(
    *words: Argument, scale: Mapping[str, Any] | None = None, **changes: Any
) -> list[PlannedCell]:
    """The cells of a small experiment, with changes to it."""
    experiment = {
        "name": "made_up",
        "family": "zero_shot",
        "common": ["limit=9"],
        "axes": {"task": ["lamp3", "lamp7"], "seed": [0, 1]},
        "arms": {"plain": ["method=instruct"], "edited": ["method=chameleon", "method.n_layers=2"]},
        "rules": False,
    }
    return Design(
        experiment | changes, scale or {"name": "paper"}, words, RULES, kind_of, text
    ).cells()


# What the cells of an experiment are


def test_every_arm_runs_at_every_place() -> None:
    found = [(cell.arm, *cell.at.values()) for cell in made_up()]
    places = [(task, seed) for task in ("lamp3", "lamp7") for seed in (0, 1)]
    assert found == [(arm, *place) for place in places for arm in ("plain", "edited")]


def test_the_last_of_two_overrides_wins_and_a_group_is_not_its_field() -> None:
    assert merged(["model=a", "model.source=x", "seed=1", "+model.source=y", "model=b"]) == (
        "seed=1",
        "+model.source=y",
        "model=b",
    )


def test_command_line_beats_arm_beats_axis_beats_scale_beats_experiment() -> None:
    scale = {"name": "laptop", "common": ["limit=2", "leak=drop"], "axes": {"seed": [7]}}
    own = {"edited": ["method=chameleon", "method.n_layers=2", "decoding=sample"]}
    [cell] = made_up(given("task", "lamp3"), given("method.n_layers", 4), scale=scale, arms=own)
    assert set(cell.words) == {
        "limit=2",
        "leak=drop",
        "seed=7",
        "task=lamp3",
        "method=chameleon",
        "decoding=sample",
        "method.n_layers=4",
    }


def test_what_a_scale_says_of_a_method_or_a_family_goes_to_no_other() -> None:
    of_method = {
        "name": "smoke",
        "methods": {"chameleon": ["method.min_pairs=2", "method.n_layers=9"]},
    }
    for cell in made_up(
        scale=of_method | {"families": {"zero_shot": ["limit=3"], "task_adapted": ["limit=4"]}}
    ):
        assert ("method.min_pairs=2" in cell.words) == (cell.arm == "edited")
        assert ("method.n_layers=2" in cell.words) == (cell.arm == "edited")
        assert "limit=3" in cell.words


def test_an_experiment_has_its_own_say_of_a_scale() -> None:
    own = {"laptop": {"axes": {"task": ["lamp7"]}, "common": ["limit=1"]}}
    of_family, of_method = (
        {"zero_shot": ["limit=6"]},
        {
            "chameleon": ["limit=7"],
            "instruct": ["limit=8"],
        },
    )
    scale = {"name": "laptop", "common": ["limit=5"], "axes": {"task": ["lamp3"], "seed": [0]}}
    scale |= {"families": of_family, "methods": of_method}
    assert {(cell.at["task"], cell.words[0]) for cell in made_up(scale=scale, scales=own)} == {
        ("lamp7", "limit=1")
    }


def test_a_word_of_the_command_line_narrows_an_axis_and_a_sweep_makes_a_new_one() -> None:
    found = made_up(given("task", "lamp3"), given("seed", 5), given("method.alpha_p", 0.5, 1.0))
    assert [dict(cell.at) for cell in found if cell.arm == "plain"] == [
        {"task": "lamp3", "seed": 5, "method.alpha_p": alpha} for alpha in (0.5, 1.0)
    ]
    assert all(cell.extra == () for cell in found)


def test_only_some_arms() -> None:
    assert {cell.arm for cell in made_up(only=["edited"])} == {"edited"}
    assert {cell.arm for cell in made_up(only=["majority_median"], rules=True)} == {
        "majority_median"
    }
    with pytest.raises(
        InputError, match="experiment.only=edit: made_up has plain, edited, majority_global"
    ):
        made_up(only=["edit"], rules=True)


def test_each_kind_of_task_has_its_own_rules() -> None:
    arms = {
        task: [cell.arm for cell in made_up(rules=True) if cell.at["task"] == task]
        for task in ("lamp3", "lamp7")
    }
    assert arms["lamp3"][2:4] == ["majority_global", "majority_median"]
    assert arms["lamp7"][2:3] == ["majority_query"] and "majority_global" not in arms["lamp7"]


def test_an_arm_that_sets_an_axis_stands_at_its_own_value_once() -> None:
    fixed = {"plain": ["method=instruct", "seed=3"]}
    assert [dict(cell.at) for cell in made_up(arms=fixed)] == [
        {"task": "lamp3", "seed": 3},
        {"task": "lamp7", "seed": 3},
    ]
    assert made_up(given("seed", 0), arms=fixed) == []
    assert len(made_up(given("seed", 3), arms=fixed)) == 2


def test_a_setting_that_goes_along_with_an_axis_keeps_the_axis() -> None:
    along: list[Any] = [
        "method=aloe",
        {"method.fraction": {"seed": [0.1, 0.2]}},
        {"seed": {"seed": [None, None]}},
    ]
    found = [(cell.at["seed"], *cell.words[-2:]) for cell in made_up(arms={"data": along})]
    assert found[:2] == [
        (0, "method.fraction=0.1", "seed=null"),
        (1, "method.fraction=0.2", "seed=null"),
    ]
    assert [cell.at["seed"] for cell in made_up(given("seed", 1), arms={"data": along})] == [1, 1]
    with pytest.raises(
        InputError, match=r"seed=5: method.fraction goes along with it, which is given for \[0, 1\]"
    ):
        made_up(given("seed", 5), arms={"data": along})


def test_a_cell_is_named_by_its_place_and_what_was_added_but_not_by_where_it_runs() -> None:
    [plain] = {cell.hash for cell in made_up(given("seed", 0), given("task", "lamp3"))}
    [moved] = {
        cell.hash
        for cell in made_up(given("seed", 0), given("task", "lamp3"), given("results.root", "x"))
    }
    [fewer] = {
        cell.hash for cell in made_up(given("seed", 0), given("task", "lamp3"), given("limit", 3))
    }
    [other] = {cell.hash for cell in made_up(given("seed", 1), given("task", "lamp3"))}
    assert plain == moved and len({plain, fewer, other}) == 3


# The experiments that there are


@pytest.fixture(scope="module")
def composed() -> Iterator[Callable[[Sequence[str]], Any]]:
    """Compose a cell; cells that differ in plain values alone compose alike,
    so one of them is enough.
    """
    known: dict[frozenset[str], Any] = {}

    def one(words: Sequence[str]) -> Any:
        groups = {path.name for path in CONF.iterdir() if path.is_dir()}
        alike = frozenset(word if key_of(word) in groups else key_of(word) for word in words)
        if alike not in known:
            known[alike] = compose("config", overrides=list(words))
        return known[alike]

    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield one


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_composes_at_every_scale(
    name: str, composed: Callable[[Sequence[str]], Any]
) -> None:
    family = read(f"experiment/{name}.yaml")["experiment"]["family"]
    for scale in SCALES:
        planned = design(name, scale).cells()
        first = [cell for cell in planned if cell.at["task"] == planned[0].at["task"]]
        assert planned or name == "oppu_table2"
        for cell in planned:
            assert (CONF / "task" / f"{cell.at['task']}.yaml").is_file()
        for cell in first:
            config = composed(cell.words)
            of_paper = family != "ours" and scale == "paper"
            assert config.data.name == ("lamp" if of_paper else "sample")
            assert (
                family != "task_adapted"
                or config.base.kind == "task_adapted"
                or cell.arm.startswith("majority")
            )


def test_the_arms_are_the_papers_columns() -> None:
    tables = yaml.safe_load(PAPER.read_text(encoding="utf-8"))
    seen = 0
    for name in NAMES:
        experiment = read(f"experiment/{name}.yaml")["experiment"]
        if not experiment["paper"] or not experiment["arms"]:
            continue
        of_paper, table = experiment["paper"].split(".")
        columns = tables[of_paper][table].get("columns") or [
            "non_personalized",
            "retrieval_k1",
            "oppu_k0",
            "oppu_k1",
        ]
        assert [arm for arm in experiment["arms"] if arm in columns] == columns, name
        assert set(experiment["arms"]) - set(columns) <= {
            "instruct",
            "noise_floor",
            "chameleon_printed",
        }, name
        seen += 1
    assert seen == 6


def test_the_papers_scale_is_the_papers_models_and_users() -> None:
    models = {"chameleon_table1": {"mistral", "flan_t5_xxl"}, "oppu_table1": {"llama2"}}
    for name, expected in models.items():
        planned = design(name, "paper").cells()
        assert {cell.at["model"] for cell in planned} == expected
        assert not [word for cell in planned for word in cell.words if key_of(word) == "limit"]
    table1 = [
        cell
        for cell in design("oppu_table1", "paper").cells()
        if not cell.arm.startswith("majority")
    ]
    assert len(table1) == 14 * 7


def test_file_and_experiment_have_one_name() -> None:
    assert len(NAMES) == 20
    assert [read(f"experiment/{name}.yaml")["experiment"]["name"] for name in NAMES] == NAMES


# Running them


def checked(name: str, folder: Path, planned: Sequence[PlannedCell], code: int) -> None:
    """Every planned cell left a manifest and a record with numbers; CHAMELEON of one user alone may
    refuse, which the exit code tells. The report shows them.
    """
    found = [said for _, said in manifest.each(folder / "runs", name, "smoke")]
    assert {(one["arm"], json.dumps(one["at"])) for one in found} == {
        (cell.arm, json.dumps(dict(cell.at))) for cell in planned
    }
    refused = 0
    for one in found:
        record = json.loads((folder / "runs" / one["cell"] / "record.json").read_text())
        if record["status"] == "ok":
            values = [metric["value"] for metric in record["metrics"].values()]
            assert values and all(map(math.isfinite, values)) and record["counts"]["samples"] > 0
        else:
            few = (
                record["cell"]["method"] == "chameleon"
                and one["at"].get("protocol.group_size") == 1
            )
            assert few and record["error"].startswith("only "), f"{one['arm']}: {record['error']}"
            refused += 1
        assert "experiment" not in record["config"] and str(folder) not in json.dumps([record, one])
    assert code == (1 if refused else 0)
    assert report([name, "--results", str(folder / "runs"), "--scale", "smoke"]) == 0


def test_an_experiment_runs_goes_on_and_is_listed(tmp_path: Path) -> None:
    words = ("experiment=chameleon_table3", "scale=smoke", "task=lamp3", "progress=false")
    only = "experiment.only=[instruct,both,majority_user]"
    code, said = cells.run(*words, only, folder=tmp_path)
    assert code == 0, said
    planned = [
        cell
        for cell in design("chameleon_table3", "smoke", given("task", "lamp3")).cells()
        if cell.arm in ("instruct", "both", "majority_user")
    ]
    checked("chameleon_table3", tmp_path, planned, code)
    code, said = cells.run(*words, only, folder=tmp_path)
    assert code == 0 and said.count("(was done)") == 3
    code, said = cells.run(*words, "dry=true", folder=tmp_path)
    assert code == 0, said
    assert said.count("  done\n") == 3 and "8 cells: " in said and "5 to run" in said
    [expected] = [line for line in said.splitlines() if line.startswith("only_personalized")]
    assert "to do" in expected and "unknown" not in expected  # the same method has been measured


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    code, said = cells.run(
        "experiment=controls", "scale=smoke", "experiment.only=[chamaeleon]", folder=tmp_path
    )
    assert code == 2 and said.startswith(
        "error: experiment.only=chamaeleon: controls has instruct, noise_floor"
    )
    assert "Traceback" not in said
    code, said = cells.run(
        "experiment=chameleon_table3", "experiment.only=[both]", "task=lamp2", folder=tmp_path
    )
    # not once for each cell
    assert code == 2 and said.count("data=lamp needs data.root=FOLDER") == 1


def test_an_experiment_of_statistics_counts_its_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("experiment=oppu_table2", "scale=smoke", "task=lamp3,lamp7", "protocol.n_test=5")
    code, said = cells.run(*words, folder=tmp_path)
    assert code == 0, said
    assert "counts its data, runs no cell" in said and "lamp7: " in said
    assert report(["oppu_table2", "--results", str(tmp_path / "runs"), "--scale", "smoke"]) == 0
    table = capsys.readouterr().out
    assert (
        "Ours: sample (user split), 5 users tested." in table
        and table.count("not counted") == 5 * 7
    )
    code, said = cells.run("experiment=oppu_table2", "task=lamp3", folder=tmp_path)
    assert code == 2 and "data=lamp needs data.root=FOLDER" in said and "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_runs_at_smoke_scale(name: str, tmp_path: Path) -> None:
    code, said = cells.run(f"experiment={name}", "scale=smoke", "progress=false", folder=tmp_path)
    assert "Traceback" not in said and "\nerror: " not in said, said
    checked(name, tmp_path, design(name, "smoke").cells(), code)


# What a dry run expects


def record(
    task: str = "lamp3", method: str = "rag", queries: int = 10, **seconds: float
) -> dict[str, Any]:
    cost = {name: {"seconds": value} for name, value in seconds.items()}
    return {
        "cell": {"task": task, "method": method, "model": "tiny"},
        "data": {"queries": queries},
        "cost": cost,
    }


class SomePlan:
    def __init__(self, task: str, method: str = "rag") -> None:
        self.names = {"task": task, "method": method, "model": "tiny"}


def test_time_goes_with_the_questions_but_loading_and_fitting_do_not() -> None:
    known = forecast.Measured([record(load=2, fit=3, base=100, adapt=4, generate=5, score=1)])
    assert known.seconds(SomePlan("lamp3"), 10) == pytest.approx(15)  # type: ignore[arg-type]
    assert known.seconds(SomePlan("lamp3"), 30) == pytest.approx(2 + 3 + 3 * 10)  # type: ignore[arg-type]
    assert known.base(SomePlan("lamp3")) == 100  # type: ignore[arg-type]


def test_what_a_fit_consists_of_does_not_go_with_the_questions_either() -> None:
    one = record(fit=1, insights=20, adapt=2, profiles=4, base=100, training=50)
    for name, step in (("insights", "fit"), ("profiles", "adapt"), ("training", "base")):
        one["cost"][name]["inside"] = step
    assert forecast.Measured([one]).seconds(SomePlan("lamp3"), 100) == pytest.approx(21 + 10 * 6)  # type: ignore[arg-type]


def test_the_same_task_counts_before_others_and_another_method_never() -> None:
    known = forecast.Measured(
        [record(generate=1), record("lamp2", generate=50), record("lamp2", generate=70)]
    )
    assert known.seconds(SomePlan("lamp3"), 10) == 1  # type: ignore[arg-type]
    assert known.seconds(SomePlan("lamp7"), 10) == 50  # type: ignore[arg-type]
    assert known.seconds(SomePlan("lamp3", "oppu"), 10) is None  # type: ignore[arg-type]


def test_seconds_are_said_in_words() -> None:
    assert [forecast.clocked(value) for value in (None, 12.3, 600, 7200)] == [
        "unknown",
        "12 s",
        "10 min",
        "2.0 h",
    ]

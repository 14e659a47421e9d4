"""Sweeps in other processes: joblib, a real local Ray cluster, submitit;
the records are those of a serial sweep.
"""

from __future__ import annotations

import importlib.util
import io
import json
import multiprocessing
import os
from pathlib import Path

import pytest
from cells import TINY, run
from conftest import ROOT
from omegaconf import OmegaConf

from bench.data.sample import generator
from bench.sweep import forecast, launch
from bench.sweep.launch import Prefixed, take_accelerator, tell_of_hidden_accelerators

SWEEP = ("method=instruct", "protocol.history=own,none", "seed=0,1", "limit=6")
RAY = (
    "hydra/launcher=ray",
    "hydra.launcher.ray.init.object_store_memory=78643200",
    "+hydra.launcher.ray.init.num_cpus=1",
)
VOLATILE = ("cost", "started", "finished", "environment")
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
SUBMITIT = ("hydra/launcher=submitit_local",)
WORKERS = {"PYTHONPATH": str(ROOT)}


def needs(package: str, extra: str) -> pytest.MarkDecorator:
    absent = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(
        absent, reason=f"{package} is not installed: pip install 'lamplight[{extra}]'"
    )


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    root = tmp_path_factory.mktemp("data") / "lamp"
    generator.write(root, train_users=40, dev_users=12)
    return (*TINY, "data=lamp", f"data.root={root}")


@pytest.fixture(scope="module")
def serial(words: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serial")
    code, said = run("-m", *words, *SWEEP, folder=folder)
    assert code == 0, said
    return folder


def results(folder: Path) -> dict[str, tuple[object, object]]:
    """Of every cell: the record without clock and machine, and the samples by id."""
    found = {}
    for path in sorted((folder / "runs").glob("lamp*/*/*/record.json")):
        record = json.loads(path.read_text())
        samples = [
            json.loads(line) for line in (path.parent / "samples.jsonl").read_text().splitlines()
        ]
        steady = {name: value for name, value in record.items() if name not in VOLATILE}
        found["/".join(path.parts[-3:-1])] = steady, sorted(samples, key=lambda one: str(one["id"]))
    return found


def loads(folder: Path) -> int:
    """How many cells loaded a model."""
    records = (
        json.loads(path.read_text())
        for path in (folder / "runs").glob("lamp*/instruct/*/record.json")
    )
    return sum("load" in record["cost"] for record in records)


@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param(JOBLIB, id="joblib"),
        pytest.param(RAY, id="ray", marks=[needs("ray", "ray"), pytest.mark.slow]),
        pytest.param(SUBMITIT, id="submitit", marks=[needs("submitit", "slurm"), pytest.mark.slow]),
    ],
)
def test_every_launcher_leaves_the_records_of_a_serial_sweep(
    launcher: tuple[str, ...], words: tuple[str, ...], serial: Path, tmp_path: Path
) -> None:
    code, said = run("-m", *words, *SWEEP, *launcher, folder=tmp_path, environment=WORKERS)
    assert code == 0, said
    assert len(results(tmp_path)) == 4
    assert results(tmp_path) == results(serial)
    assert not list((tmp_path / "runs" / ".sweep").glob(".codes-*"))
    assert "ConfigStore" not in said
    if launcher != SUBMITIT:
        most = 2 if launcher == JOBLIB else 1
        assert loads(serial) == 1 <= loads(tmp_path) <= most, (
            "a worker loads the model once for all of its cells"
        )


@pytest.mark.parametrize("launcher", [(), JOBLIB], ids=["serial", "joblib"])
def test_bad_input_and_a_failed_job_reach_the_exit_code_and_stop_no_other(
    launcher: tuple[str, ...], words: tuple[str, ...], tmp_path: Path
) -> None:
    bad = ("task=lamp7,lamp3", "method=majority", "method.rule=median")
    code, said = run("-m", *words, *bad, "limit=3", *launcher, folder=tmp_path, environment=WORKERS)
    assert code == 2, said
    assert "has query, nearest" in said and "Traceback" not in said and "mae" in said
    numbered = any(line.startswith("[1] majority") for line in said.splitlines())
    assert numbered == bool(launcher), "lines of jobs in other processes have their job's number"


def test_a_worker_takes_the_accelerator_of_its_turn_and_keeps_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    monkeypatch.delenv("LAMPLIGHT_ACCELERATOR", raising=False)
    take_accelerator()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,6", "this process is no worker"
    monkeypatch.setattr(multiprocessing.current_process(), "_name", "LokyProcess-4")
    take_accelerator()
    take_accelerator()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "6"
    said = capsys.readouterr().err
    assert (
        said.count("worker 4 shares an accelerator") == 1
        and "hydra.launcher.n_jobs=2 gives each its own" in said
    )
    monkeypatch.delenv("LAMPLIGHT_ACCELERATOR")


@pytest.mark.parametrize(
    ("here", "asked", "expected"), [(2, None, 1), (0, None, 0), (2, 0, 0), (0, 2, 2)]
)
def test_ray_gives_each_job_one_accelerator_where_there_are_any(
    here: int, asked: int | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(here):
        (tmp_path / f"0000:0{number}").mkdir()
    monkeypatch.setattr(launch, "_GPUS", tmp_path)
    launcher = OmegaConf.load(ROOT / "conf/hydra/launcher/ray.yaml")
    if asked is not None:
        launcher.ray.remote.num_gpus = asked
    config = OmegaConf.create({"hydra": {"launcher": launcher, "sweep": {"dir": str(tmp_path)}}})
    launch.Jobs().on_multirun_start(config)
    launch.codes()
    assert config.hydra.launcher.ray.remote.num_gpus == expected


def test_a_job_that_is_shown_no_accelerator_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "0000:01").mkdir()
    monkeypatch.setattr(launch, "_GPUS", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    tell_of_hidden_accelerators()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    tell_of_hidden_accelerators()
    assert "none of the 1 accelerators here" in capsys.readouterr().err


def test_a_name_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "data.root=\x1b[2Jdata\u202e"
    jobs = launch.Jobs()
    jobs.names = [hostile, "seed=1"]
    jobs.on_job_start(
        OmegaConf.create({"progress": True, "dry": False, "hydra": {"job": {"num": 0}}})
    )
    cells = [forecast.Outlook(hostile, "to do"), forecast.Outlook("b", f"refused: {hostile}")]
    text = "".join(forecast.lines(cells)) + capsys.readouterr().err
    assert "cell 1 of 2: data.root=" in text and "2 cells: " in text
    assert text.count("\\x1b[2J") == 3 and "\x1b" not in text and "\u202e" not in text


def test_lines_of_a_job_come_whole_and_with_its_number() -> None:
    stream = io.StringIO()
    prefixed = Prefixed(stream, "[3] ")
    prefixed.write("one\ntw")
    assert stream.getvalue() == "[3] one\n" and not prefixed.isatty()
    prefixed.write("o\n")
    prefixed.write("rest")
    prefixed.flush()
    assert stream.getvalue() == "[3] one\n[3] two\n[3] rest\n"

"""Sweeps in other processes: joblib, a real local Ray cluster, submitit; the records are those of a serial sweep."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from pathlib import Path

import pytest
from cells import TINY, run, start
from conftest import ROOT

from bench.data import sample

SWEEP = ("method=instruct,majority", "protocol.history=own,none", "limit=6")
RAY = (
    "hydra/launcher=ray",
    "hydra.launcher.ray.init.object_store_memory=78643200",
    "+hydra.launcher.ray.init.num_cpus=1",
)
VOLATILE = ("cost", "started", "finished", "environment")
WORKERS = {"PYTHONPATH": str(ROOT)}


def needs(package: str, extra: str) -> pytest.MarkDecorator:
    absent = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(absent, reason=f"{package} is not installed: pip install 'lamplight[{extra}]'")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    root = tmp_path_factory.mktemp("data") / "lamp"
    sample.write(root, train_users=40, dev_users=12)
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
        samples = [json.loads(line) for line in (path.parent / "samples.jsonl").read_text().splitlines()]
        steady = {name: value for name, value in record.items() if name not in VOLATILE}
        found["/".join(path.parts[-3:-1])] = steady, sorted(samples, key=lambda one: str(one["id"]))
    return found


def loads(folder: Path) -> list[float]:
    """Seconds that each cell with a model took to load it."""
    records = [json.loads(path.read_text()) for path in (folder / "runs").glob("lamp*/instruct/*/record.json")]
    return sorted(record["cost"]["load"]["seconds"] for record in records)


@pytest.mark.parametrize("launcher", [
    pytest.param(("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"), id="joblib"),
    pytest.param(RAY, id="ray", marks=needs("ray", "ray")),
    pytest.param(("hydra/launcher=submitit_local",), id="submitit", marks=needs("submitit", "slurm")),
])  # fmt: skip
def test_every_launcher_leaves_the_records_of_a_serial_sweep(
    launcher: tuple[str, ...], words: tuple[str, ...], serial: Path, tmp_path: Path
) -> None:
    code, said = run("-m", *words, *SWEEP, *launcher, folder=tmp_path, environment=WORKERS)
    assert code == 0, said
    assert len(results(tmp_path)) == 4
    assert results(tmp_path) == results(serial)
    assert not list((tmp_path / "runs" / ".sweep").glob(".codes-*"))


@pytest.mark.parametrize("launcher", [
    pytest.param(("hydra/launcher=joblib", "hydra.launcher.n_jobs=1"), id="joblib"),
    pytest.param(RAY, id="ray", marks=needs("ray", "ray")),
])  # fmt: skip
def test_a_failed_job_and_bad_input_in_a_worker_reach_the_exit_code(
    launcher: tuple[str, ...], words: tuple[str, ...], tmp_path: Path
) -> None:
    bad = ("task=lamp7,lamp3", "method=majority", "method.rule=median", "limit=3")
    code, said = run("-m", *words, *bad, *launcher, folder=tmp_path, environment=WORKERS)
    assert code == 2, said
    assert "no such rule" in said and "Traceback" not in said and "mae" in said

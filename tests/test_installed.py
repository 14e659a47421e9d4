"""Installed from a wheel, away from the checkout:
everything that a command needs is in the packages.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the checkout, built from a copy, since setuptools leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file() and not name.startswith(("results/", "docs/", "tests/")):
            copy = folder / "source" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
    build = [
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
        "./source",
    ]
    subprocess.run([sys.executable, "-m", *build], cwd=folder, check=True, capture_output=True)
    [found] = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as `pip install` would lay it into an environment."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def ran(site: Path, folder: Path, *words: str) -> str:
    """What a command says that sees this installation alone:
    without `site`, the checkout is not on the path.
    """
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), *libraries])}
    done = subprocess.run(
        [sys.executable, "-S", "-m", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_holds_the_products_packages_and_no_others(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"bench", "methods", "conf", "hydra_plugins"}
    needed = [
        path
        for top in ("bench", "methods", "conf", "hydra_plugins")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    missing = [
        str(path.relative_to(ROOT)) for path in needed if str(path.relative_to(ROOT)) not in names
    ]
    assert missing == []


def test_an_installed_report_has_the_papers_numbers(site: Path, tmp_path: Path) -> None:
    said = ran(site, tmp_path, "bench.report", "chameleon_table1", "--scale", "smoke")
    assert "paper" in said and "chameleon" in said


@pytest.mark.slow
def test_an_installed_experiment_runs_and_is_reported(site: Path, tmp_path: Path) -> None:
    words = ("experiment=chameleon_table1", "scale=smoke", "task=lamp3", "progress=false")
    assert "chameleon" in ran(site, tmp_path, "bench", *words)
    said = ran(
        site,
        tmp_path,
        "bench.report",
        "chameleon_table1",
        "--scale",
        "smoke",
        "--results",
        "results/runs",
    )
    assert "chameleon" in said and "mae" in said

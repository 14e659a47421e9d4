"""The adapted bases that ship with the package belong to today's sample, prompts and recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT, task_named
from hydra.utils import instantiate
from omegaconf import OmegaConf

from bench.data import lamp
from bench.data.sample import generator
from bench.disk import fingerprints, store
from bench.errors import InputError
from bench.lm.base import SHIPPED, fingerprint, load

PROFILE = "bench.lm.profile.Profile"
BASES = sorted(SHIPPED.glob("*.safetensors"))


@pytest.fixture(scope="module")
def sample_roots(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The sample in both versions."""
    roots = []
    for version in (1, 2):
        roots.append(tmp_path_factory.mktemp("sample") / f"v{version}")
        generator.write(roots[-1], version=version)
    return roots


def key(task_name: str, root: Path) -> str:
    """The key of a task's base on a sample, by today's prompts and recipe."""
    spec = instantiate(OmegaConf.load(ROOT / "conf" / "model" / "smollm2.yaml"), _convert_="all")
    whole = {
        "base": OmegaConf.load(ROOT / "conf" / "base" / "task_adapted.yaml"),
        "profile": {"_target_": PROFILE},
    }
    base = instantiate(OmegaConf.create(whole).base, _convert_="all")
    task = task_named(task_name)
    fitted = lamp.read(task, root, split="train")
    return str(base.key(spec.identity(), task, fitted.hash))


def test_every_task_of_both_user_based_samples_has_a_base(sample_roots: list[Path]) -> None:
    shipped = {path.stem.split("-")[-1] for path in BASES}
    for root in sample_roots:
        assert {key(task, root) for task in generator.TASKS} <= shipped


@pytest.mark.parametrize("path", BASES, ids=lambda path: path.stem)
def test_a_shipped_base_fits_the_sample_the_prompts_and_the_recipe(
    path: Path, sample_roots: list[Path]
) -> None:
    """If this fails, something that the base was trained on has changed: make it again with
    base.retrain=true.
    """
    *_, task_name, hash = path.stem.split("-")
    assert hash in {key(task_name, root) for root in sample_roots}
    assert path.stat().st_size <= 1_000_000


def test_records_of_the_first_version_find_the_shipped_bases(tmp_path: Path) -> None:
    assert {fingerprint(path) for path in BASES} == fingerprints.GENUINE
    load(BASES[0])
    before, now = next(iter(fingerprints.SHIPPED.items()))
    for name, mark in (("old", before), ("new", now), ("own", "0123456789abcdef")):
        store.write_json(tmp_path / name / "record.json", {"model": {"base": mark}})
    found = {path.name: record["model"]["base"] for path, record in store.records(tmp_path).records}
    assert found == {"old": now, "new": now, "own": "0123456789abcdef"}


def test_a_shipped_base_with_other_numbers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytearray(BASES[0].read_bytes())
    data[-3] ^= 1
    (tmp_path / BASES[0].name).write_bytes(data)
    monkeypatch.setattr("bench.lm.base.SHIPPED", tmp_path)
    with pytest.raises(InputError, match="damaged"):
        load(tmp_path / BASES[0].name)

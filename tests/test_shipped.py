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
def sample_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sample") / "v"
    generator.write(root)
    return root


def test_every_task_of_the_user_based_sample_has_a_base() -> None:
    shipped = {path.stem.split("-")[-2] for path in BASES}
    assert shipped == {"lamp1", "lamp2", "lamp2n", "lamp3", "lamp4", "lamp5", "lamp6", "lamp7"}


@pytest.mark.parametrize("path", BASES, ids=lambda path: path.stem)
def test_a_shipped_base_fits_the_sample_the_prompts_and_the_recipe(
    path: Path, sample_root: Path
) -> None:
    """If this fails, something that the base was trained on has changed: make it again with
    base.retrain=true.
    """
    *_, task_name, key = path.stem.split("-")
    spec = instantiate(OmegaConf.load(ROOT / "conf" / "model" / "smollm2.yaml"), _convert_="all")
    whole = {
        "base": OmegaConf.load(ROOT / "conf" / "base" / "task_adapted.yaml"),
        "profile": {"_target_": PROFILE},
    }
    base = instantiate(OmegaConf.create(whole).base, _convert_="all")
    task = task_named(task_name)
    fitted = lamp.read(task, sample_root, split="train")
    assert base.key(spec.identity(), task, fitted.hash) == key
    assert path.stat().st_size <= 1_000_000


def test_records_of_the_first_version_find_the_shipped_bases(tmp_path: Path) -> None:
    assert {fingerprint(path) for path in BASES} == set(fingerprints.SHIPPED.values())
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

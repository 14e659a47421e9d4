"""Which cell a run compares itself with: the plain baseline of the same questions,
shown and answered alike.
"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made import cell

from bench.cli import comparison
from bench.report import answers, baseline

CONFIG: dict[str, Any] = {
    "method": {"history": "selected"},
    "noise_floor": False,
    "selection": {"n_items": 10},
    "leak": "flag",
    "limit": 60,
    "decoding": {"rule": "greedy"},
    "protocol": {"name": "seen", "group_size": 100},
    "seed": 0,
}
APART = {
    "selection": {"n_items": 5},
    "leak": "drop",
    "limit": 24,
    "decoding": {"rule": "sampling"},
    "noise_floor": True,
    "method": {"history": "none"},
}


def _cell(root: Path, method: str, config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    folder = cell(
        root, "lamp3", method, skill=0.4 if method == "instruct" else 0.8, config=config, **changes
    )
    found: dict[str, Any] = json.loads((folder / "record.json").read_text())
    return found | {"folder": folder}


def _told(root: Path, mine: dict[str, Any]) -> str | None:
    place = SimpleNamespace(root=root, folder=mine["folder"])
    plan = SimpleNamespace(cell=place, task=SimpleNamespace(name="lamp3"))
    return comparison.with_baseline(SimpleNamespace(record=mine, plan=plan))  # type: ignore[arg-type]


def test_the_plain_baseline_is_found(tmp_path: Path) -> None:
    mine = _cell(tmp_path, "chameleon", CONFIG)
    assert _told(tmp_path, mine) is None
    other = _cell(tmp_path, "instruct", CONFIG | {"protocol": {"name": "unseen", "group_size": 50}})
    assert str(_told(tmp_path, mine)).startswith(
        f"  A - B, against B = instruct (key {other['key'][:8]})"
    )


@pytest.mark.parametrize("name", APART)
def test_a_cell_that_was_shown_or_asked_otherwise_is_none(tmp_path: Path, name: str) -> None:
    mine = _cell(tmp_path, "chameleon", CONFIG)
    config = deepcopy(CONFIG) | {name: APART[name]}
    _cell(tmp_path, "instruct", config)
    assert _told(tmp_path, mine) is None


@pytest.mark.parametrize(
    "changes", [{"model": "other"}, {"data": {"hash": "other"}}, {"status": "error"}]
)
def test_nor_is_one_of_another_model_or_data_or_that_failed(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    mine = _cell(tmp_path, "chameleon", CONFIG)
    _cell(tmp_path, "instruct", CONFIG, **changes)
    assert _told(tmp_path, mine) is None


def test_nor_is_one_whose_users_show_no_history_or_that_of_others(tmp_path: Path) -> None:
    mine = _cell(tmp_path, "chameleon", CONFIG)
    _cell(tmp_path, "instruct", CONFIG | {"protocol": {"name": "seen", "history": "other"}})
    assert _told(tmp_path, mine) is None


def test_of_several_the_one_of_the_same_seed(tmp_path: Path) -> None:
    mine = _cell(tmp_path, "chameleon", CONFIG, seed=1)
    keys = [_cell(tmp_path, "instruct", CONFIG, seed=seed)["key"] for seed in (0, 1, 2)]
    assert f"key {keys[1][:8]})" in str(_told(tmp_path, mine))


def test_a_run_and_the_page_mean_the_same_cell(tmp_path: Path) -> None:
    mine = _cell(tmp_path, "chameleon", CONFIG, seed=1)
    others = [_cell(tmp_path, "instruct", CONFIG, seed=seed) for seed in (0, 1)]
    others += [_cell(tmp_path, "instruct", CONFIG | {"leak": "drop"}, seed=2)]
    keys = answers.baselines([mine, *others], [])
    assert keys == {mine["key"]: others[1]["key"]}  # and no baseline has a baseline
    assert f"key {others[1]['key'][:8]})" in str(_told(tmp_path, mine))


def test_an_older_records_protocol_lacks_fields_and_names_its_class_by_an_older_name() -> None:
    today = {"_target_": "bench.data.protocol.Protocol", "name": "seen", "pool": False}
    older = {"_target_": "bench.protocol.Protocol", "name": "seen"}
    cell = {"task": "lamp3", "base": "instruct", "seed": 0}
    record = {"cell": cell, "data": {"hash": "h"}, "config": {"protocol": today}}
    other = {"cell": cell, "data": {"hash": "h"}, "config": {"protocol": older}}
    assert baseline.asked_alike(record, other)
    pooled = other | {"config": {"protocol": older | {"pool": True}}}
    assert not baseline.asked_alike(record, pooled)

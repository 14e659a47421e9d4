"""The benchmarks of language models run from end to end on a
tiny model and say what they measured.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Run a benchmark on the tiny model; its record."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))

    def result(name: str, *words: str) -> dict[str, Any]:
        path = tmp_path / "results" / f"{name}.json"
        __import__(name)
        sys.modules[name].main(
            ["--model", "tiny", "--ranker", "recency", "--k", "1", *words, "--results", str(path)]
        )
        found: dict[str, Any] = json.loads(path.read_text())
        assert found["machine"]["processor"] and found["versions"]["torch"] and found["date"]
        assert str(ROOT) not in path.read_text()
        return found

    return result


def _imported() -> None:
    """The arms are forked: what is imported here, none of them has to import."""
    import peft  # noqa: F401
    from transformers import Trainer  # noqa: F401

    from bench.lm.load import tiny

    tiny("llama")


def test_all_arms_of_many_users_train_the_same_thing(run, capsys) -> None:  # type: ignore[no-untyped-def]
    _imported()
    found = run("many_users", "--task", "lamp4", "--users", "2", "--epochs", "1", "--profile", "1")
    arms = found["arms"]
    assert list(arms) == ["ours", "peft_float32", "peft_sorted"]
    told = capsys.readouterr().out
    assert all(f"\n{name}" in told for name in ("untrained", *arms))
    assert (
        len({(arm["steps"], arm["users"], arm["examples"], arm["tokens"]) for arm in arms.values()})
        == 1
    )
    assert arms["ours"]["ratio"] == 1 and all(arm["peak_memory_mb"] > 0 for arm in arms.values())
    learnt = {name: found["loss_before"] - arm["final_mean_loss"] for name, arm in arms.items()}
    assert learnt["ours"] > 0
    assert learnt["peft_float32"] == pytest.approx(learnt["ours"], rel=0.2)
    assert learnt["peft_sorted"] == pytest.approx(learnt["ours"], rel=0.5), (
        "bfloat16 on a random model is coarse"
    )
    shares = found["profile_of_ours"]
    assert sum(shares.values()) == pytest.approx(1)
    assert all(
        shares[name] > 0
        for name in ("matmul", "attention", "adapter", "loss", "optimizer", "other")
    )


def test_answering_gives_the_answers_of_plain_generate(run) -> None:  # type: ignore[no-untyped-def]
    found = run("answering", "--task", "lamp2n", "--limit", "5", "--patches", "3", "--repeats", "1")
    assert (
        found["weights"] == "float32"
        and found["equal_answers"] == 1
        and found["different_answers"] == 0
    )
    single = {"none in one batch", "mixed LoRAs in one batch"}
    assert set(found["patches"]) == {"none", "shared LoRA", "shared edit", "mixed LoRAs"} | single
    assert all(arm["answers_as_with_none"] == 1 for arm in found["patches"].values())
    assert all(
        found["patches"][name]["relative_to_none"] == 1 for name in ("none", "none in one batch")
    )


def test_one_reading_gives_the_answers_and_likelihoods_of_two(run, capsys) -> None:  # type: ignore[no-untyped-def]
    words = ("--limit", "0", "--patches", "0", "--repeats", "1")
    sets = ("--readings", "12", "--histories", "1")
    found = run("answering", "--task", "lamp4", *words, *sets)
    assert "ratio" not in found and found["weights"] == "float32"
    assert [row["prompts"] for row in found["readings"].values()] == [12, 10]
    for row in found["readings"].values():
        assert row["different_answers"] == 0 and row["largest_difference_of_nll"] < 1e-5
    assert "ten questions behind one history: 10 prompts" in capsys.readouterr().out


def test_answering_refuses_more_patches_than_there_are_prompts(run) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SystemExit, match="--patches 900: the split has [0-9]+ prompts"):
        run("answering", "--task", "lamp2n", "--limit", "900", "--patches", "900", "--repeats", "1")


def test_planted_effects_are_sought_in_the_published_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole effect is found in every sample of 60 users, and its size is that of the table."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import planted_effects

    out = tmp_path / "planted.json"
    assert planted_effects.main(["--samples", "4", "--draws", "60", "--out", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    whole = [row for row in rows if row["planted"] == "100% of users" and row["users"] == 60]
    assert [row["task"] for row in whole] == list(planted_effects.TASKS)
    assert all(row["found"] == 1 and row["effect"] > 0.3 for row in whole)
    assert {row["effect"] for row in rows if row["planted"] == "nothing"} == {0}

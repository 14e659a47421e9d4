"""Each family of models is right: batches, labels, answers, patches by row, training, activations.

Six families in the fast suite, the others in `make slow`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from families import FAMILIES
from family_proofs import LABELS, NEAR, PROOFS, TEXTS, answered, requests

from bench.errors import InputError
from bench.lm.patch import Patch

FAST = ("gemma3", "qwen3_5", "qwen3_moe", "gpt_oss", "gemma3_pictures", "t5gemma")

EDITS = ("a_rank_2_edit_changes", "activations_are")
"""Beginnings of the proofs that need the MLP of a layer."""

WITHOUT_EDITS = {
    "granitemoehybrid": "adds the outputs of two MLPs",
    "mamba2": "have no MLP that is known here",
}
"""Families that no method can edit, and the one line that says why."""


def _families() -> list[object]:
    marked: list[object] = []
    for name in FAMILIES:
        marks = () if name in FAST else (pytest.mark.slow,)
        marked.append(pytest.param(name, marks=marks))
    return marked


@pytest.mark.parametrize("name", _families())
def test_a_family_answers_and_learns_as_its_own_plain_forward(name: str, tmp_path: Path) -> None:
    lm = FAMILIES[name].load(tmp_path)
    for proof in PROOFS:
        if name in WITHOUT_EDITS and proof.__name__.startswith(EDITS):
            with pytest.raises(InputError, match=WITHOUT_EDITS[name]):
                proof(lm)
        else:
            proof(lm)


def test_the_page_of_models_has_every_family() -> None:
    page = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    table = page.split("## Families")[1].split("\n\nA LoRA")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", "".join(rows))) == sorted(FAMILIES)


@pytest.mark.parametrize("name", ["llama", "gemma3", "qwen3_5"])
def test_a_soft_prompt_stands_before_its_own_row_wherever_padding_is(
    name: str, tmp_path: Path
) -> None:
    lm = FAMILIES[name].load(tmp_path)
    model = lm.network.model
    vectors = torch.randn(3, 32, generator=torch.Generator().manual_seed(5))
    patches = [(Patch(prompt=vectors),) if row % 2 else () for row in range(len(TEXTS))]
    asked = requests(patches)
    for request, completion in zip(asked, answered(lm, asked, labels=LABELS), strict=True):
        ids = list(lm.network.encode(replace(request, patches=())).ids)
        answer = lm.network.answer_ids(LABELS[0])
        embedded = model.get_input_embeddings()(torch.tensor([ids + answer]))
        if request.patches:
            embedded = torch.cat([vectors[None], embedded], dim=1)
        logits = model(inputs_embeds=embedded, use_cache=False).logits[0]
        scores = logits[-len(answer) - 1 : -1].log_softmax(-1)
        expected = float(scores[torch.arange(len(answer)), torch.tensor(answer)].sum())
        assert (completion.label_logprobs or ())[0] == pytest.approx(expected, abs=NEAR)

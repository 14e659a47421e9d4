"""Folders whose weights are packed: they answer as they are, or are refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from families import FAMILIES, FamilyModel
from family_proofs import (
    a_rank_2_edit_changes_its_own_rows_as_merged_weights_would,
    edit_patch,
    greedy_answers_are_those_of_generate,
    labels_and_golds_are_those_of_a_plain_forward,
    lora_patch,
)

from bench.errors import InputError
from bench.lm.model import LM
from bench.lm.spec import ModelSpec


@pytest.fixture(scope="module")
def four_bits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama in a folder, its weights in NF4."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    plain, packed = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("packed")
    # As wide as a block of numbers that are packed together.
    wide = {"hidden_size": 64, "intermediate_size": 128, "head_dim": 16}
    model, tokenizer = FamilyModel("LlamaConfig", wide).build()
    model.save_pretrained(plain)
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    packed_model = AutoModelForCausalLM.from_pretrained(
        plain, quantization_config=config, dtype=torch.float32, device_map={"": "cpu"}
    )
    packed_model.save_pretrained(packed)
    tokenizer.save_pretrained(packed)
    return packed


def _lm(folder: Path) -> LM:
    return LM(ModelSpec("packed", str(folder), dtype="float32", device="cpu"))


def test_a_folder_in_four_bits_answers_as_its_own_plain_forward(four_bits: Path) -> None:
    lm = _lm(four_bits)
    assert str(lm.identity["weights"]).endswith(" bitsandbytes 4-bit")
    labels_and_golds_are_those_of_a_plain_forward(lm)
    greedy_answers_are_those_of_generate(lm)


def test_an_edit_of_packed_layers_changes_their_output_and_is_never_merged(four_bits: Path) -> None:
    lm = _lm(four_bits)
    patch = edit_patch(lm.network)
    assert patch.outputs and not patch.weights
    a_rank_2_edit_changes_its_own_rows_as_merged_weights_would(lm)
    with pytest.raises(InputError, match="is quantized"):
        lora_patch(lm.network).merge(lm.network.model)


@pytest.mark.parametrize("method", ["gptq", "awq", "unheard-of"])
def test_weights_that_the_library_cannot_read_are_one_line(method: str, tmp_path: Path) -> None:
    model, tokenizer = FAMILIES["llama"].build()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": method, "bits": 4}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="cannot load the model") as refused:
        _lm(tmp_path)
    assert "\n" not in str(refused.value)

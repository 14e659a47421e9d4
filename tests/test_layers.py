"""Layers that are changed: tied to the embedding, quantized, experts; and where models compute."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from families import FAMILIES
from family_proofs import answered, requests
from torch import nn

from bench.errors import InputError
from bench.lm import device
from bench.lm.architecture import padding_of
from bench.lm.backend import ALL
from bench.lm.model import LM
from bench.lm.patch import LowRank, Patch
from bench.lm.peft_export import to_peft
from bench.lm.peft_folders import trained_on_another
from bench.lm.spec import ModelSpec, quantization
from bench.lm.tune import Tuning, fresh


def _head_patch(model: Any) -> Patch:
    stream = torch.Generator().manual_seed(0)
    rows, width = model.lm_head.weight.shape
    a, b = torch.randn(2, width, generator=stream), torch.randn(rows, 2, generator=stream)
    return Patch({"lm_head": LowRank(a, b)})


def test_a_base_merged_into_a_tied_head_leaves_the_embedding_as_it_was() -> None:
    model, _ = FAMILIES["qwen2"].build()
    assert model.lm_head.weight is model.get_input_embeddings().weight
    before = model.lm_head.weight.detach().clone()
    patch = _head_patch(model)
    patch.merge(model)
    assert torch.equal(model.get_input_embeddings().weight, before)
    change = patch.weights["lm_head"].b @ patch.weights["lm_head"].a
    assert torch.allclose(model.lm_head.weight, before + change, atol=1e-5)


def test_a_merged_tied_model_stays_untied_when_it_is_saved(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model, _ = FAMILIES["qwen2"].build()
    _head_patch(model).merge(model)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)
    assert not torch.equal(again.lm_head.weight, again.get_input_embeddings().weight)


def test_nothing_is_merged_into_packed_weights() -> None:
    model = nn.Module()
    model.layer = nn.Linear(4, 4, bias=False)
    model.layer.weight = nn.Parameter(torch.zeros(4, 4, dtype=torch.int8), requires_grad=False)
    patch = Patch({"layer": LowRank(torch.ones(1, 4), torch.ones(4, 1))})
    with pytest.raises(InputError, match="layer is quantized"):
        patch.merge(model)


def test_a_change_of_a_whole_block_survives_saving_and_is_never_merged(tmp_path: Path) -> None:
    model, _ = FAMILIES["qwen3_moe"].build()
    low = LowRank(torch.randn(2, 32), torch.randn(32, 2))
    patch = Patch(outputs={"model.layers.1.mlp": low})
    patch.save(tmp_path / "patch.safetensors")
    assert Patch.load(tmp_path / "patch.safetensors").id == patch.id
    assert patch.id != Patch({"model.layers.1.mlp": low}).id
    with pytest.raises(InputError, match=r"output of model\.layers\.1\.mlp as a whole"):
        patch.merge(model)


def test_a_window_forbids_padding_behind_prompts_only_if_it_is_shorter_than_they_are() -> None:
    model, _ = FAMILIES["gemma3"].build()
    assert padding_of(model, 2000) == "left"
    for layer in range(len(model.config.layer_types)):
        model.config.layer_types[layer] = "full_attention"
    assert padding_of(model, 2000) == "any"


@pytest.mark.parametrize("name", ["qwen3_5", "lfm2", "falcon_h1", "mamba2", "llama4"])
def test_layers_with_a_state_or_chunks_bear_no_padding(name: str) -> None:
    model, _ = FAMILIES[name].build()
    assert padding_of(model, 2000) == "none"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (None, ""),
        ({"quant_method": "gptq", "bits": 4}, " gptq 4-bit"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, " bitsandbytes 8-bit"),
        ({"quant_method": "fp8"}, " fp8"),
    ],
)
def test_how_weights_are_packed_stands_in_the_key(
    settings: dict[str, Any] | None, expected: str, tmp_path: Path
) -> None:
    config = {"quantization_config": settings} if settings else {}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert quantization(tmp_path) == expected


def test_cards_before_ampere_compute_in_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    chosen = []
    for capability in ((7, 5), (8, 0), (9, 0)):
        device._of_card.cache_clear()
        monkeypatch.setattr(
            torch.cuda, "get_device_capability", lambda _card, value=capability: value
        )
        chosen.append(device.fast_dtype("cuda:0"))
    device._of_card.cache_clear()
    assert chosen == ["float16", "bfloat16", "bfloat16"]


def test_a_model_that_is_spread_answers_the_same_and_is_not_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    lm = FAMILIES["llama"].load(tmp_path)
    asked: dict[str, Any] = {}
    read = AutoModelForCausalLM.from_pretrained

    def reading(source: str, **how: Any) -> Any:
        asked.update(how)
        return read(source, **how)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", reading)
    spread = LM(replace(lm.spec, device="spread"))
    assert asked["device_map"] == "auto"
    assert answered(spread, requests()) == answered(lm, requests())
    assert spread.spec.can == ALL - {"training"}
    assert spread.identity == lm.identity


def test_a_device_that_is_not_there_is_refused() -> None:
    for name in ("mps", "cuda:31"):
        with pytest.raises(InputError, match=f"model.device={name}: this machine shows"):
            device.check_device(name)


def test_an_adapter_of_another_model_is_known_by_the_name_of_its_base(tmp_path: Path) -> None:
    low = LowRank(torch.ones(1, 4), torch.ones(4, 1))
    spec = ModelSpec("short", "package:none", hub="owner/Name-1B")
    others = {}
    for base in ("owner/Name-1B", "/models/name-1b", "short", "owner/Name-7B"):
        folder = tmp_path / base.replace("/", "_")
        to_peft(Patch({"layer": low}), folder, model=base, task_type="CAUSAL_LM")
        others[base] = trained_on_another(folder, spec)
    assert [base for base, other in others.items() if other] == ["owner/Name-7B"]


def test_adapters_of_a_model_that_sees_change_its_text_alone(tmp_path: Path) -> None:
    lm = FAMILIES["gemma3_pictures"].load(tmp_path)
    vision = [name for name, _ in lm.network.model.named_modules() if name.endswith("q_proj")]
    assert any("vision" in name for name in vision)
    names = [*fresh(lm.network, Tuning()), *lm.network.linears(), *dict(lm.network.mlps())]
    assert names
    assert not [name for name in names if "vision" in name]


def test_a_target_that_no_layer_has_is_named_with_those_there_are(tmp_path: Path) -> None:
    lm = FAMILIES["phi3"].load(tmp_path)
    with pytest.raises(InputError, match=r"no module named q_proj or v_proj .*qkv_proj"):
        fresh(lm.network, Tuning())

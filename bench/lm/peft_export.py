"""A patch as a PEFT adapter folder, which PEFT loads for a base model: LoRA, IA3 or prompt tuning.

PEFT has one kind in one folder, so a patch of several kinds is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from bench.errors import InputError
from bench.lm.patch import LowRank, Patch, Scale
from bench.lm.peft_folders import PREFIX, WEIGHTS
from bench.lm.tensor_files import save_tensors

TaskType = Literal["CAUSAL_LM", "SEQ_2_SEQ_LM"]
AdapterKind = Literal["LoRA", "IA3", "prompt tuning"]


def to_peft(patch: Patch, folder: Path, *, model: str, task_type: TaskType) -> None:
    """Write the patch as a PEFT adapter for the base `model` (a hub id or folder, for whoever loads
    it).

    Raises InputError for a patch that limits its positions, mixes kinds, or changes nothing.
    """
    common: dict[str, Any] = {
        "base_model_name_or_path": model,
        "task_type": task_type,
        "inference_mode": True,
    }
    match kind_of(patch):
        case "LoRA":
            adapter = _lora(patch, common)
        case "IA3":
            adapter = _ia3(patch, common)
        case "prompt tuning":
            adapter = _soft_prompt(patch, common)
    tensors = {}
    for name, tensor in adapter.tensors.items():
        tensors[name] = tensor.detach().to("cpu", torch.float32).contiguous()
    save_tensors(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    adapter.config.save_pretrained(str(folder))


@dataclass(frozen=True)
class _PeftAdapter:
    """PEFT's configuration object, and its tensors by name."""

    config: Any
    tensors: Mapping[str, Tensor]


def _lora(patch: Patch, common: Mapping[str, Any]) -> _PeftAdapter:
    from peft import LoraConfig

    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    for name, low in patch.weights.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = low.a
        tensors[f"{PREFIX}{name}.lora_B.weight"] = low.b
        ranks[name] = len(low.a)
    most = max(ranks.values())
    others = {name: rank for name, rank in ranks.items() if rank != most}
    # alpha = rank: PEFT's scaling is one, as the factors hold it already.
    config = LoraConfig(
        **common,
        r=most,
        lora_alpha=most,
        rank_pattern=others,
        alpha_pattern=dict(others),
        target_modules=list(ranks),
    )
    return _PeftAdapter(config, tensors)


def _ia3(patch: Patch, common: Mapping[str, Any]) -> _PeftAdapter:
    from peft import IA3Config

    tensors: dict[str, Tensor] = {}
    inputs: list[str] = []
    for name, scale in patch.scales.items():
        if scale.side == "in":
            inputs.append(name)
        # PEFT stores a row for what a layer reads, and a column for what it says.
        shape = (1, -1) if scale.side == "in" else (-1, 1)
        tensors[f"{PREFIX}{name}.ia3_l"] = scale.vector.reshape(shape)
    config = IA3Config(**common, target_modules=list(patch.scales), feedforward_modules=inputs)
    return _PeftAdapter(config, tensors)


def _soft_prompt(patch: Patch, common: Mapping[str, Any]) -> _PeftAdapter:
    from peft import PromptTuningConfig

    vectors = torch.as_tensor(patch.prompt)
    tokens, width = vectors.shape
    # One submodule: the encoder's input alone, where there is a decoder too.
    config = PromptTuningConfig(
        **common, num_virtual_tokens=tokens, token_dim=width, num_transformer_submodules=1
    )
    return _PeftAdapter(config, {"prompt_embeddings": vectors})


def kind_of(patch: Patch) -> AdapterKind:
    """The kind of PEFT adapter that equals the patch. Raises InputError where none does."""
    parts: dict[AdapterKind, Any] = {
        "LoRA": patch.weights,
        "IA3": patch.scales,
        "prompt tuning": patch.virtual,
    }
    kinds = [kind for kind, part in parts.items() if part]
    if patch.positions != "all":
        raise InputError(
            f"a patch for positions={patch.positions} is no PEFT adapter: those act at all"
            " positions"
        )
    if patch.outputs:
        raise InputError(
            "the patch changes the outputs of whole blocks (experts, or quantized layers), which no"
            " PEFT adapter expresses"
        )
    if len(kinds) != 1:
        what = f"mixes {' and '.join(kinds)}" if kinds else "changes nothing"
        raise InputError(f"a PEFT adapter is of one kind, but this patch {what}")
    return kinds[0]


def joined(patches: Sequence[Patch]) -> Patch:
    """One patch that does what these do together on one request.

    Raises InputError where they act at different positions, or scale both sides of one module.
    """
    if len({patch.positions for patch in patches}) > 1:
        raise InputError("patches that act at different positions cannot be joined into one")
    weights: dict[str, LowRank] = {}
    scales: dict[str, Scale] = {}
    for patch in patches:
        for name, low in patch.weights.items():
            weights[name] = _side_by_side(weights.get(name), low)
        for name, scale in patch.scales.items():
            scales[name] = _product(name, scales.get(name), scale)
    prompts = [patch.prompt for patch in patches if patch.prompt is not None]
    return Patch(weights, patches[0].positions, scales, torch.cat(prompts) if prompts else None)


def _side_by_side(first: LowRank | None, second: LowRank) -> LowRank:
    """B A + D C is one product: B beside D, times A above C."""
    if first is None:
        return second
    return LowRank(torch.cat([first.a, second.a]), torch.cat([first.b, second.b], dim=1))


def _product(name: str, first: Scale | None, second: Scale) -> Scale:
    if first is None:
        return second
    if first.side != second.side:
        raise InputError(
            f"two patches scale both the input and the output of {name}: they cannot be joined"
        )
    return Scale(first.vector * second.vector, second.side)

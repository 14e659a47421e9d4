"""A patch as a PEFT adapter folder, which PEFT loads for a base model: LoRA, IA3 or prompt tuning.

PEFT has one kind in one folder, so a patch of several kinds is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from bench.errors import InputError
from bench.lm.patch import LowRank, Patch, Scale
from bench.lm.peft_folders import PREFIX, WEIGHTS
from bench.lm.tensor_files import save_tensors

TaskType = Literal["CAUSAL_LM", "SEQ_2_SEQ_LM"]
Kind = Literal["LoRA", "IA3", "prompt tuning"]


def to_peft(patch: Patch, folder: Path, *, model: str, task_type: TaskType) -> None:
    """Write the patch as a PEFT adapter for the base `model` (a hub id or folder, for whoever loads
    it).

    Raises InputError for a patch that limits its positions, mixes kinds, or changes nothing.
    """
    from peft import IA3Config, LoraConfig, PromptTuningConfig

    kind = kind_of(patch)
    common: dict[str, Any] = {
        "base_model_name_or_path": model,
        "task_type": task_type,
        "inference_mode": True,
    }
    tensors: dict[str, Tensor] = {}
    config: Any
    if kind == "LoRA":
        ranks = {name: len(low.a) for name, low in patch.weights.items()}
        most, fewer = max(ranks.values()), {}
        for name, rank in ranks.items():
            if rank != most:
                fewer[name] = rank
        # alpha = rank: PEFT's scaling is one, as the factors hold it already.
        config = LoraConfig(
            **common,
            r=most,
            lora_alpha=most,
            rank_pattern=fewer,
            alpha_pattern=dict(fewer),
            target_modules=list(ranks),
        )
        for name, low in patch.weights.items():
            tensors[f"{PREFIX}{name}.lora_A.weight"] = low.a
            tensors[f"{PREFIX}{name}.lora_B.weight"] = low.b
    elif kind == "IA3":
        inputs = [name for name, scale in patch.scales.items() if scale.side == "in"]
        config = IA3Config(**common, target_modules=list(patch.scales), feedforward_modules=inputs)
        for name, scale in patch.scales.items():
            tensors[f"{PREFIX}{name}.ia3_l"] = scale.vector.reshape(
                (1, -1) if scale.side == "in" else (-1, 1)
            )
    else:
        vectors = torch.as_tensor(patch.prompt)
        tokens, width = vectors.shape
        # One submodule: the encoder's input alone, where there is a decoder too.
        config = PromptTuningConfig(
            **common, num_virtual_tokens=tokens, token_dim=width, num_transformer_submodules=1
        )
        tensors["prompt_embeddings"] = vectors
    plain = {
        name: tensor.detach().to("cpu", torch.float32).contiguous()
        for name, tensor in tensors.items()
    }
    save_tensors(plain, folder / WEIGHTS, metadata={"format": "pt"})
    config.save_pretrained(str(folder))


def kind_of(patch: Patch) -> Kind:
    """The kind of PEFT adapter that equals the patch. Raises InputError where none does."""
    kinds: dict[Kind, Any] = {
        "LoRA": patch.weights,
        "IA3": patch.scales,
        "prompt tuning": patch.virtual,
    }
    found = [name for name, part in kinds.items() if part]
    if patch.positions != "all":
        raise InputError(
            f"a patch for positions={patch.positions} is no PEFT adapter: those act at all"
            " positions"
        )
    if len(found) != 1:
        what = f"mixes {' and '.join(found)}" if found else "changes nothing"
        raise InputError(f"a PEFT adapter is of one kind, but this patch {what}")
    return found[0]


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
            old = weights.get(name)
            if old is not None:
                # B A + D C is one product: B beside D, times A above C.
                low = LowRank(torch.cat([old.a, low.a]), torch.cat([old.b, low.b], dim=1))
            weights[name] = low
        for name, scale in patch.scales.items():
            before = scales.get(name)
            if before is not None and before.side != scale.side:
                raise InputError(
                    f"two patches scale both the input and the output of {name}: they cannot be"
                    " joined"
                )
            if before is not None:
                scale = Scale(before.vector * scale.vector, scale.side)
            scales[name] = scale
    prompts = [patch.prompt for patch in patches if patch.prompt is not None]
    return Patch(weights, patches[0].positions, scales, torch.cat(prompts) if prompts else None)

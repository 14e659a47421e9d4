"""A patch from a PEFT adapter folder: LoRA, IA3 or prompt tuning. Anything else is refused by name.

A folder holds `adapter_config.json` and `adapter_model.safetensors`. Reading one needs no peft, and
pickled weights (`adapter_model.bin`) are never read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bench.disk.integrity import some
from bench.errors import InputError
from bench.lm.layers import Side
from bench.lm.patch import LowRank, Patch, Scale
from bench.lm.peft_settings import KNOWN, PLAIN_STARTS, by_pattern, refuse_odd, scaling, targeted
from bench.lm.spec import AdapterFolder, ModelSpec

CONFIG, WEIGHTS = AdapterFolder.FILES

PREFIX = "base_model.model."


@dataclass(frozen=True)
class _Adapter:
    """An adapter as PEFT stores it; `where` names it in errors."""

    where: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def by_module(self, ending: str) -> dict[str, Tensor]:
        """The tensors of that ending by the name of their module in the base model."""
        modules = {}
        for name, tensor in self.tensors.items():
            if name.endswith(ending):
                modules[name.removeprefix(PREFIX).removesuffix(ending)] = tensor
        return modules


def from_peft(source: Any) -> Patch:
    """The patch that equals a PEFT adapter: a folder (`str` or `Path`), or the active adapter of a
    `PeftModel`.

    Raises InputError for a missing or damaged folder, and for what a patch cannot express: DoRA,
    trained biases, `modules_to_save`, kinds other than LoRA, IA3 and prompt tuning.
    """
    adapter = _from_folder(Path(source)) if isinstance(source, str | Path) else _from_model(source)
    kind = adapter.config.get("peft_type")
    kind = str(getattr(kind, "value", kind))  # a word in a folder, an enum in a PeftModel
    if kind not in KNOWN:
        raise InputError(
            f"{adapter.where}: peft_type={kind} is not supported (have {', '.join(KNOWN)})"
        )
    for name, value in adapter.config.items():
        if value and name not in KNOWN[kind]:
            raise InputError(
                f"{adapter.where}: {name}={value} is not supported: a patch cannot express it"
            )
    read = {"LORA": _lora, "IA3": _ia3, "PROMPT_TUNING": _prompt_tuning}[kind]
    patch = read(adapter)
    if not patch.finite:
        raise InputError(
            f"{adapter.where}: {_not_finite(adapter)} holds numbers that are none (NaN or infinite)"
        )
    return patch


def trained_on_another(folder: Path, spec: ModelSpec) -> bool:
    """Whether the adapter's settings name another model than this one as their base. A folder or a
    repository of the same name counts as the same, and an adapter that names none as any.
    """
    named = _from_folder(folder).config.get("base_model_name_or_path") or ""
    base = PurePath(str(named)).name.lower()
    names = {PurePath(name).name.lower() for name in (spec.source, spec.hub_id, spec.name)}
    return bool(base) and base not in names


def refuse_partial(folder: Path, patch: Patch, model: Any) -> None:
    """Raises InputError where the adapter's settings name modules of the model for which it has no
    tensors.

    PEFT fills those with fresh numbers, so a file that lost tensors is another adapter, without a
    word.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    targets = targeted(_from_folder(folder).config, linear)
    missing = targets - patch.weights.keys() - patch.scales.keys()
    if missing:
        raise InputError(
            f"{folder}: no tensors for {some(missing)}, which target_modules in {CONFIG} names"
        )


def _from_folder(folder: Path) -> _Adapter:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            advice = "not a PEFT adapter folder"
            if name == WEIGHTS and (folder / "adapter_model.bin").exists():
                advice = "save it again with safe_serialization=True"
            raise InputError(f"{folder}: no {name} ({advice})")
    try:
        config = json.loads((folder / CONFIG).read_bytes())
        if not isinstance(config, dict):
            raise ValueError("not an object of settings")
    except ValueError as error:
        raise InputError(f"{folder / CONFIG}: broken JSON ({error})") from error
    try:
        return _Adapter(str(folder), config, load_file(folder / WEIGHTS))
    except (OSError, SafetensorError) as error:
        raise InputError(f"{folder / WEIGHTS}: not a safetensors file ({error})") from error


def _from_model(model: Any) -> _Adapter:
    from peft import get_peft_model_state_dict

    names = model.active_adapters
    if len(names) != 1:
        raise InputError(
            f"the PEFT model has {len(names)} active adapters ({', '.join(names)}); activate the"
            " one meant"
        )
    tensors = get_peft_model_state_dict(model, adapter_name=names[0], save_embedding_layers=False)
    return _Adapter(f"adapter {names[0]}", model.peft_config[names[0]].to_dict(), tensors)


def _lora(adapter: _Adapter) -> Patch:
    config = adapter.config
    if config.get("bias", "none") != "none":
        raise InputError(
            f"{adapter.where}: bias={config['bias']} is not supported: a patch cannot express it"
        )
    start = config.get("init_lora_weights", True)
    if start not in PLAIN_STARTS:
        raise InputError(
            f"{adapter.where}: init_lora_weights={start} changes the base's own weights; save it as"
            " plain LoRA (save_pretrained(..., path_initial_model_for_weight_conversion=...))"
        )
    all_a, all_b = adapter.by_module(".lora_A.weight"), adapter.by_module(".lora_B.weight")
    refuse_odd(adapter.where, config)
    _complete(adapter, 2 * len(all_b) if all_a.keys() == all_b.keys() else 0)
    weights = {}
    for name, a in all_a.items():
        b = all_b[name]
        _check_factors(adapter, name, a, b)
        # PEFT multiplies when it runs; a patch has its scaling in B.
        weights[name] = LowRank(_plain(a), _plain(b) * scaling(config, name, len(a)))
    return Patch(weights)


def _check_factors(adapter: _Adapter, name: str, a: Tensor, b: Tensor) -> None:
    """Raises InputError unless these are two factors, and of the rank that the settings say."""
    if a.dim() != 2 or b.dim() != 2 or len(a) != b.shape[1]:
        raise InputError(
            f"{adapter.where}: {name}: factors of {list(a.shape)} and {list(b.shape)} numbers"
        )
    rank = by_pattern(adapter.config, "rank_pattern", "r", name)
    if len(a) != rank:
        raise InputError(f"{adapter.where}: {name} is of rank {len(a)}, but {CONFIG} says {rank}")


def _ia3(adapter: _Adapter) -> Patch:
    vectors = adapter.by_module(".ia3_l")
    _complete(adapter, len(vectors))
    scales = {}
    for name, vector in vectors.items():
        if vector.dim() != 2 or 1 not in vector.shape:
            raise InputError(
                f"{adapter.where}: {name}: IA3 on this kind of layer is not supported"
                f" ({list(vector.shape)})"
            )
        # PEFT stores a row for what a layer reads, and a column for what it says.
        side: Side = "in" if vector.shape[0] == 1 else "out"
        scales[name] = Scale(_plain(vector).flatten(), side)
    return Patch(scales=scales)


def _prompt_tuning(adapter: _Adapter) -> Patch:
    """PEFT stores vectors for a decoder too, which prompt tuning never reads: the first
    `num_virtual_tokens` count.
    """
    vectors = adapter.tensors.get("prompt_embeddings")
    tokens = adapter.config.get("num_virtual_tokens")
    if isinstance(tokens, bool) or not isinstance(tokens, int):
        raise InputError(
            f"{adapter.where}: num_virtual_tokens={tokens!r:.80}: must be a whole number above 0"
        )
    _complete(adapter, 1 if vectors is not None else 0)
    vectors = _plain(torch.as_tensor(vectors))
    if vectors.dim() != 2 or not 0 < tokens <= len(vectors):
        raise InputError(
            f"{adapter.where}: {list(vectors.shape)} numbers for num_virtual_tokens={tokens}"
        )
    return Patch(prompt=vectors[:tokens].clone())


def _complete(adapter: _Adapter, read: int) -> None:
    """Raises InputError unless that many tensors, and at least one, are all there is: nothing is
    left out silently.
    """
    if read == 0 or read != len(adapter.tensors):
        ours = (".lora_A.weight", ".lora_B.weight", ".ia3_l", "prompt_embeddings")
        odd = [name for name in adapter.tensors if not name.endswith(ours)] or list(adapter.tensors)
        what = f"such as {odd[0]}" if odd else "none at all"
        raise InputError(
            f"{adapter.where}: tensors that are no {adapter.config['peft_type']} adapter's: {what}"
        )


def _not_finite(adapter: _Adapter) -> str:
    """The name of the first tensor with a number that is none."""
    for name, tensor in sorted(adapter.tensors.items()):
        if not bool(tensor.isfinite().all()):
            return name
    return "it"  # alpha is so large that its product with a factor is not finite


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float32).clone()

"""What an adapter's settings (`adapter_config.json`) say of its tensors: rank, scaling, and the
modules it is for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from bench.errors import InputError

# Settings that change nothing of what a trained adapter does, or that are read here. A setting of
# any other name must be off: what it would do is not in the patch.
_ALWAYS = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "peft_type",
    "peft_version",
    "revision",
    "task_type",
}
_OF_MODULES = {
    "exclude_modules",
    "fan_in_fan_out",
    "layers_pattern",
    "layers_to_transform",
    "target_modules",
}
KNOWN = {
    "LORA": (
        _ALWAYS
        | _OF_MODULES
        | {
            "alpha_pattern",
            "bias",
            "corda_config",
            "ensure_weight_tying",
            "eva_config",
            "init_lora_weights",
            "loftq_config",
            "lora_alpha",
            "lora_dropout",
            "lora_ga_config",
            "megatron_core",
            "qalora_group_size",
            "r",
            "rank_pattern",
            "runtime_config",
            "use_rslora",
        }
    ),
    "IA3": _ALWAYS | _OF_MODULES | {"feedforward_modules", "init_ia3_weights"},
    "PROMPT_TUNING": (
        _ALWAYS
        | {
            "num_attention_heads",
            "num_layers",
            "num_transformer_submodules",
            "num_virtual_tokens",
            "prompt_tuning_init",
            "prompt_tuning_init_text",
            "token_dim",
            "tokenizer_kwargs",
            "tokenizer_name_or_path",
        }
    ),
}
# Starting points that leave the base's weights as they are; the others (PiSSA, OLoRA, LoftQ, ...)
# move a part of them into the adapter.
PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva")


def refuse_odd(where: str, config: Mapping[str, Any]) -> None:
    """Raises InputError for a LoRA's rank or alpha that is no number above 0,
    and for a pattern that is none.
    """
    numbers = {"r": config.get("r"), "lora_alpha": config.get("lora_alpha")}
    for name in ("rank_pattern", "alpha_pattern"):
        patterns = config.get(name) or {}
        if not isinstance(patterns, Mapping):
            raise InputError(
                f"{where}: {name}={patterns!r:.80}: must name modules, each with a number"
            )
        for pattern, value in patterns.items():
            _check_pattern(where, name, pattern)
            numbers[f"{name}.{pattern}"] = value
    for name, value in numbers.items():
        whole = name == "r" or name.startswith("rank_pattern")
        kind = int if whole else int | float
        if isinstance(value, bool) or not isinstance(value, kind) or not 0 < value < math.inf:
            what = "a whole number" if whole else "a number"
            raise InputError(f"{where}: {name}={value!r:.80}: must be {what} above 0")


def by_pattern(config: Mapping[str, Any], patterns: str, default: str, name: str) -> float:
    """The number of the first pattern that fits the module's name, else the default's."""
    given: Mapping[str, Any] = config.get(patterns) or {}
    for pattern, number in given.items():
        if re.match(rf"(.*\.)?({pattern})$", name):
            return float(number)
    return float(config[default])


def scaling(config: Mapping[str, Any], name: str, rank: int) -> float:
    """alpha / rank (LoRA) or alpha / sqrt(rank) (rsLoRA),
    alpha by the first pattern that fits the module's name.
    """
    alpha = by_pattern(config, "alpha_pattern", "lora_alpha", name)
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def targeted(config: Mapping[str, Any], modules: Iterable[str]) -> set[str]:
    """Those of the modules that the settings name one by one; none where they name a pattern or
    some layers only.
    """
    targets, left_out = config.get("target_modules"), config.get("exclude_modules") or []
    if not isinstance(targets, list) or isinstance(left_out, str):
        return set()
    if config.get("layers_to_transform") is not None:
        return set()
    return {name for name in modules if _ends(name, targets) and not _ends(name, left_out)}


def _ends(name: str, words: Iterable[Any]) -> bool:
    return any(name == word or name.endswith(f".{word}") for word in words)


def _check_pattern(where: str, name: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise InputError(f"{where}: {name}: {pattern!r} is no pattern ({error})") from None

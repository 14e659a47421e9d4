"""The weights of a folder or of the hub: which of the library's classes reads them, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from bench.disk.integrity import loading, refuse_other_vocabulary, refuse_partial
from bench.errors import InputError
from bench.terminal.silence import libraries


class Checkpoint(NamedTuple):
    """A model as its files hold it, and its fast tokenizer. `placed`: it is where it shall be, in
    the numbers that it shall have.
    """

    model: Any
    tokenizer: Any
    placed: bool = False


def read_checkpoint(
    source: str,
    *,
    dtype: torch.dtype,
    device: torch.device,
    spread: bool,
    revision: Mapping[str, str | None],
    advice: str,
) -> Checkpoint:
    """The model of a folder or hub id. Of a model that also sees or hears, everything is loaded,
    and the text alone is used. `spread`: over all cards, and the machine's memory.

    Raises InputError if it cannot be had, is damaged, or writes no text.
    """
    from transformers import AutoConfig, AutoTokenizer

    libraries()
    how: dict[str, Any] = {"trust_remote_code": False, **revision}
    with loading(source, advice):
        config = AutoConfig.from_pretrained(source, **how)
        # Packed numbers can be moved and cast by nobody but the library, while it reads them.
        quantized = _is_quantized(source, config)
        where: dict[str, Any] = {}
        if spread:
            where = {"device_map": "auto"}
        elif quantized:
            where = {"device_map": {"": str(device)}}
        model, report = _class_of(source, config).from_pretrained(
            source,
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **where,
            **how,
        )
        tokenizer = AutoTokenizer.from_pretrained(source, **how)
    refuse_partial(source, report)
    refuse_other_vocabulary(source, model, tokenizer)
    return Checkpoint(model, tokenizer, placed=bool(where))


def _is_quantized(source: str, config: Any) -> bool:
    """Whether the weights are packed. Raises InputError for a packing that the library would pass
    over with a warning, so that packed numbers would be read as plain ones.
    """
    from transformers.quantizers.auto import AutoHfQuantizer

    settings = getattr(config, "quantization_config", None)
    if settings is None:
        return False
    known: Any = AutoHfQuantizer.supports_quant_method
    if isinstance(settings, dict) and not known(settings):
        raise InputError(
            f"cannot load the model '{source}': its weights are quantized by"
            f" {settings.get('quant_method')}, which the installed transformers does not know"
        )
    return True


def _class_of(source: str, config: Any) -> Any:
    """The class of the library that reads such a configuration and writes text."""
    from transformers import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
        AutoModelForSeq2SeqLM,
    )
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    if config.is_encoder_decoder:
        return AutoModelForSeq2SeqLM
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForCausalLM
    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return AutoModelForImageTextToText
    raise InputError(
        f"cannot load the model '{source}': the installed transformers has no"
        f" {config.model_type} model that writes text"
    )

"""What an engine must know of a model's layers, found from the model itself: where a batch may have
padding, and which modules are the MLPs of the text.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from torch import nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from bench.errors import InputError
from bench.lm.layers import has_plain_weights

Padding = Literal["any", "left", "none"]
"""Where a batch of a decoder's prompts may have padding: anywhere, as the mask hides it; before the
prompts alone; or nowhere, so that only prompts of one length are read together.
"""

ANSWER_TOKENS = 256
"""Room for an answer behind a prompt, in a window."""

_BLOCKS = ("mlp", "feed_forward", "block_sparse_moe", "shared_mlp", "DenseReluDense")
"""What families call the part of a layer that is no attention."""

_LAST_LINEAR = ("down_proj", "wo", "w2", "output_linear")
"""What families call the last linear layer of that part."""


def padding_of(model: Any, most_tokens: int) -> Padding:
    """Where the prompts of a decoder, of up to `most_tokens` tokens, may be padded.

    A layer with a state that each token changes (Mamba, gated delta networks, short convolutions)
    lets padding into the state. A sliding window counts the tokens between, padding as well: none
    may lie between a prompt and its answer, unless the window sees past both. So do layers of a
    kind that is not known here.
    """
    config = model.config.get_text_config(decoder=True)
    layers = DynamicCache(config=config).layers
    # Chunks count tokens from the first column on; and who is told no positions counts them too.
    if getattr(config, "attention_chunk_size", None) or not takes_positions(model):
        return "none"

    padding: Padding = "any"
    for layer in layers:
        if type(layer) is DynamicSlidingWindowLayer:
            if layer.sliding_window < most_tokens + ANSWER_TOKENS:
                padding = "left"
        elif type(layer) is not DynamicLayer and not _shares(layer):
            return "none"
    return padding


def takes_positions(model: Any) -> bool:
    """Whether the model can be told at which position each token stands."""
    return "position_ids" in inspect.signature(model.forward).parameters


def _shares(layer: Any) -> bool:
    """Whether the layer reads the keys and values of another and keeps none."""
    return type(layer).__name__ == "DummyLayer"


def text_decoder(model: Any) -> nn.Module:
    """The part that reads and writes text: no vision tower, no encoder."""
    decoder: nn.Module = model.get_decoder()
    return decoder


def text_linears(model: Any) -> dict[str, nn.Linear]:
    """The linear layers that text goes through, by name, in the order of the names: those of a
    vision tower would be trained on nothing.
    """
    parts = [text_decoder(model), model.get_output_embeddings()]
    if model.config.is_encoder_decoder:
        parts.append(model.get_encoder())
    inside: set[nn.Module] = set()
    for part in parts:
        inside.update(part.modules())
    linears = {}
    for name, module in sorted(model.named_modules()):
        if isinstance(module, nn.Linear) and module in inside:
            linears[name] = module
    return linears


class Block(NamedTuple):
    """The MLP of a layer, and its name in the model."""

    name: str
    module: nn.Module


def mlp_blocks(model: Any, part: nn.Module) -> list[Block]:
    """Name and module of the MLP of each layer of this part, first layer first. Layers without one
    have none.
    """
    inside = set(part.modules())
    blocks: list[Block] = []
    for name, module in model.named_modules():
        layer, _, last = name.rpartition(".")
        # A block within a block is a part of it: an expert, or what experts share.
        outer = bool(blocks) and name.startswith(f"{blocks[-1][0]}.")
        if last in _BLOCKS and module in inside and not outer:
            if blocks and blocks[-1][0].rpartition(".")[0] == layer:
                raise InputError(
                    f"{layer} adds the outputs of two MLPs ({blocks[-1][0]}, {name}): methods that"
                    " read or edit the output of a layer's MLP cannot use this model"
                )
            blocks.append(Block(name, module))
    return blocks


def is_in_mlp(name: str) -> bool:
    """Whether a module of this name is part of an MLP."""
    return not set(name.split(".")).isdisjoint(_BLOCKS)


def last_linear(name: str, block: nn.Module) -> str | None:
    """Name of the linear layer whose output is the block's, so that a change of the output can be
    folded into its weights.

    None if there is no such layer (experts), if it has a bias, or if its weights are quantized.
    """
    for child in _LAST_LINEAR:
        module = getattr(block, child, None)
        if isinstance(module, nn.Linear):
            foldable = module.bias is None and has_plain_weights(module)
            return f"{name}.{child}" if foldable else None
    return None


def start_token(model: Any) -> int:
    """The token with which an encoder-decoder begins every answer, as `generate` finds it."""
    settings: Mapping[str, Any] = {
        **vars(model.config),
        **{key: value for key, value in vars(model.generation_config).items() if value is not None},
    }
    for name in ("decoder_start_token_id", "bos_token_id"):
        token = settings.get(name)
        if token is not None:
            return int(token[0] if isinstance(token, list) else token)
    raise InputError("the model's settings have neither decoder_start_token_id nor bos_token_id")

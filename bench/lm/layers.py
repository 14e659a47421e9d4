"""The modules of a model that a patch changes: found by name, fit to be changed, untied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import nn

from bench.errors import InputError

Side = Literal["in", "out"]


def linear(modules: Mapping[str, nn.Module], name: str) -> nn.Linear:
    """The linear layer of that name. Raises InputError where there is none."""
    module = modules.get(name)
    if isinstance(module, nn.Linear):
        return module
    if module is None:
        raise InputError(f"the patch changes {name}, which this model does not have")
    raise InputError(
        f"the patch changes {name}, which this model has as {type(module).__name__}, not as a"
        " linear layer"
    )


def embedding(model: Any) -> Any:
    """The module that turns the prompt's tokens into vectors: the encoder's where there is one."""
    reader = model.get_encoder() if model.config.is_encoder_decoder else model
    return reader.get_input_embeddings()


def refuse_other_widths(name: str, module: nn.Linear, widths: Mapping[Side, int]) -> None:
    """Raises InputError where the patch is made for a layer of other widths."""
    have: dict[Side, int] = {"in": module.in_features, "out": module.out_features}
    for side, width in widths.items():
        if have[side] != width:
            raise InputError(
                f"the patch changes {name} with {side}put width {width}, but this model's is"
                f" {have[side]}"
            )


def has_plain_weights(module: nn.Linear) -> bool:
    """Whether the layer's weights are ordinary numbers, one for each pair of input and output."""
    weight = module.weight
    shape = (module.out_features, module.in_features)
    # Of one byte: packed numbers, or float8 with a scale beside it.
    return weight.is_floating_point() and weight.element_size() > 1 and weight.shape == shape


def refuse_unmergeable(name: str, module: nn.Linear) -> None:
    """Raises InputError if nothing can be merged into the layer's weights."""
    if not has_plain_weights(module):
        raise InputError(
            f"{name} is quantized, so that nothing can be merged into its weights; use the model's"
            " folder without quantization, or base=instruct"
        )
    if module.weight.is_meta:
        raise InputError(
            f"{name} lies outside of the cards' memory, so that nothing can be merged into its"
            " weights; use base=instruct, or a smaller model"
        )


def make_mergeable(model: Any, name: str, module: nn.Linear) -> None:
    """Give the layer weights of its own if it shares them with another, as with the embedding.

    Raises InputError if nothing can be merged into its weights.
    """
    refuse_unmergeable(name, module)
    for other in model.modules():
        if other is not module and getattr(other, "weight", None) is module.weight:
            # A change of the head is none of the embedding: merged into both, every token would be
            # read as another.
            module.weight = nn.Parameter(module.weight.detach().clone(), requires_grad=False)
            model.config.get_text_config().tie_word_embeddings = False
            model.config.tie_word_embeddings = False
            return

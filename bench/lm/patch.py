"""Patch: what a personalization does to a frozen model, as numbers: low-rank changes, scales, a
soft prompt.

For a layer `y = W x` a patch with factors A [rank, in] and B [out, rank] gives `y = (W + B A) x`:
LoRA, OPPU's per-user adapters and CHAMELEON's edit. A scale multiplies a layer's input or output by
a vector (IA3). A soft prompt is read before the prompt's own tokens. `bench.lm.batched_patches`
applies patches, each row of a batch its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.errors import InputError
from bench.lm.layers import (
    Side,
    embedding,
    linear,
    make_mergeable,
    refuse_other_widths,
)
from bench.lm.tensor_files import save_tensors
from bench.types import Weights

Positions = Literal["all", "last", "generated"]


@dataclass(frozen=True)
class LowRank:
    """`a` [rank, in], `b` [out, rank], float32: the weight changes by `b @ a`."""

    a: Tensor
    b: Tensor


@dataclass(frozen=True)
class Scale:
    """`vector` [in] or [out], float32: what the layer reads, or what it says (with its bias), is
    multiplied by it.
    """

    vector: Tensor
    side: Side


@dataclass(frozen=True, eq=False)
class Patch:
    """Changes by module name: low-rank `weights` and `scales`; and a soft `prompt` [tokens, width],
    float32.

    `outputs`: a module of any kind whose output y becomes y + B A y: what cannot be folded into one
    weight, as of a mixture of experts. Nothing merges it.

    A module that has both a low-rank change and a scale is scaled around the changed weights. The
    soft prompt stands before the whole prompt, before the encoder's input where the model has one.

    `positions` (docs/choices.md, A12): `all` tokens; `last`: the last prompt token and every
    new one; `generated`: new tokens only. Only `all` can be merged into the weights or have a soft
    prompt.
    """

    weights: Mapping[str, LowRank] = field(default_factory=dict)
    positions: Positions = "all"
    scales: Mapping[str, Scale] = field(default_factory=dict)
    prompt: Tensor | None = None
    outputs: Mapping[str, LowRank] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.prompt is not None and self.positions != "all":
            raise InputError(
                f"a soft prompt is read before every token: it has no positions={self.positions}"
            )

    @cached_property
    def id(self) -> str:
        """A hash of what the patch does: names, numbers, positions."""
        digest = hashlib.sha256(self.positions.encode())
        for name in sorted(self.weights):
            _digest(digest, name, self.weights[name].a, self.weights[name].b)
        for name in sorted(self.scales):
            _digest(digest, f"{name} {self.scales[name].side}", self.scales[name].vector)
        for name in sorted(self.outputs):
            _digest(digest, f"{name} output", self.outputs[name].a, self.outputs[name].b)
        if self.prompt is not None:
            _digest(digest, f"prompt {list(self.prompt.shape)}", self.prompt)
        return digest.hexdigest()[:16]

    @property
    def tensors(self) -> list[Tensor]:
        """All its numbers."""
        tensors = []
        for low in (*self.weights.values(), *self.outputs.values()):
            tensors += [low.a, low.b]
        tensors += [scale.vector for scale in self.scales.values()]
        if self.prompt is not None:
            tensors.append(self.prompt)
        return tensors

    @property
    def bytes(self) -> int:
        """Size at two bytes a number."""
        return sum(2 * tensor.numel() for tensor in self.tensors)

    @property
    def virtual(self) -> int:
        """How many tokens the soft prompt has."""
        return 0 if self.prompt is None else len(self.prompt)

    @property
    def changes(self) -> bool:
        """Whether it does anything: not a fresh LoRA (B = 0), not scales of one alone."""
        for low in (*self.weights.values(), *self.outputs.values()):
            if bool((low.a != 0).any() and (low.b != 0).any()):
                return True
        for scale in self.scales.values():
            if bool((scale.vector != 1).any()):
                return True
        return self.virtual > 0

    @property
    def finite(self) -> bool:
        """Whether all its numbers are: a training that diverged leaves others."""
        return all(bool(tensor.isfinite().all()) for tensor in self.tensors)

    def rounded(self, dtype: torch.dtype) -> Patch:
        """The patch as it is after it was saved in this dtype."""

        def saved(tensor: Tensor) -> Tensor:
            return tensor.detach().to("cpu", dtype).float()

        weights, scales, outputs = {}, {}, {}
        for name, low in self.weights.items():
            weights[name] = LowRank(saved(low.a), saved(low.b))
        for name, low in self.outputs.items():
            outputs[name] = LowRank(saved(low.a), saved(low.b))
        for name, scale in self.scales.items():
            scales[name] = Scale(saved(scale.vector), scale.side)
        prompt = None if self.prompt is None else saved(self.prompt)
        return Patch(weights, self.positions, scales, prompt, outputs)

    def negative(self) -> Patch:
        """The patch that takes this one back.

        Raises InputError for a soft prompt, for a scale with a zero, and for changed outputs.
        """
        self._refuse_outputs("taken back")
        if self.prompt is not None:
            raise InputError(
                "a soft prompt changes no weights: no patch takes it back (leave it out instead)"
            )
        for name, scale in self.scales.items():
            if bool((scale.vector == 0).any()):
                raise InputError(f"the patch scales {name} by zero, which no patch takes back")
        weights, scales = {}, {}
        for name, low in self.weights.items():
            weights[name] = _taken_back(low, self.scales.get(name))
        for name, scale in self.scales.items():
            scales[name] = Scale(1 / scale.vector, scale.side)
        return Patch(weights, self.positions, scales)

    def check(self, model: nn.Module) -> None:
        """Raises InputError unless the model has every module and width that the patch changes."""
        check(model, [self])

    def merge(self, model: nn.Module) -> None:
        """Make the change in the model's weights, in float32 before rounding to their dtype.

        Raises InputError for a patch of some positions only, for a soft prompt, and where the model
        lacks a module or a width.
        """
        if self.positions != "all":
            raise InputError(
                f"a patch for positions={self.positions} cannot be merged into the weights"
            )
        if self.prompt is not None:
            raise InputError("a soft prompt cannot be merged into the weights")
        self._refuse_outputs("merged into the weights")
        self.check(model)
        modules = dict(model.named_modules())
        for name in (*self.weights, *self.scales):
            make_mergeable(model, name, linear(modules, name))
        for name, low in self.weights.items():
            weight = linear(modules, name).weight.data
            # Summed in float32 and rounded once: in bfloat16 a change below 2^-9 of a weight, as
            # most of an adapter's are, would be lost.
            delta = low.b.to(weight.device) @ low.a.to(weight.device)
            weight.copy_((weight.float() + delta).to(weight.dtype))
        for name, scale in self.scales.items():
            module = linear(modules, name)
            vector = scale.vector.to(module.weight.device)
            # Of a weight [out, in] the input's scale is one of columns, the output's one of rows.
            factor = vector if scale.side == "in" else vector[:, None]
            module.weight.data.copy_((module.weight.float() * factor).to(module.weight.dtype))
            # The bias is a part of what a layer says, and of nothing that it reads.
            if module.bias is not None and scale.side == "out":
                module.bias.data.copy_((module.bias.float() * vector).to(module.bias.dtype))

    def _refuse_outputs(self, what: str) -> None:
        for name in self.outputs:
            raise InputError(
                f"the patch changes the output of {name} as a whole, which cannot be {what}"
            )

    def save(
        self,
        path: Path,
        *,
        dtype: torch.dtype = torch.float32,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Write a safetensors file: `NAME.a` and `NAME.b`, `NAME.scale_in` or `NAME.scale_out`,
        `NAME.output_a` and `NAME.output_b`, and `prompt`; `notes` and the positions are its
        metadata.
        """
        tensors: dict[str, Tensor] = {}
        for name, low in self.weights.items():
            tensors |= {f"{name}.a": low.a, f"{name}.b": low.b}
        for name, low in self.outputs.items():
            tensors |= {f"{name}.output_a": low.a, f"{name}.output_b": low.b}
        for name, scale in self.scales.items():
            tensors[f"{name}.scale_{scale.side}"] = scale.vector
        if self.prompt is not None:
            tensors["prompt"] = self.prompt
        for name, tensor in tensors.items():
            tensors[name] = tensor.detach().to("cpu", dtype).contiguous()
        save_tensors(tensors, path, metadata={**(notes or {}), "positions": self.positions})

    @staticmethod
    def load(path: Path) -> Patch:
        """The patch that `save` wrote, in float32 whatever it was written in."""
        from safetensors import safe_open

        tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
        with safe_open(path, "pt") as file:
            positions = (file.metadata() or {}).get("positions", "all")
        weights, scales, outputs = {}, {}, {}
        for key, tensor in tensors.items():
            name, _, part = key.rpartition(".")
            if part == "a":
                weights[name] = LowRank(tensor, tensors[f"{name}.b"])
            elif part == "output_a":
                outputs[name] = LowRank(tensor, tensors[f"{name}.output_b"])
            elif part == "scale_in":
                scales[name] = Scale(tensor, "in")
            elif part == "scale_out":
                scales[name] = Scale(tensor, "out")
        return Patch(weights, positions, scales, tensors.get("prompt"), outputs)


def check(model: nn.Module, patches: Iterable[Patch]) -> None:
    """Raises InputError unless the model has every module and width that the patches change."""
    modules = dict(model.named_modules())
    for patch in patches:
        for name, low in patch.weights.items():
            refuse_other_widths(
                name, linear(modules, name), {"in": low.a.shape[1], "out": low.b.shape[0]}
            )
        for name, scale in patch.scales.items():
            refuse_other_widths(name, linear(modules, name), {scale.side: len(scale.vector)})
        for name in patch.outputs:
            if name not in modules:
                raise InputError(f"the patch changes {name}, which this model does not have")
        if patch.prompt is not None:
            has, width = patch.prompt.shape[1], embedding(model).weight.shape[1]
            if has != width:
                raise InputError(
                    f"the soft prompt has vectors of {has} numbers, the model's have {width}"
                )


def concrete(patches: Iterable[Weights]) -> tuple[Patch, ...]:
    """A request's or a user's patches, which types that know no torch call by less."""
    return cast("tuple[Patch, ...]", tuple(patches))


def _digest(digest: Any, name: str, *tensors: Tensor) -> None:
    digest.update(name.encode())
    for tensor in tensors:
        # In float32, as NumPy knows no bfloat16: a number has one id in every dtype that holds it.
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())


def _taken_back(low: LowRank, scale: Scale | None) -> LowRank:
    """`s (W + B A)` is taken back by the scale 1/s around `- (s B) A`;
    likewise where the input is scaled.
    """
    if scale is None:
        return LowRank(low.a, -low.b)
    if scale.side == "in":
        return LowRank(low.a * scale.vector, -low.b)
    return LowRank(low.a, -scale.vector[:, None] * low.b)

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
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from bench.disk.files import replace as replace_file
from bench.errors import InputError

Positions = Literal["all", "last", "generated"]
Side = Literal["in", "out"]


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
        if self.prompt is not None:
            _digest(digest, f"prompt {list(self.prompt.shape)}", self.prompt)
        return digest.hexdigest()[:16]

    @property
    def tensors(self) -> list[Tensor]:
        """All its numbers."""
        factors = [tensor for low in self.weights.values() for tensor in (low.a, low.b)]
        return [
            *factors,
            *(one.vector for one in self.scales.values()),
            *([] if self.prompt is None else [self.prompt]),
        ]

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
        low = any(bool((one.a != 0).any() and (one.b != 0).any()) for one in self.weights.values())
        return (
            low
            or self.virtual > 0
            or any(bool((one.vector != 1).any()) for one in self.scales.values())
        )

    @property
    def finite(self) -> bool:
        """Whether all its numbers are: a training that diverged leaves others."""
        return all(bool(tensor.isfinite().all()) for tensor in self.tensors)

    def rounded(self, dtype: torch.dtype) -> Patch:
        """The patch as it is after it was kept in this dtype."""

        def kept(tensor: Tensor) -> Tensor:
            return tensor.detach().to("cpu", dtype).float()

        return Patch(
            {name: LowRank(kept(low.a), kept(low.b)) for name, low in self.weights.items()},
            self.positions,
            {name: Scale(kept(scale.vector), scale.side) for name, scale in self.scales.items()},
            None if self.prompt is None else kept(self.prompt),
        )

    def negative(self) -> Patch:
        """The patch that takes this one back. Raises InputError for a soft prompt, and for a scale
        with a zero.
        """
        if self.prompt is not None:
            raise InputError(
                "a soft prompt changes no weights: no patch takes it back (leave it out instead)"
            )
        for name, scale in self.scales.items():
            if bool((scale.vector == 0).any()):
                raise InputError(f"the patch scales {name} by zero, which no patch takes back")
        weights = {
            name: _taken_back(low, self.scales.get(name)) for name, low in self.weights.items()
        }
        scales = {name: Scale(1 / scale.vector, scale.side) for name, scale in self.scales.items()}
        return Patch(weights, self.positions, scales)

    def check(self, model: nn.Module) -> None:
        """Raises InputError unless the model has every module and width that the patch changes."""
        check(model, [self])

    def merge(self, model: nn.Module) -> None:
        """Make the change in the model's weights, in float32 before rounding to their dtype."""
        if self.positions != "all":
            raise InputError(
                f"a patch for positions={self.positions} cannot be merged into the weights"
            )
        if self.prompt is not None:
            raise InputError("a soft prompt cannot be merged into the weights")
        self.check(model)
        modules = dict(model.named_modules())
        for name, low in self.weights.items():
            weight = linear(modules, name).weight.data
            delta = low.b.to(weight.device) @ low.a.to(weight.device)
            weight.copy_((weight.float() + delta).to(weight.dtype))
        for name, scale in self.scales.items():
            module, vector = (
                linear(modules, name),
                scale.vector.to(linear(modules, name).weight.device),
            )
            by = vector if scale.side == "in" else vector[:, None]
            module.weight.data.copy_((module.weight.float() * by).to(module.weight.dtype))
            if module.bias is not None and scale.side == "out":
                module.bias.data.copy_((module.bias.float() * vector).to(module.bias.dtype))

    def save(
        self,
        path: Path,
        *,
        dtype: torch.dtype = torch.float32,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        tensors = {f"{name}.a": low.a for name, low in self.weights.items()}
        tensors |= {f"{name}.b": low.b for name, low in self.weights.items()}
        tensors |= {
            f"{name}.scale_{scale.side}": scale.vector for name, scale in self.scales.items()
        }
        tensors |= {} if self.prompt is None else {"prompt": self.prompt}
        plain = {
            name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in tensors.items()
        }
        save_tensors(plain, path, metadata={**(notes or {}), "positions": self.positions})

    @staticmethod
    def load(path: Path) -> Patch:
        from safetensors import safe_open

        tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
        with safe_open(path, "pt") as file:
            positions = (file.metadata() or {}).get("positions", "all")
        names = [name.removesuffix(".a") for name in tensors if name.endswith(".a")]
        weights = {name: LowRank(tensors[f"{name}.a"], tensors[f"{name}.b"]) for name in names}
        sides: tuple[Side, ...] = ("in", "out")
        scales = {
            name.removesuffix(f".scale_{side}"): Scale(tensor, side)
            for side in sides
            for name, tensor in tensors.items()
            if name.endswith(f".scale_{side}")
        }
        return Patch(weights, positions, scales, tensors.get("prompt"))

    @staticmethod
    def from_peft(source: Any) -> Patch:
        """The patch that equals a PEFT adapter: a folder, or the active adapter of a `PeftModel`.

        Raises InputError for a missing or damaged folder, and for what a patch cannot express.
        """
        from bench.lm.peft_folders import from_peft

        return from_peft(source)


def check(model: nn.Module, patches: Iterable[Patch]) -> None:
    """Raises InputError unless the model has every module and width that the patches change."""
    modules = dict(model.named_modules())
    for patch in patches:
        for name, low in patch.weights.items():
            _fits(name, linear(modules, name), {"in": low.a.shape[1], "out": low.b.shape[0]})
        for name, scale in patch.scales.items():
            _fits(name, linear(modules, name), {scale.side: len(scale.vector)})
        if patch.prompt is not None and patch.prompt.shape[1] != (
            width := embedding(model).weight.shape[1]
        ):
            has = patch.prompt.shape[1]
            raise InputError(
                f"the soft prompt has vectors of {has} numbers, the model's have {width}"
            )


def virtual_tokens(patches: Iterable[Patch]) -> int:
    """Tokens that the soft prompts of one request put before its prompt."""
    return sum(patch.virtual for patch in patches)


def linear(modules: Mapping[str, nn.Module], name: str) -> nn.Linear:
    """The linear layer of that name. Raises InputError where there is none."""
    module = modules.get(name)
    if not isinstance(module, nn.Linear):
        have = (
            "does not have"
            if module is None
            else f"has as {type(module).__name__}, not as a linear layer"
        )
        raise InputError(f"the patch changes {name}, which this model {have}")
    return module


def embedding(model: Any) -> Any:
    """The module that turns the prompt's tokens into vectors: the encoder's where there is one."""
    reader = model.get_encoder() if model.config.is_encoder_decoder else model
    return reader.get_input_embeddings()


def _digest(digest: Any, name: str, *tensors: Tensor) -> None:
    digest.update(name.encode())
    for tensor in tensors:
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())


def _taken_back(low: LowRank, scale: Scale | None) -> LowRank:
    """`s (W + B A)` is taken back by the scale 1/s around `- (s B) A`; likewise where the input is
    scaled.
    """
    if scale is None:
        return LowRank(low.a, -low.b)
    if scale.side == "in":
        return LowRank(low.a * scale.vector, -low.b)
    return LowRank(low.a, -scale.vector[:, None] * low.b)


def _fits(name: str, module: nn.Linear, widths: Mapping[Side, int]) -> None:
    """Raises InputError where the patch is made for a layer of other widths."""
    have: dict[Side, int] = {"in": module.in_features, "out": module.out_features}
    for side, width in widths.items():
        if have[side] != width:
            raise InputError(
                f"the patch changes {name} with {side}put width {width}, but this model's is"
                f" {have[side]}"
            )


def save_tensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file at once: whole or not at all. Raises StoreError where the disk
    refuses.
    """
    replace_file(path, [save(dict(tensors), metadata=dict(metadata or {}))])

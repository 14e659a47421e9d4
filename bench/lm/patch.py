"""Patch: a low-rank change of named linear layers of a frozen model, and the ways to apply it.

For a layer `y = W x` a patch with factors A [rank, in] and B [out, rank] gives `y = (W + B A) x`. LoRA, OPPU's per-user
adapters and CHAMELEON's edit are all of this form. The rows of one batch may each carry patches of their own.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from bench.store import read_json, write_json, writing
from bench.types import InputError, Item, Personalization

Positions = Literal["all", "last", "generated"]
ACTS_ON = {"all": ("body", "end", "answer"), "last": ("end", "answer"), "generated": ("answer",)}


@dataclass(frozen=True)
class LowRank:
    """`a` [rank, in], `b` [out, rank], float32: the weight changes by `b @ a`."""

    a: Tensor
    b: Tensor


@dataclass(frozen=True, eq=False)
class Patch:
    """Low-rank changes by module name.

    `positions` (CHAMELEON, ambiguity A12): `all` tokens; `last`: the last prompt token and every new one; `generated`:
    new tokens only. Only `all` can be merged into the weights.
    """

    weights: Mapping[str, LowRank]
    positions: Positions = "all"

    @cached_property
    def id(self) -> str:
        """A hash of what the patch does: names, numbers, positions."""
        digest = hashlib.sha256(self.positions.encode())
        for name in sorted(self.weights):
            digest.update(name.encode())
            for tensor in (self.weights[name].a, self.weights[name].b):
                digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def bytes(self) -> int:
        """Size at two bytes a number."""
        return sum(2 * (low.a.numel() + low.b.numel()) for low in self.weights.values())

    def negative(self) -> Patch:
        """The patch that takes this one back."""
        return Patch({name: LowRank(low.a, -low.b) for name, low in self.weights.items()}, self.positions)

    def merge(self, model: nn.Module) -> None:
        """Add the change to the model's weights, in float32 before rounding to their dtype."""
        if self.positions != "all":
            raise InputError(f"a patch for positions={self.positions} cannot be merged into the weights")
        modules = dict(model.named_modules())
        for name, low in self.weights.items():
            weight = _linear(modules, name).weight.data
            delta = low.b.to(weight.device) @ low.a.to(weight.device)
            weight.copy_((weight.float() + delta).to(weight.dtype))

    def save(self, path: Path, *, dtype: torch.dtype = torch.float32, notes: Mapping[str, str] | None = None) -> None:
        tensors = {}
        for name, low in self.weights.items():
            tensors[f"{name}.a"] = low.a.detach().to("cpu", dtype).contiguous()
            tensors[f"{name}.b"] = low.b.detach().to("cpu", dtype).contiguous()
        save_tensors(tensors, path, metadata={**(notes or {}), "positions": self.positions})

    @staticmethod
    def load(path: Path) -> Patch:
        from safetensors import safe_open

        tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
        with safe_open(path, "pt") as file:
            positions = (file.metadata() or {}).get("positions", "all")
        names = [name.removesuffix(".a") for name in tensors if name.endswith(".a")]
        return Patch({name: LowRank(tensors[f"{name}.a"], tensors[f"{name}.b"]) for name in names}, positions)


@dataclass
class _Stack:
    """One module's patches: unique factors A [u, rank, in] and B [u, out, rank], and which each row uses."""

    a: Tensor
    b: Tensor
    row: Tensor

    def delta(self, x: Tensor) -> Tensor:
        x = x.float()
        if len(self.a) == 1:
            return x @ self.a[0].T @ self.b[0].T
        a, b = self.a[self.row], self.b[self.row]
        return torch.einsum("btr,bor->bto", torch.einsum("bti,bri->btr", x, a), b)


class Rows:
    """The patches of the rows of the batch in flight.

    `reading` says which part the model reads: the prompt's body, its end (the last token), or the answer. `again`: how
    many leading tokens of the next pass belong to the prompt.
    """

    def __init__(self, patches: Sequence[tuple[Patch, ...]], device: torch.device) -> None:
        self.reading: Literal["body", "end", "answer"] = "body"
        self.again = 0
        self._stacks: dict[tuple[str, Positions], _Stack] = {}
        for positions in ("all", "last", "generated"):
            rows = [tuple(patch for patch in row if patch.positions == positions) for row in patches]
            unique = list({tuple(patch.id for patch in row): row for row in rows}.values())
            index = {tuple(patch.id for patch in row): number for number, row in enumerate(unique)}
            row_of = torch.tensor([index[tuple(patch.id for patch in row)] for row in rows], device=device)
            for name in sorted({name for row in unique for patch in row for name in patch.weights}):
                self._stacks[name, positions] = _stack(name, unique, row_of)

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self._stacks}

    def select(self, keep: Tensor) -> None:
        """Keep these rows (the others have finished)."""
        for stack in self._stacks.values():
            stack.row = stack.row[keep]

    def change(self, name: str, x: Tensor, output: Tensor) -> Tensor:
        for positions in ("all", "last", "generated"):
            stack = self._stacks.get((name, positions))
            if stack is None or self.reading not in ACTS_ON[positions]:
                continue
            delta = stack.delta(x)
            if positions == "generated":
                delta[:, : self.again] = 0
            output = (output.float() + delta).to(output.dtype)
        return output


@contextmanager
def applied(model: nn.Module, patches: Sequence[tuple[Patch, ...]]) -> Iterator[Rows]:
    """Inside, row i of every batch that the model reads is changed by `patches[i]`. Hooks never outlive the block."""
    rows = Rows(patches, next(model.parameters()).device)
    modules = dict(model.named_modules())

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
        return lambda _module, args, output: rows.change(name, args[0], output)

    handles = [_linear(modules, name).register_forward_hook(hook(name)) for name in sorted(rows.names)]
    try:
        yield rows
    finally:
        for handle in handles:
            handle.remove()


def _stack(name: str, unique: Sequence[tuple[Patch, ...]], row_of: Tensor) -> _Stack:
    """Factors of all unique rows, padded with zeros to one rank; several patches of a row are laid side by side."""
    pairs = [[patch.weights[name] for patch in row if name in patch.weights] for row in unique]
    rank = max(sum(len(low.a) for low in row) for row in pairs)
    like = next(low for row in pairs for low in row)
    a = torch.zeros(len(unique), rank, like.a.shape[1])
    b = torch.zeros(len(unique), like.b.shape[0], rank)
    for index, row in enumerate(pairs):
        if row:
            joined_a, joined_b = torch.cat([low.a for low in row]), torch.cat([low.b for low in row], dim=1)
            a[index, : len(joined_a)], b[index, :, : len(joined_a)] = joined_a, joined_b
    return _Stack(a.to(row_of.device), b.to(row_of.device), row_of)


def _linear(modules: Mapping[str, nn.Module], name: str) -> nn.Linear:
    module = modules.get(name)
    if not hasattr(module, "weight"):
        raise InputError(f"the patch changes {name}, which this model does not have")
    return module  # type: ignore[return-value]


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file at once: whole or not at all. Raises StoreError where the disk refuses."""
    partial = path.with_suffix(f".{os.getpid()}")
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(save(dict(tensors), metadata=dict(metadata or {})))
        partial.replace(path)


def save_personalizations(personals: Sequence[Personalization], folder: Path, name: str) -> None:
    """Write `name.json`, and each different patch once as `patches/ID.safetensors`.

    The JSON comes last and in one piece, so that its existence means complete.
    """
    for patch in {patch.id: patch for personal in personals for patch in personal.patches}.values():
        path = folder / "patches" / f"{patch.id}.safetensors"
        if not path.exists():
            patch.save(path)
    write_json(folder / f"{name}.json", [_as_json(personal) for personal in personals])


def load_personalizations(folder: Path, name: str) -> list[Personalization] | None:
    """What `save_personalizations` wrote, or None where it is not complete. Equal patches are one object."""
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    values = read_json(path)
    ids = {id for value in values for id in value["patches"]}
    patches = {id: Patch.load(folder / "patches" / f"{id}.safetensors") for id in ids}
    return [_from_json(value, patches) for value in values]


def _as_json(personal: Personalization) -> dict[str, Any]:
    items = None if personal.items is None else [[item.id, dict(item.fields), item.date] for item in personal.items]
    return {
        "text": dict(personal.text),
        "items": items,
        "patches": [patch.id for patch in personal.patches],
        "facts": dict(personal.facts),
        "notes": dict(personal.notes),
    }


def _from_json(value: Mapping[str, Any], patches: Mapping[str, Patch]) -> Personalization:
    items = value["items"]
    return Personalization(
        text=value["text"],
        items=None if items is None else tuple(Item(id, fields, date) for id, fields, date in items),
        patches=tuple(patches[id] for id in value["patches"]),
        facts=value["facts"],
        notes=value["notes"],
    )

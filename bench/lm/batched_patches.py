"""Apply patches while a batch is read and answered:
the rows of one batch may each carry patches of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bench.lm.patch import LowRank, Patch, Positions, Side, check, embedding, linear

Reading = Literal["body", "rest", "end", "answer"]
KINDS: tuple[Positions, ...] = ("all", "last", "generated")
ACTS_ON = {
    "all": ("body", "rest", "end", "answer"),
    "last": ("end", "answer"),
    "generated": ("answer",),
}


@dataclass
class _Stack:
    """One module's low-rank changes: A [n, in, rank] and B [n, rank, out]; n is one for all rows
    alike, or the rows.
    """

    a: Tensor
    b: Tensor

    def add(self, output: Tensor, x: Tensor, start: int) -> Tensor:
        """`output` [rows, tokens, out] with the change of `x` added in place,
        from token `start` on.
        """
        # The factors come in float32, normalised there, and take the model's dtype last, once.
        # A product of bfloat16 is summed in float32 and rounded once, and
        # B's goes straight into the output, so that the change is as exact as the layer's own
        # output, to 2^-8 of itself, and no float copy of x is made.
        if self.a.dtype != x.dtype:
            self.a, self.b = self.a.to(x.dtype), self.b.to(x.dtype)
        shared = len(self.a) == 1
        low = x @ self.a[0] if shared else torch.bmm(x, self.a)
        low[:, :start] = 0
        if not shared:
            return output.baddbmm_(low, self.b)
        # One product over all tokens of all rows: with one patch for all, a row is nothing special.
        output.view(-1, output.shape[-1]).addmm_(low.view(-1, low.shape[-1]), self.b[0])
        return output

    def select(self, keep: Tensor) -> None:
        if len(self.a) > 1:
            self.a, self.b = self.a[keep], self.b[keep]


@dataclass
class _Factors:
    """One side of one module's scales: unique vectors [u, width], and which each row uses."""

    vectors: Tensor
    row: Tensor

    def of_rows(self) -> Tensor:
        return self.vectors[self.row][:, None, :]


class Rows:
    """The patches of the rows of the batch in flight.

    `reading` says which part the model reads: the prompt's body, its rest where the body is read in
    two parts, its end (the last token), or the answer. `again`: how many leading tokens of the next
    pass belong to the prompt. Soft prompts take the place of the first tokens of the body, which
    `LM.encode` has reserved for them. `ids`: of each row's patches.
    """

    def __init__(self, patches: Sequence[tuple[Patch, ...]], device: torch.device) -> None:
        self.reading: Reading = "body"
        self.again = 0
        self.ids = [_ids(row) for row in patches]
        self._stacks: dict[tuple[str, Positions], _Stack] = {}
        self._scales: dict[tuple[str, Side, Positions], _Factors] = {}
        self._prompts = [_soft_prompt(row) for row in patches]
        for positions in KINDS:
            self._add(positions, patches, device)

    def _add(
        self, positions: Positions, patches: Sequence[tuple[Patch, ...]], device: torch.device
    ) -> None:
        """Stack what acts at these positions, of each different row once."""
        unique: dict[tuple[str, ...], tuple[Patch, ...]] = {}
        for row in patches:
            acting = tuple(patch for patch in row if patch.positions == positions)
            unique.setdefault(_ids(acting), acting)
        number = {ids: at for at, ids in enumerate(unique)}
        row_of: list[int] = []
        for row in patches:
            acting = tuple(patch for patch in row if patch.positions == positions)
            row_of.append(number[_ids(acting)])

        names: set[str] = set()
        scaled: set[tuple[str, Side]] = set()
        for row in unique.values():
            for patch in row:
                names.update(patch.weights)
                scaled.update((name, scale.side) for name, scale in patch.scales.items())
        index = torch.tensor(row_of, device=device)
        rows = list(unique.values())
        for name in sorted(names):
            self._stacks[name, positions] = _stack(name, rows, index)
        for name, side in sorted(scaled):
            self._scales[name, side, positions] = _factors(name, side, rows, index)

    @property
    def names(self) -> set[str]:
        """The modules whose output changes."""
        scaled = {name for name, side, _ in self._scales if side == "out"}
        return {name for name, _ in self._stacks} | scaled

    @property
    def names_in(self) -> set[str]:
        """The modules whose input changes."""
        return {name for name, side, _ in self._scales if side == "in"}

    @property
    def has_prompts(self) -> bool:
        return any(prompt is not None for prompt in self._prompts)

    def select(self, keep: Tensor) -> None:
        """Keep these rows (the others have finished)."""
        for stack in self._stacks.values():
            stack.select(keep)
        for factors in self._scales.values():
            factors.row = factors.row[keep]
        rows = keep.tolist()
        self._prompts = [self._prompts[row] for row in rows]
        self.ids = [self.ids[row] for row in rows]

    @contextmanager
    def only(self, keep: Tensor) -> Iterator[None]:
        """Inside, these rows alone are read; behind it, all are there again."""
        # Copies that share the tensors: a selection makes new ones, and the whole stays as it is.
        whole = self._stacks, self._scales, self._prompts, self.ids
        self._stacks = {name: replace(stack) for name, stack in self._stacks.items()}
        self._scales = {name: replace(factors) for name, factors in self._scales.items()}
        self.select(keep)
        try:
            yield
        finally:
            self._stacks, self._scales, self._prompts, self.ids = whole

    def change(self, name: str, x: Tensor, output: Tensor) -> Tensor:
        """The module's output with all low-rank changes of `x`
        (its input) added in place, then scaled.
        """
        for positions in self._acting():
            stack = self._stacks.get((name, positions))
            if stack is None:
                continue
            output = stack.add(output, x, self.again if positions == "generated" else 0)
        return self.scaled(name, "out", output)

    def scaled(self, name: str, side: Side, x: Tensor) -> Tensor:
        """The module's input or output [rows, tokens, width] times the rows' scales."""
        for positions in self._acting():
            factors = self._scales.get((name, side, positions))
            if factors is None:
                continue
            changed = (x.float() * factors.of_rows()).to(x.dtype)
            if positions == "generated":
                changed[:, : self.again] = x[:, : self.again]
            x = changed
        return x

    def begun(self, vectors: Tensor) -> Tensor:
        """The embedded tokens [rows, tokens, width] with the rows' soft
        prompts as the first of the prompt's body.
        """
        if self.reading != "body":
            return vectors
        vectors = vectors.clone()
        for row, prompt in enumerate(self._prompts):
            if prompt is not None:
                vectors[row, : len(prompt)] = prompt.to(vectors)
        return vectors

    def _acting(self) -> list[Positions]:
        """The kinds of patches that act on the part that the model reads now."""
        return [positions for positions in KINDS if self.reading in ACTS_ON[positions]]


@contextmanager
def applied(model: nn.Module, patches: Sequence[tuple[Patch, ...]]) -> Iterator[Rows]:
    """Inside, row i of every batch that the model reads is changed by `patches[i]`. Hooks never
    outlive the block.

    The prompts of rows with a soft prompt must hold as many placeholders first (`LM.encode`).
    Raises InputError where the model lacks a module or a width that a patch changes.
    """
    check(model, {patch.id: patch for row in patches for patch in row}.values())
    rows = Rows(patches, next(model.parameters()).device)
    modules = dict(model.named_modules())

    def after(name: str) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
        return lambda _module, args, output: rows.change(name, args[0], output)

    def before(name: str) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
        return lambda _module, args: (rows.scaled(name, "in", args[0]), *args[1:])

    handles: list[RemovableHandle] = []
    for name in sorted(rows.names_in):
        handles.append(linear(modules, name).register_forward_pre_hook(before(name)))
    for name in sorted(rows.names):
        handles.append(linear(modules, name).register_forward_hook(after(name)))
    if rows.has_prompts:
        # Behind the embedding and not in place of its input: a soft prompt's vectors are no tokens.
        soft = embedding(model).register_forward_hook(lambda _module, _args, out: rows.begun(out))
        handles.append(soft)
    try:
        yield rows
    finally:
        for handle in handles:
            handle.remove()


def _stack(name: str, unique: Sequence[tuple[Patch, ...]], row_of: Tensor) -> _Stack:
    """Factors of all rows, padded with zeros to one rank;
    several patches of a row are laid side by side.
    """
    pairs: list[list[LowRank]] = []
    for row in unique:
        pairs.append([patch.weights[name] for patch in row if name in patch.weights])
    rank = max(sum(len(low.a) for low in row) for row in pairs)
    like = next(chain(*pairs))
    a = torch.zeros(len(unique), like.a.shape[1], rank)
    b = torch.zeros(len(unique), rank, like.b.shape[0])
    for index, row_pairs in enumerate(pairs):
        at = 0
        for low in row_pairs:
            # The product of stacked factors is the sum of the patches' products: two patches are
            # one of both ranks. Zeros beyond add nothing.
            a[index, :, at : at + len(low.a)] = low.a.T
            b[index, at : at + len(low.a)] = low.b.T
            at += len(low.a)
    a, b = a.to(row_of.device), b.to(row_of.device)
    # One copy for all rows, if they are alike; else one for each row, ready for a batched product.
    return _Stack(a, b) if len(unique) == 1 else _Stack(a[row_of], b[row_of])


def _factors(
    name: str, side: Side, unique: Sequence[tuple[Patch, ...]], row_of: Tensor
) -> _Factors:
    """The scales of all unique rows; several patches of a row multiply, no scale is one."""
    by_row: list[list[Tensor]] = []
    for row in unique:
        scales = [patch.scales[name] for patch in row if name in patch.scales]
        by_row.append([scale.vector for scale in scales if scale.side == side])
    one = torch.ones_like(next(chain(*by_row)))
    vectors = torch.stack([torch.stack([one, *row]).prod(0) for row in by_row])
    return _Factors(vectors.to(row_of.device), row_of)


def _soft_prompt(row: Sequence[Patch]) -> Tensor | None:
    """The soft prompts of one row, one behind the other."""
    prompts = [patch.prompt for patch in row if patch.prompt is not None]
    return torch.cat(prompts) if prompts else None


def _ids(row: Sequence[Patch]) -> tuple[str, ...]:
    return tuple(patch.id for patch in row)

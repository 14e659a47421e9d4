"""Tensors that change one module for all rows of a batch: stacked low-rank factors, and scales.

Rows with the same patches share one copy, so a batch with one patch costs what one row does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.lm.layers import Side
from bench.lm.patch import LowRank, Patch

PatchSet = tuple[Patch, ...]
"""The patches of one row."""


@dataclass
class FactorStack:
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
        if self.a.dtype != x.dtype or self.a.device != x.device:
            self.a, self.b = self.a.to(x), self.b.to(x)
        shared = len(self.a) == 1
        low = x @ self.a[0] if shared else torch.bmm(x, self.a)
        # Zeros between the two products: no change before `start`, and no mask over the output.
        low[:, :start] = 0
        if not shared:
            return output.baddbmm_(low, self.b)
        # One product over all tokens of all rows: with one patch for all, a row is nothing special.
        output.view(-1, output.shape[-1]).addmm_(low.view(-1, low.shape[-1]), self.b[0])
        return output

    def select(self, keep: Tensor) -> None:
        """Keep these rows."""
        if len(self.a) > 1:
            rows = keep.to(self.a.device)
            self.a, self.b = self.a[rows], self.b[rows]


@dataclass
class ScaleStack:
    """One side of one module's scales: different vectors [n, width], and which one each row uses
    [rows].
    """

    vectors: Tensor
    row: Tensor

    def of_rows(self) -> Tensor:
        """The rows' scales [rows, 1, width], the same at each of a row's tokens."""
        return self.vectors[self.row][:, None, :]

    def select(self, keep: Tensor) -> None:
        """Keep these rows."""
        self.row = self.row[keep]


def stacked_factors(pairs_by_set: Sequence[Sequence[LowRank]], row_of: Tensor) -> FactorStack:
    """A module's factors, padded with zeros to one rank; several of a row are laid side by side.
    `pairs_by_set`: those of each different set of patches. `row_of` [rows]: which set each row has.
    """
    rank = max(_rank(pairs) for pairs in pairs_by_set)
    like = next(pair for pairs in pairs_by_set for pair in pairs)

    a = torch.zeros(len(pairs_by_set), like.a.shape[1], rank)
    b = torch.zeros(len(pairs_by_set), rank, like.b.shape[0])
    for index, pairs in enumerate(pairs_by_set):
        # The product of stacked factors is the sum of the patches' products: two patches are one
        # of both ranks. Zeros beyond add nothing.
        start = 0
        for pair in pairs:
            end = start + len(pair.a)
            a[index, :, start:end] = pair.a.T
            b[index, start:end] = pair.b.T
            start = end

    a, b = a.to(row_of.device), b.to(row_of.device)
    if len(pairs_by_set) == 1:
        return FactorStack(a, b)
    # A copy for each row is ready for a batched product, at every token without gathering anew.
    return FactorStack(a[row_of], b[row_of])


def _rank(pairs: Sequence[LowRank]) -> int:
    """The rank of these factors laid side by side."""
    return sum(len(pair.a) for pair in pairs)


def stacked_scales(
    name: str, side: Side, patch_sets: Sequence[PatchSet], row_of: Tensor
) -> ScaleStack:
    """The module's scales on this side: several patches of a row multiply, and no scale is one."""
    vectors_by_set = [list(_vectors(name, side, patches)) for patches in patch_sets]
    ones = torch.ones_like(next(vector for vectors in vectors_by_set for vector in vectors))
    products = []
    for vectors in vectors_by_set:
        products.append(torch.stack([ones, *vectors]).prod(0))
    return ScaleStack(torch.stack(products).to(row_of.device), row_of)


def _vectors(name: str, side: Side, patches: PatchSet) -> Iterator[Tensor]:
    for patch in patches:
        scale = patch.scales.get(name)
        if scale is not None and scale.side == side:
            yield scale.vector

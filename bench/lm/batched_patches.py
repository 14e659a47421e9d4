"""Apply patches while a batch is read and answered:
the rows of one batch may each carry patches of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bench.lm.layers import Side, embedding, linear
from bench.lm.patch import LowRank, Patch, Positions, check
from bench.lm.patch_stacks import (
    FactorStack,
    PatchSet,
    ScaleStack,
    stacked_factors,
    stacked_scales,
)

Reading = Literal["body", "rest", "end", "answer"]
KINDS: tuple[Positions, ...] = ("all", "last", "generated")
ACTS_ON = {
    "all": ("body", "rest", "end", "answer"),
    "last": ("end", "answer"),
    "generated": ("answer",),
}


class Rows:
    """The patches of the rows of the batch in flight.

    `reading` says which part the model reads: the prompt's body, its rest where the body is read in
    two parts, its end (the last token), or the answer. `again`: how many leading tokens of the next
    pass belong to the prompt. Soft prompts take the place of the first tokens of the body, which
    `Network.encode` has reserved for them. `lead`: padding before each row's body. `ids`: of each
    row's patches.
    """

    def __init__(self, patches: Sequence[PatchSet], device: torch.device) -> None:
        self.reading: Reading = "body"
        self.again = 0
        self.lead = [0] * len(patches)
        self.ids = [_ids(row) for row in patches]
        self._stacks: dict[tuple[str, Positions], FactorStack] = {}
        self._outputs: dict[tuple[str, Positions], FactorStack] = {}
        self._scales: dict[tuple[str, Side, Positions], ScaleStack] = {}
        self._prompts = [_soft_prompt(row) for row in patches]
        for positions in KINDS:
            self._add(positions, patches, device)

    def _add(self, positions: Positions, patches: Sequence[PatchSet], device: torch.device) -> None:
        """Stack what acts at these positions, of each different row once."""
        numbers: dict[tuple[str, ...], int] = {}
        different: list[PatchSet] = []
        row_of: list[int] = []
        for row in patches:
            acting = tuple(patch for patch in row if patch.positions == positions)
            ids = _ids(acting)
            if ids not in numbers:
                numbers[ids] = len(different)
                different.append(acting)
            row_of.append(numbers[ids])

        weighted: set[str] = set()
        changed: set[str] = set()
        scaled: set[tuple[str, Side]] = set()
        for acting in different:
            for patch in acting:
                weighted.update(patch.weights)
                changed.update(patch.outputs)
                scaled.update((name, scale.side) for name, scale in patch.scales.items())

        index = torch.tensor(row_of, device=device)
        for name in sorted(weighted):
            pairs = [_pairs(name, [patch.weights for patch in acting]) for acting in different]
            self._stacks[name, positions] = stacked_factors(pairs, index)
        for name in sorted(changed):
            pairs = [_pairs(name, [patch.outputs for patch in acting]) for acting in different]
            self._outputs[name, positions] = stacked_factors(pairs, index)
        for name, side in sorted(scaled):
            self._scales[name, side, positions] = stacked_scales(name, side, different, index)

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
    def names_as_a_whole(self) -> set[str]:
        """The modules of any kind whose output changes by itself."""
        return {name for name, _ in self._outputs}

    @property
    def has_prompts(self) -> bool:
        return any(prompt is not None for prompt in self._prompts)

    def select(self, keep: Tensor) -> None:
        """Keep these rows (the others have finished)."""
        for stack in (*self._stacks.values(), *self._outputs.values()):
            stack.select(keep)
        for scales in self._scales.values():
            scales.select(keep)
        rows = keep.tolist()
        self.lead = [self.lead[row] for row in rows]
        self._prompts = [self._prompts[row] for row in rows]
        self.ids = [self.ids[row] for row in rows]

    @contextmanager
    def only(self, keep: Tensor) -> Iterator[None]:
        """Inside, these rows alone are read; behind it, all are there again."""
        # Copies that share the tensors: a selection makes new ones, and the whole stays as it is.
        whole = self._stacks, self._outputs, self._scales, self._prompts, self.ids, self.lead
        self._stacks = {name: replace(stack) for name, stack in self._stacks.items()}
        self._outputs = {name: replace(stack) for name, stack in self._outputs.items()}
        self._scales = {name: replace(scales) for name, scales in self._scales.items()}
        self.select(keep)
        try:
            yield
        finally:
            (
                self._stacks,
                self._outputs,
                self._scales,
                self._prompts,
                self.ids,
                self.lead,
            ) = whole

    def change(self, name: str, x: Tensor, output: Tensor) -> Tensor:
        """The module's output with all low-rank changes of `x`
        (its input) added in place, then scaled.
        """
        for positions in self._acting():
            stack = self._stacks.get((name, positions))
            if stack is not None:
                # Labels are read with the start token before them, which is no new token.
                start = self.again if positions == "generated" else 0
                output = stack.add(output, x, start)
        return self.scaled(name, "out", output)

    def change_output(self, name: str, output: Any) -> Any:
        """What a module says, with all low-rank changes of it added in place. Of a tuple, the first
        is what it says: some blocks of experts give their router's scores as well.
        """
        whole = output[0] if isinstance(output, tuple) else output
        # Some blocks of experts give all rows' tokens end to end.
        states = whole.view(len(self.ids), -1, whole.shape[-1])
        for positions in self._acting():
            stack = self._outputs.get((name, positions))
            if stack is not None:
                start = self.again if positions == "generated" else 0
                # Into a copy: the factors read the output while the change is written.
                states = stack.add(states.clone(), states, start)
        states = states.view(whole.shape)
        return (states, *output[1:]) if isinstance(output, tuple) else states

    def scaled(self, name: str, side: Side, x: Tensor) -> Tensor:
        """The module's input or output [rows, tokens, width] times the rows' scales."""
        for positions in self._acting():
            scales = self._scales.get((name, side, positions))
            if scales is None:
                continue
            # In float32: a scale near one would be rounded to one in bfloat16.
            changed = (x.float() * scales.of_rows().to(x.device)).to(x.dtype)
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
                start = self.lead[row]
                vectors[row, start : start + len(prompt)] = prompt.to(vectors)
        return vectors

    def _acting(self) -> list[Positions]:
        """The kinds of patches that act on the part that the model reads now."""
        return [positions for positions in KINDS if self.reading in ACTS_ON[positions]]


@contextmanager
def applied(model: nn.Module, patches: Sequence[PatchSet]) -> Iterator[Rows]:
    """Inside, row i of every batch that the model reads is changed by `patches[i]`. Hooks never
    outlive the block.

    The prompts of rows with a soft prompt must hold as many placeholders first (`Network.encode`).
    Raises InputError where the model lacks a module or a width that a patch changes.
    """
    different = {patch.id: patch for row in patches for patch in row}
    check(model, different.values())
    rows = Rows(patches, next(model.parameters()).device)
    modules = dict(model.named_modules())

    def after(name: str) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
        # A hook's result takes the place of the module's output.
        return lambda _module, args, output: rows.change(name, args[0], output)

    def whole(name: str) -> Callable[[nn.Module, Any, Any], Any]:
        return lambda _module, _args, output: rows.change_output(name, output)

    def before(name: str) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
        return lambda _module, args: (rows.scaled(name, "in", args[0]), *args[1:])

    handles: list[RemovableHandle] = []
    for name in sorted(rows.names_in):
        handles.append(linear(modules, name).register_forward_pre_hook(before(name)))
    for name in sorted(rows.names):
        handles.append(linear(modules, name).register_forward_hook(after(name)))
    for name in sorted(rows.names_as_a_whole):
        handles.append(modules[name].register_forward_hook(whole(name)))
    if rows.has_prompts:
        # Behind the embedding and not in place of its input: a soft prompt's vectors are no tokens.
        soft = embedding(model).register_forward_hook(lambda _module, _args, out: rows.begun(out))
        handles.append(soft)
    try:
        yield rows
    finally:
        for handle in handles:
            handle.remove()


def _soft_prompt(row: Sequence[Patch]) -> Tensor | None:
    """The soft prompts of one row, one behind the other."""
    prompts = [patch.prompt for patch in row if patch.prompt is not None]
    return torch.cat(prompts) if prompts else None


def _pairs(name: str, factors: Sequence[Mapping[str, LowRank]]) -> list[LowRank]:
    """The factors of this module, of those patches of one row that change it."""
    return [of_patch[name] for of_patch in factors if name in of_patch]


def _ids(row: Sequence[Patch]) -> tuple[str, ...]:
    return tuple(patch.id for patch in row)

"""A key-value cache that new tokens are written into; transformers' own is copied for each one."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import DynamicLayer

ROOM = 64


class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's keys and values [rows, heads, tokens, width]: the first `size` tokens of tensors
    with room behind.
    """

    def __init__(self, keys: Tensor, values: Tensor, size: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(keys, values)
        self._hold(keys, values, size)

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the new tokens behind the others, and give all (transformers' interface)."""
        start = self.get_seq_length()
        end = start + key_states.shape[2]
        # A copy of everything once in ROOM tokens, in place of one for each: a step writes where
        # there is room already.
        if end > self._all_keys.shape[2]:
            keys = _roomier(self._all_keys, start, end)
            values = _roomier(self._all_values, start, end)
            self._hold(keys, values, start)
        self._all_keys[:, :, start:end] = key_states
        self._all_values[:, :, start:end] = value_states
        return self._hold(self._all_keys, self._all_values, end)

    def batch_select_indices(self, indices: Tensor) -> None:
        rows = indices.to(self._all_keys.device)
        self._hold(self._all_keys[rows], self._all_values[rows], self.get_seq_length())

    def reorder_cache(self, beam_idx: Tensor) -> None:
        self.batch_select_indices(beam_idx)

    def _hold(self, keys: Tensor, values: Tensor, size: int) -> tuple[Tensor, Tensor]:
        self._all_keys, self._all_values = keys, values
        # Views: attention sees the first `size` tokens, and nothing is copied for that.
        self.keys, self.values = keys[:, :, :size], values[:, :, :size]
        return self.keys, self.values


def _roomier(states: Tensor, kept: int, size: int) -> Tensor:
    """The first `kept` tokens, with room for `size` and ROOM more behind them."""
    roomier = states.new_empty(*states.shape[:2], size + ROOM, states.shape[3])
    roomier[:, :, :kept] = states[:, :, :kept]
    return roomier

"""Read a batch of prompts: the key-value cache behind which answers are scored or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache

from bench.lm.batched_patches import Reading, Rows
from bench.lm.kv_cache import ROOM, GrowingLayer
from bench.lm.prefix import MIN_SHARED, shared_prefix

if TYPE_CHECKING:
    from bench.lm.model import LM, Encoded


@dataclass
class Prefix:
    """Prompts that have been read: the key-value cache, the logits of the next token [rows,
    vocabulary], the mask of real prompt tokens [rows, length], and for an encoder-decoder model the
    encoder's output."""

    cache: Any
    logits: Tensor
    mask: Tensor
    encoder: Any = None
    patches: Rows | None = None

    def select(self, keep: Tensor) -> None:
        self.cache.batch_select_indices(keep)
        self.logits, self.mask = self.logits[keep], self.mask[keep]
        if self.encoder is not None:
            self.encoder.last_hidden_state = self.encoder.last_hidden_state[keep]


def joined(prefixes: Sequence[Prefix]) -> Prefix:
    """Prompts that were read in several passes as one batch, padded on the right, with room for new
    tokens. The passes' own caches are emptied on the way, so that of one layer alone there are two
    copies at a time.
    """
    first = prefixes[0]
    for caches in zip(*(_caches(prefix.cache) for prefix in prefixes), strict=True):
        for number in range(len(caches[0].layers)):
            layers = [cache.layers[number] for cache in caches]
            size = max(layer.get_seq_length() for layer in layers)
            keys = _stacked([layer.keys for layer in layers], dim=2, length=size + ROOM)
            values = _stacked([layer.values for layer in layers], dim=2, length=size + ROOM)
            for cache in caches:
                cache.layers[number] = GrowingLayer(keys, values, size)
    if first.encoder is not None:
        first.encoder.last_hidden_state = _stacked(
            [prefix.encoder.last_hidden_state for prefix in prefixes]
        )
    logits, mask = (
        torch.cat([one.logits for one in prefixes]),
        _stacked([one.mask for one in prefixes]),
    )
    return Prefix(first.cache, logits, mask, first.encoder)


def _caches(cache: Any) -> list[Any]:
    """A decoder's cache, or both caches of an encoder-decoder model."""
    if hasattr(cache, "cross_attention_cache"):
        return [cache.self_attention_cache, cache.cross_attention_cache]
    return [cache]


def _stacked(parts: Sequence[Tensor], dim: int = 1, length: int | None = None) -> Tensor:
    """Rows one below the other, with zeros behind those that are shorter than `length` (or the
    longest) along `dim`.
    """
    size = length or max(part.shape[dim] for part in parts)
    whole = parts[0].new_zeros(
        sum(map(len, parts)), *parts[0].shape[1:dim], size, *parts[0].shape[dim + 1 :]
    )
    at = 0
    for part in parts:
        whole[at : at + len(part)].narrow(dim, 0, part.shape[dim]).copy_(part)
        at += len(part)
    return whole


def read(lm: LM, prompts: Sequence[Encoded], patches: Rows | None = None, alike: int = 1) -> Prefix:
    """Read a batch of prompts.

    A decoder reads all but the last token with padding on the right: then causality alone hides the
    padding, and attention costs half of what it does under a mask. The last tokens follow in a step
    of their own.

    `alike`: of so many prompts in a row what they begin with is read once (they must have the same
    patches).
    """
    rows = [prompt.ids for prompt in prompts]
    _tell(patches, "body")
    if lm.seq2seq:
        ids, mask = padded(rows, lm.pad, lm.device, left=False)
        encoder = lm.model.get_encoder()(input_ids=ids, attention_mask=mask, return_dict=True)
        start = torch.full((len(rows), 1), lm.model.config.decoder_start_token_id, device=lm.device)
        _tell(patches, "end")
        out = lm.model(
            encoder_outputs=encoder, attention_mask=mask, decoder_input_ids=start, use_cache=True
        )
        prefix = Prefix(out.cache, out.logits[:, -1].float(), mask, encoder, patches)
    else:
        bodies = [row[:-1] for row in rows]
        prefix = (
            _families(lm, bodies, patches, alike) if alike > 1 else _bodies(lm, bodies, patches)
        )
        _tell(patches, "end")
        step(lm, prefix, [row[-1] for row in rows])
    _tell(patches, "answer")
    return prefix


def _bodies(lm: LM, bodies: Sequence[Sequence[int]], patches: Rows | None) -> Prefix:
    ids, mask = padded(bodies, lm.pad, lm.device, left=False)
    # A cache without the model's configuration keeps all tokens; a sliding window's would count the
    # padding.
    out = lm.model(
        input_ids=ids, cache=DynamicCache(), use_cache=True, logits_to_keep=torch.tensor([0])
    )
    return Prefix(out.cache, torch.empty(0), mask, None, patches)


def _families(lm: LM, bodies: Sequence[Sequence[int]], patches: Rows | None, alike: int) -> Prefix:
    """What every `alike` bodies begin with, once for each family; then the rest of every body
    behind it.
    """
    families = [bodies[at : at + alike] for at in range(0, len(bodies), alike)]
    shared = [shared_prefix(family) for family in families]
    if max(shared) < MIN_SHARED:
        return _bodies(lm, bodies, patches)
    of = torch.tensor(
        [place for place, family in enumerate(families) for _ in family], device=lm.device
    )
    if patches is not None:
        patches.select(torch.arange(0, len(bodies), alike, device=lm.device))
    prefix = _bodies(
        lm, [family[0][:size] for family, size in zip(families, shared, strict=True)], patches
    )
    prefix.cache.batch_select_indices(of)
    if patches is not None:
        patches.select(of)
    _tell(patches, "rest")
    rest, real = padded(
        [body[shared[place] :] for place, body in zip(of.tolist(), bodies, strict=True)],
        lm.pad,
        lm.device,
        left=False,
    )
    mask = torch.cat([prefix.mask[of], real], dim=1)
    positions = prefix.mask[of].sum(1, keepdim=True) + torch.arange(rest.shape[1], device=lm.device)
    lm.model(
        input_ids=rest,
        attention_mask=mask,
        position_ids=positions,
        cache=prefix.cache,
        use_cache=True,
        logits_to_keep=torch.tensor([0]),
    )
    return Prefix(prefix.cache, torch.empty(0), mask, None, patches)


def _tell(patches: Rows | None, part: Reading) -> None:
    if patches is not None:
        patches.reading = part


def step(lm: LM, prefix: Prefix, tokens: Sequence[int]) -> None:
    """Feed one new token a row; updates the prefix's logits."""
    ids = torch.tensor(tokens, device=lm.device)[:, None]
    if lm.seq2seq:
        out = lm.model(
            encoder_outputs=prefix.encoder,
            attention_mask=prefix.mask,
            decoder_input_ids=ids,
            cache=prefix.cache,
            use_cache=True,
        )
    else:
        positions = prefix.mask.sum(1, keepdim=True)
        prefix.mask = torch.cat([prefix.mask, torch.ones_like(ids)], dim=1)
        out = lm.model(
            input_ids=ids,
            attention_mask=prefix.mask,
            position_ids=positions,
            cache=prefix.cache,
            use_cache=True,
        )
    prefix.logits = out.logits[:, -1].float()


def padded(
    rows: Sequence[Sequence[int]], pad: int, device: torch.device, *, left: bool
) -> tuple[Tensor, Tensor]:
    """Token ids [rows, longest] and the mask of real tokens."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for index, row in enumerate(rows):
        where = slice(longest - len(row), longest) if left else slice(0, len(row))
        ids[index, where] = torch.tensor(row)
        mask[index, where] = 1
    return ids.to(device), mask.to(device)

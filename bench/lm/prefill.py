"""Read a batch of prompts: the key-value cache behind which answers are scored or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache

from bench.lm.architecture import Padding
from bench.lm.backend import Prompt
from bench.lm.batched_patches import Reading, Rows
from bench.lm.kv_cache import ROOM, GrowingLayer
from bench.lm.prefix import Family, can_share, families, pays

if TYPE_CHECKING:
    from bench.lm.network import Network


@dataclass
class Prefix:
    """Prompts that have been read: the key-value cache, the logits of the next token [rows,
    vocabulary], the mask of real prompt tokens [rows, length], and for an encoder-decoder model the
    encoder's output. `padding`: where the batch may have some.
    """

    cache: Any
    logits: Tensor
    mask: Tensor
    encoder: Any = None
    patches: Rows | None = None
    padding: Padding = "any"

    def select(self, keep: Tensor) -> None:
        # Beam search's reordering selects rows too, and of recurrent states nothing else does.
        self.cache.reorder_cache(keep)
        self.logits, self.mask = self.logits[keep], self.mask[keep]
        if self.encoder is not None:
            self.encoder.last_hidden_state = self.encoder.last_hidden_state[keep]


def joined(prefixes: Sequence[Prefix]) -> Prefix:
    """Prompts that were read in several passes as one batch, padded on the right, with room for new
    tokens. The passes' own caches are emptied on the way, so that of one layer alone there are two
    copies at a time.
    """
    first = prefixes[0]
    if first.padding != "any":
        # Padding on the right would come between a prompt and its answer.
        if len(prefixes) > 1:
            raise ValueError("prompts of a model that bears no padding are answered pass by pass")
        return first
    by_kind = zip(*(_caches(prefix.cache) for prefix in prefixes), strict=True)
    for caches in by_kind:
        for number in range(len(caches[0].layers)):
            layer = _joined_layer([cache.layers[number] for cache in caches])
            for cache in caches:
                cache.layers[number] = layer
    if first.encoder is not None:
        states = [prefix.encoder.last_hidden_state for prefix in prefixes]
        first.encoder.last_hidden_state = _stacked(states)
    logits = torch.cat([prefix.logits for prefix in prefixes])
    mask = _stacked([prefix.mask for prefix in prefixes])
    return Prefix(first.cache, logits, mask, first.encoder)


def _joined_layer(layers: Sequence[Any]) -> GrowingLayer:
    # Room for new tokens at once: a cache that is copied for every token would cost more than the
    # token.
    size = max(layer.get_seq_length() for layer in layers)
    keys = _stacked([layer.keys for layer in layers], dim=2, length=size + ROOM)
    values = _stacked([layer.values for layer in layers], dim=2, length=size + ROOM)
    return GrowingLayer(keys, values, size)


def _caches(cache: Any) -> list[Any]:
    """A decoder's cache, or both caches of an encoder-decoder model."""
    if hasattr(cache, "cross_attention_cache"):
        return [cache.self_attention_cache, cache.cross_attention_cache]
    return [cache]


def _stacked(parts: Sequence[Tensor], dim: int = 1, length: int | None = None) -> Tensor:
    """Rows one below the other, with zeros behind those that are shorter than `length` (or the
    longest) along `dim`.
    """
    shape = list(parts[0].shape)
    shape[0] = sum(map(len, parts))
    shape[dim] = length or max(part.shape[dim] for part in parts)
    whole = parts[0].new_zeros(shape)
    at = 0
    for part in parts:
        # Written in place: padding each part first would hold everything twice.
        whole[at : at + len(part)].narrow(dim, 0, part.shape[dim]).copy_(part)
        at += len(part)
    return whole


def read(network: Network, prompts: Sequence[Prompt], patches: Rows | None = None) -> Prefix:
    """Read a batch of prompts. What neighbours begin with alike is read once, if that pays and they
    have the same patches.

    A decoder reads all but the last token with padding on the right: then causality alone hides the
    padding, and attention costs half of what it does under a mask. The last tokens follow in a step
    of their own.
    """
    _say(patches, "body")
    if network.seq2seq:
        prefix = _encoded(network, prompts, patches)
    else:
        prefix = _bodies(network, prompts, patches)
        _say(patches, "end")
        step(network, prefix, [prompt.ids[-1] for prompt in prompts])
    _say(patches, "answer")
    return prefix


def _encoded(network: Network, prompts: Sequence[Prompt], patches: Rows | None) -> Prefix:
    """An encoder-decoder model has read the prompt and the start token of its answer."""
    ids, mask = padded([prompt.ids for prompt in prompts], network.pad, network.device, left=False)
    encoder = network.model.get_encoder()(input_ids=ids, attention_mask=mask, return_dict=True)
    start = torch.full((len(prompts), 1), network.start, device=network.device)
    _say(patches, "end")
    out = network.model(
        encoder_outputs=encoder, attention_mask=mask, decoder_input_ids=start, use_cache=True
    )
    return Prefix(out.cache, out.logits[:, -1].float(), mask, encoder, patches)


def _bodies(network: Network, prompts: Sequence[Prompt], patches: Rows | None) -> Prefix:
    """All but the last token of each prompt, with what neighbours share read once."""
    bodies = [prompt.ids[:-1] for prompt in prompts]
    if network.padding != "any":
        return _ending_together(network, bodies, patches)
    if not can_share(network, max(len(prompt.ids) for prompt in prompts)):
        return _plain(network, bodies, patches)
    real = [prompt.ids[prompt.virtual :] for prompt in prompts]
    # A patch changes a token's states, so that only rows with the same patches can go on from them;
    # those of each are made neighbours, in the order in which the patches first come.
    kinds = patches.ids if patches else [()] * len(real)
    first = {kind: row for row, kind in reversed(list(enumerate(kinds)))}
    order = sorted(range(len(real)), key=lambda row: first[kinds[row]])
    members = families(real, order, kinds=kinds)
    if not pays(members):
        return _plain(network, bodies, patches)
    return _families(network, prompts, members, patches)


def _plain(network: Network, bodies: Sequence[Sequence[int]], patches: Rows | None) -> Prefix:
    ids, mask = padded(bodies, network.pad, network.device, left=False)
    # A cache without the model's configuration keeps all tokens; a sliding window's would count the
    # padding. The vocabulary's logits are of no use yet, and of one token alone they cost nothing.
    out = network.model(
        input_ids=ids, cache=DynamicCache(), use_cache=True, logits_to_keep=torch.tensor([0])
    )
    return Prefix(out.cache, torch.empty(0), mask, None, patches)


def _ending_together(
    network: Network, bodies: Sequence[Sequence[int]], patches: Rows | None
) -> Prefix:
    """Prompts whose last tokens stand in one column: with padding on the left, or of one length.

    The library's own cache then holds what each layer needs: a window's tokens, or a state.
    """
    lengths = [len(body) for body in bodies]
    if network.padding == "none" and len(set(lengths)) > 1:
        raise ValueError(f"prompts of {min(lengths)} and {max(lengths)} tokens need padding")
    ids, mask = padded(bodies, network.pad, network.device, left=True)
    if patches is not None:
        patches.lead = [ids.shape[1] - length for length in lengths]
    out = network.model(
        input_ids=ids,
        attention_mask=mask,
        cache=DynamicCache(config=network.model.config),
        use_cache=True,
        logits_to_keep=1,
        **placed(network, (mask.cumsum(1) - 1).clamp(min=0)),
    )
    return Prefix(out.cache, torch.empty(0), mask, None, patches, network.padding)


def placed(network: Network, positions: Tensor) -> dict[str, Tensor]:
    """The tokens' positions [rows, tokens], for a model that takes any."""
    return {"position_ids": positions} if network.takes_positions else {}


def _families(
    network: Network, prompts: Sequence[Prompt], members: Sequence[Family], patches: Rows | None
) -> Prefix:
    """What each family begins with, once; then the rest of every body behind it."""
    beginnings: list[Sequence[int]] = []
    rests: list[Sequence[int]] = [()] * len(prompts)
    family_of = [0] * len(prompts)
    for number, family in enumerate(members):
        first = prompts[family.rows[0]]
        # A prompt alone is its own beginning, but for one token: something has to be left to read.
        shared = first.virtual + (family.shared or max(0, family.longest - 2))
        beginnings.append(first.ids[:shared])
        for row in family.rows:
            rests[row] = prompts[row].ids[shared:-1]
            family_of[row] = number
    heads = torch.tensor([family.rows[0] for family in members], device=network.device)
    of = torch.tensor(family_of, device=network.device)

    if patches is not None:
        patches.select(heads)
    prefix = _plain(network, beginnings, patches)
    # From here on each prompt has a row again, with a copy of its family's keys and values; the
    # patches come back the same way, as a family has the same ones.
    prefix.cache.reorder_cache(of)
    if patches is not None:
        patches.select(of)

    _say(patches, "rest")
    ids, real = padded(rests, network.pad, network.device, left=False)
    begun = prefix.mask[of]
    mask = torch.cat([begun, real], dim=1)
    # Positions count real tokens: between a shorter beginning and its rest there is padding, which
    # the mask hides and which must not push the rest away.
    positions = begun.sum(1, keepdim=True) + torch.arange(ids.shape[1], device=network.device)
    network.model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        cache=prefix.cache,
        use_cache=True,
        logits_to_keep=torch.tensor([0]),
    )
    return Prefix(prefix.cache, torch.empty(0), mask, None, patches)


def _say(patches: Rows | None, part: Reading) -> None:
    """Which part the model reads next: patches may act on some alone."""
    if patches is not None:
        patches.reading = part


def step(network: Network, prefix: Prefix, tokens: Sequence[int]) -> None:
    """Feed one new token a row; updates the prefix's logits."""
    ids = torch.tensor(tokens, device=network.device)[:, None]
    if network.seq2seq:
        out = network.model(
            encoder_outputs=prefix.encoder,
            attention_mask=prefix.mask,
            decoder_input_ids=ids,
            cache=prefix.cache,
            use_cache=True,
        )
    else:
        positions = prefix.mask.sum(1, keepdim=True)
        prefix.mask = torch.cat([prefix.mask, torch.ones_like(ids)], dim=1)
        out = network.model(
            input_ids=ids,
            attention_mask=prefix.mask,
            cache=prefix.cache,
            use_cache=True,
            **placed(network, positions),
        )
    prefix.logits = out.logits[:, -1].float()


class Padded(NamedTuple):
    """Token ids [rows, longest], and the mask of the same shape: 1 a real token, 0 padding."""

    ids: Tensor
    mask: Tensor


def padded(rows: Sequence[Sequence[int]], pad: int, device: torch.device, *, left: bool) -> Padded:
    """Rows of tokens as one tensor, with padding on the left or on the right."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for index, row in enumerate(rows):
        real = slice(longest - len(row), longest) if left else slice(0, len(row))
        ids[index, real] = torch.tensor(row, dtype=torch.long)
        mask[index, real] = 1
    return Padded(ids.to(device), mask.to(device))

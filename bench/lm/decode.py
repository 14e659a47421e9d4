"""One batch through the model: read the prompts, score given answers as branches, write new answers token by token.

The prompt is read once. Answers to score (the labels of a task, the gold) are then read as branches of one tree behind
it: each token sees the prompt and its own answer alone, so that fifteen labels cost some forty tokens, not fifteen
prompts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from bench.lm.rows import Rows
from bench.lm.shared import MIN_SHARED, shared_prefix
from bench.types import Completion, Decoding

if TYPE_CHECKING:
    from bench.lm.model import LM, Encoded


@dataclass
class Prefix:
    """Prompts that have been read: the key-value cache, the logits of the next token [rows, vocabulary], the mask of
    real prompt tokens [rows, length], and for an encoder-decoder model the encoder's output."""

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


def answer_batch(
    lm: LM,
    prompts: Sequence[Encoded],
    patches: Rows,
    max_new_tokens: int,
    decoding: Decoding,
    labels: tuple[str, ...],
    wanted: list[list[int]],
    alike: int = 1,
) -> list[Completion]:
    """Answer the prompts of one batch; with `labels`, also score each (`wanted`: their tokens). `alike`: see `read`."""
    prefix = read(lm, prompts, patches, alike)
    scores = branch_scores(lm, prefix, [wanted] * len(prompts)) if labels else [None] * len(prompts)
    if decoding.rule == "likelihood":
        best = [max(range(len(labels)), key=row.__getitem__) for row in scores if row is not None]
        texts, news, finished = [labels[index] for index in best], [0] * len(best), [True] * len(best)
    else:
        texts, news, finished = _write(lm, prompts, prefix, patches, max_new_tokens, decoding, labels)
    return [
        Completion(text, len(prompt.ids), new, prompt.cut, end, None if row is None else tuple(row))
        for text, prompt, new, end, row in zip(texts, prompts, news, finished, scores, strict=True)
    ]


def score_batch(
    lm: LM, prompts: Sequence[Encoded], patches: Rows, answers: Sequence[Sequence[Sequence[int]]]
) -> list[list[float]]:
    """Total log-probability (nats) of each answer (token ids) of each prompt."""
    prefix = read(lm, prompts, patches)
    return branch_scores(lm, prefix, answers)


def read(lm: LM, prompts: Sequence[Encoded], patches: Rows | None = None, alike: int = 1) -> Prefix:
    """Read a batch of prompts.

    A decoder reads all but the last token with padding on the right: then causality alone hides the padding, and
    attention costs half of what it does under a mask. The last tokens follow in a step of their own.

    `alike`: of so many prompts in a row what they begin with is read once (they must have the same patches).
    """
    rows = [prompt.ids for prompt in prompts]
    if lm.seq2seq:
        ids, mask = padded(rows, lm.pad, lm.device, left=False)
        encoder = lm.model.get_encoder()(input_ids=ids, attention_mask=mask, return_dict=True)
        start = torch.full((len(rows), 1), lm.model.config.decoder_start_token_id, device=lm.device)
        _tell(patches, "end")
        out = lm.model(encoder_outputs=encoder, attention_mask=mask, decoder_input_ids=start, use_cache=True)
        prefix = Prefix(out.past_key_values, out.logits[:, -1].float(), mask, encoder, patches)
    else:
        bodies = [row[:-1] for row in rows]
        prefix = _families(lm, bodies, patches, alike) if alike > 1 else _bodies(lm, bodies, patches)
        _tell(patches, "end")
        _step(lm, prefix, [row[-1] for row in rows])
    _tell(patches, "answer")
    return prefix


def _bodies(lm: LM, bodies: Sequence[Sequence[int]], patches: Rows | None) -> Prefix:
    ids, mask = padded(bodies, lm.pad, lm.device, left=False)
    out = lm.model(input_ids=ids, use_cache=True, logits_to_keep=torch.tensor([0]))
    return Prefix(out.past_key_values, torch.empty(0), mask, None, patches)


def _families(lm: LM, bodies: Sequence[Sequence[int]], patches: Rows | None, alike: int) -> Prefix:
    """What every `alike` bodies begin with, once for each family; then the rest of every body behind it."""
    families = [bodies[at : at + alike] for at in range(0, len(bodies), alike)]
    shared = [shared_prefix(family) for family in families]
    if max(shared) < MIN_SHARED:
        return _bodies(lm, bodies, patches)
    of = torch.tensor([place for place, family in enumerate(families) for _ in family], device=lm.device)
    if patches is not None:
        patches.select(torch.arange(0, len(bodies), alike, device=lm.device))
    prefix = _bodies(lm, [family[0][:size] for family, size in zip(families, shared, strict=True)], patches)
    prefix.cache.batch_select_indices(of)
    if patches is not None:
        patches.select(of)
    rest, real = padded(
        [body[shared[place] :] for place, body in zip(of.tolist(), bodies, strict=True)], lm.pad, lm.device, left=False
    )
    mask = torch.cat([prefix.mask[of], real], dim=1)
    positions = prefix.mask[of].sum(1, keepdim=True) + torch.arange(rest.shape[1], device=lm.device)
    lm.model(
        input_ids=rest, attention_mask=mask, position_ids=positions, past_key_values=prefix.cache, use_cache=True,
        logits_to_keep=torch.tensor([0]),
    )  # fmt: skip
    return Prefix(prefix.cache, torch.empty(0), mask, None, patches)


def _tell(patches: Rows | None, part: Literal["end", "answer"]) -> None:
    if patches is not None:
        patches.reading = part


def branch_scores(lm: LM, prefix: Prefix, answers: Sequence[Sequence[Sequence[int]]]) -> list[list[float]]:
    """Total log-probability of each answer behind its prompt. The prefix is left as it was."""
    first = prefix.logits.log_softmax(-1)
    logits = branches(lm, prefix, [[tokens[:-1] for tokens in row] for row in answers])
    totals: list[list[float]] = []
    for index, row in enumerate(answers):
        at, total = 0, []
        for tokens in row:
            value = first[index, tokens[0]]
            if len(tokens) > 1:
                here = logits[index, at : at + len(tokens) - 1].float().log_softmax(-1)
                value = value + here[torch.arange(len(tokens) - 1), torch.tensor(tokens[1:])].sum()
            total.append(float(value))
            at += len(tokens) - 1
        totals.append(total)
    return totals


def branches(lm: LM, prefix: Prefix, answers: Sequence[Sequence[Sequence[int]]]) -> Tensor:
    """Logits [rows, nodes, vocabulary] at every token of every answer (token ids), laid end to end in each row."""
    flat = [[token for tokens in row for token in tokens] for row in answers]
    nodes = max(1, max(map(len, flat)))
    ids = torch.full((len(flat), nodes), lm.pad)
    for index, tokens in enumerate(flat):
        ids[index, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
    if lm.seq2seq:
        return _decoder_branches(lm, prefix, answers, nodes)
    seen, depth = _tree(answers, nodes)
    visible = torch.cat([prefix.mask.bool()[:, None, :].expand(-1, nodes, -1), seen.to(lm.device)], dim=2)
    dtype = prefix.cache.layers[0].keys.dtype
    bias = torch.zeros(visible.shape, dtype=dtype, device=lm.device).masked_fill(~visible, torch.finfo(dtype).min)
    positions = prefix.mask.sum(1, keepdim=True) + depth.to(lm.device)
    out = lm.model(
        input_ids=ids.to(lm.device),
        attention_mask=bias[:, None],
        position_ids=positions,
        past_key_values=prefix.cache,
        use_cache=True,
    )
    prefix.cache.crop(-nodes)
    return torch.as_tensor(out.logits)


def padded(rows: Sequence[Sequence[int]], pad: int, device: torch.device, *, left: bool) -> tuple[Tensor, Tensor]:
    """Token ids [rows, longest] and the mask of real tokens."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for index, row in enumerate(rows):
        where = slice(longest - len(row), longest) if left else slice(0, len(row))
        ids[index, where] = torch.tensor(row)
        mask[index, where] = 1
    return ids.to(device), mask.to(device)


def _tree(answers: Sequence[Sequence[Sequence[int]]], nodes: int) -> tuple[Tensor, Tensor]:
    """Which node sees which [rows, nodes, nodes] (its own answer, up to itself); each node's depth [rows, nodes]."""
    seen = torch.eye(nodes, dtype=torch.bool).repeat(len(answers), 1, 1)
    depth = torch.zeros(len(answers), nodes, dtype=torch.long)
    for index, row in enumerate(answers):
        at = 0
        for tokens in row:
            size = len(tokens)
            seen[index, at : at + size, at : at + size] = torch.tril(torch.ones(size, size, dtype=torch.bool))
            depth[index, at : at + size] = torch.arange(size)
            at += size
    return seen, depth


def _decoder_branches(lm: LM, prefix: Prefix, answers: Sequence[Sequence[Sequence[int]]], nodes: int) -> Tensor:
    """The same for an encoder-decoder model, whose positions are relative: one row an answer."""
    start = int(lm.model.config.decoder_start_token_id)
    found: list[Tensor] = []
    if prefix.patches:  # the start token is read again here; it is no new token
        prefix.patches.again = 1
    for column in range(max(map(len, answers))):
        rows = [[start, *(row[column] if column < len(row) else ())] for row in answers]
        ids, _ = padded(rows, lm.pad, lm.device, left=False)
        out = lm.model(
            encoder_outputs=prefix.encoder, attention_mask=prefix.mask, decoder_input_ids=ids, use_cache=False
        )
        found.append(out.logits)
    if prefix.patches:
        prefix.patches.again = 0
    flat = torch.zeros(len(answers), nodes, found[0].shape[-1], device=lm.device)
    for index, row in enumerate(answers):
        at = 0
        for column, tokens in enumerate(row):
            flat[index, at : at + len(tokens)] = found[column][index, 1 : 1 + len(tokens)].float()
            at += len(tokens)
    return flat


def _write(
    lm: LM,
    prompts: Sequence[Encoded],
    prefix: Prefix,
    patches: Rows,
    max_new_tokens: int,
    decoding: Decoding,
    labels: tuple[str, ...],
) -> tuple[list[str], list[int], list[bool]]:
    """New tokens for every row until it stops; finished rows leave the batch. Text, number of tokens, whether it
    ended.
    """
    ends = _ends(lm)
    streams = [_stream(prompt, decoding) for prompt in prompts]
    alive = list(range(len(prompts)))
    new: list[list[int]] = [[] for _ in prompts]
    text = [""] * len(prompts)
    finished = [False] * len(prompts)
    for step in range(max_new_tokens):
        tokens = _choose(prefix.logits, decoding, [streams[row] for row in alive])
        for row, token in zip(alive, tokens, strict=True):
            if token in ends:
                finished[row] = True
                continue
            new[row].append(token)
            text[row] = str(lm.tokenizer.decode(new[row], skip_special_tokens=True))
            finished[row] = _stops(text[row], labels if decoding.stop_at_label else ())
        keep = [index for index, row in enumerate(alive) if not finished[row]]
        if not keep or step + 1 == max_new_tokens:
            break
        if len(keep) < len(alive):
            chosen = torch.tensor(keep, device=lm.device)
            prefix.select(chosen)
            patches.select(chosen)
            alive = [alive[index] for index in keep]
        _step(lm, prefix, [new[row][-1] for row in alive])
    return [_first_line(one) for one in text], [len(row) for row in new], finished


def _step(lm: LM, prefix: Prefix, tokens: Sequence[int]) -> None:
    """Feed one new token a row; updates the prefix's logits."""
    ids = torch.tensor(tokens, device=lm.device)[:, None]
    if lm.seq2seq:
        out = lm.model(
            encoder_outputs=prefix.encoder, attention_mask=prefix.mask, decoder_input_ids=ids,
            past_key_values=prefix.cache, use_cache=True,
        )  # fmt: skip
    else:
        positions = prefix.mask.sum(1, keepdim=True)
        prefix.mask = torch.cat([prefix.mask, torch.ones_like(ids)], dim=1)
        out = lm.model(
            input_ids=ids, attention_mask=prefix.mask, position_ids=positions,
            past_key_values=prefix.cache, use_cache=True,
        )  # fmt: skip
    prefix.logits = out.logits[:, -1].float()


def _choose(logits: Tensor, decoding: Decoding, streams: Sequence[torch.Generator]) -> list[int]:
    """The next token of each row: the most likely, or a draw after temperature, top-k and top-p."""
    if decoding.rule != "sample":
        return [int(token) for token in logits.argmax(-1)]
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    warpers: Any = LogitsProcessorList([TemperatureLogitsWarper(float(decoding.temperature))])
    if decoding.top_k:
        warpers.append(TopKLogitsWarper(decoding.top_k))
    if decoding.top_p < 1:
        warpers.append(TopPLogitsWarper(float(decoding.top_p)))
    probabilities = warpers(torch.empty(0), logits).softmax(-1).cpu()
    rows = zip(probabilities, streams, strict=True)
    return [int(torch.multinomial(row, 1, generator=stream)) for row, stream in rows]


def _stream(prompt: Encoded, decoding: Decoding) -> torch.Generator:
    """A generator from the seed and the prompt, so that a draw does not depend on the batch."""
    digest = hashlib.sha256(f"{decoding.seed}\n{prompt.text}".encode("utf-8", "replace")).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def _ends(lm: LM) -> set[int]:
    named = getattr(lm.model, "generation_config", None)
    more = getattr(named, "eos_token_id", None)
    return {lm.end, *(more if isinstance(more, list) else [more] if more is not None else [])}


def _stops(text: str, labels: Sequence[str]) -> bool:
    """An answer ends with its first line, or with a label that no longer label begins with."""
    if "\n" in text.lstrip():
        return True
    said = text.strip()
    return said in labels and not any(label != said and label.startswith(said) for label in labels)


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0].strip()

"""Tokens that a library's trainer is given, and whether it trains on them as they are.

Libraries have rules of their own for rendering, shortening and ending a sample. The harness gives
them token ids, and looks at what became of these.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import MethodError

if TYPE_CHECKING:
    from bench.lm.network import Network

_PROBED = 8
"""Samples that are put through the trainer's own batching."""


def library_tokenizer(network: Network) -> Any:
    """A copy of the model's tokenizer for a trainer, which may change it. It has tokens to pad and
    to end with: a trainer asks for both by name.
    """
    tokenizer = copy.deepcopy(network.tokenizer)
    if tokenizer.eos_token is None:
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(network.end)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(network.pad)
    return tokenizer


def refuse_other_tokens(trainer: Any, samples: Iterable[Sequence[int]]) -> None:
    """Raises MethodError unless the trainer has these very samples (token ids, prompt and answer),
    in its data and in its batches.
    """
    given = Counter(map(tuple, samples))
    stored: Counter[tuple[int, ...]] = Counter()
    for row in trainer.train_dataset:
        stored.update(_samples(row))
    batched: Counter[tuple[int, ...]] = Counter()
    for index in range(min(_PROBED, len(trainer.train_dataset))):
        row = trainer.train_dataset[index]
        seen = set(_in_batch(trainer.data_collator([row]), _samples(row)))
        batched.update(sample for sample in _samples(row) if sample not in seen)
    if given != stored or batched:
        raise MethodError(
            f"{type(trainer).__name__} would train on other tokens than the model reads in the"
            " test: the installed trl does more to samples than Lamplight knows (pip install"
            " 'trl>=1.16,<2' is what it was tested with)"
        )


def _samples(row: Any) -> list[tuple[int, ...]]:
    """The samples in a row of a trainer's data: of a pair two, of a packed row several."""
    if "prompt_ids" in row:
        prompt = row["prompt_ids"]
        return [(*prompt, *row["chosen_ids"]), (*prompt, *row["rejected_ids"])]
    samples, start = [], 0
    for size in row.get("seq_lengths") or [len(row["input_ids"])]:
        samples.append(tuple(row["input_ids"][start : start + size]))
        start += size
    return samples


def _in_batch(batch: Any, samples: Sequence[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
    """The samples as they stand in a batch, without its padding."""
    ids = batch["input_ids"]
    if "attention_mask" not in batch or len(samples) > len(ids):
        # Packed: one row, in which the samples lie end to end.
        flat, start = ids.flatten().tolist(), 0
        for sample in samples:
            yield tuple(flat[start : start + len(sample)])
            start += len(sample)
        return
    for tokens, mask in zip(ids, batch["attention_mask"], strict=True):
        yield tuple(tokens[mask.bool()].tolist())

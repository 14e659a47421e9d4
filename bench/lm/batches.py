"""Which prompts are read and answered together: batches by token budget, and the passes in which a
batch is read.

A batch is planned from the prompts alone, never from what is left to do or from the patches, so
that two methods with the same prompts, and a run that was killed and resumed, put the same prompts
side by side (in bfloat16 the neighbours matter).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import chain

from bench.lm.backend import Prompt
from bench.lm.prefix import Family, alone, cost, families

MAX_ROWS = 64
"""Rows of one pass, at the most."""

HELD = 3
"""So many full passes are read before their answers are written, together."""

ENOUGH = 2048
"""Padded tokens of a pass that are worth a pass of their own, if that saves padding."""


def plan(
    encoded: Sequence[Prompt],
    batch_tokens: int,
    *,
    salt: str = "",
    extra: int = 0,
    held: int = 1,
    share: bool = True,
    one_length: bool = False,
) -> list[list[int]]:
    """Batches of indices: prompts that begin alike beside each other (if the model can `share` the
    reading of it), families first, and the longest first among both.

    A batch is a pass of prompts of like length, of at most `batch_tokens` padded tokens and
    MAX_ROWS rows; or with `held` that many times as much, of any length, as is answered together.

    Soft prompts do not count, as no patch may. `extra`: tokens beyond the prompt that each row
    needs. A salt shuffles the prompts into other batches. `one_length`: no batch has padding, and a
    soft prompt's placeholders count as well.
    """
    prompts = [prompt.ids if one_length else _real(prompt) for prompt in encoded]
    # In the order of their tokens, prompts that begin alike are neighbours.
    order = sorted(range(len(prompts)), key=prompts.__getitem__)
    members = _members(prompts, order, batch_tokens, share)

    def place(family: Family) -> tuple[bool, int, str]:
        # The text stands for the prompt where lengths are equal: the order of the requests, which
        # is that of the users, must not matter.
        text = "".join(encoded[row].text for row in family.rows)
        digest = hashlib.sha256((salt + text).encode("utf-8", "replace")).hexdigest()
        return (len(family.rows) == 1, 0 if salt else -family.longest, digest)

    members.sort(key=place)
    if one_length:
        members.sort(key=lambda family: -family.longest)
    filled = packed(
        members,
        held * batch_tokens,
        held * MAX_ROWS,
        extra=extra,
        even=held == 1,
        one_length=one_length,
    )
    return list(map(_rows, filled))


def passes(prompts: Sequence[Prompt], batch_tokens: int, *, share: bool = True) -> list[list[int]]:
    """Which prompts of a planned batch are read at once, in the batch's order."""
    rows = [_real(prompt) for prompt in prompts]
    # The plan has put families beside each other: neighbours are found to be the same ones again.
    members = _members(rows, range(len(rows)), batch_tokens, share)
    return list(map(_rows, packed(members, batch_tokens, MAX_ROWS)))


def _members(
    prompts: Sequence[Sequence[int]], order: Sequence[int], batch_tokens: int, share: bool
) -> list[Family]:
    if not share:
        return alone(prompts)
    return families(prompts, order, most_rows=MAX_ROWS, most_tokens=batch_tokens)


def packed(
    members: Sequence[Family],
    tokens: int,
    rows: int,
    *,
    extra: int = 0,
    even: bool = True,
    one_length: bool = False,
) -> list[list[Family]]:
    """Families in a row, put together while they fit into so many padded tokens and rows; each row
    needs `extra` tokens more than its prompt has. `even`: what would cost an eighth less by itself
    starts anew, once there are ENOUGH tokens. `one_length`: what is longer or shorter always does.
    """
    filled: list[list[Family]] = []
    for family in members:
        full = not filled or not _has_room(filled[-1], family, tokens, rows, extra)
        other = one_length and bool(filled) and filled[-1][-1].longest != family.longest
        if full or other or (even and _is_uneven(filled[-1], family)):
            filled.append([])
        filled[-1].append(family)
    return filled


def _has_room(batch: Sequence[Family], family: Family, tokens: int, rows: int, extra: int) -> bool:
    count = len(_rows(batch)) + len(family.rows)
    longest = max(family.longest, *(member.longest for member in batch))
    return count <= rows and count * (longest + extra) <= tokens


def _is_uneven(batch: Sequence[Family], family: Family) -> bool:
    """Whether a family costs less by itself than what it adds to a batch, padding included."""
    # A prompt longer than the others makes padding for them, and a shorter one has it; a family
    # with a short beginning makes its long rest the others' padding.
    before = cost(batch)
    added = cost([*batch, family]) - before
    return before >= ENOUGH and cost([family]) < added * 7 / 8


def _rows(batch: Sequence[Family]) -> list[int]:
    return list(chain.from_iterable(family.rows for family in batch))


def _real(prompt: Prompt) -> tuple[int, ...]:
    """The tokens without a soft prompt's placeholders."""
    return prompt.ids[prompt.virtual :]

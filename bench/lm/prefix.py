"""What prompts begin with alike: finding the families of such prompts, and what it saves to read
their common beginning once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.lm.network import Network

MIN_SHARED = 64
"""Tokens that prompts must have alike before reading them apart from the rest pays."""

_SHARE = 0.5
"""So much of the longest prompt of a family is its common beginning, at least."""


@dataclass(frozen=True)
class Family:
    """Prompts that begin alike: which ones (`rows`), the tokens of the longest, and how many tokens
    all of them begin with. A prompt alone shares nothing.
    """

    rows: tuple[int, ...]
    longest: int
    shared: int = 0


def shared_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with alike; at least one token of each stays outside."""
    shortest = min(map(len, prompts)) - 1
    for at in range(shortest):
        if len({prompt[at] for prompt in prompts}) > 1:
            return at
    return max(0, shortest)


def can_share(network: Network, longest: int) -> bool:
    """Whether this model can read the common beginning of prompts of up to `longest` tokens once.

    Soft prompts need no exception: prompts that share have the same patches, and so the same
    vectors at their beginning.
    """
    # An encoder reads in both directions: the states of a beginning depend on what follows it.
    # Behind a beginning shorter than another there is padding, which not every model bears.
    if network.seq2seq or network.padding != "any":
        return False
    # A window counts the padding between a beginning and what follows it, of which there may be as
    # much as a prompt has tokens. Prompts that are short enough never reach the window's edge.
    config = network.model.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    return window is None or 2 * longest <= window


def alone(prompts: Sequence[Sequence[int]]) -> list[Family]:
    """Each prompt (token ids) as a family of its own."""
    return [Family((row,), len(prompt)) for row, prompt in enumerate(prompts)]


def families(
    prompts: Sequence[Sequence[int]],
    order: Sequence[int],
    *,
    kinds: Sequence[object] = (),
    most_rows: int | None = None,
    most_tokens: int | None = None,
) -> list[Family]:
    """Families among the prompts (token ids), of neighbours in this order.

    Prompts of different `kinds`, where these are given, share nothing. A family has at most
    `most_rows` prompts and `most_tokens` tokens, with padding.
    """
    found: list[Family] = []
    for row in order:
        grown = None
        if found and not (kinds and kinds[found[-1].rows[-1]] != kinds[row]):
            grown = _grown(found[-1], prompts, row)
        if grown is not None and _fits(grown, most_rows, most_tokens):
            found[-1] = grown
        else:
            found.append(Family((row,), len(prompts[row])))
    return found


def _grown(family: Family, prompts: Sequence[Sequence[int]], row: int) -> Family | None:
    """The family with this prompt as well; None if it begins too differently."""
    # What three prompts begin with alike is the shorter of what neighbours begin with alike. The
    # last token is read in a step of its own, and before it one has to be left to read.
    shared = shared_prefix([prompts[family.rows[-1]][:-1], prompts[row][:-1]])
    if len(family.rows) > 1:
        shared = min(shared, family.shared)
    longest = max(family.longest, len(prompts[row]))
    if shared < max(MIN_SHARED, _SHARE * longest):
        return None
    return Family((*family.rows, row), longest, shared)


def _fits(family: Family, most_rows: int | None, most_tokens: int | None) -> bool:
    if most_rows is not None and len(family.rows) > most_rows:
        return False
    return most_tokens is None or len(family.rows) * family.longest <= most_tokens


def pays(members: Sequence[Family]) -> bool:
    """Whether reading these families as one batch costs less with their beginnings apart."""
    return _apart(members) < _whole(members)


def cost(members: Sequence[Family]) -> int:
    """Tokens, with padding, that the model computes to read these families as one batch."""
    return min(_whole(members), _apart(members))


def _whole(members: Sequence[Family]) -> int:
    """Each prompt from its first token on."""
    rows = sum(len(family.rows) for family in members)
    return rows * max(family.longest for family in members)


def _apart(members: Sequence[Family]) -> int:
    """Each beginning once, then the rest of each prompt. A prompt alone is its own beginning, but
    for one token, and is padded in the rest as all are.
    """
    beginning = rest = rows = 0
    for family in members:
        shared = family.shared or family.longest - 1
        beginning = max(beginning, shared)
        rest = max(rest, family.longest - shared)
        rows += len(family.rows)
    return len(members) * beginning + rows * rest

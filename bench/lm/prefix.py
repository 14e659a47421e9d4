"""What prompts begin with alike: reading it once for all of them."""

from __future__ import annotations

from collections.abc import Sequence

MIN_SHARED = 64
"""Tokens that prompts must have alike before reading them apart from the rest pays."""


def shared_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with alike; at least one token of each stays outside."""
    shortest = min(map(len, prompts)) - 1
    for at in range(shortest):
        if len({prompt[at] for prompt in prompts}) > 1:
            return at
    return max(0, shortest)

"""The vocabulary of the embedded sample: plain data, a module per kind of text, all written for Lamplight."""

from __future__ import annotations


def phrases(text: str) -> tuple[str, ...]:
    """The phrases of a block of text, which separates them by `|`; line breaks count as spaces."""
    return tuple(" ".join(phrase.split()) for phrase in text.split("|"))

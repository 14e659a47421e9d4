"""Markers in users' texts: strings that a model would read as the structure of the conversation.

`</s>`, `<|im_end|>`, `<think>`, `[INST]`: in a prompt they end a turn, begin another, or open a
thought. In a user's text they are set apart (`< /s>`), and read as words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from bench.types import Message, Part

_BLANK = " \t\r\n\u2581"
"""White space, and SentencePiece's sign for it: some vocabularies add runs of these, as words."""

_PASSES = 4
"""How often a text is read again, as a marker may come to light where another one was."""


class Markers:
    """The markers of a tokenizer and its chat template, and how a text is freed of them."""

    def __init__(self, tokenizer: Any, literals: Iterable[str] = ()) -> None:
        self._special = set(tokenizer.all_special_tokens)
        added = [token for token in tokenizer.added_tokens_decoder.values()]
        self._special |= {str(token) for token in added if token.special}
        marks = self._special | set(literals) | {str(token) for token in added}
        self.marks = sorted(filter(self._is_marker, marks))
        # Without any marker, a pattern that fits nowhere: an empty one would fit everywhere.
        self._pattern = re.compile("|".join(map(re.escape, self.marks)) or "(?!)")
        # A token that is matched behind the normalizer can hide in letters that become it.
        folds = any(getattr(token, "normalized", False) for token in added)
        self._normalize = _normalizer(tokenizer) if folds else None

    def plain(self, text: str) -> str:
        """The text without any marker."""
        for _ in range(_PASSES):
            apart = self._pattern.sub(_set_apart, text)
            if self._normalize is not None and self._pattern.search(self._normalize(apart)):
                apart = self._pattern.sub(_set_apart, self._normalize(apart))
            if apart == text:
                break
            text = apart
        return text

    def defused(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """The messages, texts and lines without any marker."""
        harmless = []
        for message in messages:
            harmless.append(Message(message.role, tuple(map(self._part, message.parts))))
        return tuple(harmless)

    def _part(self, part: Part) -> Part:
        if isinstance(part, str):
            return self.plain(part)
        return replace(
            part,
            before=self.plain(part.before),
            text=self.plain(part.text),
            after=self.plain(part.after),
        )

    def _is_marker(self, mark: str) -> bool:
        """White space is a word of a text, and so is one letter, unless it is a special token."""
        return bool(mark.strip(_BLANK)) and (len(mark) > 1 or mark in self._special)


def _set_apart(marker: re.Match[str]) -> str:
    text = marker[0]
    return f"{text[0]} {text[1:]}" if len(text) > 1 else " "


def _normalizer(tokenizer: Any) -> Callable[[str], str] | None:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    normalizer = getattr(backend, "normalizer", None)
    return None if normalizer is None else normalizer.normalize_str

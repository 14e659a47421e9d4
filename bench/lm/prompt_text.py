"""From messages to the text that a model reads: the chat template,
lines of history, markers made harmless.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from bench.types import Line, Message, Part


class Markers:
    """The strings that a tokenizer reads as its own markers (`</s>`, `<|im_end|>`), wherever they
    stand.

    In a user's text they would end the turn or begin another, so there they are set apart (`< /s>`)
    and read as words.
    """

    def __init__(self, tokenizer: Any) -> None:
        added = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
        marks = sorted({*added, *tokenizer.all_special_tokens})
        # Without any marker, a pattern that fits nowhere: an empty one would fit everywhere.
        self._pattern = re.compile("|".join(map(re.escape, marks)) or "(?!)")

    def plain(self, text: str) -> str:
        """The text without any marker."""
        return self._pattern.sub(lambda marker: f"{marker[0][0]} {marker[0][1:]}", text)

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


def rendered(messages: Sequence[Message], tokenizer: Any, *, chat: bool) -> str:
    """The prompt's text: through the chat template, or plain without trailing space."""
    if chat:
        turns = [{"role": message.role, "content": message.text} for message in messages]
        return str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))
    return "\n\n".join(message.text for message in messages).rstrip()


def map_lines(
    messages: tuple[Message, ...], change: Callable[[Line], Line | None]
) -> tuple[Message, ...]:
    """The messages with every line changed, or without those for which None comes back."""
    changed = []
    for message in messages:
        parts: list[Part] = []
        for part in message.parts:
            new = change(part) if isinstance(part, Line) else part
            if new is not None:
                parts.append(new)
        changed.append(Message(message.role, tuple(parts)))
    return tuple(changed)

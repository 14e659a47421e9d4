"""From messages to the text that a model reads: through the chat template or plain, its lines of
history shortened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from bench.errors import InputError
from bench.lm.chat_template import ChatTemplate
from bench.lm.spec import ModelSpec
from bench.types import Line, Message, Part


def chat_template(spec: ModelSpec, tokenizer: Any, *, seq2seq: bool) -> ChatTemplate | None:
    """The chat template of a model, with the settings of its configuration; None if prompts are
    plain. An encoder-decoder model may have none.
    """
    if not spec.chat or (seq2seq and not tokenizer.chat_template):
        if spec.speaks_otherwise:
            raise InputError(
                f"{spec.name}: model.template, model.date and model.thinking are of chat templates,"
                " and prompts of this model are plain (model.chat=false, or a model without one)"
            )
        return None
    return ChatTemplate(
        tokenizer,
        spec.name,
        spec.template,
        day=None if spec.date is None else date.fromisoformat(spec.date),
        thinking=spec.thinking,
    )


def rendered(messages: Sequence[Message], template: ChatTemplate | None) -> str:
    """The prompt's text: through the chat template, or plain without trailing space."""
    if template is not None:
        return template.prompt(messages)
    return "\n\n".join(message.text for message in messages).rstrip()


def shortened_to(tokenizer: Any, text: str, tokens: int) -> str:
    """The beginning of a text, of at most so many tokens."""
    if tokens <= 0:
        return ""
    if getattr(tokenizer, "is_fast", False):
        offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return text[: offsets["offset_mapping"][tokens][0]]
    # A tokenizer that does not say where its tokens stand: the longest beginning that fits.
    fits, too_long = 0, len(text) + 1
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        size = len(tokenizer(text[:middle], add_special_tokens=False)["input_ids"])
        fits, too_long = (middle, too_long) if size <= tokens else (fits, middle)
    return text[:fits]


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

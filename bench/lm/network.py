"""Network: weights in this process, with the tokenizer that belongs to them. Knows no engine.

The only place that tokenizes. Prompts are rendered with exactly one beginning-of-text token;
history is shortened to fit, the question never.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

from torch import nn

from bench.errors import InputError
from bench.lm.backend import Prompt
from bench.lm.load import load
from bench.lm.patch import virtual_tokens
from bench.lm.prompt_text import Markers, map_lines, rendered
from bench.lm.spec import ModelSpec
from bench.types import Line, Message, Request

Side = Literal["decoder", "encoder"]
MOST_NEW_TOKENS = 128
"""Room that a prompt leaves for the answer below the model's own limit."""


class Network:
    """The weights of a model and how to speak to it: prompts, tokens, limits, modules."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.model: Any
        self.model, self.tokenizer, self.device = load(spec)
        self.seq2seq = bool(self.model.config.is_encoder_decoder)
        self.chat = spec.chat and not self.seq2seq and bool(self.tokenizer.chat_template)
        limit = getattr(self.model.config, "max_position_embeddings", None)
        room = limit - MOST_NEW_TOKENS if limit else spec.max_prompt_tokens
        self.max_prompt_tokens = min(spec.max_prompt_tokens, room)

    def encode(self, request: Request, most: int | None = None) -> Prompt:
        """The prompt's tokens, `most` of them, with history lines shortened (LaMP's budgeting:
        equal shares, unused rolls over).
        """
        messages = self._markers.defused(request.messages)
        virtual = virtual_tokens(request.patches)
        limit = min(self.max_prompt_tokens, most or self.max_prompt_tokens) - virtual
        ids = self._tokens(messages)
        whole = self._line_tokens(messages)
        room = min(self.spec.history_tokens, limit - (len(ids) - whole))
        cut = 0
        if whole > room:
            messages, room = self._shorter(messages, room, request.name)
            while len(ids := self._tokens(messages)) > limit:
                messages, room = self._shorter(
                    messages, room - max(1, len(ids) - limit), request.name
                )
            cut = whole - self._line_tokens(messages)
        return Prompt(
            (*[self.pad] * virtual, *ids),
            self.text(messages),
            cut,
            virtual,
            request.draw,
            request.name,
        )

    def text(self, messages: Sequence[Message]) -> str:
        """The rendered prompt: the chat template's text,
        or the plain text without trailing space.
        """
        return rendered(messages, self.tokenizer, chat=self.chat)

    def answer_ids(self, answer: str, *, end: bool = True) -> list[int]:
        """The tokens of an answer as the model would write it after a prompt,
        with its end token.
        """
        lead = "" if self.chat or self.seq2seq else " "
        ids = list(
            self.tokenizer(lead + self._markers.plain(answer), add_special_tokens=False)[
                "input_ids"
            ]
        )
        return [*ids, self.end] if end else ids

    @cached_property
    def _markers(self) -> Markers:
        return Markers(self.tokenizer)

    @cached_property
    def end(self) -> int:
        """The token that ends an answer."""
        return int(self.tokenizer.eos_token_id)

    @property
    def pad(self) -> int:
        pad = self.tokenizer.pad_token_id
        return int(self.end if pad is None else pad)

    def mlps(self, side: Side = "decoder") -> list[tuple[str, nn.Module]]:
        """Name and module of each layer's MLP, first layer first."""
        suffix = (".mlp", ".DenseReluDense")
        found = [
            (name, module) for name, module in self.model.named_modules() if name.endswith(suffix)
        ]
        if self.seq2seq:
            found = [(name, module) for name, module in found if name.startswith(side)]
        if not found:
            raise InputError(
                f"{self.spec.name}: no MLP modules found (names ending in .mlp or .DenseReluDense)"
            )
        return found

    def mlp_outputs(self, side: Side = "decoder") -> list[str]:
        """Name of the last linear layer of each MLP: `down_proj`, or T5's `wo`."""
        names = []
        for name, module in self.mlps(side):
            child = "down_proj" if hasattr(module, "down_proj") else "wo"
            if not hasattr(module, child):
                raise InputError(
                    f"{self.spec.name}: {name} has neither down_proj nor wo: this model cannot be"
                    " edited"
                )
            names.append(f"{name}.{child}")
        return names

    def _tokens(self, messages: Sequence[Message]) -> list[int]:
        bos = self.tokenizer.bos_token_id
        ids = list(
            self.tokenizer(self.text(messages), add_special_tokens=not self.chat)["input_ids"]
        )
        if (
            self.chat
            and bos is not None
            and ids[:1] != [bos]
            and self.tokenizer("")["input_ids"][:1] == [bos]
        ):
            ids = [bos, *ids]
        if bos is not None and ids[:2] == [bos, bos]:
            raise InputError(
                f"{self.spec.name}: the prompt begins with two beginning-of-text tokens"
            )
        return ids

    def _line_tokens(self, messages: Sequence[Message]) -> int:
        texts = [
            part.text for message in messages for part in message.parts if isinstance(part, Line)
        ]
        return (
            sum(map(len, self.tokenizer(texts, add_special_tokens=False)["input_ids"]))
            if texts
            else 0
        )

    def _text_tokens(self, line: Line) -> int:
        return len(self.tokenizer(line.text, add_special_tokens=False)["input_ids"])

    def _shorter(
        self, messages: tuple[Message, ...], room: int, name: str
    ) -> tuple[tuple[Message, ...], int]:
        """Lines cut to `room` tokens in equal shares; the least important are left out while there
        is not one for each.
        """
        lines = [part for message in messages for part in message.parts if isinstance(part, Line)]
        if not lines:
            length = len(self._tokens(messages))
            raise InputError(
                f"{name or 'request'}: the prompt without any history has {length} tokens, more"
                f" than the limit of {self.max_prompt_tokens}; raise model.max_prompt_tokens"
            )
        if room < len(lines):
            worst = max(lines, key=lambda line: line.rank)
            kept = map_lines(messages, lambda line: None if line is worst else line)
            freed = len(self._tokens(messages)) - len(self._tokens(kept)) - self._text_tokens(worst)
            return self._shorter(kept, room + freed, name)
        left, shares = room, []
        for index, line in enumerate(lines):
            offsets = self.tokenizer(
                line.text, add_special_tokens=False, return_offsets_mapping=True
            )["offset_mapping"]
            share = min(left // (len(lines) - index), len(offsets))
            shares.append(
                line.text
                if share == len(offsets)
                else line.text[: offsets[share][0] if share else 0]
            )
            left -= share
        cut = iter(shares)
        return map_lines(messages, lambda line: replace(line, text=next(cut))), room

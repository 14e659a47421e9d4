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
from bench.lm.architecture import (
    Block,
    Padding,
    last_linear,
    mlp_blocks,
    padding_of,
    start_token,
    takes_positions,
    text_decoder,
    text_linears,
)
from bench.lm.backend import Prompt
from bench.lm.load import load
from bench.lm.patch import concrete
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
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        room = limit - MOST_NEW_TOKENS if limit else spec.max_prompt_tokens
        self.max_prompt_tokens = min(spec.max_prompt_tokens, room)
        self.padding: Padding = "any"
        self.takes_positions = takes_positions(self.model)
        if not self.seq2seq:
            self.padding = padding_of(self.model, self.max_prompt_tokens)

    def encode(self, request: Request, most: int | None = None) -> Prompt:
        """The prompt's tokens, `most` of them, with history lines shortened (LaMP's budgeting:
        equal shares, unused rolls over).
        """
        messages = self._markers.defused(request.messages)
        virtual = sum(patch.virtual for patch in concrete(request.patches))
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

    @cached_property
    def start(self) -> int:
        """The token with which an encoder-decoder begins every answer."""
        return start_token(self.model)

    @property
    def decoder(self) -> nn.Module:
        """The part that writes text."""
        return text_decoder(self.model)

    @property
    def sees_or_hears(self) -> bool:
        """Whether the model has parts for pictures or sounds, which stay unused."""
        config = self.model.config
        return config.get_text_config() is not config and not self.seq2seq

    @property
    def has_experts(self) -> bool:
        """Whether a layer is a mixture of experts, whose weights lie in one tensor for all."""
        return any(name.endswith(".experts") for name, _ in self.model.named_modules())

    def linears(self) -> dict[str, nn.Linear]:
        """The linear layers that text goes through, by name, in the order of the names."""
        return text_linears(self.model)

    def linears_named(self, ends: Sequence[str]) -> dict[str, nn.Linear]:
        """Those whose names end so. Raises InputError if there are none."""
        linears = self.linears()
        named = {}
        for name, module in linears.items():
            if name.rpartition(".")[2] in ends:
                named[name] = module
        if not named:
            has = sorted({name.rpartition(".")[2] for name in linears})
            raise InputError(
                f"{self.spec.name}: no module named {' or '.join(ends)} to tune (it has"
                f" {', '.join(has)})"
            )
        return named

    def mlps(self, side: Side = "decoder") -> list[Block]:
        """Name and module of each layer's MLP, first layer first. Of a mixture of experts, the
        block of all experts.
        """
        encodes = self.seq2seq and side == "encoder"
        blocks = mlp_blocks(self.model, self.model.get_encoder() if encodes else self.decoder)
        if not blocks:
            raise InputError(
                f"{self.spec.name}: its layers have no MLP that is known here, so that no method"
                " can read or edit one's output"
            )
        return blocks

    def mlp_outputs(self, side: Side = "decoder") -> list[str | None]:
        """Name of the last linear layer of each MLP, with weights into which a change of the MLP's
        output can be folded; None if there is none such.
        """
        return [last_linear(name, block) for name, block in self.mlps(side)]

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

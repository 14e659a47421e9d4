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
from bench.lm import library_warnings
from bench.lm.answer_text import ThoughtRules
from bench.lm.answer_tokens import AnswerTokens
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
from bench.lm.markers import Markers
from bench.lm.patch import concrete
from bench.lm.prompt_text import chat_template, map_lines, rendered, shortened_to
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
        with library_warnings.collected() as self.warnings:
            self.model, self.tokenizer, self.device = load(spec)
        self.seq2seq = bool(self.model.config.is_encoder_decoder)
        self.template = chat_template(spec, self.tokenizer, seq2seq=self.seq2seq)
        self.chat = self.template is not None
        self._check_vocabulary()
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        new = MOST_NEW_TOKENS + (spec.thinking_tokens if spec.thinking == "on" else 0)
        room = max(1, limit - new) if limit else spec.max_prompt_tokens
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
        return rendered(messages, self.template)

    def answer_ids(self, answer: str, *, end: bool = True) -> list[int]:
        """The tokens of an answer as the model would write it after a prompt,
        with its end token.
        """
        return self._answers.ids(answer, end=end)

    @cached_property
    def _markers(self) -> Markers:
        return Markers(self.tokenizer, self.template.literals() if self.template else ())

    @cached_property
    def _answers(self) -> AnswerTokens:
        return AnswerTokens(
            self.tokenizer,
            self.template,
            self._markers,
            lead="" if self.seq2seq else " ",
            model_ends=model_ends(self.model),
        )

    @property
    def end(self) -> int:
        """The token that ends an answer."""
        return self._answers.end

    @property
    def ends(self) -> frozenset[int]:
        """Every token at which an answer is over."""
        return self._answers.ends.union(model_ends(self.model))

    @property
    def pad(self) -> int:
        pad = self.tokenizer.pad_token_id
        return int(self.end if pad is None else pad)

    @cached_property
    def start(self) -> int:
        """The token with which an encoder-decoder begins every answer."""
        return start_token(self.model)

    @cached_property
    def thought_rules(self) -> ThoughtRules | None:
        """How the model goes on from its thought to its answer; None if it is not to think."""
        if self.template is None or self.spec.thinking == "off":
            return None
        close = self.tokenizer(self.template.close, add_special_tokens=False)["input_ids"]
        return ThoughtRules(
            self.template.closed, close, self.spec.thinking_tokens, self._answers.last_ends
        )

    @property
    def facts(self) -> dict[str, Any]:
        """What a record says of the model, besides its identity: how prompts are rendered, and what
        the library warned of while it loaded the weights (without the place where they lie).
        """
        rendering: dict[str, Any] = {"chat_template": self.chat}
        if self.template is not None:
            rendering |= {"settings": self.template.values, "day": self.template.day}
        rendering["end"] = self.tokenizer.convert_ids_to_tokens(self.end)
        named = []
        for warning in self.warnings:
            for place in {str(self.spec.folder), str(self.spec.source)}:
                warning = warning.replace(place, self.spec.name)
            named.append(warning)
        return {"rendering": rendering, "warnings": named}

    def _check_vocabulary(self) -> None:
        """Raises InputError if the model has no row for a token that the template writes."""
        if self.template is None:
            return
        rows = self.model.get_input_embeddings().weight.shape[0]
        for token in (*self._tokens((Message("user", ("Question",)),)), self.end):
            if token >= rows:
                raise InputError(
                    f"{self.spec.name}: its chat template writes"
                    f" {self.tokenizer.convert_ids_to_tokens(token)}, token {token}, and the model"
                    f" has {rows}: they do not belong together (copy the tokenizer's files of this"
                    " model into its folder)"
                )

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
        # Some tokenizers end every text, and a decoder goes on from no end.
        ended = not self.chat and not self.seq2seq and len(ids) > 1 and ids[-1] in self.ends
        return ids[:-1] if ended else ids

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
            tokens = self._text_tokens(line)
            share = min(left // (len(lines) - index), tokens)
            fits = share == tokens
            shares.append(line.text if fits else shortened_to(self.tokenizer, line.text, share))
            left -= share
        cut = iter(shares)
        return map_lines(messages, lambda line: replace(line, text=next(cut))), room


def model_ends(model: Any) -> list[int]:
    """The tokens that end an answer by the model's own settings."""
    for settings in (getattr(model, "generation_config", None), model.config.get_text_config()):
        ends = getattr(settings, "eos_token_id", None)
        if ends is not None:
            return list(ends) if isinstance(ends, list) else [int(ends)]
    return []

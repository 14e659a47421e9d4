"""LM: a frozen language model that answers requests, scores answers and shows its activations.

The only place that tokenizes. Prompts are rendered with exactly one beginning-of-text token;
history is shortened to fit, the question never.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from bench.cost.bill import Bill
from bench.cost.budget import Budget
from bench.errors import InputError
from bench.lm import activations, generate
from bench.lm import tensor_cache as kept
from bench.lm.load import load
from bench.lm.patch import Patch, virtual_tokens
from bench.lm.prompt_text import Markers, map_lines, rendered
from bench.lm.response_cache import ResponseCache
from bench.lm.spec import ModelSpec
from bench.types import Completion, Decoding, Line, Message, Request

Side = Literal["decoder", "encoder"]
MOST_NEW_TOKENS = 128
"""Room that a prompt leaves for the answer below the model's own limit."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A rendered prompt: token ids, its text, and how many history tokens were cut to fit.

    The first `virtual` ids are placeholders: a soft prompt's vectors take their place while the
    prompt is read. `draw`: the request's.
    """

    ids: tuple[int, ...]
    text: str
    cut: int
    virtual: int = 0
    draw: str = ""


class LM:
    """A frozen model. `identity` is what can change its answers; `base` says which patch is merged
    into its weights.

    `code`: a digest of the code that works with it, which tensors that it computes are kept under.
    """

    def __init__(
        self, spec: ModelSpec, *, budget: Budget | None = None, cache: ResponseCache | None = None
    ) -> None:
        self.spec = spec
        self.model: Any
        self.model, self.tokenizer, self.device = load(spec)
        self.seq2seq = bool(self.model.config.is_encoder_decoder)
        self.chat = spec.chat and not self.seq2seq and bool(self.tokenizer.chat_template)
        self.budget = budget or Budget(progress=False)
        self.cache = cache
        self.base, self.code = "instruct", ""
        self.as_instruct: tuple[Patch, ...] = ()
        limit = getattr(self.model.config, "max_position_embeddings", None)
        room = limit - MOST_NEW_TOKENS if limit else spec.max_prompt_tokens
        self.max_prompt_tokens = min(spec.max_prompt_tokens, room)

    @property
    def identity(self) -> dict[str, Any]:
        return self.spec.identity() | {"base": self.base}

    def adopt(self, base: Patch, name: str) -> None:
        """Merge a base into the weights; `name` is its fingerprint.

        A request with the patches `as_instruct` is answered by the model as it was before (to the
        dtype's rounding): an adapted base has forgotten how to write anything but the task's
        answers.
        """
        base.merge(self.model)
        self.base, self.as_instruct = name, (base.negative(),)

    def encode(self, request: Request, most: int | None = None) -> Encoded:
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
        return Encoded(
            (*[self.pad] * virtual, *ids), self.text(messages), cut, virtual, request.draw
        )

    def text(self, messages: Sequence[Message]) -> str:
        """The rendered prompt: the chat template's text, or the plain text without trailing
        space."""
        return rendered(messages, self.tokenizer, chat=self.chat)

    def answer_ids(self, answer: str, *, end: bool = True) -> list[int]:
        """The tokens of an answer as the model would write it after a prompt, with its end
        token."""
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

    def generate(
        self,
        requests: Sequence[Request],
        *,
        max_new_tokens: int,
        decoding: Decoding | None = None,
        labels: Sequence[str] = (),
        cached: bool = False,
        salt: str = "",
        done: Callable[[int], bool] | None = None,
        golds: Sequence[str] = (),
    ) -> Iterator[list[tuple[int, Completion]]]:
        """Answer all requests, one batch after the other, longest prompts first; the index says
        which request.

        `labels`: also give the log-probability of each. `cached`: use the response cache. `salt`:
        another composition of the batches (the noise floor). `done(i)`: answered before; a batch of
        such requests alone is skipped. `golds`: also give the likelihood of each request's gold,
        behind the same reading; such answers are not for the cache.
        """
        decoding = decoding or Decoding()
        encoded = [self.encode(request) for request in requests]
        yield from generate.run(
            self,
            requests,
            encoded,
            max_new_tokens,
            decoding,
            tuple(labels),
            cached=cached,
            salt=salt,
            done=done,
            golds=golds,
        )

    def answers(
        self,
        requests: Sequence[Request],
        *,
        max_new_tokens: int,
        decoding: Decoding | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """The answers in the order of the requests, through the response cache; `advance` hears of
        each batch.
        """
        found: dict[int, Completion] = {}
        for batch in self.generate(
            requests, max_new_tokens=max_new_tokens, decoding=decoding, cached=True
        ):
            found |= dict(batch)
            if advance:
                advance(len(batch))
        return [found[index] for index in range(len(requests))]

    def likelihood(
        self, requests: Sequence[Request], answers: Sequence[Sequence[str]]
    ) -> Iterator[tuple[int, list[tuple[float, int]]]]:
        """For each request, in any order: of each of its answers the log-probability (nats, with
        the end token) and the number of tokens.
        """
        encoded = [self.encode(request) for request in requests]
        for batch in generate.score(self, requests, encoded, answers):
            yield from batch

    def activations(
        self,
        requests: Sequence[Request],
        answers: Sequence[str],
        *,
        space: activations.Space = "mlp",
        pool: activations.Pool = "last",
        side: Side = "decoder",
    ) -> Tensor:
        """Activations at the answer that follows each prompt: [layers, n, width] float32 on the
        CPU.
        """
        encoded = [self.encode(replace(request, patches=())) for request in requests]
        return activations.run(self, encoded, answers, space, pool, side)

    def remember(
        self, parts: Mapping[str, Any], compute: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Tensors that were computed before from the same parts on the same model, or computed now
        and kept.
        """
        known = self.recall(parts)
        if known is None:
            started, before = time.monotonic(), self.budget.bill()
            known = compute()
            self.keep(
                parts, known, seconds=time.monotonic() - started, bill=self.budget.bill() - before
            )
        return known

    def recall(self, parts: Mapping[str, Any], *, of: str = "") -> dict[str, Tensor] | None:
        """Tensors that were kept for these parts, charged with the seconds that they took; None
        where there are none.

        Nor where they do not fit their checksum, which is counted.
        """
        path = self._kept(parts)
        if path is None or not path.exists():
            return None
        try:
            known = kept.load(path)
        except ValueError:
            self.budget.damaged()
            return None
        if known is not None and not self.budget.again(f"{path.stem} {of}"):
            self.budget.charge(known[1])
        return known and known[0]

    def keep(
        self,
        parts: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        *,
        seconds: float,
        bill: Bill,
        of: str = "",
    ) -> None:
        """Keep tensors, which took so many seconds and cost so much, beside the response cache,
        where there is one.

        `of`: whose they are, where others' may be equal.
        """
        path = self._kept(parts)
        if path is not None:
            self.budget.keep(f"{path.stem} {of}", bill)
            kept.save(tensors, path, seconds)

    def _kept(self, parts: Mapping[str, Any]) -> Path | None:
        if self.cache is None:
            return None
        key = self.cache.key({"model": self.identity, "code": self.code, **parts})
        return self.cache.folder / f"{key[:32]}.safetensors"

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

"""The tokens of an answer as the model would write it behind its prompt, and those that end it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from bench.lm.chat_template import ChatTemplate
from bench.lm.markers import Markers
from bench.types import Message

_QUESTION = (Message("user", ("Question",)),)


class AnswerTokens:
    """How answers are written in tokens. `template`: None if prompts are plain.

    `lead`: what stands between a prompt and its answer, and belongs to the answer's first token.
    `model_ends`: what the model's own settings say that ends an answer.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: ChatTemplate | None,
        markers: Markers,
        *,
        lead: str,
        model_ends: Sequence[int] = (),
    ) -> None:
        self._tokenizer, self._template, self._markers = tokenizer, template, markers
        self._lead = lead if template is None else template.around.lead
        self._model_ends = tuple(model_ends)

    def ids(self, answer: str, *, end: bool = True) -> list[int]:
        """The answer's tokens, with the one that ends it."""
        ids = self._behind_prompt(self._lead + self._markers.plain(answer))
        return [*ids, self.end] if end else ids

    @cached_property
    def end(self) -> int:
        """The token that ends an answer: what the template writes behind it, or else the
        tokenizer's end of text, or else the model's. A model without any ends it with the line.
        """
        written = self._written_ends
        if written:
            return written[0]
        if self._tokenizer.eos_token_id is not None:
            return int(self._tokenizer.eos_token_id)
        if self._model_ends:
            return self._model_ends[0]
        return self._plain("\n")[-1]

    @cached_property
    def ends(self) -> frozenset[int]:
        """Every token at which an answer is over. Chat models name several in their settings."""
        known = [self.end, *self._written_ends, *self._model_ends]
        if self._tokenizer.eos_token_id is not None:
            known.append(int(self._tokenizer.eos_token_id))
        return frozenset(known)

    @cached_property
    def last_ends(self) -> frozenset[int]:
        """Those that end the last turn. Within a thought, others may end a part of it."""
        between = set(self._written_ends[1:]) - {self.end}
        return self.ends - between

    @cached_property
    def _written_ends(self) -> list[int]:
        """The control tokens that the template writes behind an answer, that of the last turn
        first. Between the two there may be white space.
        """
        if self._template is None:
            return []
        added = {str(token) for token in self._tokenizer.added_tokens_decoder.values()}
        marks = added & set(self._markers.marks)
        longest_first = sorted(marks, key=len, reverse=True)
        pattern = re.compile(rf"\s*({'|'.join(map(re.escape, longest_first)) or '(?!)'})")
        ends: list[int] = []
        for behind in self._template.around.behind:
            marker = pattern.match(behind)
            if marker:
                ends.append(int(self._tokenizer.convert_tokens_to_ids(marker[1])))
        return ends

    @cached_property
    def _context(self) -> str:
        """A prompt: some tokenizers write a word in other tokens behind one than alone."""
        if self._template is None:
            return ""
        return self._template.prompt(_QUESTION)

    @cached_property
    def _context_ids(self) -> list[int]:
        return self._plain(self._context)

    def _behind_prompt(self, text: str) -> list[int]:
        if not self._context:
            return self._plain(text)
        whole = self._plain(self._context + text)
        size = len(self._context_ids)
        # Behind a prompt that melts with the answer's first letters there is no telling them apart.
        return whole[size:] if whole[:size] == self._context_ids else self._plain(text)

    def _plain(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

"""An answer while it is written: its tokens, what they say so far, when it is over, and the thought
that may come before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.lm.thoughts import begins_with_thought

if TYPE_CHECKING:
    import torch

_TAIL = 24
"""Tokens in which the end of a thought is looked for."""

_HEAD = 8
"""Tokens in which the beginning of a thought shows."""


@dataclass(frozen=True)
class ThoughtRules:
    """How a model that thinks first goes on to its answer.

    `closed`: the text that ends a thought. `close`: tokens that are written for the model if it
    has thought for `limit` tokens. `ends`: tokens with which it gives up without an answer.
    """

    closed: str
    close: Sequence[int]
    limit: int
    ends: frozenset[int]

    @property
    def most(self) -> int:
        """How many tokens a thought and its end have, at most."""
        return self.limit + 2 * len(self.close)


@dataclass(frozen=True)
class AnswerRules:
    """When an answer is over.

    `ends`: tokens that end it. `labels`: texts that end it as soon as they stand there. `limit`:
    tokens that it has at most. `decode`: tokens to text, without special ones or with them.
    """

    ends: frozenset[int]
    labels: Sequence[str]
    limit: int
    decode: Callable[..., Any]
    thought: ThoughtRules | None = None

    @property
    def most(self) -> int:
        """How many tokens are written behind a prompt, at most."""
        return self.limit + (self.thought.most if self.thought else 0)


@dataclass
class AnswerText:
    """What is being written behind one prompt: the answer's tokens, what they say so far, whether
    that is all, and the random numbers that it draws from.

    `thought`: tokens of a thought before the answer. `thought_cut`: it was over its limit.
    """

    rules: AnswerRules
    stream: torch.Generator
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    finished: bool = False
    thought: list[int] = field(default_factory=list)
    thought_cut: bool = False
    last: int = -1

    def __post_init__(self) -> None:
        self._thinking = self.rules.thought is not None
        self._to_write: list[int] = []
        self._blank = 0

    @property
    def over(self) -> bool:
        """Whether nothing more is written: it is finished, or as long as it may be."""
        return self.finished or len(self.tokens) >= self.rules.limit

    @property
    def thought_tokens(self) -> int:
        """Tokens of thoughts. All, if an answer that was to have none begins as a thought does."""
        if self.thought:
            return len(self.thought)
        opened = begins_with_thought(str(self.rules.decode(self.tokens[:_HEAD])))
        return len(self.tokens) if opened else 0

    def take(self, token: int) -> None:
        """Go on with the token that the model has chosen."""
        thought = self.rules.thought
        if self._thinking and thought is not None:
            self._think(token, thought)
            return
        if token in self.rules.ends:
            self.finished = True
            return
        if self._blank_before_answer(token):
            self.thought.append(token)
            self.last = token
            return
        self.tokens.append(token)
        self.last = token
        # All tokens are decoded again: one alone may be half a character, or lose its space.
        self.text = str(self.rules.decode(self.tokens, skip_special_tokens=True))
        self.finished = stops(self.text, self.rules.labels)

    def _blank_before_answer(self, token: int) -> bool:
        """Whether a token is the empty line between a thought and its answer: no part of these."""
        thought = self.rules.thought
        if thought is None or self.tokens or self._blank >= len(thought.close):
            return False
        blank = not str(self.rules.decode([token])).strip()
        self._blank += blank
        return blank

    def _think(self, token: int, rules: ThoughtRules) -> None:
        if len(self.thought) >= rules.limit and not self._to_write:
            # Whatever the model would say next: its thought is closed, and its answer follows.
            self.thought_cut = True
            self._to_write = list(rules.close)
        if self._to_write:
            token = self._to_write.pop(0)
            self._thinking = bool(self._to_write)
        elif token in rules.ends:
            self.finished = True
            return
        self.thought.append(token)
        self.last = token
        if not self.thought_cut:
            self._thinking = rules.closed not in str(self.rules.decode(self.thought[-_TAIL:]))


def stops(text: str, labels: Sequence[str]) -> bool:
    """An answer ends with its first line, or with a label that no longer label begins with."""
    # Line breaks before the first word are no line: models like to begin with one.
    if "\n" in text.lstrip():
        return True
    said = text.strip()
    return said in labels and not any(label != said and label.startswith(said) for label in labels)


def first_line(text: str) -> str:
    """The answer proper: without white space around it, and without what follows its line."""
    return text.strip().split("\n", 1)[0].strip()

"""A model without weights, for what needs no arithmetic: a hash of the prompt answers. No torch.

`cells.run(*MOCK, ...)` runs a cell on it. It can give log-probabilities; a method that needs weights
is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.lm.backend import Batch, Capability, Prompt, Score, Wanted
from bench.lm.spec import ModelSpec
from bench.types import Completion, Request, Weights

MOCK = ("model=tiny", "model._target_=mock_backend.MockSpec", "model.source=tiny:mock")
WORDS = ("solid", "late", "bright", "weak", "warm", "cheap", "kind", "loud", "clean", "odd")
AT_ONCE = 64


@dataclass(frozen=True)
class MockSpec(ModelSpec):
    """A model that answers and scores, and has no weights."""

    engine: ClassVar[str] = "mock_backend:MockBackend"

    @property
    def can(self) -> frozenset[Capability]:
        return frozenset({"logprobs"})


@dataclass(frozen=True)
class AnsweringSpec(MockSpec):
    """A model that answers, and can do nothing else."""

    @property
    def can(self) -> frozenset[Capability]:
        return frozenset()


class MockBackend:
    """The Backend (bench/lm/backend.py) of a MockSpec."""

    independent = True

    facts: Mapping[str, Any] = {}

    def __init__(self, spec: ModelSpec) -> None:
        self.identity: Mapping[str, Any] = spec.identity()
        self.can = spec.can

    def prompt(self, request: Request) -> Prompt:
        text = "\n\n".join(message.text for message in request.messages)
        return Prompt((), text, 0, draw=request.draw, name=request.name, counted=len(text) // 4)

    def plan(
        self, prompts: Sequence[Prompt], *, salt: str = "", small: bool = False
    ) -> list[list[int]]:
        rows = range(len(prompts))
        return [list(rows[at : at + AT_ONCE]) for at in range(0, len(rows), AT_ONCE)]

    def answer(
        self,
        prompts: Sequence[Prompt],
        patches: Sequence[tuple[Weights, ...]],
        wanted: Wanted,
        progress: Callable[[float], None],
    ) -> Iterator[Batch[Completion]]:
        answers = {}
        for row, prompt in enumerate(prompts):
            gold = wanted.golds[row] if wanted.golds else None
            answers[row] = self._answer(prompt, wanted, gold)
        progress(len(prompts))
        yield Batch(answers)

    def score(
        self,
        prompts: Sequence[Prompt],
        patches: Sequence[tuple[Weights, ...]],
        answers: Sequence[Sequence[str]],
    ) -> Iterator[Batch[list[Score]]]:
        scores = {}
        for row, prompt in enumerate(prompts):
            scores[row] = [_score(prompt, answer) for answer in answers[row]]
        yield Batch(scores)

    def _answer(self, prompt: Prompt, wanted: Wanted, gold: str | None) -> Completion:
        decoding, labels = wanted.decoding, wanted.labels
        logprobs = tuple(_score(prompt, label).logprob for label in labels)
        drawn = _digest(prompt.text, prompt.draw, decoding.seed if decoding.rule == "sample" else 0)
        if decoding.rule == "likelihood":
            text = labels[logprobs.index(max(logprobs))]
        elif labels:
            text = labels[drawn[0] % len(labels)]
        else:
            text = " ".join(WORDS[byte % len(WORDS)] for byte in drawn[: wanted.max_new_tokens])
        behind = _score(prompt, gold) if gold is not None else None
        scores = "logprobs" in self.can
        return Completion(
            text,
            prompt.size,
            len(text.split()),
            label_logprobs=logprobs if labels and scores else None,
            gold_nll=-behind.logprob / behind.tokens if behind and scores else None,
        )


def _score(prompt: Prompt, answer: str) -> Score:
    tokens = len(answer.split()) + 1
    return Score(-tokens * (0.5 + _digest(prompt.text, answer)[0] / 256), tokens)


def _digest(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()

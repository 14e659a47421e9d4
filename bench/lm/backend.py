"""What a model must be able to do for Lamplight, whichever engine runs it. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from bench.types import Completion, Decoding, Request, Weights

T = TypeVar("T")

Capability = Literal["logprobs", "patches", "activations", "training"]
"""What only some engines can do besides answering: give the log-probability of a given answer
(`logprobs`), answer with a user's changes to the weights (`patches`), show what a layer computes
(`activations`), and have their weights trained (`training`).
"""

ALL: frozenset[Capability] = frozenset({"logprobs", "patches", "activations", "training"})


@dataclass(frozen=True)
class Prompt:
    """A request as a model reads it: its text, its tokens, and how many history tokens were cut to
    fit.

    `ids`: empty if the engine keeps the tokens to itself; `counted` is then their number. The first
    `virtual` ids are placeholders: a soft prompt's vectors take their place while the prompt is
    read. `draw`: the request's. `name`: which question it is, for errors.
    """

    ids: tuple[int, ...]
    text: str
    cut: int
    virtual: int = 0
    draw: str = ""
    name: str = ""
    counted: int = 0

    @property
    def size(self) -> int:
        """Tokens."""
        return len(self.ids) or self.counted


@dataclass(frozen=True)
class Wanted:
    """What is wanted of prompts: an answer, by these rules; the log-probability of each label; and
    of each prompt's gold, where there are golds (one for each prompt).
    """

    max_new_tokens: int
    decoding: Decoding
    labels: Sequence[str] = ()
    golds: Sequence[str] = ()

    def how(self, prompt: Prompt) -> list[str | float]:
        """What can change the answer besides model and prompt: for the response cache."""
        decoding = self.decoding
        how: list[str | float] = [decoding.rule, self.max_new_tokens, decoding.stop_at_label]
        if decoding.rule == "sample":
            how += [decoding.temperature, decoding.top_p, decoding.top_k, decoding.seed]
            how += [prompt.draw] if prompt.draw else []
        return how


class Score(NamedTuple):
    """How likely an answer is: its total log-probability (nats, with the end token), and the number
    of its tokens.
    """

    logprob: float
    tokens: int


@dataclass(frozen=True)
class Scores:
    """How likely each answer of one request is, and how many prompt tokens were read for it."""

    answers: Sequence[Score]
    tokens_in: int


@dataclass(frozen=True)
class Batch(Generic[T]):
    """What was finished together: for each prompt, by its index, what it was asked for."""

    results: Mapping[int, T] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[int, T]]:
        return iter(self.results.items())

    def __len__(self) -> int:
        return len(self.results)


class Backend(Protocol):
    """A model that answers prompts, in this process or elsewhere.

    `LM` (bench/lm/model.py) asks it, and owns what all backends share: the response cache, the
    budget, which answers are there already.
    """

    @property
    def identity(self) -> Mapping[str, Any]:
        """What can change its answers; part of every key."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a record says of it besides, as JSON values."""

    @property
    def can(self) -> frozenset[Capability]:
        """What it can do besides answering."""

    @property
    def independent(self) -> bool:
        """Whether an answer stays the same whichever prompts are answered beside it. Then no answer
        that is known is asked for again because one beside it is not.
        """

    def prompt(self, request: Request) -> Prompt:
        """The request as the model reads it, its history shortened to fit.

        Raises InputError if the question alone does not fit.
        """

    def plan(
        self, prompts: Sequence[Prompt], *, salt: str = "", small: bool = False
    ) -> list[list[int]]:
        """Which prompts are handed over together, by their indices. From the prompts alone, never
        from what is left to do: a run that goes on must put the same ones side by side.

        `salt`: another composition of the batches. `small`: as few as pay, because the batch at
        work may be lost, or because nothing is to be written.
        """

    def answer(
        self,
        prompts: Sequence[Prompt],
        patches: Sequence[tuple[Weights, ...]],
        wanted: Wanted,
        progress: Callable[[float], None],
    ) -> Iterator[Batch[Completion]]:
        """Answer prompts, each with its patches, as they finish; no batch is empty. A backend whose
        answers are not `independent` gives all of them as one batch: they cost what the batch did.
        `progress` hears how many are done, in parts of a prompt.
        """

    def score(
        self,
        prompts: Sequence[Prompt],
        patches: Sequence[tuple[Weights, ...]],
        answers: Sequence[Sequence[str]],
    ) -> Iterator[Batch[list[Score]]]:
        """How likely each of its answers is behind each prompt, where the backend can (`logprobs`);
        as they finish.
        """

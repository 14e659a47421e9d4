"""The values that flow through the harness: users, prompts, answers.

Frozen dataclasses, no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol

from bench.checks.bounds import SEED, SOME, Range

Role = Literal["system", "user", "assistant"]


class Weights(Protocol):
    """A change of a model's weights, as those see it who know no torch (`bench.lm.patch.Patch`)."""

    @property
    def id(self) -> str:
        """A hash of its numbers."""

    @property
    def bytes(self) -> int:
        """Its size, at two bytes a number."""

    def save(self, path: Path) -> None:
        """Write it as safetensors."""


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a user's history: LaMP's fields as text,
    and its day (`YYYY-MM-DD` or a year) if it has one.
    """

    id: str
    fields: Mapping[str, str]
    date: str | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """One question.

    `input` is LaMP's own string; `text` the bare review, description or tweet inside it.
    """

    id: str
    input: str
    text: str
    gold: str | None = None
    date: str | None = None


@dataclass(frozen=True, slots=True)
class User:
    """A person: history (oldest first if dated) and questions. `group` is the key by which
    intervals cluster.
    """

    id: str
    history: tuple[Item, ...]
    queries: tuple[Query, ...]
    group: str = ""

    def hidden(self) -> User:
        """The same user without golds: all that a method may see of a test user."""
        return replace(self, queries=tuple(replace(query, gold=None) for query in self.queries))


@dataclass(frozen=True, slots=True)
class Line:
    """A history item in a prompt: `before + text + after`.

    Only `text` may be shortened to fit the model's limit. When even that is not enough, the lines
    of the highest `rank` are left out first (0 = most important).
    """

    before: str
    text: str
    after: str
    rank: int = 0

    def __str__(self) -> str:
        return self.before + self.text + self.after


Part = str | Line


@dataclass(frozen=True, slots=True)
class Message:
    """One chat turn, as parts: plain strings are never cut, lines may be."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        return "".join(str(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the model: the messages, and the patches to apply to the weights while it
    answers.

    `answer`: the answer itself, if a rule gives it and no model is asked. `name` says in errors
    which question this is; it changes no answer and is in no key. `draw`: whose answer this is, if
    several ask the same and each gets an answer of their own. Sampling then has other random
    numbers for each.
    """

    messages: tuple[Message, ...]
    patches: tuple[Weights, ...] = ()
    answer: str | None = None
    name: str = ""
    draw: str = ""


@dataclass(frozen=True, slots=True)
class Personalization:
    """What a method makes of a user: words for the prompt, weights for the model.

    `text` are words for the prompt, by a name that the method gives them. `items` are the history
    items to show, in prompt order (None: the method chooses when it builds the prompt). `shown`
    says which of them a question shows, by question id, as indices into `items`; a question that it
    does not name shows all. `data` are the method's own values, any JSON. `facts` are what the
    method wants in the record: counts, chosen layers, cosines. JSON values only, no user text.
    `notes` are texts worth reading (insights, summaries); they are kept beside the record, never in
    it.
    """

    text: Mapping[str, str] = field(default_factory=dict)
    items: tuple[Item, ...] | None = None
    patches: tuple[Weights, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    shown: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    def items_for(self, query: Query) -> tuple[Item, ...]:
        """The history items that this question shows, in prompt order."""
        items = self.items or ()
        indices = self.shown.get(query.id)
        if indices is None:
            return items
        return tuple(items[index] for index in indices)


@dataclass(frozen=True, slots=True)
class Decoding:
    """How an answer is chosen from the model's distribution.

    `rule`: `greedy`, `sample`, or `likelihood` (the label of the highest total log-probability;
    label tasks only). `stop_at_label`: end an answer as soon as it is a label ("5" of "5 stars"):
    lenient towards chatty models.
    """

    ONLY_WITH: ClassVar = {
        name: ("rule", ("sample",)) for name in ("temperature", "top_p", "top_k", "seed")
    }

    rule: Literal["greedy", "sample", "likelihood"] = "greedy"
    temperature: Annotated[float, Range(0, 100)] = 1.0
    top_p: Annotated[float, SOME] = 1.0
    top_k: int = 0
    seed: Annotated[int, SEED] = 0
    stop_at_label: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """The model's answer to one request.

    `text` is cut at the stop rule. `tokens_in`, `tokens_out`: prompt and new tokens. `cut`: history
    tokens left out to fit. `label_logprobs`: total log-probability (nats) of each asked label with
    its end token, if labels were asked. `gold_nll`: negative log-likelihood of the gold for each
    of its tokens (nats), if a gold was given. `prompt`: the prompt's text as the model read it.
    """

    text: str
    tokens_in: int
    tokens_out: int
    cut: int = 0
    finished: bool = True
    label_logprobs: tuple[float, ...] | None = None
    gold_nll: float | None = None
    prompt: str = ""
    thought: int = 0
    thought_cut: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One answered question, a line of `samples.jsonl`.

    Holds no gold: golds are joined when scoring.
    """

    id: str
    user: str
    group: str
    raw: str
    tokens_in: int
    tokens_out: int
    cut: int = 0
    finished: bool = True
    label_logprobs: tuple[float, ...] | None = None
    prompt: str = ""
    thought: int = 0
    thought_cut: bool = False

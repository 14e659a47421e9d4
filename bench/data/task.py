"""One LaMP task as data (`conf/task/*.yaml`): its labels, fields and prompts, and how a prompt is
put together.

Every function here is pure. How much of a history fits is the model's business (`bench.lm.model`),
how a template is filled `bench.data.prompt_lines`'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from bench.checks.bounds import COUNT, INSIDE, NAME
from bench.data import citation
from bench.data.dates import past
from bench.data.prompt_lines import fill, item_line, joined, led_by
from bench.data.truncation import shortened
from bench.errors import InputError
from bench.score.metrics import Kind as Kind
from bench.types import Item, Line, Message, Part, Query

Style = Literal["personalized", "neutral", "lamp", "oppu"]
Templates = Mapping[str, str]

OPPU_WORDS = 368
"""Words of each field of an item that an `oppu` prompt shows (OPPU's code at test and in its base's
training).
"""

_INSIGHT_SENTENCE = re.compile(r"[^.\n]*\[INSIGHT\]\.")
_NUMBER = re.compile(r"\{i\}\. ")
_SIDE = re.compile(r"\w+: \{\w+\}")
_CITED = re.compile(r" \w+: \{citation\}")


@dataclass(frozen=True)
class Task:
    """A LaMP task. `source` is the side of a history item that looks like a question, `target` the
    side that looks like an answer (equal for LaMP-7 and absent for LaMP-1, whose history has no
    answers).

    `title`: for people. `official`: the name in LaMP's output files. `folder`: below the data root.
    `fields`: what every history item must have. `corpus`: the fields a retriever reads (LaMP's
    code). `markers`: the bare query text starts after the first of these found in the official
    input. `chameleon`, `lamp`, `oppu`: the prompt templates of the three papers.
    """

    name: Annotated[str, NAME]
    title: str
    official: str
    submission: str
    folder: Annotated[str, INSIDE]
    kind: Kind
    labels: tuple[str, ...]
    fields: tuple[str, ...]
    source: str
    target: str | None
    corpus: tuple[str, ...]
    markers: tuple[str, ...]
    max_new_tokens: Annotated[int, COUNT]
    input_template: str
    chameleon: Templates
    lamp: Templates
    oppu: Templates

    def query_text(self, text: str) -> str:
        """The bare review, description, tweet inside LaMP's `input`; for LaMP-1 title and
        candidates on three lines.
        """
        if self.cites:
            return str(citation.parse(text))
        for marker in self.markers:
            _, found, rest = text.partition(marker)
            if found:
                return rest.strip()
        raise InputError(f"no {' or '.join(map(repr, self.markers))} in the input")

    def retrieval_query(self, query: Query) -> str:
        """What a retriever looks for, as in LaMP's code: the query text;
        for LaMP-1 the two candidates.
        """
        if not self.cites:
            return query.text
        papers = citation.parse(query.input)
        return f"{papers.first} {papers.second}"

    def corpus_text(self, item: Item) -> str:
        """What a retriever reads of an item; of one that has lost these fields, what is left."""
        fields = [name for name in self.corpus if name in item.fields] or list(item.fields)
        return " ".join(item.fields[name] for name in fields)

    def one_sided(self, item: Item) -> str | None:
        """The template of an item that has lost a side (protocol.history_format), in OPPU's words:
        `tag: {tag}`.

        None for an item with both sides, or of a task whose items have no two sides.
        """
        whole = self.source in item.fields and self.target in item.fields
        if not self.has_answers or whole:
            return None
        left = self.source if self.source in item.fields else str(self.target)
        for side in _SIDE.findall(self.oppu["retrieval_history"]):
            if str(side).endswith(f"{{{left}}}"):
                return str(side)
        raise InputError(f"task.oppu.retrieval_history: nothing of the form {left}: {{{left}}}")

    @property
    def has_answers(self) -> bool:
        """Whether a history item can be asked as a question: not in LaMP-1 and LaMP-7."""
        return self.target not in (None, self.source)

    @property
    def cites(self) -> bool:
        """Whether a question asks which of two papers an author would cite (LaMP-1)."""
        return "{ref1}" in self.input_template

    def answer(self, item: Item) -> str | None:
        """The answer side of a history item, as the task would have it answered;
        None where it has none.
        """
        if not self.has_answers or self.target not in item.fields:
            return None
        return item.fields[str(self.target)].strip()

    def item_text(self, item: Item) -> str:
        """The CHAMELEON history line without its number: what selection embeds (A3)."""
        line = self._line(self.chameleon["history_line"], item, number=1)
        return re.sub(r"^\s*\d+\.\s*", "", str(line))

    def render(
        self,
        query: Query,
        items: Sequence[Item],
        *,
        style: Style = "personalized",
        insight: str | None = None,
        profile: str | None = None,
        verbatim: bool = False,
        learnt: bool = False,
    ) -> tuple[Message, ...]:
        """The prompt for one query, as one user turn.

        `personalized`, `neutral`: CHAMELEON A.3; without an insight its sentence goes, without
        items the history clause goes. `lamp`: LaMP's own prompt, items in the order given. `oppu`:
        OPPU's, after an optional profile; items lose line breaks and all that follows their first
        368 words, as in OPPU's code. `learnt`: the question is an item of the user's history, for
        which OPPU's code has a wording of its own. `verbatim` keeps the paper's typing slip
        ("shoulds") in the neutral LaMP-2 prompt. Items later than the query never stand in it.
        """
        items = past(items, query)
        if style == "lamp":
            parts = self._lamp(query, items)
        elif style == "oppu":
            parts = self._oppu(query, items, profile, learnt)
        else:
            parts = self._chameleon(query, items, self.chameleon[style], insight, profile, verbatim)
        return (Message("user", tuple(part for part in parts if part != "")),)

    def ask_insight(
        self, side: Literal["personal", "neutral"], items: Sequence[Item]
    ) -> tuple[Message, ...]:
        """The prompt by which the model writes an insight.

        The paper does not print it: this is ours (A4).
        """
        history = joined(self.history_lines(items), "\n")
        parts = fill(self.chameleon[f"insight_{side}"], {"HISTORY": history})
        return (Message("user", tuple(parts)),)

    def ask_profile(self, items: Sequence[Item]) -> tuple[Message, ...]:
        """The prompt by which the model writes a profile summary
        (OPPU, after Richardson et al.).
        """
        before, _, after = self.oppu["profile_prompt"].partition("{}")
        lines = self._ranked_lines(self.oppu["profile_line"], items)
        return (Message("user", (before, *joined(lines, " | "), after)),)

    def ask(
        self, template: str, items: Sequence[Item] = (), query: Query | None = None
    ) -> tuple[Message, ...]:
        """A method's own question about a history, a query or both: [HISTORY] becomes the lines of
        CHAMELEON's A.3 without their numbers, joined by "; ", [QUERY] the bare query text.
        """
        form = self.chameleon["history_line"].removeprefix("{i}. ")
        slots: dict[str, list[Part]] = {
            "HISTORY": joined(self._numbered_lines(form, items), "; "),
            "QUERY": [query.text if query else ""],
        }
        return (Message("user", tuple(fill(template, slots))),)

    def history_lines(self, items: Sequence[Item]) -> list[Line]:
        """The history as CHAMELEON's prompt shows it, oldest first;
        the newest line is the last to be left out.
        """
        return self._numbered_lines(self.chameleon["history_line"], items)

    def _numbered_lines(self, template: str, items: Sequence[Item]) -> list[Line]:
        """Lines numbered from 1, oldest first: the newest has rank 0, so it is left out last."""
        newest = len(items) - 1
        return [
            self._line(template, item, number=index + 1, rank=newest - index)
            for index, item in enumerate(items)
        ]

    def _ranked_lines(self, template: str, items: Sequence[Item]) -> list[Line]:
        """Lines in the order of a ranking, best first: the best is left out last."""
        return [self._line(template, item, rank=rank) for rank, item in enumerate(items)]

    def _line(self, template: str, item: Item, *, number: int = 0, rank: int = 0) -> Line:
        """One item in a template; one that has lost a side keeps the template's number and end
        alone.

        What a paper cites is only in OPPU's own data: without it the template ends before.
        """
        if "citation" not in item.fields:
            template = _CITED.sub("", template)
        bare = self.one_sided(item)
        if bare is not None:
            number_slot, end = _NUMBER.match(template), template[len(template.rstrip()) :]
            template = f"{number_slot[0] if number_slot else ''}{bare}{end}"
        elastic = self.source if self.source in item.fields else str(self.target)
        return item_line(template, elastic, item, number, rank)

    def _chameleon(
        self,
        query: Query,
        items: Sequence[Item],
        template: str,
        insight: str | None,
        profile: str | None,
        verbatim: bool,
    ) -> list[Part]:
        if not verbatim:
            template = template.replace("answer shoulds", "answer should")
        if insight is None:
            template = _INSIGHT_SENTENCE.sub("", template)
        if not items:
            _, _, rest = template.partition("\n\n")
            template = f"{self.chameleon['no_history']}\n\n{rest}"
        lead: list[Part] = [f"User profile: {profile}\n\n"] if profile else []
        slots: dict[str, list[Part]] = {
            "HISTORY": joined(self.history_lines(items), "\n"),
            "QUERY": [query.text],
        }
        return lead + fill(template, slots | {"INSIGHT": [insight or ""]})

    def _lamp(self, query: Query, items: Sequence[Item]) -> list[Part]:
        if not items:
            return [query.input]
        lines, joiner = self._ranked_lines(self.lamp["item"], items), self.lamp["joiner"]
        if self.cites:
            before, word, after = query.input.partition("title")
            return [before + word, *(led_by(joiner, line) for line in lines), after]
        before, after = self.lamp["whole"].split("{items}")
        return [before, *joined(lines, joiner), after.replace("{input}", query.input)]

    def _oppu(
        self, query: Query, items: Sequence[Item], profile: str | None, learnt: bool
    ) -> list[Part]:
        parts: list[Part] = [profile + "\n"] if profile else []
        if items:
            cut = [shortened(item, OPPU_WORDS) for item in items]
            parts += [*self._ranked_lines(self.oppu["retrieval_history"], cut), "\n"]

        template = self.oppu["prompt"]
        if learnt:
            template = self.oppu["OPPU_input"].replace(f"{{{self.source}}}", "{}")
        values: tuple[str, ...] = (query.text,)
        if self.cites:
            papers = citation.parse(query.input)
            values = (papers.title, papers.first, papers.second)

        # Not str.format: it would read the braces in a question's text as slots.
        first, *pieces = template.split("{}")
        question = first
        for value, piece in zip(values, pieces, strict=True):
            question += value + piece
        return [*parts, question]


def load(**data: Any) -> Task:
    """A task from its YAML (Hydra's lists become tuples)."""
    for key, value in data.items():
        if isinstance(value, Sequence) and not isinstance(value, str):
            data[key] = tuple(value)
    return Task(**data)

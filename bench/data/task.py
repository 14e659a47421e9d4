"""One LaMP task as data (`conf/task/*.yaml`): its labels, fields and prompts, and how a prompt is
put together.

A template is text with slots. Slots are found once, in the template alone, so braces, brackets and
quotes in a user's text are ordinary characters. Every function here is pure; lengths are the
model's business (`bench.lm.model`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Annotated, Any, Literal

from bench.checks.bounds import COUNT, INSIDE, NAME
from bench.data.dates import past
from bench.data.truncation import shortened
from bench.errors import InputError
from bench.types import Item, Line, Message, Part, Query

Kind = Literal["classification", "rating", "generation"]
Style = Literal["personalized", "neutral", "lamp", "oppu"]
Templates = Mapping[str, str]

OPPU_WORDS = 368
"""Words of each field of an item that an `oppu` prompt shows (OPPU's code at test and in its base's
training).
"""

_SLOT = re.compile(r"\[(HISTORY|QUERY|INSIGHT)\]")
_INSIGHT_SENTENCE = re.compile(r"[^.\n]*\[INSIGHT\]\.")
_NUMBER = re.compile(r"\{i\}\. ")
_SIDE = re.compile(r"\w+: \{\w+\}")
_CITED = re.compile(r" \w+: \{citation\}")
_CITATION = re.compile(
    r'title "(?P<title>.*)", which reference .*?\[1\]: "(?P<one>.*)" \[2\]: "(?P<two>.*)"\s*$',
    re.DOTALL,
)


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
            title, one, two = self.candidates(text)
            return f'"{title}"\n[1]: "{one}"\n[2]: "{two}"'
        for marker in self.markers:
            _, found, rest = text.partition(marker)
            if found:
                return rest.strip()
        raise InputError(f"no {' or '.join(map(repr, self.markers))} in the input")

    def candidates(self, text: str) -> tuple[str, str, str]:
        """Title and the two candidates of a LaMP-1 input, found by the fixed delimiters: titles may
        hold quotes.
        """
        match = _CITATION.search(text)
        if not match:
            raise InputError(
                'not of LaMP-1\'s form: title "...", which reference ... [1]: "..." [2]: "..."'
            )
        return match["title"], match["one"], match["two"]

    def retrieval_query(self, query: Query) -> str:
        """What a retriever looks for (reference 1.5): the query text; for LaMP-1 the two
        candidates.
        """
        return " ".join(self.candidates(query.input)[1:]) if self.cites else query.text

    def corpus_text(self, item: Item) -> str:
        """What a retriever reads of an item; of one that has lost these fields, what is left."""
        fields = [name for name in self.corpus if name in item.fields] or list(item.fields)
        return " ".join(item.fields[name] for name in fields)

    def one_sided(self, item: Item) -> str | None:
        """The template of an item that has lost a side (protocol.history_format), in OPPU's words:
        `tag: {tag}`.

        None for an item with both sides, or of a task whose items have no two sides.
        """
        left = [side for side in (self.source, str(self.target)) if side in item.fields]
        if not self.has_answers or len(left) == 2:
            return None
        template = self.oppu["retrieval_history"]
        return next(
            side for side in map(str, _SIDE.findall(template)) if side.endswith(f"{{{left[0]}}}")
        )

    @property
    def has_answers(self) -> bool:
        """Whether a history item can be asked as a question: not in LaMP-1 and LaMP-7."""
        return self.target not in (None, self.source)

    @property
    def cites(self) -> bool:
        """Whether a question asks which of two papers an author would cite (LaMP-1)."""
        return "{ref1}" in self.input_template

    def answer(self, item: Item) -> str | None:
        """The answer side of a history item, as the task would have it answered; None where it has
        none.
        """
        return (
            item.fields[str(self.target)].strip()
            if self.has_answers and self.target in item.fields
            else None
        )

    def item_text(self, item: Item) -> str:
        """The CHAMELEON history line without its number: what selection embeds (A3)."""
        return re.sub(
            r"^\s*\d+\.\s*", "", str(self._line(self.chameleon["history_line"], item, number=1))
        )

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
        """The prompt by which the model writes an insight (the paper does not print it; ours,
        reference 3.3).
        """
        history = _joined(self.history_lines(items), "\n")
        return (
            Message("user", tuple(_fill(self.chameleon[f"insight_{side}"], {"HISTORY": history}))),
        )

    def ask_profile(self, items: Sequence[Item]) -> tuple[Message, ...]:
        """The prompt by which the model writes a profile summary (OPPU, after Richardson et
        al.)."""
        before, _, after = self.oppu["profile_prompt"].partition("{}")
        lines = [
            self._line(self.oppu["profile_line"], item, rank=rank)
            for rank, item in enumerate(items)
        ]
        return (Message("user", (before, *_joined(lines, " | "), after)),)

    def ask(
        self, template: str, items: Sequence[Item] = (), query: Query | None = None
    ) -> tuple[Message, ...]:
        """A method's own question about a history, a query or both: [HISTORY] becomes the lines of
        A.3 without their numbers, joined by "; ", [QUERY] the bare query text.
        """
        form = self.chameleon["history_line"].removeprefix("{i}. ")
        lines = [
            self._line(form, item, rank=len(items) - 1 - index) for index, item in enumerate(items)
        ]
        slots: dict[str, list[Part]] = {
            "HISTORY": _joined(lines, "; "),
            "QUERY": [query.text if query else ""],
        }
        return (Message("user", tuple(_fill(template, slots))),)

    def history_lines(self, items: Sequence[Item]) -> list[Line]:
        """The history as CHAMELEON's prompt shows it, oldest first; the newest line is the last to
        be left out.
        """
        template = self.chameleon["history_line"]
        newest = len(items) - 1
        return [
            self._line(template, item, number=index + 1, rank=newest - index)
            for index, item in enumerate(items)
        ]

    def _line(self, template: str, item: Item, *, number: int = 0, rank: int = 0) -> Line:
        """One item in a template; one that has lost a side keeps the template's number and end
        alone.

        What a paper cites is only in OPPU's own data: without it the template ends before.
        """
        template = template if "citation" in item.fields else _CITED.sub("", template)
        bare = self.one_sided(item)
        if bare is not None:
            first, end = _NUMBER.match(template), template[len(template.rstrip()) :]
            template = f"{first[0] if first else ''}{bare}{end}"
        return _line(
            template,
            self.source if self.source in item.fields else str(self.target),
            item,
            number,
            rank,
        )

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
            "HISTORY": _joined(self.history_lines(items), "\n"),
            "QUERY": [query.text],
        }
        return lead + _fill(template, slots | {"INSIGHT": [insight or ""]})

    def _lamp(self, query: Query, items: Sequence[Item]) -> list[Part]:
        if not items:
            return [query.input]
        lines = [self._line(self.lamp["item"], item, rank=rank) for rank, item in enumerate(items)]
        if self.cites:
            before, word, after = query.input.partition("title")
            return [before + word, *(_lead(line, self.lamp["joiner"]) for line in lines), after]
        before, after = self.lamp["whole"].split("{items}")
        return [before, *_joined(lines, self.lamp["joiner"]), after.replace("{input}", query.input)]

    def _oppu(
        self, query: Query, items: Sequence[Item], profile: str | None, learnt: bool
    ) -> list[Part]:
        parts: list[Part] = [profile + "\n"] if profile else []
        form, kept = self.oppu["retrieval_history"], [shortened(item, OPPU_WORDS) for item in items]
        lines = [self._line(form, item, rank=rank) for rank, item in enumerate(kept)]
        parts += [*lines, "\n"] if lines else []
        values = self.candidates(query.input) if self.cites else (query.text,)
        template = (
            self.oppu["OPPU_input"].replace(f"{{{self.source}}}", "{}")
            if learnt
            else self.oppu["prompt"]
        )
        pieces = template.split("{}")
        return [
            *parts,
            pieces[0]
            + "".join(value + piece for value, piece in zip(values, pieces[1:], strict=True)),
        ]


def load(**data: Any) -> Task:
    """A task from its YAML (Hydra's lists become tuples)."""
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
        for key, value in data.items()
    }
    return Task(**values)


def _line(template: str, elastic: str, item: Item, number: int, rank: int) -> Line:
    """One item in a template such as `{i}. {score} is ... "{text}".`; `elastic` is the field that
    may shrink.
    """
    before, text, after = "", "", ""
    for literal, name, _, _ in Formatter().parse(template):
        if text or (name is None and after):
            after += literal
        else:
            before += literal
        if name is None:
            continue
        value = str(number) if name == "i" else item.fields[name]
        if name == elastic and not text:
            text = value
        elif text:
            after += value
        else:
            before += value
    return Line(before, text, after, rank)


def _lead(line: Line, joiner: str) -> Line:
    return Line(joiner + line.before, line.text, line.after, line.rank)


def _joined(lines: Sequence[Line], joiner: str) -> list[Part]:
    """Lines with the joiner kept on the line it precedes, so that a line left out takes its joiner
    along.
    """
    return [line if index == 0 else _lead(line, joiner) for index, line in enumerate(lines)]


def _fill(template: str, slots: Mapping[str, Sequence[Part]]) -> list[Part]:
    """The template with its slots filled; neighbouring strings are merged."""
    parts: list[Part] = []
    for index, piece in enumerate(_SLOT.split(template)):
        for part in slots[piece] if index % 2 else (piece,):
            if parts and isinstance(parts[-1], str) and isinstance(part, str):
                parts[-1] += part
            else:
                parts.append(part)
    return parts

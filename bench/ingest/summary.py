"""What was made: users, questions, histories, labels, lengths, what trivial rules score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

from bench.data.task import Task
from bench.ingest.answer_set import AnswerSet
from bench.ingest.bad_rows import BadRows
from bench.ingest.duplicates import DuplicateCounts
from bench.ingest.lamp_writer import input_of, item_of
from bench.ingest.split_rule import Part, Takers
from bench.types import Item, Query

EXAMPLES = 3
SHOWN_ITEMS = 3
LABELS = 12
"""Labels that are listed with their counts."""
FEW_USERS = 24
"""Tested users below which intervals may hold the truth less often (docs/statistics.md)."""


@dataclass
class SplitSummary:
    """Of one split. Lengths are in words."""

    users: int = 0
    questions: int = 0
    histories: list[int] = field(default_factory=list)
    input_words: int = 0
    output_words: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    majority_right: int = 0
    """Questions whose answer is the most frequent one of the user's own history."""
    without_history: int = 0
    cut: int = 0
    examples: list[Part] = field(default_factory=list)

    def add(self, part: Part) -> None:
        self.users += 1
        self.questions += len(part.questions)
        self.histories.append(len(part.history))
        self.cut += part.cut
        own = Counter(entry.output for entry in part.history)
        most = own.most_common(1)[0][0] if own else None
        for question in part.questions:
            self.input_words += len(question.input.split())
            self.output_words += len(question.output.split())
            self.answers[question.output] += 1
            self.majority_right += question.output == most
        if len(self.examples) < EXAMPLES:
            self.examples.append(part)


@dataclass
class ImportSummary:
    """Everything that the command says at its end."""

    file_count: int
    rows: int
    repeated: int
    undated: int
    alike_users: int
    columns: str
    kind_guessed: bool
    date_form: str | None
    answers: AnswerSet
    takers: Takers
    least: int
    bad: BadRows
    duplicates: DuplicateCounts
    dropped: bool
    emptied: int
    dev: SplitSummary
    train: SplitSummary

    def prompt(self, task: Task) -> str:
        """The prompt of the first example, with its newest items."""
        return prompt_of(task, self.dev.examples[0])

    def lines(self, task: Task) -> Iterator[str]:
        """The report, line by line."""
        guessed = " (guessed: --kind)" if self.kind_guessed else ""
        yield f"columns     {self.columns}"
        yield f"kind        {task.kind}{guessed}"
        yield f"dates       {self._dates()}"
        yield f"rows        {self._rows()}"
        for example in self.bad.examples:
            yield f"            left out: {example}"
        yield from self._labels()
        yield from self._splits()
        yield f"users       {self._left_out()}"
        yield f"doubles     {self._doubles()}"
        yield from self._rules()
        yield from self._examples()

    def _dates(self) -> str:
        if self.date_form is None:
            return "none: questions are drawn at random among a user's rows"
        undated = f"; {self.undated:,} rows without one count as the oldest" if self.undated else ""
        return f"{self.date_form}: questions are a user's newest rows{undated}"

    def _rows(self) -> str:
        parts = [f"{self.rows:,} used, of {self.file_count:,} file{'s' * (self.file_count > 1)}"]
        if self.repeated:
            parts.append(f"{self.repeated:,} that stand twice were taken once")
        if self.bad.count:
            parts.append(f"{self.bad.count:,} bad ones left out")
        return ", ".join(parts)

    def _labels(self) -> Iterator[str]:
        counts = self.answers.counts
        if counts:
            named = [f"{count.value}: {count.rows:,}" for count in counts[:LABELS]]
            more = f", and {len(counts) - LABELS} more" if len(counts) > LABELS else ""
            yield f"answers     {', '.join(named)}{more}"
        for note in self.answers.notes:
            yield f"            {note}"

    def _splits(self) -> Iterator[str]:
        for name, split in (("train", self.train), ("dev", self.dev)):
            if not split.users:
                yield f"{name:<12}no users"
                continue
            sizes = split.histories
            yield (
                f"{name:<12}{split.users:,} users, {split.questions:,} questions; history"
                f" {min(sizes):,} to {max(sizes):,} items, median {median(sizes):,.0f}; a question"
                f" has {split.input_words / split.questions:.0f} words, an answer"
                f" {split.output_words / split.questions:.1f}"
            )
        if self.dev.users < FEW_USERS:
            yield (
                f"            {self.dev.users} tested users are few: differences will have wide"
                f" intervals (from {FEW_USERS} users on they hold what they say)"
            )

    def _left_out(self) -> str:
        parts = [
            f"{self.takers.too_few:,} left out, with fewer than {self.least} rows before a question"
        ]
        if self.emptied:
            parts.append(f"{self.emptied:,} left out, with too few rows once doubles were dropped")
        cut = self.dev.cut + self.train.cut
        if cut:
            parts.append(f"{cut:,} items older than --history keeps")
        if self.alike_users:
            parts.append(f"{self.alike_users:,} names differ from another in capitals alone")
        return "; ".join(parts)

    def _doubles(self) -> str:
        counts = self.duplicates
        verb = "dropped" if self.dropped else "kept"
        return (
            f"history items like a question of the same user: {counts.in_history_equal:,} equal,"
            f" {counts.in_history_near:,} near; training rows like a tested user's question:"
            f" {counts.between_users_equal:,} equal, {counts.between_users_near:,} near; {verb}"
        )

    def _rules(self) -> Iterator[str]:
        """What a model must beat."""
        if not self.answers.labels or not self.dev.questions or not self.train.answers:
            return
        common = self.train.answers.most_common(1)[0][0]
        share = self.dev.answers[common] / self.dev.questions
        own = self.dev.majority_right / self.dev.questions
        yield (
            f"to beat     right without a model, of dev's questions: each user's own most frequent"
            f" answer {own:.3f}, everybody's ({common}) {share:.3f}"
        )

    def _examples(self) -> Iterator[str]:
        for part in [*self.dev.examples, *self.train.examples][:EXAMPLES]:
            question = part.questions[0]
            when = f" on {question.day}" if question.day else ""
            yield (
                f"example     row {question.number}, user {part.user}{when}, after"
                f" {len(part.history)} items: {question.input:.100} -> {question.output:.60}"
            )


def prompt_of(task: Task, part: Part) -> str:
    """The first question as a method would ask it, with the newest items of the history."""
    entry = part.questions[0]
    query = Query(str(entry.number), input_of(task, entry), entry.input, date=entry.day or None)
    items = []
    for other in part.history[-SHOWN_ITEMS:]:
        fields = item_of(task, other)
        name, day = fields.pop("id"), fields.pop("date", None)
        items.append(Item(name, fields, day))
    messages = task.render(query, items)
    return "\n".join(message.text for message in messages)

"""Join answers and golds, which nothing before this has looked at:
rows of scores, and what a record counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

from bench.cell import likelihoods
from bench.cell.windows import Ahead, Window
from bench.data.dates import withheld
from bench.data.task import Task
from bench.disk import store
from bench.disk.store import Cell
from bench.score import metrics, rouge
from bench.types import Personalization, Query, Sample, User


@dataclass
class Tally:
    """What the record says of all samples and users, gathered window by window.

    `scored`: one row for each question (empty without golds); with `golds` (by id) the only part
    that grows with them. `facts`: sums over users of what the method counted for each. `patches`:
    bytes by id.
    """

    samples: int = 0
    unparsed: int = 0
    truncated: int = 0
    unfinished: int = 0
    thought_tokens: int = 0
    thoughts_cut: int = 0
    golds_without_word: int = 0
    withheld_questions: int = 0
    withheld_items: int = 0
    users: int = 0
    facts: Counter[str] = field(default_factory=Counter)
    patches: dict[str, int] = field(default_factory=dict)
    scored: list[metrics.Scored] = field(default_factory=list)
    golds: dict[str, str] = field(default_factory=dict)
    answers: list[dict[str, str]] = field(default_factory=list)

    def add_users(self, personals: Sequence[Personalization]) -> None:
        """Count what the users' personalizations are and say."""
        self.users += len(personals)
        for personal in personals:
            for name, value in personal.facts.items():
                if isinstance(value, int):
                    self.facts[name] += int(value)
            for patch in personal.patches:
                self.patches[patch.id] = patch.bytes

    def add_histories(self, users: Sequence[User]) -> None:
        """Count what a question is not shown because it is later."""
        for user in users:
            questions, items = withheld(user)
            self.withheld_questions += questions
            self.withheld_items += items

    def add_samples(self, task: Task, samples: Sequence[Sample]) -> None:
        """Count how the answers are formed."""
        for sample in samples:
            self.samples += 1
            self.unparsed += metrics.unparsed(task.kind, task.labels, sample.raw)
            self.truncated += sample.cut > 0
            self.unfinished += not sample.finished
            self.thought_tokens += sample.thought
            self.thoughts_cut += sample.thought_cut

    def add_golds(self, task: Task, queries: Sequence[Query]) -> None:
        """Keep the golds' texts, and count those in which official ROUGE finds no word."""
        for query in queries:
            gold = str(query.gold)
            self.golds[query.id] = gold
            if task.kind == "generation":
                self.golds_without_word += not rouge.has_word(gold)


def tally(
    task: Task,
    cell: Cell,
    windows: Iterator[Window],
    personals: Callable[[Window], Sequence[Personalization]],
    *,
    golds: bool,
    advance: Callable[[int], None],
) -> Tally:
    """Read everything that the steps before have left on disk,
    once and in the order of the questions.
    """
    total = Tally()
    samples = Ahead(_samples(cell))
    gold_nlls = Ahead(likelihoods.values(cell.artifacts, cell.key))
    with_nll = likelihoods.complete(cell.artifacts, cell.key)
    for window in windows:
        total.add_users(personals(window))
        total.add_histories(window.users)
        answers, queries = samples.take(window.ids), window.queries
        total.add_samples(task, answers)
        if golds:
            nlls: Sequence[float | None] = [None] * len(queries)
            if with_nll:
                nlls = gold_nlls.take(window.ids)
            for sample, query, nll in zip(answers, queries, nlls, strict=True):
                total.scored.append(_row(task, sample, query, nll))
            total.add_golds(task, queries)
        else:
            total.answers += [{"id": sample.id, "output": sample.raw} for sample in answers]
        advance(len(queries))
    return total


def write(task: Task, cell: Cell, total: Tally, *, golds: bool, model: str) -> None:
    """scores.json, and the golds' texts for the report;
    without golds the predictions as LaMP's submission.
    """
    if golds:
        store.write_rows(cell.scores, (asdict(row) for row in total.scored))
        store.write_json(cell.folder / "golds.json", total.golds)
    else:
        submission = {"task": task.submission, "golds": total.answers, "model": model}
        store.write_json(cell.folder / "predictions.json", submission)


def _samples(cell: Cell) -> Iterator[tuple[str, Sample]]:
    for sample in store.stream_samples(cell):
        if sample is not None:
            yield sample.id, sample


def _row(task: Task, sample: Sample, query: Query, nll_token: float | None) -> metrics.Scored:
    return metrics.score_one(
        task.kind,
        task.labels,
        sample.raw,
        str(query.gold),
        id=sample.id,
        group=sample.group,
        label_logprobs=sample.label_logprobs,
        nll_token=nll_token,
    )

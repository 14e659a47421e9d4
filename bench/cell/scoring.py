"""Join answers and golds, which nothing before this has looked at: rows of scores, and what a
record counts.
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
        for one in personals:
            self.facts.update(
                {name: int(value) for name, value in one.facts.items() if isinstance(value, int)}
            )
            self.patches.update(
                {patch.id: patch.bytes for patch in one.patches if patch.id not in self.patches}
            )

    def add_histories(self, users: Sequence[User]) -> None:
        """Count what a question is not shown because it is later."""
        for user in users:
            questions, items = withheld(user)
            self.withheld_questions += questions
            self.withheld_items += items

    def add_samples(self, task: Task, samples: Sequence[Sample]) -> None:
        """Count how the answers are formed."""
        self.samples += len(samples)
        self.unparsed += sum(
            metrics.unparsed(task.kind, task.labels, sample.raw) for sample in samples
        )
        self.truncated += sum(sample.cut > 0 for sample in samples)
        self.unfinished += sum(not sample.finished for sample in samples)

    def add_golds(self, task: Task, queries: Sequence[Query]) -> None:
        """Keep the golds' texts, and count those in which official ROUGE finds no word."""
        self.golds |= {query.id: str(query.gold) for query in queries}
        if task.kind == "generation":
            self.golds_without_word += sum(not rouge.has_word(str(query.gold)) for query in queries)


def tally(
    task: Task,
    cell: Cell,
    windows: Iterator[Window],
    personals: Callable[[Window], Sequence[Personalization]],
    *,
    golds: bool,
    advance: Callable[[int], None],
) -> Tally:
    """Read everything that the steps before have left on disk, once and in the order of the
    questions.
    """
    found = Tally()
    samples, nll = Ahead(_samples(cell)), Ahead(likelihoods.values(cell.artifacts, cell.key))
    liked = likelihoods.complete(cell.artifacts, cell.key)
    for window in windows:
        found.add_users(personals(window))
        found.add_histories(window.users)
        queries = [query for user in window.users for query in user.queries]
        answered = samples.take(window.ids)
        found.add_samples(task, answered)
        if golds:
            values: Sequence[float | None] = (
                nll.take(window.ids) if liked else [None] * len(queries)
            )
            found.scored += map(_row(task), answered, queries, values)
            found.add_golds(task, queries)
        else:
            found.answers += [{"id": sample.id, "output": sample.raw} for sample in answered]
        advance(len(queries))
    return found


def write(task: Task, cell: Cell, found: Tally, *, golds: bool, model: str) -> None:
    """scores.json, and the golds' texts for the report; without golds the predictions as LaMP's
    submission.
    """
    if golds:
        store.write_rows(cell.scores, (asdict(one) for one in found.scored))
        store.write_json(cell.folder / "golds.json", found.golds)
    else:
        said = {"task": task.submission, "golds": found.answers, "model": model}
        store.write_json(cell.folder / "predictions.json", said)


def _samples(cell: Cell) -> Iterator[tuple[str, Sample]]:
    return ((sample.id, sample) for sample in store.stream_samples(cell) if sample is not None)


def _row(task: Task) -> Callable[[Sample, Query, float | None], metrics.Scored]:
    def row(sample: Sample, query: Query, nll_token: float | None) -> metrics.Scored:
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

    return row

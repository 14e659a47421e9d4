"""The likelihood of the golds on disk: a file for each window of users; beside an unfinished
window's what it has.

A gold is scored behind the reading of its prompt for the answer (`Golds`). Answers that are on disk
without it, as an earlier version left them, have their prompts read once more (`work_out`).
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cell.windows import Window
from bench.disk import files as disk
from bench.disk import json_lines, seals
from bench.types import Personalization, Request

if TYPE_CHECKING:
    from bench.cell.job import Job

Values = dict[str, tuple[float, int]]
"""By question: the negative log-likelihood of its gold for each token (nats), and how many prompt
tokens were read for it alone: none if the reading for the answer served.
"""

_REMEDY = "delete the file and run the cell again: it is worked out again"


@dataclass(frozen=True)
class File:
    """The values of one window, by question id; none if a rule gave the answers."""

    artifacts: Path
    number: int
    cell: str

    @property
    def path(self) -> Path:
        return self.artifacts / f"nll-{self.number:05d}.json"

    @property
    def partial(self) -> Path:
        return self.path.with_suffix(".jsonl")

    @property
    def done(self) -> bool:
        return self.path.exists()

    @property
    def _owner(self) -> dict[str, Any]:
        return {"cell": self.cell, "name": self.path.stem}

    def read(self) -> Values:
        """All values of a window that is done.

        Raises InputError if they are not as they were written.
        """
        return _values(seals.read(self.path, self._owner, _REMEDY))

    def begun(self) -> Values:
        """What a killed run had worked out; a line that is damaged is left out,
        and worked out again.
        """
        values: Values = {}
        for line in json_lines.stream(self.partial):
            if line is None:
                continue
            with suppress(ValueError, KeyError):
                parsed = json_lines.parse(line)
                if parsed.has_checksum:
                    fields = parsed.fields
                    values[fields["id"]] = (fields["value"], fields["tokens_in"])
        return values

    def add(self, values: Values) -> None:
        """Write some more of a window that is not done."""
        lines = []
        for name, (value, tokens) in values.items():
            lines.append(json_lines.sealed({"id": name, "value": value, "tokens_in": tokens}))
        json_lines.append(self.partial, lines)

    def finish(self, values: Values) -> None:
        """Write all of a window."""
        seals.write(self.path, {name: list(value) for name, value in values.items()}, self._owner)
        disk.remove(self.partial)


@dataclass(frozen=True)
class Golds:
    """The golds of one window's questions while its answers are written: `texts` by question, and
    where their likelihoods go.
    """

    texts: Mapping[str, str]
    file: File
    known: Values

    def add(self, found: Mapping[str, float]) -> None:
        """Keep the likelihoods of one batch of answers."""
        values = {name: (value, 0) for name, value in found.items() if name not in self.known}
        if values:
            self.file.add(values)
            self.known.update(values)


def golds(job: Job, window: Window, requests: Sequence[Request]) -> Golds | None:
    """The golds to score while the window is answered; None if there are none to score: labels have
    theirs from generation, a rule's answers have none, and a window may be done.
    """
    file = File(job.cell.artifacts, window.number, job.plan.cell.key)
    given = any(request.answer is not None for request in requests)
    if not _wanted(job) or given or file.done:
        return None
    texts = {query.id: str(query.gold) for query in window.queries}
    return Golds(texts, file, file.begun())


def _wanted(job: Job) -> bool:
    plan = job.plan
    return bool(plan.tested.golds and not plan.task.labels and "logprobs" in plan.spec.can)


def work_out(job: Job, shared: Personalization) -> None:
    """Negative log-likelihood of each gold text per token (nats), in files, as far as answering has
    not left it there.

    Each batch is on disk, with its cost, before the next.
    """
    if not _wanted(job):
        return
    windows = files(
        job.cell.artifacts, job.plan.cell.key, len(job.users), job.plan.config["window"]
    )
    known = [file.read() if file.done else file.begun() for file in windows]
    used = sum(map(_tokens, known))
    job.budget.tokens("score", tokens_in=used)
    if all(file.done for file in windows):
        return
    with job.budget.phase("score", total=job.questions) as progress:
        for window, file, values in zip(job.windows(), windows, known, strict=True):
            progress.advance(len(values))
            if file.done:
                continue
            for batch in _left(job, window, shared, values):
                file.add(batch)
                values |= batch
                used += _tokens(batch)
                job.budget.tokens("score", tokens_in=used)
                job.run.write()
                progress.advance(len(batch))
            file.finish({name: values[name] for name in window.ids if name in values})


def _tokens(values: Values) -> int:
    """Prompt tokens that were read for these golds alone."""
    return sum(tokens for _, tokens in values.values())


def _left(
    job: Job, window: Window, shared: Personalization, known: Container[str]
) -> Iterator[Values]:
    """Batch by batch what is not known yet; nothing if a rule gave an answer."""
    ids = window.ids
    if all(name in known for name in ids):
        return
    requests = [question.request for question in job.asked(window, shared)]
    if any(request.answer is not None for request in requests):
        return
    texts = [[str(query.gold)] for query in window.queries]
    for batch in job.model.lm.score(
        requests, texts, salt=job.salt, done=lambda index: ids[index] in known
    ):
        values: Values = {}
        for index, scores in batch:
            if ids[index] not in known:
                [gold] = scores.answers
                values[ids[index]] = (-gold.logprob / gold.tokens, scores.tokens_in)
        yield values


def files(artifacts: Path, cell: str, users: int, window: int) -> list[File]:
    """Of all windows of so many users."""
    return [File(artifacts, number, cell) for number in range(-(-users // window))]


def join(parts: Sequence[Path], whole: Path, cell: str) -> None:
    """Put the files of shards, in their order, into the cell's own folder."""
    number = 0
    for part in parts:
        for part_number in range(len(_paths(part))):
            File(whole, number, cell).finish(File(part, part_number, cell).read())
            number += 1


def values(artifacts: Path, cell: str) -> Iterator[tuple[str, float]]:
    """Question ids and values, in the order of the windows."""
    for number in range(len(_paths(artifacts))):
        for name, (value, _) in File(artifacts, number, cell).read().items():
            yield name, value


def complete(artifacts: Path, cell: str) -> bool:
    """Whether every window has values: a rule's answers have none."""
    count = len(_paths(artifacts))
    return count > 0 and all(File(artifacts, number, cell).read() for number in range(count))


def _paths(artifacts: Path) -> list[Path]:
    return list(artifacts.glob("nll-*.json"))


def _values(content: Mapping[str, Sequence[Any]]) -> Values:
    return {name: (float(value), int(tokens)) for name, (value, tokens) in content.items()}

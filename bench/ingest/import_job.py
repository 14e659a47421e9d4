"""One import, from files to a folder: read, split, write, all of it or nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bench.data.file_bar import bar
from bench.data.task import Task, load
from bench.data.task_yaml import FILE
from bench.data.templates import check_task
from bench.errors import InputError
from bench.ingest.answer_set import AnswerSet, label_set, rating_set
from bench.ingest.bad_rows import BadRows
from bench.ingest.duplicates import DuplicateCounts, QuestionIndex, without_answers
from bench.ingest.guesses import Guess, Wishes, guess
from bench.ingest.lamp_writer import SplitWriter
from bench.ingest.log_rows import LogRow, RowReader
from bench.ingest.split_rule import Part, SplitRule, Takers, part_of, takers
from bench.ingest.spool import Spool
from bench.ingest.summary import ImportSummary, SplitSummary
from bench.ingest.table import TableFile
from bench.ingest.task_writer import task_values, task_yaml, wording

STEP = 1000
"""Rows between two looks at how far a file is read."""


@dataclass(frozen=True)
class ImportJob:
    """What the command line asks for. `scale`: of ratings; empty: guessed. `fold`: labels that
    differ in capitals are one. `drop`: duplicates are dropped, and else counted.
    """

    files: tuple[TableFile, ...]
    out: Path
    name: str
    wishes: Wishes
    rule: SplitRule
    scale: str = ""
    fold: bool = False
    drop: bool = True
    skip_bad: bool = False
    dry: bool = False
    replace: bool = False
    progress: bool = True


@dataclass(frozen=True)
class Import:
    """The task and what is to be said of it."""

    task: Task
    summary: ImportSummary


def run(job: ImportJob) -> Import:
    """Do it. Raises InputError if the files, or what is wanted of them, do not go together."""
    if not job.dry:
        _must_be_free(job)
    total = sum(file.size for file in job.files)
    known = guess(job.files[0], job.wishes)
    bad = BadRows(job.skip_bad)

    # A dry run leaves nothing beside the target, not even for a while.
    beside = None if job.dry else job.out.parent
    if beside is not None:
        beside.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=beside, prefix=".ingest-"))
        work = Path(folder)
        spool = Spool(work / "rows.sqlite")
        stack.callback(spool.close)
        with bar("reading", total, enabled=job.progress, unit="bytes") as advance:
            repeated = spool.fill(_examples(job, known.reader, bad, advance))
        if not spool.row_count():
            raise InputError(f"{job.files[0].path.name}: no row can be used: {bad.examples[0]}")

        answers = _answers(job, known, spool)
        rule = replace(job.rule, dated=known.reader.date_form is not None)
        spool.draw(rule.draw)
        who = takers(spool, rule)
        values = _task_values(job, known.reader, answers)
        task = load(**values)
        check_task(task)
        summary = _summary(job, known, spool, answers, who, bad, repeated)
        _write(job, spool, rule, task, summary, None if job.dry else work / "data")
        if not job.dry:
            (work / "data" / FILE).write_text(task_yaml(values, job.out), encoding="utf-8")
            _place(work / "data", job.out)
    return Import(task, summary)


def _must_be_free(job: ImportJob) -> None:
    if job.out.is_file():
        raise InputError(f"--out {job.out}: this is a file: name a folder")
    if job.out.is_dir() and any(job.out.iterdir()) and not job.replace:
        raise InputError(
            f"--out {job.out}: this folder is not empty: name another one, or write over what was"
            " imported before, an edited task.yaml too, with --replace"
        )


def _examples(job: ImportJob, reader: RowReader, bad: BadRows, advance: object) -> Iterator[LogRow]:
    """The examples of all files, one after another."""
    for file in job.files:
        done = 0
        for count, row in enumerate(file.rows(bad)):
            try:
                example = reader.example(row)
            except InputError as error:
                bad.refuse(str(error))
                continue
            yield example
            if count % STEP == 0:
                advance(row.done - done)  # type: ignore[operator]
                done = row.done
        advance(file.size - done)  # type: ignore[operator]


def _answers(job: ImportJob, known: Guess, spool: Spool) -> AnswerSet:
    column = known.reader.columns.output
    if known.reader.kind == "classification":
        return label_set(spool, column, fold=job.fold)
    if known.reader.kind == "rating":
        return rating_set(spool, column, job.scale)
    return AnswerSet()


def _task_values(job: ImportJob, reader: RowReader, answers: AnswerSet) -> dict[str, object]:
    columns = reader.columns
    words = wording(job.name, reader.kind, columns.input, columns.output, answers.labels)
    return task_values(words)


def _summary(
    job: ImportJob,
    known: Guess,
    spool: Spool,
    answers: AnswerSet,
    who: Takers,
    bad: BadRows,
    repeated: int,
) -> ImportSummary:
    dated = known.reader.date_form is not None
    return ImportSummary(
        file_count=len(job.files),
        rows=spool.row_count(),
        repeated=repeated,
        undated=spool.undated_count() if dated else 0,
        alike_users=spool.alike_users(),
        columns=known.reader.columns.as_words(),
        kind_guessed=known.kind_guessed,
        date_form=known.reader.date_form,
        answers=answers,
        takers=who,
        least=job.rule.least,
        bad=bad,
        duplicates=DuplicateCounts(),
        dropped=job.drop,
        emptied=0,
        dev=SplitSummary(),
        train=SplitSummary(),
    )


def _write(
    job: ImportJob,
    spool: Spool,
    rule: SplitRule,
    task: Task,
    summary: ImportSummary,
    root: Path | None,
) -> None:
    """Both splits, tested users first, since training users must not have their questions.

    Nothing is written without a `root`.
    """
    index, who = QuestionIndex(), summary.takers
    counts = {"dev": summary.dev, "train": summary.train}
    with ExitStack() as stack:
        writers = {}
        if root is not None:
            for split in counts:
                writers[split] = stack.enter_context(SplitWriter(root, task, split))
        advance = stack.enter_context(bar("splitting", who.dev + who.train, enabled=job.progress))
        for place, part in enumerate(_parts(spool, rule, who.dev + who.train)):
            split = "dev" if place < who.dev else "train"
            if place == who.dev:
                index.close()
            kept = without_answers(part, summary.duplicates)
            if split == "dev":
                index.add(question.input for question in part.questions)
            else:
                kept = index.without_copies(kept, summary.duplicates)
            if not job.drop:
                kept = part
            advance(1)
            if not kept.questions or len(kept.history) < rule.least:
                summary.emptied += 1
                continue
            counts[split].add(kept)
            if split in writers:
                writers[split].add(kept)
    if not summary.dev.users or not summary.train.users:
        raise InputError(
            "nobody is left in one of the splits once doubles are dropped: --duplicates flag keeps"
            " them, or lower --least"
        )


def _parts(spool: Spool, rule: SplitRule, count: int) -> Iterator[Part]:
    """The users who take part, in the order of the draw."""
    for user in spool.users():
        if not count:
            return
        if rule.is_enough(user.rows):
            count -= 1
            yield part_of(user.value, user.rows, spool.entries(user.value), rule)


def _place(fresh: Path, out: Path) -> None:
    """The finished folder under its name; what was imported there before goes."""
    out.mkdir(parents=True, exist_ok=True)
    for entry in fresh.iterdir():
        target = out / entry.name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(entry, target)

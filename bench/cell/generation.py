"""The third step of a cell: the answers to all questions, appended to samples.jsonl batch by batch,
window by window. What a killed run has answered is not asked again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bench.cell import likelihoods
from bench.cell.windows import Question, Window
from bench.disk import store
from bench.errors import MethodError
from bench.terminal.progress import Progress
from bench.types import Completion, Personalization, Sample

if TYPE_CHECKING:
    from bench.cell.job import Job


_ENOUGH = 20
"""Answers that show whether a model thinks aloud."""


@dataclass
class Answered:
    """The questions that have answers on disk, and these answers' tokens,
    which are what answering has cost. `thoughts`: answers that are, or follow, a thought.
    """

    ids: set[str] = field(default_factory=set)
    tokens_in: int = 0
    tokens_out: int = 0
    thoughts: int = 0

    def add(self, sample: Sample) -> None:
        self.ids.add(sample.id)
        self.tokens_in += sample.tokens_in
        self.tokens_out += sample.tokens_out
        self.thoughts += sample.thought > 0

    def has(self, window: Window) -> bool:
        """Whether all questions of the window are answered."""
        return self.ids.issuperset(window.ids)


def answer(job: Job, shared: Personalization) -> None:
    """Answer all questions that have no answer yet."""
    answered = _on_disk(job)
    if answered.ids:
        _count_tokens(job, answered)
    first = next((window for window in job.windows() if not answered.has(window)), None)
    if first is None:
        return

    if _unanswered(job.asked(first, shared), answered.ids):
        _ = job.model.lm  # loaded, and its base trained, before the clock of the answers starts
    with job.budget.phase("generate", total=job.questions) as progress:
        progress.advance(len(answered.ids))
        for window in job.windows():
            if not answered.has(window):
                _answer_window(job, window, shared, answered, progress)


def _on_disk(job: Job) -> Answered:
    answered = Answered()
    for sample in store.stream_samples(job.cell, ours=True):
        if sample is None:
            job.dropped += 1
        elif sample.id not in answered.ids:
            answered.add(sample)
    return answered


def _unanswered(questions: Sequence[Question], answered: Collection[str]) -> bool:
    """Whether the model has to answer one of these questions."""
    for question in questions:
        if question.request.answer is None and question.id not in answered:
            return True
    return False


def _answer_window(
    job: Job, window: Window, shared: Personalization, answered: Answered, progress: Progress
) -> None:
    questions = job.asked(window, shared)
    golds = likelihoods.golds(job, window, [question.request for question in questions])
    for batch in _batches(job, questions, answered.ids, golds):
        samples = [sample for sample in batch if sample.id not in answered.ids]
        store.append(job.cell, samples)
        for sample in samples:
            answered.add(sample)
        _count_tokens(job, answered)
        job.run.write()
        _refuse_thoughts(job, answered)
        progress.advance(len(samples))


def _refuse_thoughts(job: Job, answered: Answered) -> None:
    """Raises MethodError if most answers begin as a thought does, and none was asked for: cut at
    their first line, they say nothing of the question.
    """
    spec, count = job.plan.spec, len(answered.ids)
    enough = count >= min(_ENOUGH, job.questions)
    if spec.thinking == "off" and enough and answered.thoughts > count / 2:
        raise MethodError(
            f"{answered.thoughts} of {count} answers of {spec.name} begin with a thought, and are"
            " cut before it ends: set model.thinking=on, or turn thoughts off with a setting that"
            " its chat template reads (model.template={...})"
        )


def _count_tokens(job: Job, answered: Answered) -> None:
    job.budget.tokens("generate", tokens_in=answered.tokens_in, tokens_out=answered.tokens_out)


def _batches(
    job: Job,
    questions: Sequence[Question],
    answered: Collection[str],
    golds: likelihoods.Golds | None,
) -> Iterator[list[Sample]]:
    """Batches of answers as samples: first those that a rule gave, then the model's."""
    by_rule: list[Question] = []
    by_model: list[Question] = []
    for question in questions:
        (by_model if question.request.answer is None else by_rule).append(question)
    if by_rule:
        yield list(map(_rule_sample, by_rule))
    if _unanswered(by_model, answered):
        yield from _model_batches(job, by_model, answered, golds)


def _model_batches(
    job: Job,
    questions: Sequence[Question],
    answered: Collection[str],
    golds: likelihoods.Golds | None,
) -> Iterator[list[Sample]]:
    """The model's answers. With `golds` their likelihoods are on disk before the answers: who is
    killed in between writes an answer again, and reads no prompt for its gold alone.
    """
    plan = job.plan
    batches = job.model.lm.generate(
        [question.request for question in questions],
        max_new_tokens=plan.task.max_new_tokens,
        decoding=replace(plan.decoding, seed=plan.seed),
        labels=plan.task.labels,
        salt=job.salt,
        done=lambda index: questions[index].id in answered,
        golds=[golds.texts[question.id] for question in questions] if golds else (),
    )
    for batch in batches:
        samples, likelihood = [], {}
        for index, completion in batch:
            question = questions[index]
            samples.append(_sample(question, completion))
            if completion.gold_nll is not None:
                likelihood[question.id] = completion.gold_nll
        if golds:
            golds.add(likelihood)
        yield samples


def _rule_sample(question: Question) -> Sample:
    return _sample(question, Completion(str(question.request.answer), 0, 0))


def _sample(question: Question, completion: Completion) -> Sample:
    return Sample(
        id=question.id,
        user=question.user.id,
        group=question.user.group,
        raw=completion.text,
        tokens_in=completion.tokens_in,
        tokens_out=completion.tokens_out,
        cut=completion.cut,
        finished=completion.finished,
        label_logprobs=completion.label_logprobs,
        prompt=completion.prompt,
        thought=completion.thought,
        thought_cut=completion.thought_cut,
    )

"""The steps of one cell: fit -> adapt -> answer -> score, on its base.

Every step goes on where a killed run stopped.
"""

from __future__ import annotations

from typing import Any

from bench.cell import adaptation, generation, likelihoods, record, scoring
from bench.cell.job import Job
from bench.types import Personalization


def part(job: Job) -> dict[str, Any]:
    """The steps of a shard: those that need the model. They add nothing to the record yet."""
    _work(job)
    return {}


def whole(job: Job) -> dict[str, Any]:
    """All steps; the part of the record that only a finished cell has."""
    plan, shared = job.plan, _work(job)
    with job.budget.phase("score", total=job.questions) as progress:
        tally = scoring.tally(
            plan.task,
            job.cell,
            job.windows(),
            lambda window: job.personals(window, shared),
            golds=plan.tested.golds,
            advance=progress.advance,
        )
    scoring.write(plan.task, job.cell, tally, golds=plan.tested.golds, model=plan.spec.name)
    return record.results(job.cohort, tally, shared, job.dropped)


def _work(job: Job) -> Personalization:
    """Leave on disk what the users are given, their answers and the likelihood of their golds.

    Returns what all users share.
    """
    shared = adaptation.fit(job)
    adaptation.adapt(job, shared)
    generation.answer(job, shared)
    likelihoods.work_out(job, shared)
    job.forget_window()
    return shared

"""The first two steps of a cell: what a method learns for all users, and its personalization of
each. Both are on disk before the next step.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from bench.cell.artifacts import (
    CHUNK,
    chunk_name,
    is_saved,
    load_personalizations,
    save_personalizations,
)
from bench.cell.cell_claim import claimed
from bench.cost.ledger import Ledger
from bench.types import Personalization, User

if TYPE_CHECKING:
    from bench.cell.job import Job


def fit(job: Job) -> Personalization:
    """What all users share, once for all shards: who comes first learns it, the others wait."""
    whole = job.plan.cell
    with nullcontext() if job.cell == whole else claimed(whole):
        saved = load_personalizations(whole.artifacts, "fit", cell=whole.key)
        return saved[0] if saved is not None else _learn(job)


def _learn(job: Job) -> Personalization:
    plan, budget, artifacts = job.plan, job.budget, job.plan.cell.artifacts
    ledger = job.ledger
    if job.cell != plan.cell:
        # the shard that comes first notes the cost for all; it is not the shard's own
        ledger = Ledger(artifacts, budget, counted=False)

    with ledger.piece("fit") as piece, budget.phase("fit"):
        shared = plan.method.fit(job.model.lazy, plan.task, job.cohort.group, budget)
        piece.write()
    save_personalizations([shared], artifacts, "fit", cell=plan.cell.key)
    return shared


def adapt(job: Job, shared: Personalization) -> None:
    """One personalization for each user, chunk by chunk;
    each chunk is on disk before the next starts.
    """
    with job.budget.phase("adapt", total=len(job.users)) as progress:
        for start in range(0, len(job.users), CHUNK):
            users = job.users[start : start + CHUNK]
            if not is_saved(job.cell.artifacts, chunk_name(start)):
                _adapt_chunk(job, chunk_name(start), users, shared)
            progress.advance(len(users))


def _adapt_chunk(job: Job, name: str, users: Sequence[User], shared: Personalization) -> None:
    plan = job.plan
    hidden = [user.hidden() for user in users]
    with job.ledger.piece(name) as piece:
        personals = list(plan.method.adapt(job.model.lazy, plan.task, hidden, shared, job.budget))
        if len(personals) != len(hidden):
            raise RuntimeError(
                f"{plan.cell.method} adapted {len(personals)} of {len(hidden)} users"
            )
        piece.write()
    ids = [user.id for user in users]
    save_personalizations(personals, job.cell.artifacts, name, cell=plan.cell.key, users=ids)

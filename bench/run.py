"""Run one cell: base -> fit -> adapt -> generate -> score -> record. Every step goes on where a killed run stopped."""

from __future__ import annotations

import datetime
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from bench import manifest, store
from bench import record as records
from bench.budget import Budget, Progress
from bench.lm import base as bases
from bench.plan import Plan, checked, find_base, resolve
from bench.score import metrics
from bench.types import Completion, InputError, MethodError, OverBudget, Personalization, Query, Request, Sample, User

if TYPE_CHECKING:
    from bench.lm.model import LM

CHUNK = 128
"""Users adapted before their artifacts are written."""


@dataclass(frozen=True)
class Result:
    """What became of a cell: its record, and whether it was there already."""

    plan: Plan
    record: Mapping[str, Any]
    cached: bool


def run(config: DictConfig) -> Result:
    """Run a cell, or find it done. A cell that fails leaves a record that says so. Raises InputError on bad input."""
    plan = resolve(config)
    if plan.config["experiment"]:
        manifest.note(plan.cell, plan.config["experiment"], plan.overrides)
    done = store.finished(plan.cell)
    if done is not None:
        return Result(plan, done, cached=True)
    with store.claim(plan.cell, on_wait=lambda who: print(f"waiting for {who}", file=sys.stderr)):
        done = store.finished(plan.cell)
        if done is not None:
            return Result(plan, done, cached=True)
        budget = Budget(config.budget.minutes, progress=config.progress)
        plan = checked(plan)
        job = Job(plan, budget)
        started = _now()
        try:
            record = job.run()
            status, error = "ok", None
        except (InputError, store.StoreError):
            raise
        except (OverBudget, MemoryError) as problem:
            record, status, error = {}, "over_budget" if isinstance(problem, OverBudget) else "oom", str(problem)
        except MethodError as problem:
            record, status, error = {}, "error", str(problem)
        except Exception as problem:  # a failed cell is a row, not a hole
            traceback.print_exc()
            status = "oom" if type(problem).__name__ == "OutOfMemoryError" else "error"
            record, error = {}, f"{type(problem).__name__}: {problem}"
        frame = (
            records.frame(plan, budget)
            | record
            | {"status": status, "error": error, "started": started, "finished": _now()}
        )
        store.write_json(plan.cell.config, plan.config)
        store.write_record(plan.cell, frame)
        return Result(plan, frame, cached=False)


class Job:
    """One cell at work."""

    def __init__(self, plan: Plan, budget: Budget) -> None:
        self.plan, self.budget, self.cell = plan, budget, plan.cell
        costs = self.cell.artifacts / "cost.json"
        if costs.exists():
            known = store.read_json(costs)
            budget.restore(known["phases"], known["limited"])
        self._limited = budget.limited

    @cached_property
    def lm(self) -> LM:
        """The model on its base, loaded when something first needs it."""
        from bench.lm import held
        from bench.lm.cache import ResponseCache

        plan = self.plan
        base = None if plan.base_key is None or plan.base.retrain else find_base(plan)
        with self._phase("load"):
            cache = ResponseCache(self.cell.root / "cache" / "answers.sqlite")
            lm = held.model(plan.spec, base, budget=self.budget, cache=cache)
        if plan.base_key is not None and base is None:
            held.adopt(lm, bases.adapt(lm, plan.task, plan.trainers, plan.base, self.budget, key=plan.base_key))
        return lm

    @property
    def _salt(self) -> str:
        """Another composition of the batches, for the noise floor."""
        return "noise floor" if self.plan.config["noise_floor"] else ""

    def run(self) -> dict[str, Any]:
        """All steps; the part of the record that only a finished cell has."""
        hidden = [user.hidden() for user in self.plan.users]
        shared = self._fit()
        personals = self._adapt(hidden, shared)
        asked = [
            (user, query, personal) for user, personal in zip(hidden, personals, strict=True) for query in user.queries
        ]
        requests = [self._request(user, query, personal) for user, query, personal in asked]
        samples = self._generate(asked, requests)
        scored = self._score(requests, samples)
        self._write_scores(samples, scored)
        return records.results(self.plan, samples, scored, shared, personals, self.dropped)

    def _fit(self) -> Personalization:
        from bench.lm.patch import load_personalizations, save_personalizations

        done = load_personalizations(self.cell.artifacts, "fit")
        if done is not None:
            return done[0]
        with self._phase("fit"):
            shared = self.plan.method.fit(_Late(self), self.plan.task, self.plan.group, self.budget)  # type: ignore[arg-type]
        save_personalizations([shared], self.cell.artifacts, "fit")
        self._limited = self.budget.limited
        return shared

    def _adapt(self, users: Sequence[User], shared: Personalization) -> list[Personalization]:
        """One personalization for each user, chunk by chunk; each chunk is on disk before the next starts."""
        from bench.lm.patch import load_personalizations, save_personalizations

        found: list[Personalization] = []
        with self._phase("adapt", total=len(users)) as progress:
            for at in range(0, len(users), CHUNK):
                chunk, name = users[at : at + CHUNK], f"adapt-{at // CHUNK:05d}"
                done = load_personalizations(self.cell.artifacts, name)
                if done is None:
                    late: Any = _Late(self)
                    done = list(self.plan.method.adapt(late, self.plan.task, chunk, shared, self.budget))
                    if len(done) != len(chunk):
                        raise RuntimeError(f"{self.cell.method} adapted {len(done)} of {len(chunk)} users")
                    save_personalizations(done, self.cell.artifacts, name, users=[user.id for user in chunk])
                    self._limited = self.budget.limited
                found += done
                progress.advance(len(chunk))
        return found

    def _request(self, user: User, query: Query, personal: Personalization) -> Request:
        request = self.plan.method.request(self.plan.task, user, query, personal)
        return replace(request, name=f"{self.plan.task.name} question {query.id}")

    def _generate(
        self, asked: Sequence[tuple[User, Query, Personalization]], requests: Sequence[Request]
    ) -> list[Sample]:
        """Answers to all requests, appended to samples.jsonl batch by batch; in the order of the questions."""
        samples, self.dropped = store.read_samples(self.cell)
        known = {sample.id: sample for sample in samples}

        def done(index: int) -> bool:
            return asked[index][1].id in known

        if any(request.answer is None and not done(index) for index, request in enumerate(requests)):
            _ = self.lm  # loaded, and its base trained, before the clock of the answers starts
        with self._phase("generate", total=len(requests)) as progress:
            progress.advance(len(known))
            for batch in self._answers(asked, requests, done):
                fresh = [sample for sample in batch if sample.id not in known]
                store.append(self.cell, fresh)
                known.update({sample.id: sample for sample in fresh})
                progress.advance(len(fresh))
        return [known[query.id] for _, query, _ in asked]

    def _answers(
        self,
        asked: Sequence[tuple[User, Query, Personalization]],
        requests: Sequence[Request],
        done: Callable[[int], bool],
    ) -> Iterator[list[Sample]]:
        """Batches of answers as samples: first those that a rule gave, then the model's."""
        plan = self.plan

        def sample(index: int, answer: Completion, prompt: str) -> Sample:
            user, query, _ = asked[index]
            return Sample(
                query.id, user.id, user.group, answer.text, answer.tokens_in, answer.tokens_out, answer.cut,
                answer.finished, answer.label_logprobs, prompt,
            )  # fmt: skip

        given = [index for index, request in enumerate(requests) if request.answer is not None]
        yield [sample(index, Completion(str(requests[index].answer), 0, 0), "") for index in given]
        asking = [index for index, request in enumerate(requests) if request.answer is None]
        if all(done(index) for index in asking):
            return
        for batch in self.lm.generate(
            [requests[index] for index in asking],
            max_new_tokens=plan.task.max_new_tokens,
            decoding=replace(plan.decoding, seed=plan.seed),
            labels=plan.task.labels,
            salt=self._salt,
            done=lambda place: done(asking[place]),
        ):
            yield [
                sample(asking[place], answer, self.lm.encode(requests[asking[place]]).text) for place, answer in batch
            ]

    def _score(self, requests: Sequence[Request], samples: Sequence[Sample]) -> list[metrics.Scored]:
        """Join the golds, which nothing before this has looked at."""
        task = self.plan.task
        golds = [query.gold for user in self.plan.users for query in user.queries]
        if any(gold is None for gold in golds):
            return []
        known = [str(gold) for gold in golds]
        with self._phase("score", total=len(samples)) as progress:
            nll = self._gold_likelihood(requests, known, progress.advance)
            return [
                metrics.score_one(
                    task.kind, task.labels, sample.raw, gold, id=sample.id, group=sample.group,
                    label_logprobs=sample.label_logprobs, nll_token=nll.get(index),
                )
                for index, (sample, gold) in enumerate(zip(samples, known, strict=True))
            ]  # fmt: skip

    def _gold_likelihood(
        self, requests: Sequence[Request], golds: Sequence[str], advance: Callable[[], None]
    ) -> dict[int, float]:
        """Negative log-likelihood of each gold text per token (nats); label tasks have theirs from generation."""
        if self.plan.task.labels or any(request.answer is not None for request in requests):
            return {}
        path = self.cell.artifacts / "nll.json"
        if path.exists():
            return {int(index): value for index, value in store.read_json(path).items()}
        found = {}
        for index, [(total, tokens)] in self.lm.likelihood(requests, [[gold] for gold in golds], salt=self._salt):
            found[index] = -total / tokens
            advance()
        store.write_json(path, {str(index): found[index] for index in sorted(found)})
        return found

    def _write_scores(self, samples: Sequence[Sample], scored: Sequence[metrics.Scored]) -> None:
        """scores.json, and the golds' texts for the report; without golds the predictions as LaMP's submission."""
        if scored:
            store.write_json(self.cell.scores, [asdict(one) for one in scored])
            golds = {query.id: query.gold for user in self.plan.users for query in user.queries}
            store.write_json(self.cell.folder / "golds.json", golds)
        else:
            answers = [{"id": sample.id, "output": sample.raw} for sample in samples]
            store.write_json(
                self.cell.folder / "predictions.json", {"task": self.plan.task.submission, "golds": answers}
            )

    @contextmanager
    def _phase(self, name: str, total: int | None = None) -> Iterator[Progress]:
        """A phase of the budget whose cost is kept beside the artifacts, so that a resumed cell knows all it cost.

        Of a limit, only the time whose result is on disk is spent: what was interrupted starts again, with its time.
        """
        try:
            with self.budget.phase(name, total) as progress:
                yield progress
        finally:
            known = {"phases": self.budget.report(), "limited": self._limited}
            store.write_json(self.cell.artifacts / "cost.json", known)


class _Late:
    """Stands for the model in fit and adapt, so that a method that never asks for it never loads it."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def __getattr__(self, name: str) -> Any:
        return getattr(self._job.lm, name)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

"""One cell at work: base -> fit -> adapt -> generate -> score. Every step goes on where a killed run stopped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import record as records
from bench import scoring, store
from bench.budget import Budget
from bench.cohort import Cohort
from bench.env import cache_folder
from bench.lm import base as bases
from bench.progress import Progress
from bench.types import Completion, InputError, Personalization, Query, Request, Sample, User
from bench.windows import CHUNK, Window, chunk_name, windows

if TYPE_CHECKING:
    from bench.lm.model import LM


def claimed(cell: store.Cell) -> AbstractContextManager[None]:
    """Hold the cell alone; who has to wait is told for whom."""
    return store.claim(cell, on_wait=lambda who: print(f"waiting for {who}", file=sys.stderr))


_retrained: set[str] = set()
"""Keys of the adapted bases that this process has trained."""


class Job:
    """One cell at work, or one shard of it: `users` (with golds) are those to be answered for, in `cell`'s folder."""

    def __init__(
        self, cohort: Cohort, budget: Budget, cell: store.Cell, users: Sequence[User], dropped: int = 0
    ) -> None:
        self.cohort, self.plan = cohort, cohort.plan
        self.budget, self.cell, self.users, self.dropped = budget, cell, users, dropped
        costs = self.cell.artifacts / "cost.json"
        if costs.exists():
            known = store.read_json(costs)
            try:
                budget.restore(known["phases"], known["limited"])
            except (KeyError, TypeError):
                raise InputError(f"{costs}: not as this version writes it; delete {self.cell.folder}") from None
        self._limited = budget.limited

    @cached_property
    def lm(self) -> LM:
        """The model on its base, loaded when something first needs it."""
        cohort, key = self.cohort, self.cohort.base_key
        base = None if self._retrain else cohort.base()
        if key is None or base is not None:
            return self._load(base)
        with claimed(store.Cell(cache_folder() / "bases", "claims", self.plan.task.name, key)):
            base = None if self._retrain else cohort.base()  # another cell may have trained it meanwhile
            lm = self._load(base)
            if base is None:
                self._train_base(lm, key)
            return lm

    def _train_base(self, lm: LM, key: str) -> None:
        from bench.lm import held

        plan = self.plan
        with self._phase("base"):
            path = bases.adapt(lm, plan.task, self.cohort.trainers, plan.base, self.budget, key=key)
            held.adopt(lm, path)
        _retrained.add(key)
        if plan.base.retrain:
            store.write_json(self.cell.artifacts / "base.json", {"key": key})

    @property
    def _retrain(self) -> bool:
        """Whether the base is to be made again, which a process does once and a resumed cell not twice."""
        made = self.cohort.base_key in _retrained or (self.cell.artifacts / "base.json").exists()
        return self.plan.base.retrain and not made

    def _load(self, base: Path | None) -> LM:
        from bench.lm import held
        from bench.lm.cache import ResponseCache

        # A worker that has the model from the cell before has no such phase: who counts them counts loads.
        with nullcontext() if held.holds(self.plan.spec, base) else self._phase("load"):
            cache = ResponseCache(self.plan.cell.root / "cache" / "answers.sqlite")
            return held.model(self.plan.spec, base, budget=self.budget, cache=cache)

    @property
    def _salt(self) -> str:
        """Another composition of the batches, for the noise floor."""
        return "noise floor" if self.plan.config["noise_floor"] else ""

    def part(self) -> dict[str, Any]:
        """All that needs the model; nothing for the record yet."""
        self._steps()
        return {}

    def whole(self) -> dict[str, Any]:
        """All steps; the part of the record that only a finished cell has."""
        shared, task = self._steps(), self.plan.task
        with self._phase("score", total=self._questions) as progress:
            found = scoring.tally(
                task, self.cell, self._windows(), lambda window: window.personals(self.cell.artifacts, shared),
                golds=self.plan.tested.golds, advance=progress.advance,
            )  # fmt: skip
        scoring.write(task, self.cell, found, golds=self.plan.tested.golds, model=self.plan.spec.name)
        return records.results(self.cohort, found, shared, self.dropped)

    def _steps(self) -> Personalization:
        """What the users are given, their answers and the likelihood of their golds, on disk; what all users share."""
        shared = self._fit()
        self._adapt(shared)
        self._generate(shared)
        self._gold_likelihood(shared)
        return shared

    def _windows(self) -> Iterator[Window]:
        return windows(self.users, self.plan.config["window"])

    @cached_property
    def _questions(self) -> int:
        return sum(len(user.queries) for user in self.users)

    def _fit(self) -> Personalization:
        """What all users share, once for all shards: who comes first learns it, the others wait."""
        with nullcontext() if self.cell == self.plan.cell else claimed(self.plan.cell):
            return self._fitted(self.plan.cell.artifacts)

    def _fitted(self, artifacts: Path) -> Personalization:
        from bench.lm.kept import load_personalizations, save_personalizations

        done = load_personalizations(artifacts, "fit")
        if done is not None:
            return done[0]
        with self._phase("fit"):
            late: Any = _Late(lambda: self.lm)
            shared = self.plan.method.fit(late, self.plan.task, self.cohort.group, self.budget)
        save_personalizations([shared], artifacts, "fit")
        self._limited = self.budget.limited
        return shared

    def _adapt(self, shared: Personalization) -> None:
        """One personalization for each user, chunk by chunk; each chunk is on disk before the next starts."""
        from bench.lm.kept import save_personalizations

        late: Any = _Late(lambda: self.lm)
        with self._phase("adapt", total=len(self.users)) as progress:
            for at in range(0, len(self.users), CHUNK):
                if not (self.cell.artifacts / f"{chunk_name(at)}.json").exists():
                    chunk = [user.hidden() for user in self.users[at : at + CHUNK]]
                    done = list(self.plan.method.adapt(late, self.plan.task, chunk, shared, self.budget))
                    if len(done) != len(chunk):
                        raise RuntimeError(f"{self.plan.cell.method} adapted {len(done)} of {len(chunk)} users")
                    ids = [user.id for user in chunk]
                    save_personalizations(done, self.cell.artifacts, chunk_name(at), users=ids)
                    self._limited = self.budget.limited
                progress.advance(min(CHUNK, len(self.users) - at))

    def _asked(self, window: Window, shared: Personalization) -> list[tuple[User, Query, Request]]:
        """The window's questions as they are asked. Their names, for errors, begin with the file that holds them."""
        plan = self.plan
        sources = (plan.tested, plan.fitted) if plan.protocol.pool else (plan.tested,)
        where = " or ".join(next(iter(one.files), one.split) for one in sources)
        found = []
        for user, query, personal in window.asked(window.personals(self.cell.artifacts, shared)):
            request = plan.method.request(plan.task, user, query, personal)
            found.append((user, query, replace(request, name=f"{where}: question {query.id}")))
        return found

    def _generate(self, shared: Personalization) -> None:
        """Answers to all requests, appended to samples.jsonl batch by batch, window by window."""
        known = set[str]()
        for sample in store.stream_samples(self.cell):
            if sample is None:
                self.dropped += 1
            else:
                known.add(sample.id)
        first = next((window for window in self._windows() if not known.issuperset(window.ids)), None)
        if first is None:
            return
        asked = self._asked(first, shared)
        if any(request.answer is None and query.id not in known for _, query, request in asked):
            _ = self.lm  # loaded, and its base trained, before the clock of the answers starts
        with self._phase("generate", total=self._questions) as progress:
            progress.advance(len(known))
            for window in self._windows():
                if known.issuperset(window.ids):
                    continue
                if window.number != first.number:
                    asked = self._asked(window, shared)
                for batch in self._answers(asked, known):
                    fresh = [sample for sample in batch if sample.id not in known]
                    store.append(self.cell, fresh)
                    known.update(sample.id for sample in fresh)
                    progress.advance(len(fresh))

    def _answers(self, asked: Sequence[tuple[User, Query, Request]], known: Container[str]) -> Iterator[list[Sample]]:
        """Batches of answers as samples: first those that a rule gave, then the model's."""
        plan = self.plan
        given = [(user, query, request) for user, query, request in asked if request.answer is not None]
        if given:
            yield [_sample(user, query, Completion(str(request.answer), 0, 0), "") for user, query, request in given]
        asking = [(user, query, request) for user, query, request in asked if request.answer is None]
        if all(query.id in known for _, query, _ in asking):
            return
        for batch in self.lm.generate(
            [request for _, _, request in asking],
            max_new_tokens=plan.task.max_new_tokens,
            decoding=replace(plan.decoding, seed=plan.seed),
            labels=plan.task.labels,
            salt=self._salt,
            done=lambda place: asking[place][1].id in known,
        ):
            yield [
                _sample(user, query, answer, self.lm.encode(request).text)
                for (user, query, request), answer in ((asking[place], answer) for place, answer in batch)
            ]

    def _gold_likelihood(self, shared: Personalization) -> None:
        """Negative log-likelihood of each gold text per token (nats); label tasks have theirs from generation.

        Kept by question id, a file for each window, empty where a rule gave answers; beside an unfinished window's what
        it has so far.
        """
        if self.plan.task.labels or not self.plan.tested.golds:
            return
        count = -(-len(self.users) // self.plan.config["window"])
        paths = [self.cell.artifacts / f"nll-{number:05d}.json" for number in range(count)]
        if all(path.exists() for path in paths):
            return
        with self._phase("score", total=self._questions) as progress:
            for window in self._windows():
                if paths[window.number].exists():
                    continue
                requests = [request for _, _, request in self._asked(window, shared)]
                golds = [[str(query.gold)] for user in window.users for query in user.queries]
                partial = paths[window.number].with_suffix(".part")
                found = store.read_values(partial)
                done = [name in found for name in window.ids]
                if all(request.answer is None for request in requests):
                    scored = self.lm.likelihood(requests, golds, salt=self._salt, done=done.__getitem__)
                    for index, [(total, tokens)] in scored:
                        found[window.ids[index]] = -total / tokens
                        store.append_value(partial, window.ids[index], -total / tokens)
                        progress.advance()
                store.write_json(paths[window.number], {name: found[name] for name in window.ids if name in found})
                partial.unlink(missing_ok=True)

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
    """Stands for the model in fit and adapt, so that a method that never asks for it never loads it.

    It holds a function and not the job: through the job's attributes a method would reach the tested users' golds.
    """

    __slots__ = ("_load",)

    def __init__(self, load: Callable[[], LM]) -> None:
        self._load = load

    def __getattr__(self, name: str) -> Any:
        return getattr(self._load(), name)


def _sample(user: User, query: Query, answer: Completion, prompt: str) -> Sample:
    return Sample(
        query.id, user.id, user.group, answer.text, answer.tokens_in, answer.tokens_out, answer.cut,
        answer.finished, answer.label_logprobs, prompt,
    )  # fmt: skip

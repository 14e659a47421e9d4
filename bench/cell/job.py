"""One cell at work: base -> fit -> adapt -> generate -> score. Every step goes on where a killed
run stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cell import likelihoods, scoring
from bench.cell import record as records
from bench.cell.cohort import Cohort
from bench.cell.windows import CHUNK, Window, chunk_name, windows
from bench.cost.budget import Budget
from bench.cost.ledger import Ledger
from bench.disk import sources, store
from bench.env import cache_folder
from bench.lm import base as bases
from bench.terminal import escape
from bench.types import Completion, Personalization, Query, Request, Sample, User

if TYPE_CHECKING:
    from bench.lm.model import LM


def claimed(cell: store.Cell, *, also: Sequence[Path] = ()) -> AbstractContextManager[None]:
    """Hold the cell, and what else its claim covers, alone; who has to wait is told for whom."""
    return store.claim(
        cell, also=also, on_wait=lambda who: escape.say(f"waiting for {who}", sys.stderr)
    )


_retrained: set[str] = set()
"""Keys of the adapted bases that this process has trained."""


class Job:
    """One cell at work, or one shard of it: `users` (with golds) are those to be answered for, in
    `cell`'s folder.
    """

    def __init__(
        self,
        cohort: Cohort,
        budget: Budget,
        cell: store.Cell,
        users: Sequence[User],
        dropped: int = 0,
    ) -> None:
        self.cohort, self.plan = cohort, cohort.plan
        self.budget, self.cell, self.users, self.dropped = budget, cell, users, dropped
        self.ledger = Ledger(cell.artifacts, budget)
        self.run = self.ledger.begin()

    @cached_property
    def lm(self) -> LM:
        """The model on its base, loaded when something first needs it."""
        cohort, key = self.cohort, self.cohort.base_key
        base = None if self._retrain else cohort.base()
        if key is None or base is not None:
            return self._load(base)
        place = bases.place(self.plan.spec.name, self.plan.task, key)
        with claimed(
            store.Cell(cache_folder() / "bases", "claims", self.plan.task.name, key), also=[place]
        ):
            # another cell may have trained it meanwhile
            base = None if self._retrain else cohort.base()
            lm = self._load(base)
            if base is None:
                self._train_base(lm, key)
            return lm

    def _train_base(self, lm: LM, key: str) -> None:
        from bench.lm import model_pool

        plan = self.plan
        with self.ledger.piece("base") as piece, self.budget.phase("base"):
            path = bases.adapt(
                lm,
                plan.task,
                self.cohort.trainers,
                plan.base,
                self.budget,
                key=key,
                before=piece.write,
            )
            model_pool.adopt(lm, path)
        _retrained.add(key)
        if plan.base.retrain:
            store.write_json(self.cell.artifacts / "base.json", {"key": key})

    @property
    def _retrain(self) -> bool:
        """Whether the base is to be made again, which a process does once and a resumed cell not
        twice.
        """
        made = self.cohort.base_key in _retrained or (self.cell.artifacts / "base.json").exists()
        return self.plan.base.retrain and not made

    def _load(self, base: Path | None) -> LM:
        from bench.lm import model_pool
        from bench.lm.response_cache import ResponseCache

        # A worker that has the model from the cell before has no such phase: who counts them counts
        # loads.
        with nullcontext() if model_pool.holds(self.plan.spec, base) else self.budget.phase("load"):
            cache = ResponseCache(self.plan.cell.root / "cache" / "answers.sqlite")
            lm = model_pool.model(self.plan.spec, base, budget=self.budget, cache=cache)
        lm.code = sources.digest(sources.of(self.plan.method))
        return lm

    @property
    def salt(self) -> str:
        """Another composition of the batches, for the noise floor."""
        return "noise floor" if self.plan.config["noise_floor"] else ""

    def part(self) -> dict[str, Any]:
        """All that needs the model; nothing for the record yet."""
        self._steps()
        return {}

    def whole(self) -> dict[str, Any]:
        """All steps; the part of the record that only a finished cell has."""
        shared, task = self._steps(), self.plan.task
        with self.budget.phase("score", total=self.questions) as progress:
            found = scoring.tally(
                task,
                self.cell,
                self.windows(),
                lambda window: self._personals(window, shared),
                golds=self.plan.tested.golds,
                advance=progress.advance,
            )
        scoring.write(
            task, self.cell, found, golds=self.plan.tested.golds, model=self.plan.spec.name
        )
        return records.results(self.cohort, found, shared, self.dropped)

    def _steps(self) -> Personalization:
        """What the users are given, their answers and the likelihood of their golds, on disk; what
        all users share.
        """
        shared = self._fit()
        self._adapt(shared)
        self._generate(shared)
        likelihoods.work_out(self, shared)
        return shared

    def windows(self) -> Iterator[Window]:
        return windows(self.users, self.plan.config["window"])

    @cached_property
    def questions(self) -> int:
        return sum(len(user.queries) for user in self.users)

    def _fit(self) -> Personalization:
        """What all users share, once for all shards: who comes first learns it, the others wait."""
        with nullcontext() if self.cell == self.plan.cell else claimed(self.plan.cell):
            return self._fitted(self.plan.cell.artifacts)

    def _fitted(self, artifacts: Path) -> Personalization:
        from bench.cell.artifacts import load_personalizations, save_personalizations

        done = load_personalizations(artifacts, "fit", cell=self.plan.cell.key)
        if done is not None:
            return done[0]
        ledger = (
            self.ledger
            if self.cell == self.plan.cell
            else Ledger(artifacts, self.budget, counted=False)
        )
        with ledger.piece("fit") as piece, self.budget.phase("fit"):
            late: Any = _Late(lambda: self.lm)
            shared = self.plan.method.fit(late, self.plan.task, self.cohort.group, self.budget)
            piece.write()
        save_personalizations([shared], artifacts, "fit", cell=self.plan.cell.key)
        return shared

    def _adapt(self, shared: Personalization) -> None:
        """One personalization for each user, chunk by chunk; each chunk is on disk before the next
        starts.
        """
        with self.budget.phase("adapt", total=len(self.users)) as progress:
            for at in range(0, len(self.users), CHUNK):
                if not (self.cell.artifacts / f"{chunk_name(at)}.json").exists():
                    self._adapt_chunk(chunk_name(at), self.users[at : at + CHUNK], shared)
                progress.advance(min(CHUNK, len(self.users) - at))

    def _adapt_chunk(self, name: str, users: Sequence[User], shared: Personalization) -> None:
        from bench.cell.artifacts import save_personalizations

        late: Any = _Late(lambda: self.lm)
        chunk = [user.hidden() for user in users]
        with self.ledger.piece(name) as piece:
            done = list(self.plan.method.adapt(late, self.plan.task, chunk, shared, self.budget))
            if len(done) != len(chunk):
                raise RuntimeError(
                    f"{self.plan.cell.method} adapted {len(done)} of {len(chunk)} users"
                )
            piece.write()
        ids = [user.id for user in chunk]
        save_personalizations(done, self.cell.artifacts, name, cell=self.plan.cell.key, users=ids)

    def _personals(self, window: Window, shared: Personalization) -> list[Personalization]:
        return window.personals(self.cell.artifacts, shared, self.plan.cell.key)

    def asked(self, window: Window, shared: Personalization) -> list[tuple[User, Query, Request]]:
        """The window's questions as they are asked. Their names, for errors, begin with the file
        that holds them.
        """
        plan = self.plan
        sources = (plan.tested, plan.fitted) if plan.protocol.pool else (plan.tested,)
        where = " or ".join(next(iter(one.files), one.split) for one in sources)
        found = []
        for user, query, personal in window.asked(self._personals(window, shared)):
            request = plan.method.request(plan.task, user, query, personal)
            found.append((user, query, replace(request, name=f"{where}: question {query.id}")))
        return found

    def _generate(self, shared: Personalization) -> None:
        """Answers to all requests, appended to samples.jsonl batch by batch, window by window."""
        known, used = self._answered()
        first = next(
            (window for window in self.windows() if not known.issuperset(window.ids)), None
        )
        if first is None:
            return
        asked = self.asked(first, shared)
        if any(request.answer is None and query.id not in known for _, query, request in asked):
            _ = self.lm  # loaded, and its base trained, before the clock of the answers starts
        with self.budget.phase("generate", total=self.questions) as progress:
            progress.advance(len(known))
            for window in self.windows():
                if known.issuperset(window.ids):
                    continue
                if window.number != first.number:
                    asked = self.asked(window, shared)
                golds = likelihoods.golds(self, window, [request for _, _, request in asked])
                for batch in self._answers(asked, known, golds):
                    fresh = [sample for sample in batch if sample.id not in known]
                    store.append(self.cell, fresh)
                    known.update(sample.id for sample in fresh)
                    used = [sum(pair) for pair in zip(used, _tokens(fresh), strict=True)]
                    self.budget.tokens("generate", tokens_in=used[0], tokens_out=used[1])
                    self.run.write()
                    progress.advance(len(fresh))

    def _answered(self) -> tuple[set[str], list[int]]:
        """The questions that have answers on disk, and these answers' tokens, which are what
        answering has cost.
        """
        known, used = set[str](), [0, 0]
        for sample in store.stream_samples(self.cell, ours=True):
            if sample is None:
                self.dropped += 1
            elif sample.id not in known:
                known.add(sample.id)
                used = [used[0] + sample.tokens_in, used[1] + sample.tokens_out]
        if known:
            self.budget.tokens("generate", tokens_in=used[0], tokens_out=used[1])
        return known, used

    def _answers(
        self,
        asked: Sequence[tuple[User, Query, Request]],
        known: Container[str],
        golds: likelihoods.Golds | None,
    ) -> Iterator[list[Sample]]:
        """Batches of answers as samples: first those that a rule gave, then the model's. With
        `golds` their likelihoods are on disk before the answers: who is killed in between writes an
        answer again, and reads no prompt for its gold alone.
        """
        plan = self.plan
        given = [
            (user, query, request) for user, query, request in asked if request.answer is not None
        ]
        if given:
            yield [
                _sample(user, query, Completion(str(request.answer), 0, 0), "")
                for user, query, request in given
            ]
        asking = [
            (user, query, request) for user, query, request in asked if request.answer is None
        ]
        if all(query.id in known for _, query, _ in asking):
            return
        for batch in self.lm.generate(
            [request for _, _, request in asking],
            max_new_tokens=plan.task.max_new_tokens,
            decoding=replace(plan.decoding, seed=plan.seed),
            labels=plan.task.labels,
            salt=self.salt,
            done=lambda place: asking[place][1].id in known,
            golds=[golds.texts[query.id] for _, query, _ in asking] if golds else (),
        ):
            if golds:
                golds.add(
                    {
                        asking[place][1].id: answer.gold_nll
                        for place, answer in batch
                        if answer.gold_nll is not None
                    }
                )
            yield [
                _sample(user, query, answer, answer.prompt)
                for (user, query, request), answer in (
                    (asking[place], answer) for place, answer in batch
                )
            ]


class _Late:
    """Stands for the model in fit and adapt, so that a method that never asks for it never loads
    it.

    It holds a function and not the job: through the job's attributes a method would reach the
    tested users' golds.
    """

    __slots__ = ("_load",)

    def __init__(self, load: Callable[[], LM]) -> None:
        self._load = load

    def __getattr__(self, name: str) -> Any:
        return getattr(self._load(), name)


def _tokens(samples: Sequence[Sample]) -> list[int]:
    """Prompt tokens and new ones."""
    return [
        sum(sample.tokens_in for sample in samples),
        sum(sample.tokens_out for sample in samples),
    ]


def _sample(user: User, query: Query, answer: Completion, prompt: str) -> Sample:
    return Sample(
        query.id,
        user.id,
        user.group,
        answer.text,
        answer.tokens_in,
        answer.tokens_out,
        answer.cut,
        answer.finished,
        answer.label_logprobs,
        prompt,
    )

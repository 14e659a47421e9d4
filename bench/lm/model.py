"""LM: a frozen language model that answers requests, scores answers and shows its activations.

A backend (bench/lm/backend.py) does the work. What all backends share is here: the response cache,
the budget, and which answers are there already. Imports no torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cost.bill import Bill
from bench.cost.budget import Budget
from bench.disk import sources
from bench.errors import InputError
from bench.lm.backend import Backend, Batch, Prompt, Score, Scores, Wanted
from bench.lm.cached_answers import Asked, CachedAnswers, answered
from bench.lm.engines import backend_of
from bench.lm.response_cache import ResponseCache
from bench.lm.spec import ModelSpec
from bench.types import Completion, Decoding, Request, Weights

if TYPE_CHECKING:
    from torch import Tensor

    from bench.lm.activations import Pool, Space
    from bench.lm.network import Network, Side
    from bench.lm.patch import Patch


class LM:
    """A frozen model. `identity` is what can change its answers; `base` says which patch is merged
    into its weights.

    `backend`: who answers; by default the one that the ModelSpec names. `code`: a digest of the
    code that works with it, which tensors that it computes are kept under.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        budget: Budget | None = None,
        cache: ResponseCache | None = None,
        backend: Backend | None = None,
    ) -> None:
        self.spec = spec
        self.backend = backend or backend_of(spec)
        self.budget = budget or Budget(progress=False)
        self.cache = cache
        self.base, self.code = "instruct", ""
        self.as_instruct: tuple[Patch, ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        return {**self.backend.identity, "base": self.base}

    @property
    def network(self) -> Network:
        """The weights, for methods that need activations or training.

        Raises InputError if they are not in this process.
        """
        network: Network | None = getattr(self.backend, "network", None)
        if network is None:
            raise InputError(
                f"model {self.spec.name}: its weights are not in this process, where this method"
                " needs them"
            )
        return network

    def adopt(self, base: Patch, name: str) -> None:
        """Merge a base into the weights; `name` is its fingerprint.

        A request with the patches `as_instruct` is answered by the model as it was before (to the
        dtype's rounding): an adapted base has forgotten how to write anything but the task's
        answers.
        """
        base.merge(self.network.model)
        self.base, self.as_instruct = name, (base.negative(),)

    def generate(
        self,
        requests: Sequence[Request],
        *,
        max_new_tokens: int,
        decoding: Decoding | None = None,
        labels: Sequence[str] = (),
        cached: bool = False,
        salt: str = "",
        done: Callable[[int], bool] | None = None,
        golds: Sequence[str] = (),
    ) -> Iterator[Batch[Completion]]:
        """Answer all requests, one batch after the other, longest prompts first; a batch's indices
        say which requests.

        `labels`: also give the log-probability of each, if the model can. `cached`: use the
        response cache. `salt`: another composition of the batches (the noise floor). `done(i)`:
        answered before; a batch of such requests alone is skipped. `golds`: also give the
        likelihood of each request's gold, behind the same reading, if the model can; such answers
        are not for the cache.
        """
        if golds and cached:
            raise ValueError("the response cache is for answers, which have no golds")
        decoding = decoding or Decoding()
        if decoding.rule == "likelihood" and not labels:
            raise InputError("decoding=likelihood needs a task with labels")
        asked = Asked(
            [self.backend.prompt(request) for request in requests],
            [request.patches for request in requests],
            Wanted(max_new_tokens, decoding, tuple(labels), golds),
        )
        for rows in self._plan(asked.prompts, salt, done, small=self.budget.limiting):
            self.budget.check()
            for batch in self._answer(asked.of(rows), cached=cached):
                answers = {}
                for index, answer in batch:
                    row = rows[index]
                    answers[row] = replace(answer, prompt=asked.prompts[row].text)
                yield Batch(answers)

    def _plan(
        self,
        prompts: Sequence[Prompt],
        salt: str,
        done: Callable[[int], bool] | None,
        *,
        small: bool,
    ) -> Iterator[list[int]]:
        """What is left to do of the backend's batches.

        If neighbours matter, a batch is done again unless all of it is there.
        """
        for rows in self.backend.plan(prompts, salt=salt, small=small):
            left = [row for row in rows if done is None or not done(row)]
            if left:
                yield left if self.backend.independent else rows

    def _answer(self, asked: Asked, *, cached: bool) -> Iterator[Batch[Completion]]:
        if not cached or self.cache is None:
            return answered(self.backend, asked, self.budget)
        keys = []
        for prompt, patches in zip(asked.prompts, asked.patches, strict=True):
            keys.append(self._key(prompt, patches, asked.wanted))
        return CachedAnswers(self.backend, self.cache, self.budget).answer(asked, keys)

    def _key(self, prompt: Prompt, patches: Sequence[Weights], wanted: Wanted) -> str:
        """What can change an answer, and nothing else: not the batch, nor whose question it is."""
        model, ids = self.identity, [patch.id for patch in patches]
        # An adapted base that is taken back again is the model as it was, whatever the base: cells
        # on different bases share such texts.
        if ids and ids == [patch.id for patch in self.as_instruct]:
            model, ids = model | {"base": "instruct"}, []
        parts = {
            "model": model,
            "prompt": list(prompt.ids) or prompt.text,
            "patches": ids,
            "how": wanted.how(prompt),
            "labels": list(wanted.labels),
            "code": sources.writing(self.spec.engine),
        }
        return ResponseCache.key(parts)

    def answers(
        self,
        requests: Sequence[Request],
        *,
        max_new_tokens: int,
        decoding: Decoding | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """The answers in the order of the requests, through the response cache;
        `advance` hears of each batch.
        """
        completions: dict[int, Completion] = {}
        for batch in self.generate(
            requests, max_new_tokens=max_new_tokens, decoding=decoding, cached=True
        ):
            completions |= batch.results
            if advance:
                advance(len(batch))
        return [completions[index] for index in range(len(requests))]

    def score(
        self,
        requests: Sequence[Request],
        answers: Sequence[Sequence[str]],
        *,
        salt: str = "",
        done: Callable[[int], bool] | None = None,
    ) -> Iterator[Batch[Scores]]:
        """How likely each of its answers is behind each request, batch by batch; `salt` and `done`
        as in `generate`.
        """
        prompts = [self.backend.prompt(request) for request in requests]
        for rows in self._plan(prompts, salt, done, small=True):
            batches = self.backend.score(
                [prompts[row] for row in rows],
                [requests[row].patches for row in rows],
                [answers[row] for row in rows],
            )
            for batch in batches:
                scored = {}
                for index, scores in batch:
                    row = rows[index]
                    scored[row] = Scores(scores, prompts[row].size)
                self.budget.count(tokens_in=sum(scores.tokens_in for scores in scored.values()))
                yield Batch(scored)

    def likelihood(
        self, requests: Sequence[Request], answers: Sequence[Sequence[str]]
    ) -> Iterator[tuple[int, Sequence[Score]]]:
        """For each request, in any order, how likely each of its answers is."""
        for batch in self.score(requests, answers):
            for index, scores in batch:
                yield index, scores.answers

    def activations(
        self,
        requests: Sequence[Request],
        answers: Sequence[str],
        *,
        space: Space = "mlp",
        pool: Pool = "last",
        side: Side = "decoder",
    ) -> Tensor:
        """Activations at the answer that follows each prompt:
        [layers, n, width] float32 on the CPU.
        """
        from bench.lm import activations

        prompts = [self.backend.prompt(replace(request, patches=())) for request in requests]
        return activations.run(self.network, prompts, answers, space, pool, side, self.budget)

    def remember(
        self, parts: Mapping[str, Any], compute: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Tensors that were computed before from the same parts on the same model,
        or computed now and kept.
        """
        known = self.recall(parts)
        if known is None:
            started, before = time.monotonic(), self.budget.bill()
            known = compute()
            self.keep(
                parts, known, seconds=time.monotonic() - started, bill=self.budget.bill() - before
            )
        return known

    def recall(self, parts: Mapping[str, Any], *, of: str = "") -> dict[str, Tensor] | None:
        """Tensors that were kept for these parts, charged with the seconds that they took; None
        where there are none.

        Nor where they do not fit their checksum, which is counted.
        """
        from bench.lm import tensor_cache

        path = self._kept(parts)
        if path is None or not path.exists():
            return None
        try:
            known = tensor_cache.load(path)
        except ValueError:
            self.budget.damaged()
            return None
        if known is not None and not self.budget.again(f"{path.stem} {of}"):
            self.budget.charge(known[1])
        return known and known[0]

    def keep(
        self,
        parts: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        *,
        seconds: float,
        bill: Bill,
        of: str = "",
    ) -> None:
        """Keep tensors, which took so many seconds and cost so much, beside the response cache,
        where there is one.

        `of`: whose they are, where others' may be equal.
        """
        from bench.lm import tensor_cache

        path = self._kept(parts)
        if path is not None:
            self.budget.keep(f"{path.stem} {of}", bill)
            tensor_cache.save(tensors, path, seconds)

    def _kept(self, parts: Mapping[str, Any]) -> Path | None:
        if self.cache is None:
            return None
        key = self.cache.key({"model": self.identity, "code": self.code, **parts})
        return self.cache.folder / f"{key[:32]}.safetensors"

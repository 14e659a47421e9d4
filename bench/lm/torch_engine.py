"""The engine of this process: a Network answers batches of prompts, each with its own patches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from bench.lm import batches
from bench.lm.backend import Batch, Capability, Prompt, Score, Wanted
from bench.lm.batched_patches import Rows, applied
from bench.lm.branches import score_batch
from bench.lm.decode import answer_batch
from bench.lm.memory import halving
from bench.lm.network import Network
from bench.lm.patch import concrete
from bench.lm.prefix import can_share
from bench.lm.spec import ModelSpec
from bench.types import Completion, Request, Weights


class TorchEngine:
    """A Backend (bench/lm/backend.py) whose weights are in this process."""

    # In bfloat16 an answer can depend on the prompts beside it: they decide how it is padded.
    independent = False

    def __init__(self, spec: ModelSpec) -> None:
        self.network = Network(spec)

    @property
    def can(self) -> frozenset[Capability]:
        return self.network.spec.can

    @property
    def identity(self) -> Mapping[str, Any]:
        return self.network.spec.identity()

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.network.facts

    def prompt(self, request: Request) -> Prompt:
        return self.network.encode(request)

    def plan(
        self, prompts: Sequence[Prompt], *, salt: str = "", small: bool = False
    ) -> list[list[int]]:
        # Passes are answered one by one if other neighbours throughout are the point (a salt), and
        # under a limit, at which the batch in work is lost; and if passes cannot be joined.
        alone = small or salt or self.network.padding != "any"
        return batches.plan(
            prompts,
            self._batch_tokens,
            salt=salt,
            held=1 if alone else batches.HELD,
            share=self._shares(prompts),
            one_length=self.network.padding == "none",
        )

    def answer(
        self,
        prompts: Sequence[Prompt],
        patches: Sequence[tuple[Weights, ...]],
        wanted: Wanted,
        progress: Callable[[float], None],
    ) -> Iterator[Batch[Completion]]:
        """All of the prompts as one batch, in halves where memory runs out."""

        def work(rows: list[int]) -> list[Completion]:
            asked = [prompts[row] for row in rows]
            golds = [wanted.golds[row] for row in rows] if wanted.golds else ()
            passes = [list(range(len(asked)))]
            if self.network.padding == "any":
                passes = batches.passes(asked, self._batch_tokens, share=self._shares(asked))
            with self._applied(patches, rows) as active:
                how = replace(wanted, golds=golds)
                return answer_batch(self.network, asked, active, passes, how, progress)

        rows = list(range(len(prompts)))
        answers = halving(work, rows, [prompt.name for prompt in prompts])
        yield Batch(dict(zip(rows, answers, strict=True)))

    def score(
        self,
        prompts: Sequence[Prompt],
        patches: Sequence[tuple[Weights, ...]],
        answers: Sequence[Sequence[str]],
    ) -> Iterator[Batch[list[Score]]]:
        """All of the prompts as one batch, in halves where memory runs out."""

        def work(rows: list[int]) -> list[list[Score]]:
            targets: list[list[list[int]]] = []
            for row in rows:
                targets.append([self.network.answer_ids(answer) for answer in answers[row]])
            with self._applied(patches, rows) as active:
                asked = [prompts[row] for row in rows]
                totals = score_batch(self.network, asked, active, targets)
            scored = []
            for total, target in zip(totals, targets, strict=True):
                scored.append(list(map(Score, total, map(len, target))))
            return scored

        rows = list(range(len(prompts)))
        scores = halving(work, rows, [prompt.name for prompt in prompts])
        yield Batch(dict(zip(rows, scores, strict=True)))

    @property
    def _batch_tokens(self) -> int:
        return self.network.spec.batch_tokens

    def _shares(self, prompts: Sequence[Prompt]) -> bool:
        return can_share(self.network, max((prompt.size for prompt in prompts), default=0))

    @contextmanager
    def _applied(
        self, patches: Sequence[tuple[Weights, ...]], rows: Sequence[int]
    ) -> Iterator[Rows]:
        """Inside, each row has its patches, and nothing is kept for a gradient."""
        of_rows = [concrete(patches[row]) for row in rows]
        with applied(self.network.model, of_rows) as active, torch.inference_mode():
            yield active

"""LM: a frozen language model that answers requests, scores answers and shows its activations.

What every engine shares is here: the response cache, the budget, batches as they finish. The
weights and the tokens are those of `Network`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.cost.bill import Bill
from bench.cost.budget import Budget
from bench.lm import activations, generate
from bench.lm import tensor_cache as kept
from bench.lm.network import Network, Side
from bench.lm.patch import Patch
from bench.lm.response_cache import ResponseCache
from bench.lm.spec import ModelSpec
from bench.types import Completion, Decoding, Request


class LM(Network):
    """A frozen model. `identity` is what can change its answers; `base` says which patch is merged
    into its weights.

    `code`: a digest of the code that works with it, which tensors that it computes are kept under.
    """

    def __init__(
        self, spec: ModelSpec, *, budget: Budget | None = None, cache: ResponseCache | None = None
    ) -> None:
        super().__init__(spec)
        self.budget = budget or Budget(progress=False)
        self.cache = cache
        self.base, self.code = "instruct", ""
        self.as_instruct: tuple[Patch, ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        return self.spec.identity() | {"base": self.base}

    def adopt(self, base: Patch, name: str) -> None:
        """Merge a base into the weights; `name` is its fingerprint.

        A request with the patches `as_instruct` is answered by the model as it was before (to the
        dtype's rounding): an adapted base has forgotten how to write anything but the task's
        answers.
        """
        base.merge(self.model)
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
    ) -> Iterator[list[tuple[int, Completion]]]:
        """Answer all requests, one batch after the other, longest prompts first; the index says
        which request.

        `labels`: also give the log-probability of each. `cached`: use the response cache. `salt`:
        another composition of the batches (the noise floor). `done(i)`: answered before; a batch of
        such requests alone is skipped. `golds`: also give the likelihood of each request's gold,
        behind the same reading; such answers are not for the cache.
        """
        decoding = decoding or Decoding()
        encoded = [self.encode(request) for request in requests]
        yield from generate.run(
            self,
            requests,
            encoded,
            max_new_tokens,
            decoding,
            tuple(labels),
            cached=cached,
            salt=salt,
            done=done,
            golds=golds,
        )

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
        found: dict[int, Completion] = {}
        for batch in self.generate(
            requests, max_new_tokens=max_new_tokens, decoding=decoding, cached=True
        ):
            found |= dict(batch)
            if advance:
                advance(len(batch))
        return [found[index] for index in range(len(requests))]

    def likelihood(
        self, requests: Sequence[Request], answers: Sequence[Sequence[str]]
    ) -> Iterator[tuple[int, list[tuple[float, int]]]]:
        """For each request, in any order: of each of its answers the log-probability (nats, with
        the end token) and the number of tokens.
        """
        encoded = [self.encode(request) for request in requests]
        for batch in generate.score(self, requests, encoded, answers):
            yield from batch

    def activations(
        self,
        requests: Sequence[Request],
        answers: Sequence[str],
        *,
        space: activations.Space = "mlp",
        pool: activations.Pool = "last",
        side: Side = "decoder",
    ) -> Tensor:
        """Activations at the answer that follows each prompt:
        [layers, n, width] float32 on the CPU.
        """
        encoded = [self.encode(replace(request, patches=())) for request in requests]
        return activations.run(self, encoded, answers, space, pool, side)

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
        path = self._kept(parts)
        if path is None or not path.exists():
            return None
        try:
            known = kept.load(path)
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
        path = self._kept(parts)
        if path is not None:
            self.budget.keep(f"{path.stem} {of}", bill)
            kept.save(tensors, path, seconds)

    def _kept(self, parts: Mapping[str, Any]) -> Path | None:
        if self.cache is None:
            return None
        key = self.cache.key({"model": self.identity, "code": self.code, **parts})
        return self.cache.folder / f"{key[:32]}.safetensors"

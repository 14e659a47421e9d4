"""Have a model write texts about users, such as profile summaries:
through the response cache, with their own cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from bench.lm.spec import ModelSpec
from bench.types import Completion, Decoding, Request

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.model import LM

Writer = Literal["instruct", "base"]
"""Who writes where the base is adapted: the model as it was before, or the adapted base itself."""


def write(
    lm: LM,
    requests: Sequence[Request],
    *,
    writer: Writer,
    model: ModelSpec | None = None,
    max_new_tokens: int,
    decoding: Decoding,
    budget: Budget,
    phase: str,
) -> list[Completion]:
    """The answers to the requests, in their order; the first line of each, as every answer of the
    harness.

    `model`: another one that writes in place of `lm`, as it is (`writer` then says nothing). It is
    loaded when first asked and kept until another is asked. `phase`: the name under which the cost
    is counted.
    """
    if not requests:
        return []
    author, patches = lm, lm.as_instruct if writer == "instruct" else ()
    if model is not None:
        with budget.phase("load"):
            author, patches = _loaded(model), ()
        author.budget, author.cache = budget, lm.cache
    with budget.phase(phase, total=len(requests)) as progress:
        return author.answers(
            [replace(request, patches=patches) for request in requests],
            max_new_tokens=max_new_tokens,
            decoding=decoding,
            advance=progress.advance,
        )


@lru_cache(maxsize=1)
def _loaded(spec: ModelSpec) -> LM:
    """Kept, because users come chunk by chunk."""
    from bench.lm.model import LM

    return LM(spec)

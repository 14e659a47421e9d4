"""A model that says it can do nothing besides answering: what a cell needs of it is refused."""

from __future__ import annotations

from dataclasses import dataclass

from bench.lm.backend import Capability
from bench.lm.spec import ModelSpec

MOCK = ("model=tiny", "model._target_=answering_spec.AnsweringSpec", "model.source=tiny:mock")


@dataclass(frozen=True)
class AnsweringSpec(ModelSpec):
    """A model that answers, and can do nothing else."""

    @property
    def can(self) -> frozenset[Capability]:
        return frozenset()

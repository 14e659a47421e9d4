"""A model without weights for tests: it answers by a rule, in milliseconds and without torch."""

from __future__ import annotations

from dataclasses import dataclass

from bench.lm.backend import Capability
from bench.lm.spec import ModelSpec

MOCK = ("model=tiny", "model._target_=mock_backend.MockSpec", "model.source=tiny:mock")


@dataclass(frozen=True)
class MockSpec(ModelSpec):
    """A model that answers, and can do nothing else."""

    @property
    def can(self) -> frozenset[Capability]:
        return frozenset()

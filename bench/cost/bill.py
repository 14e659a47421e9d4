"""What work costs: by phase and in sum, added up, told apart, and as it stands in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Protocol

_LARGEST = ("peak_memory",)
_SUMS = ("seconds", "reused", "cache_hits", "cache_damaged", "tokens_in", "tokens_out")


@dataclass
class Cost:
    """What one phase used: seconds, prompt and new tokens, peak resident memory in bytes, joules
    where readable.

    `reused`: seconds that stored results of an earlier run, used here, took when they were made.
    `cache_hits`: how many of the model's texts among them came from the response cache.
    `cache_damaged`: stored results that did not fit their checksum and were made again. `inside`:
    the step (base, fit, adapt) that the phase was part of, if it was part of one.
    """

    seconds: float = 0.0
    reused: float = 0.0
    cache_hits: int = 0
    cache_damaged: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    peak_memory: int = 0
    joules: float | None = None
    inside: str | None = None

    def add(self, other: Cost, sign: int = 1) -> None:
        """Add another cost of the same phase; with sign -1 take it back, except for the memory."""
        for name in _SUMS:
            setattr(self, name, max(0, getattr(self, name) + sign * getattr(other, name)))
        self.peak_memory = max(self.peak_memory, other.peak_memory)
        if other.joules is not None:
            self.joules = max(0.0, (self.joules or 0.0) + sign * other.joules)
        self.inside = self.inside or other.inside

    @property
    def nothing(self) -> bool:
        amounts = [getattr(self, name) for name in (*_SUMS, "joules")]
        return not any(amounts)


@dataclass(frozen=True)
class Bill:
    """Costs by phase, and how many seconds of them count against a limit."""

    phases: Mapping[str, Cost] = field(default_factory=dict)
    limited: float = 0.0

    def __add__(self, other: Bill) -> Bill:
        return self._with(other, 1)

    def __sub__(self, other: Bill) -> Bill:
        """What came on top of an earlier bill: phases that cost nothing more are left out."""
        rest = self._with(other, -1)
        phases = {}
        for name, cost in rest.phases.items():
            if not cost.nothing:
                phases[name] = cost
        return Bill(phases, rest.limited)

    def _with(self, other: Bill, sign: int) -> Bill:
        phases = {name: replace(cost) for name, cost in self.phases.items()}
        for name, cost in other.phases.items():
            phases.setdefault(name, Cost(inside=cost.inside)).add(cost, sign)
        return Bill(phases, max(0.0, self.limited + sign * other.limited))

    def as_json(self) -> dict[str, Any]:
        phases = {}
        for name, cost in self.phases.items():
            phases[name] = asdict(cost)
        return {"phases": phases, "limited": self.limited}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Bill:
        """Raises ValueError if it is none: of another shape, or with a value that is no number."""
        try:
            phases = {}
            for name, cost in value["phases"].items():
                phases[name] = Cost(**cost)
            bill = Bill(phases, float(value["limited"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no costs: {error}") from None
        for cost in phases.values():
            _check(cost)
        return bill


def _check(cost: Cost) -> None:
    for name in (*_SUMS, *_LARGEST, "joules"):
        value = getattr(cost, name)
        if value is None and name == "joules":
            continue
        if type(value) not in (int, float) or not value >= 0:
            raise ValueError(f"{name} is {value!r}, no number from 0")
    if not isinstance(cost.inside, str | None):
        raise ValueError(f"inside is {cost.inside!r}, no phase")


assert {field.name for field in fields(Cost)} == {*_SUMS, *_LARGEST, "joules", "inside"}


class PieceOfWork(Protocol):
    """What a budget asks of a piece of work whose cost is on disk (bench/cost/ledger.py)."""

    def write(self) -> None: ...

    def leave_out(self, bill: Bill) -> None: ...

    def again(self, part: str) -> bool: ...

    def keep(self, part: str, bill: Bill) -> None: ...

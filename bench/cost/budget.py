"""What a cell costs and how far it is: phases with a clock, tokens, peak memory, energy, and a
progress bar.

A phase's seconds are its own: a phase opened inside another stops the outer clock, so the phases of
a cell add up. A stored result of an earlier run costs no time now; against a limit it counts with
what it cost when it was made.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.cost.bill import Bill, Cost, PieceOfWork
from bench.errors import OverBudget
from bench.terminal.progress import Progress, Screen

UNLIMITED = ("load", "base", "generate", "score")
"""Phases that no budget limits: they are not the method's own."""
_ENERGY = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


@dataclass(frozen=True, slots=True)
class Spent:
    """What a training used: optimizer steps, and how many were planned; examples, counted again in
    each epoch; seconds.
    """

    steps: int
    planned: int
    examples: int
    seconds: float

    @property
    def stopped(self) -> bool:
        """Whether the budget ended the training before its last step."""
        return self.steps < self.planned

    def facts(self) -> dict[str, int | float | bool]:
        """For the record."""
        return {
            "steps": self.steps,
            "steps_planned": self.planned,
            "examples_used": self.examples,
            "training_seconds": round(self.seconds, 3),
            "stopped_by_budget": self.stopped,
        }


class Budget:
    """The clock of one cell. `minutes` limits the counted phases (fit and adapt); None means no
    limit.

    Work that takes long asks it between steps: `check` if half of the work is worth nothing, `over`
    if it can end early with what it has.
    """

    def __init__(self, minutes: float | None = None, *, progress: bool = True) -> None:
        self.minutes = minutes
        self.costs: dict[str, Cost] = {}
        self._open: list[str] = []
        self._since = time.monotonic()
        self._limited = 0.0
        self._energy = _joules()
        self.pieces: list[PieceOfWork] = []
        """Of the cell's ledger (bench/cost/ledger.py): the work at hand, the innermost last."""
        self._screen = Screen(show=progress)

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Progress]:
        """Time what happens inside under `name`; yields a bar to `advance`."""
        self._settle()
        _reset_peak()
        self._open.append(name)
        outer = _at_work.set(self)
        self.costs.setdefault(name, Cost(inside=None if self._open[0] == name else self._open[0]))
        bar = self._screen.bar(name, total)
        try:
            yield bar
        finally:
            self._settle()
            self._open.pop()
            _at_work.reset(outer)
            bar.close()

    def within(self, steps: float) -> None:
        """Show how many steps of the batch at work are done; see Screen.within."""
        self._screen.within(steps)

    def count(self, *, tokens_in: int = 0, tokens_out: int = 0) -> None:
        """Add tokens to the phase that is open."""
        if self._open:
            self.costs[self._open[-1]].tokens_in += tokens_in
            self.costs[self._open[-1]].tokens_out += tokens_out

    def tokens(self, phase: str, *, tokens_in: int, tokens_out: int = 0) -> None:
        """Set how many tokens a phase has used, all runs of the cell together: for phases whose
        results on disk tell it.
        """
        cost = self.costs.setdefault(phase, Cost())
        cost.tokens_in, cost.tokens_out = tokens_in, tokens_out

    def damaged(self) -> None:
        """Count a stored result that does not fit its checksum: it is made again."""
        if self._open:
            self.costs[self._open[-1]].cache_damaged += 1

    def charge(self, seconds: float, *, cache_hits: int = 0) -> None:
        """Count what a stored result took when it was made,
        so that a second run looks no cheaper than the first.
        """
        if self._open:
            self.costs[self._open[-1]].reused += seconds
            self.costs[self._open[-1]].cache_hits += cache_hits
        if self._counting:
            self._limited += seconds

    def left(self) -> float:
        """Seconds left of the limit; infinite without one."""
        self._settle()
        return float("inf") if self.minutes is None else self.minutes * 60 - self._limited

    @property
    def limiting(self) -> bool:
        """Whether there is a limit, and the phase that is open counts against it."""
        return self.minutes is not None and self._counting

    def over(self) -> bool:
        """Whether the limit is passed, in a phase that is limited:
        a training stops early with what it has.
        """
        return self.limiting and self.left() < 0

    def check(self) -> None:
        """Raise OverBudget once the limit is passed, in a phase that is limited."""
        if self.over():
            raise OverBudget(f"{self._open[-1]}: past its budget of {self.minutes} minutes")

    @property
    def overshoot(self) -> float:
        """Seconds that were spent past the limit: the length of what could not be stopped."""
        return max(0.0, -self.left())

    def spent(self) -> dict[str, float] | None:
        """For the record: the limit, what was spent of it and past it (seconds);
        None without a limit.
        """
        if self.minutes is None:
            return None
        seconds = {"limit": self.minutes * 60, "spent": self.limited, "overshoot": self.overshoot}
        return {name: round(value, 3) for name, value in seconds.items()}

    def report(self) -> dict[str, dict[str, float | int | str | None]]:
        return {name: asdict(cost) for name, cost in self.costs.items()}

    @property
    def limited(self) -> float:
        """Seconds spent of the limit."""
        self._settle()
        return self._limited

    def bill(self) -> Bill:
        """All costs so far."""
        self._settle()
        return Bill({name: replace(cost) for name, cost in self.costs.items()}, self._limited)

    def share(self, seconds: float, *, tokens_in: int, tokens_out: int = 0) -> Bill:
        """A share of what the open phase uses."""
        phases = {}
        if self._open:
            name = self._open[-1]
            inside = self.costs[name].inside
            phases[name] = Cost(seconds, tokens_in=tokens_in, tokens_out=tokens_out, inside=inside)
        return Bill(phases, seconds if self._counting else 0.0)

    def add(self, bill: Bill) -> None:
        """Take over what an interrupted run of the same cell cost,
        and what of it counts against the limit.
        """
        self._settle()
        for name, cost in bill.phases.items():
            self.costs.setdefault(name, Cost(inside=cost.inside)).add(cost)
        self._limited += bill.limited

    def take_back(self, bill: Bill) -> None:
        """The opposite of `add`: the work is done again."""
        for name, cost in bill.phases.items():
            self.costs[name].add(cost, -1)
        self._limited = max(0.0, self._limited - bill.limited)

    def again(self, part: str) -> bool:
        """Whether a killed run of the same work made and stored this part;
        then it costs what it cost.
        """
        return bool(self.pieces) and self.pieces[-1].again(part)

    def keep(self, part: str, bill: Bill) -> None:
        """Note what a part has cost, on disk, before it is stored."""
        if self.pieces:
            self.pieces[-1].keep(part, bill)

    def _settle(self) -> None:
        now, energy = time.monotonic(), _joules()
        if self._open:
            cost = self.costs[self._open[-1]]
            cost.seconds += now - self._since
            cost.peak_memory = max(cost.peak_memory, _peak())
            if energy is not None and self._energy is not None and energy >= self._energy:
                cost.joules = (cost.joules or 0.0) + energy - self._energy
            self._limited += now - self._since if self._counting else 0.0
        self._since, self._energy = now, energy

    @property
    def _counting(self) -> bool:
        """Whether time counts against the limit: inside a phase,
        and inside none that is unlimited.
        """
        return bool(self._open) and not any(name in UNLIMITED for name in self._open)


_at_work: ContextVar[Budget | None] = ContextVar("_at_work", default=None)


@contextmanager
def loading() -> Iterator[None]:
    """Inside, libraries and models are loaded: that is `load`, whatever phase is open, and counts
    against no limit.
    """
    budget = _at_work.get()
    if budget is None:
        yield
        return
    with budget.phase("load"):
        yield


def _reset_peak() -> None:
    """Ask Linux to restart the high-water mark of resident memory; where it refuses, the mark is
    the process's own.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def _peak() -> int:
    """Bytes: device memory where a GPU is used, else the high-water mark of resident memory."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    # macOS counts bytes, others kilobytes
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _joules() -> float | None:
    try:
        return int(_ENERGY.read_text()) / 1e6
    except (OSError, ValueError):
        return None

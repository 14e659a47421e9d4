"""What an experiment would run: its cells, which are done,
and how long the rest takes by what others took.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from bench.cell import staleness
from bench.cell.cohort import Cohort, cohort
from bench.cell.plan import Plan, resolve
from bench.data import lamp
from bench.disk import store
from bench.errors import InputError
from bench.terminal import escape

# what costs the same however many questions are asked; the rest goes with them
ONCE = {"load", "fit"}
REFUSED = "refused: "


@dataclass(frozen=True)
class Outlook:
    """One cell: `done`, `interrupted`, `failed`, `to do`, or `refused: ...`; expected seconds
    (None: unknown).
    """

    name: str
    state: str
    seconds: float | None = None

    @property
    def is_refused(self) -> bool:
        return self.state.startswith(REFUSED)

    @property
    def is_left(self) -> bool:
        """Whether the cell is still to run."""
        return self.state != "done" and not self.is_refused


@dataclass(frozen=True)
class Measured:
    """What the finished cells below a results folder took, by task, method and model."""

    records: Sequence[Mapping[str, Any]]

    @classmethod
    def below(cls, root: Path) -> Measured:
        records = []
        for _, record in store.records(root).records:
            if record.get("status") == "ok" and record.get("schema") == store.SCHEMA:
                records.append(record)
        return cls(records)

    def seconds(self, plan: Plan, questions: int) -> float | None:
        """Expected seconds without training the base: the median of the same task, method and
        model, else without regard to the task; None if nothing like it has finished.
        """
        method, model = plan.names["method"], plan.names["model"]
        of_task: list[float] = []
        of_others: list[float] = []
        for record in self.records:
            cell = record["cell"]
            if cell["method"] == method and cell["model"] == model:
                same = cell["task"] == plan.names["task"]
                (of_task if same else of_others).append(_expected(record, questions))
        alike = of_task or of_others
        return median(alike) if alike else None

    def base(self, plan: Plan) -> float | None:
        """Expected seconds of training the cell's base,
        from those that were trained of this model.
        """
        seconds = []
        for record in self.records:
            took = record["cost"].get("base", {}).get("seconds", 0)
            if record["cell"]["model"] == plan.names["model"] and took > 0:
                seconds.append(took)
        return median(seconds) if seconds else None


def show(names: Sequence[str], configs: Iterable[DictConfig]) -> None:
    """Print every cell on a line, and the sum.

    InputError if no cell can run, with the reason of the first.
    """
    cells = outlooks(names, configs)
    if cells and all(cell.is_refused for cell in cells):
        raise InputError(cells[0].state.removeprefix(REFUSED))
    for text in lines(cells):
        escape.say(text)


def lines(cells: Sequence[Outlook]) -> list[str]:
    """A line for each cell, and one with the sums."""
    names = [escape.line(cell.name) for cell in cells]
    width = max(map(len, names), default=0)
    text = []
    for name, cell in zip(names, cells, strict=True):
        clock = f"  {clocked(cell.seconds)}" if cell.is_left else ""
        text.append(f"{name:<{width}}  {escape.line(cell.state)}{clock}")
    return [*text, _sums(cells)]


def _sums(cells: Sequence[Outlook]) -> str:
    """`8 cells: 3 done, 5 to do; 5 to run, about 3 min`."""
    states: Counter[str] = Counter()
    for cell in cells:
        states[cell.state.partition(":")[0]] += 1
    counts = ", ".join(f"{count} {state}" for state, count in states.items())

    left = [cell.seconds for cell in cells if cell.is_left]
    known = [seconds for seconds in left if seconds is not None]
    total = f", about {clocked(sum(known))}" if known else ""
    if len(known) < len(left):
        total += f" and {len(left) - len(known)} cells of unknown time"
    return f"{len(cells)} cells: {counts or 'none'}; {len(left)} to run{total}"


def outlooks(names: Sequence[str], configs: Iterable[DictConfig]) -> list[Outlook]:
    """What becomes of each cell. No weights are loaded, and each data file is read once."""
    read = _reader()
    measured: dict[Path, Measured] = {}
    bases: set[str] = set()
    cohorts: dict[str, Cohort] = {}

    cells = []
    for name, config in zip(names, configs, strict=True):
        try:
            plan = _resolved(config, read)
            state = _state(plan)
            if state == "done":
                cells.append(Outlook(name, state))
                continue
            people = _cohort(plan, cohorts)
        except InputError as error:
            cells.append(Outlook(name, f"{REFUSED}{error}"))
            continue

        root = plan.cell.root
        if root not in measured:
            measured[root] = Measured.below(root)
        cells.append(Outlook(name, state, _left(people, measured[root], bases)))
    return cells


def clocked(seconds: float | None) -> str:
    """Seconds as a reader has them: `40 s`, `3 min`, `2.5 h`."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _state(plan: Plan) -> str:
    cell = plan.cell
    if staleness.standing(plan).record is not None:
        return "done"
    if store.finished(cell) is not None:
        return "to do"  # again, as its code has changed
    if cell.record.exists():
        return "failed"
    return "interrupted" if cell.samples.exists() or cell.artifacts.exists() else "to do"


def _cohort(plan: Plan, known: dict[str, Cohort]) -> Cohort:
    """Who takes part, looked for once for all cells that choose and leave out the same people."""
    data = [
        plan.task.name,
        plan.tested.hash,
        plan.fitted.hash,
        plan.protocol.identity(),
        plan.adapted,
    ]
    config = [plan.config[name] for name in ("seed", "limit", "leak")]
    key = store.key({"data": data, "config": config})
    known[key] = replace(known[key], plan=plan) if key in known else cohort(plan)
    return known[key]


def _left(people: Cohort, measured: Measured, bases: set[str]) -> float | None:
    """The cell's seconds, and those of its base unless a cell before it trains that one."""
    questions = sum(len(user.queries) for user in people.shown)
    seconds = measured.seconds(people.plan, questions)
    if people.base_key is None or people.base_key in bases or people.base() is not None:
        return seconds

    bases.add(people.base_key)
    training = measured.base(people.plan)
    return None if seconds is None or training is None else seconds + training


def _expected(record: Mapping[str, Any], questions: int) -> float:
    """Seconds of the recorded cell if it had this many questions, without training its base.

    A phase inside another (`inside`) counts as that one does: once, or with the questions.
    """
    once, rest = 0.0, 0.0
    for phase, cost in record["cost"].items():
        names = {phase, cost.get("inside")}
        seconds = cost["seconds"] + (cost.get("reused") or 0)
        if "base" in names:
            continue
        if names & ONCE:
            once += seconds
        else:
            rest += seconds
    return once + rest * questions / max(1, int(record["data"]["queries"]))


def _resolved(config: DictConfig, read: Callable[..., lamp.Dataset]) -> Plan:
    """The plan of a composed configuration, as a job of its own would have it."""
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    return resolve(config, read)


def _reader() -> Callable[..., lamp.Dataset]:
    known: dict[tuple[Any, ...], lamp.Dataset] = {}

    def read(task: Any, root: Path, *, split: str, kind: Literal["user", "time"]) -> lamp.Dataset:
        key = (task.name, root, split, kind)
        if key not in known:
            known[key] = lamp.read(task, root, split=split, kind=kind)
        return known[key]

    return read

"""What an experiment would run: its cells, which are done, and how long the rest takes by what
others took.
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

# what costs the same however many questions are asked; the rest goes with them
ONCE = {"load", "fit"}


@dataclass(frozen=True)
class Outlook:
    """One cell: `done`, `interrupted`, `failed`, `to do`, or `refused: ...`; expected seconds
    (None: unknown).
    """

    name: str
    state: str
    seconds: float | None = None


@dataclass(frozen=True)
class Measured:
    """What the finished cells below a results folder took, by task, method and model."""

    records: Sequence[Mapping[str, Any]]

    def seconds(self, plan: Plan, questions: int) -> float | None:
        """Expected seconds without training the base: the median of the same task, method and
        model, else without regard to the task; None where nothing like it has finished.
        """
        names = plan.names
        alike = [
            one
            for one in self.records
            if all(one["cell"][name] == names[name] for name in ("method", "model"))
        ]
        alike = [one for one in alike if one["cell"]["task"] == names["task"]] or alike
        return median(_expected(one, questions) for one in alike) if alike else None

    def base(self, plan: Plan) -> float | None:
        """Expected seconds of training the cell's base, from those that were trained of this
        model."""
        took = [
            one["cost"]["base"]["seconds"]
            for one in self.records
            if _trained(one, plan.names["model"])
        ]
        return median(took) if took else None


def show(names: Sequence[str], configs: Iterable[DictConfig]) -> None:
    """Print every cell on a line, and the sum. InputError where no cell can run, with the reason of
    the first.
    """
    found = outlooks(names, configs)
    refused = [one for one in found if one.state.startswith("refused")]
    if found and len(refused) == len(found):
        raise InputError(refused[0].state.removeprefix("refused: "))
    width = max((len(one.name) for one in found), default=0)
    for one in found:
        clock = "" if one.state == "done" or one in refused else f"  {clocked(one.seconds)}"
        print(f"{one.name:<{width}}  {one.state}{clock}")
    left = [one for one in found if one.state != "done" and one not in refused]
    known = [one.seconds for one in left if one.seconds is not None]
    total = f", about {clocked(sum(known))}" if known else ""
    total += (
        f" and {len(left) - len(known)} cells of unknown time" if len(known) < len(left) else ""
    )
    states = Counter(one.state.partition(":")[0] for one in found)
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    print(f"{len(found)} cells: {counts or 'none'}; {len(left)} to run{total}")


def outlooks(names: Sequence[str], configs: Iterable[DictConfig]) -> list[Outlook]:
    """What becomes of each cell. No weights are loaded, and each data file is read once."""
    read, measured, bases, known = (
        _reader(),
        dict[Path, Measured](),
        set[str](),
        dict[str, Cohort](),
    )
    found = []
    for name, config in zip(names, configs, strict=True):
        try:
            plan = _resolved(config, read)
            state = _state(plan)
            who = None if state == "done" else _who(plan, known)
        except InputError as error:
            found.append(Outlook(name, f"refused: {error}"))
            continue
        root = plan.cell.root
        if root not in measured:
            finished = [
                record for _, record in store.records(root).records if record.get("status") == "ok"
            ]
            measured[root] = Measured(
                [one for one in finished if one.get("schema") == store.SCHEMA]
            )
        seconds = None if who is None else _left(who, measured[root], bases)
        found.append(Outlook(name, state, seconds))
    return found


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


def _who(plan: Plan, known: dict[str, Cohort]) -> Cohort:
    """Who takes part, looked for once for all cells that choose and leave out the same people."""
    data = [
        plan.task.name,
        plan.tested.hash,
        plan.fitted.hash,
        plan.protocol.identity(),
        plan.adapted,
    ]
    key = store.key(
        {"data": data, "config": [plan.config[name] for name in ("seed", "limit", "leak")]}
    )
    known[key] = replace(known[key], plan=plan) if key in known else cohort(plan)
    return known[key]


def _left(who: Cohort, measured: Measured, bases: set[str]) -> float | None:
    """The cell's seconds, and those of its base where no cell before it has trained that one."""
    seconds = measured.seconds(who.plan, sum(len(user.queries) for user in who.shown))
    if who.base_key is None or who.base_key in bases or who.base() is not None:
        return seconds
    bases.add(who.base_key)
    training = measured.base(who.plan)
    return None if seconds is None or training is None else seconds + training


def _expected(record: Mapping[str, Any], questions: int) -> float:
    phases = [(phase, {name, phase.get("inside")}) for name, phase in record["cost"].items()]
    took = [
        (phase["seconds"] + (phase.get("reused") or 0), names)
        for phase, names in phases
        if "base" not in names
    ]
    once: float = sum(seconds for seconds, names in took if names & ONCE)
    rest: float = sum(seconds for seconds, _ in took) - once
    return once + rest * questions / max(1, int(record["data"]["queries"]))


def _trained(record: Mapping[str, Any], model: str) -> bool:
    return bool(
        record["cell"]["model"] == model and record["cost"].get("base", {}).get("seconds", 0) > 0
    )


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

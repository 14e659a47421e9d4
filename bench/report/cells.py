"""What a record says, in the words and numbers that every table needs.

Loads no torch and no numpy.
"""

from __future__ import annotations

import statistics
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any, get_args

from bench.checks import conf_files
from bench.errors import InputError
from bench.score.answer_rules import FIVE_STARS, scale_of
from bench.score.metrics import DIRECTION, PRIMARY, Kind, Scored

Record = Mapping[str, Any]
NLL = ("nll_label", "nll_token")
ENOUGH = 24
"""Users from which on a 95 % interval holds the truth in about 95 % of samples
(benchmarks/coverage.py).
"""
COSTS = ("seconds", "tokens_in", "tokens_out")
EDITED_NOTHING = "edited nothing"


@dataclass(frozen=True)
class TaskKind:
    """What a task measures. `labels`: those that macro-F1 is averaged over; none without labels."""

    kind: Kind
    labels: tuple[str, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the papers print, and the NLL of the gold."""
        return (*PRIMARY[self.kind], *NLL)


@cache
def task_of(name: str) -> TaskKind:
    """Kind and labels of a task, which are in its file and not in the record."""
    if not name.isidentifier():  # a record may say anything, also a path
        raise InputError(f"{name}: not a task's name, so its cells cannot be compared")
    try:
        task = conf_files.option("task", name)
        return TaskKind(task["kind"], tuple(task["labels"]))
    except (InputError, KeyError, TypeError):
        path = conf_files.CONF / "task" / f"{name}.yaml"
        raise InputError(
            f"{path}: not a task's file with kind and labels, so its cells cannot be compared"
        ) from None


def recorded_task(record: Record) -> TaskKind:
    """Kind and labels as the record has them, or, of an older one, as the task's file has."""
    task = record.get("task")
    if task is None:
        return task_of(str(record["cell"]["task"]))
    return TaskKind(task["kind"], tuple(task["labels"]))


def span_of(record: Record) -> float:
    """The largest error of a rating: that of LaMP-3 unless the record has another scale."""
    if "task" not in record or record["task"]["kind"] != "rating":
        return FIVE_STARS.span
    return scale_of(tuple(record["task"]["labels"])).span


def kind_of(metrics: Container[str]) -> Kind | None:
    """Which kind of task has these metrics."""
    for kind in get_args(Kind):
        if PRIMARY[kind][0] in metrics:
            return kind  # type: ignore[no-any-return]
    return None


def main_metric(metrics: Container[str]) -> str:
    """The first metric that the papers print of such a task; empty if it has none of theirs."""
    kind = kind_of(metrics)
    return PRIMARY[kind][0] if kind else ""


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as one row: `a.b` -> value."""
    row: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            row |= flat(value, f"{prefix}{name}.")
        else:
            row[prefix + name] = value
    return row


def scored_rows(record: Record, rows: Sequence[Record]) -> list[Scored]:
    """The rows of scores.json; InputError where another version wrote them."""
    try:
        return [Scored(**row) for row in rows]
    except TypeError as error:
        raise InputError(
            f"cell {record['key'][:8]}: scores.json is not what this version writes ({error})"
        ) from None


def interval(low: float | None, high: float | None, users: int) -> str:
    """`[low, high]`, with the mark that coverage_notes.py explains; empty if there is none."""
    if low is None or high is None:
        return ""
    mark = "^" if users < ENOUGH else ""
    return f"[{low:z.3f}, {high:z.3f}]{mark}"


def with_direction(metric: str) -> str:
    """The metric with an arrow that says which way is better."""
    return f"{metric} {'↑' if DIRECTION[metric] else '↓'}"


def directions(names: Sequence[str]) -> list[str]:
    """Which of the metrics are better when higher, and which when lower: at most two lines."""
    lines = []
    for word, up in (("higher", True), ("lower", False)):
        metrics = [name for name in names if DIRECTION.get(name) is up]
        if metrics:
            lines.append(f"{word} is better: {', '.join(metrics)}")
    return lines


def label(record: Record) -> str:
    """The method, with the settings that make it another variant,
    and whether it left the model as it was.
    """
    cell = record["cell"]
    name = f"{cell['method']} ({cell['variant']})" if cell["variant"] else str(cell["method"])
    return f"{name}, {EDITED_NOTHING}" if edited_nothing(record) else name


def edited_nothing(record: Record) -> bool:
    """Whether a method that edits the model left it as it was: no layer, no strength, no pairs.

    Records older than the fact `edited` say it by `layers` or `users_edited`.
    """
    facts = record.get("facts") or {}
    if record["status"] != "ok":
        return False
    if "edited" in facts:
        return not facts["edited"]
    return facts.get("layers") == [] or facts.get("users_edited") == 0


def unedited(records: Sequence[Record]) -> str:
    """The same of several cells that stand in one row; empty where all of them edited something."""
    bare = sum(map(edited_nothing, records))
    if bare == 0:
        return ""
    if bare == len(records):
        return EDITED_NOTHING
    return f"{EDITED_NOTHING} in {bare} of {len(records)} {runs(records)}"


def runs(records: Sequence[Record]) -> str:
    """What several cells in one row are: seeds, repeats of one, or both."""
    seeds = {record["cell"]["seed"] for record in records}
    if len(seeds) == len(records):
        return "seeds"
    return "repeats" if len(seeds) == 1 else "runs"


def run_name(record: Record) -> str:
    """The seed, and which repeat of it."""
    repeat = record["cell"].get("repeat")
    return f"{record['cell']['seed']}, repeat {repeat}" if repeat else str(record["cell"]["seed"])


def note(record: Record) -> str:
    """Why there is no score, or what a mean over seeds hides;
    empty where there is nothing to say.
    """
    if record["status"] != "ok":
        return f"{record['status']}: {record['error'] or 'no message'}"
    notes = [f"unscored: {record['unscored']}"] if record["unscored"] else []
    if record.get("bare"):
        notes.append(record["bare"])
    if record.get("overlap") is not None:
        notes.append(f"layers shared by two {record['overlap_of']}: {record['overlap']:.0%}")
    return "; ".join(notes)


def overlap(records: Sequence[Record]) -> float | None:
    """Share of edited layers that two cells have in common (Jaccard),
    mean over the pairs of cells; None for none.
    """
    edits = [set(record["facts"]["layers"]) for record in records if "layers" in record["facts"]]
    shares = []
    for layers, others in combinations(edits, 2):
        shares.append(len(layers & others) / max(1, len(layers | others)))
    return statistics.fmean(shares) if shares else None


def users(record: Record) -> int:
    """How many users were tested."""
    for metric in record["metrics"].values():
        return int(metric["users"])
    return int(record["data"]["users"])


def cost(record: Record, what: str) -> float:
    """Seconds or tokens of the whole cell, over all phases."""
    return sum(phase.get(what) or 0 for phase in record["cost"].values())

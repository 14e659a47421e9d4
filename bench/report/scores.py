"""The rows of a cell's scores.json, once they are known to be what they should be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.checks import shape
from bench.disk import store
from bench.errors import InputError
from bench.report.cells import Record, TaskKind, recorded_task
from bench.score.answer_rules import UNPARSED
from bench.score.metrics import Kind

Row = dict[str, Any]
NEEDED: Mapping[Kind, tuple[str, ...]] = {
    "classification": ("accuracy",),
    "rating": ("mae", "mse", "lenient_mae", "lenient_mse"),
    "generation": ("rouge1", "rougeL"),
}
"""Values without which the metrics of a kind of task cannot be computed."""


def read(folder: Path, record: Record) -> list[Row]:
    """The rows; none where the cell has no scores.json.

    Raises InputError that names the file and the question.
    """
    path = folder / "scores.json"
    if not path.exists():
        return []
    rows: list[Row] = store.read_json(path)
    wrong = problem(rows, recorded_task(record))
    if wrong:
        raise InputError(f"{path}: {wrong}; delete the cell's folder and run the cell again")
    return rows


def problem(rows: Any, task: TaskKind) -> str:
    """What is wrong with the rows of such a task, in words; empty where nothing is."""
    if not isinstance(rows, list):
        return "not a list of scored questions"
    for number, row in enumerate(rows, 1):
        wrong = _unknown(row) or shape.problem(row, shape.SCORE) or _odd(row, rows[0], task)
        if wrong:
            return f"row {number}: {wrong}"
    if len({row["id"] for row in rows}) < len(rows):
        return "a question stands there twice"
    return ""


def _unknown(row: Any) -> str:
    more = set(row) - set(shape.SCORE) if isinstance(row, Mapping) else set()
    return f"{min(map(str, more))} is no field of a score" if more else ""


def _odd(row: Row, first: Row, task: TaskKind) -> str:
    """What of a row of the right shape does not fit the task or the other rows."""
    missing = set(NEEDED[task.kind]) - set(row["values"])
    if missing:
        return f"values.{min(missing)} is missing"
    unlike = set(row["values"]) ^ set(first["values"])
    if unlike:
        return f"values.{min(unlike)} is given for some questions but not for all"

    answers = [row["gold"], row["official"], row["lenient"]]
    labels = len(task.labels)
    for answer in answers:
        if task.kind == "classification" and not _is_label(answer, labels):
            return f"{answers} are no numbers of labels, from 0 to {labels - 1} or {UNPARSED}"
        if task.kind == "rating" and not shape.NUMBER.known(answer):
            return f"{answers} are no ratings"
    return ""


def _is_label(value: Any, labels: int) -> bool:
    return isinstance(value, int | float) and value in range(UNPARSED, labels)

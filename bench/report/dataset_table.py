"""OPPU's Table 2: the statistics of the data as printed and as counted here (`python -m
bench.sweep.data_statistics`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.disk import manifest, store
from bench.report import paper
from bench.report.experiments import Experiment
from bench.report.render import Grid

COLUMNS: Mapping[str, str] = {
    "base_n_q": "base: questions",
    "base_len_in": "base: words in",
    "base_len_out": "base: words out",
    "peft_n_q": "tested: questions",
    "peft_avg_history": "history items",
    "peft_len_in": "tested: words in",
    "peft_len_out": "tested: words out",
}
BELOW = (
    (
        "base: users whose questions adapt the base; tested: those with the longest"
        " histories (the paper: 100)."
    ),
    "Lengths are means over questions, in words here; how the paper counts them is not said.",
)

Statistics = Mapping[str, Any]
"""Of one task, by column."""


def grid(experiment: Experiment, roots: Sequence[Path], *, rounded: bool = True) -> Grid:
    """Rows are tasks, the paper's numbers above ours; columns as the paper has them."""
    counted = _counted(experiment, roots)
    word = _rounded if rounded else _whole
    rows = []
    for task in map(str, experiment.axes.get("task", ())):
        rows.append([task, "paper", *_printed(experiment, task, word)])
        rows.append([task, "ours", *_ours(counted.get(task), word)])
    return Grid(
        title=f"{experiment.title} [scale {experiment.scale}]",
        head=["task", "whose", *COLUMNS.values()],
        rows=rows,
        above=[f"{_data(counted)} Count: {_command(experiment)}"],
        below=BELOW,
        labels=2,
    )


def _counted(experiment: Experiment, roots: Sequence[Path]) -> Mapping[str, Statistics]:
    """What has been counted of each task; nothing if nothing has."""
    for root in roots:
        path = root / manifest.FOLDER / experiment.name / f"statistics-{experiment.scale}.json"
        if path.exists():
            tasks: Mapping[str, Statistics] = store.read_json(path).get("tasks", {})
            return tasks
    return {}


Word = Callable[[str, float | None], str]
"""How a column has a number."""


def _printed(experiment: Experiment, task: str, word: Word) -> list[str]:
    table, words = paper.table(experiment.paper), []
    for column in COLUMNS:
        number = paper.find(table, {task, column}).get(paper.OPPU_MODEL)
        words.append(word(column, number.value if number else None))
    return words


def _ours(statistics: Statistics | None, word: Word) -> list[str]:
    if not statistics:
        return ["not counted"] * len(COLUMNS)
    return [word(column, statistics[column]) for column in COLUMNS]


def _data(counted: Mapping[str, Statistics]) -> str:
    """On which data ours were counted."""
    sources: dict[str, None] = {}
    for task in counted.values():
        source = f"{task['data']} ({task['kind']} split), {task['peft_users']} users tested"
        sources[source] = None
    return f"Ours: {'; '.join(sources)}." if sources else "Nothing has been counted yet."


def _command(experiment: Experiment) -> str:
    scale = "" if experiment.scale == "paper" else f" scale={experiment.scale}"
    return f"python -m bench experiment={experiment.name}{scale}"


def _whole(_: str, value: float | None) -> str:
    return "" if value is None else str(value)


def _rounded(column: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if column.endswith("n_q") else f"{value:,.1f}"

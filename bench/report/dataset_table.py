"""OPPU's Table 2: the statistics of the data as printed and as counted here (`python -m
bench.sweep.data_statistics`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def grid(experiment: Experiment, roots: Sequence[Path], *, rounded: bool = True) -> Grid:
    """Rows are tasks, the paper's numbers above ours; columns as the paper has them."""
    word = _word if rounded else _plain
    printed, found = paper.table(experiment.paper), _counted(experiment, roots)
    rows = []
    for task in map(str, experiment.axes.get("task", ())):
        numbers = {
            column: paper.find(printed, {task, column}).get(paper.OPPU_MODEL) for column in COLUMNS
        }
        rows.append(
            [
                task,
                "paper",
                *(word(column, one.value if one else None) for column, one in numbers.items()),
            ]
        )
        ours = found.get("tasks", {}).get(task)
        rows.append(
            [
                task,
                "ours",
                *(word(column, ours[column]) if ours else "not counted" for column in COLUMNS),
            ]
        )
    counted = found.get("tasks", {}).values()
    said = dict.fromkeys(
        f"{one['data']} ({one['kind']} split), {one['peft_users']} users tested" for one in counted
    )
    data = f"Ours: {'; '.join(said)}." if said else "Nothing has been counted yet."
    scale = "" if experiment.scale == "paper" else f" scale={experiment.scale}"
    return Grid(
        title=f"{experiment.title} [scale {experiment.scale}]",
        head=["task", "whose", *COLUMNS.values()],
        rows=rows,
        above=[f"{data} Count: python -m bench experiment={experiment.name}{scale}"],
        below=[
            (
                "base: users whose questions adapt the base; tested: those with the longest"
                " histories (the paper: 100)."
            ),
            (
                "Lengths are means over questions, in words here; how the paper counts them is not"
                " said."
            ),
        ],
        labels=2,
    )


def _counted(experiment: Experiment, roots: Sequence[Path]) -> dict[str, Any]:
    name = f"statistics-{experiment.scale}.json"
    paths = (root / manifest.FOLDER / experiment.name / name for root in roots)
    return next((store.read_json(path) for path in paths if path.exists()), {})


def _plain(_: str, value: float | None) -> str:
    return "" if value is None else str(value)


def _word(column: str, value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if column.endswith("n_q") else f"{value:,.1f}"

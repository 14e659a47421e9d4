"""The paired comparison of a cell with its baseline, as the command line says it.

Which cell is the baseline: bench/report/baseline.py.
"""

from __future__ import annotations

import sys

from bench.cell.run import Result
from bench.disk import store
from bench.report import baseline, comparison_text, scores
from bench.report.differences import ScoredCell
from bench.terminal import escape


def with_baseline(result: Result) -> str | None:
    """The paired comparison with the instruct baseline on the same questions; None without one."""
    record, cell = result.record, result.plan.cell
    if record["status"] != "ok" or record["unscored"]:
        return None

    at_hand = store.records(cell.root / result.plan.task.name / baseline.METHOD)
    for _, reason in at_hand.broken:
        escape.say(f"left out: {escape.line(reason)}", sys.stderr)

    folders = {other["key"]: folder for folder, other in at_hand.records}
    other = baseline.find(record, (other for _, other in at_hand.records))
    if other is None:
        return None
    return comparison_text.against(
        ScoredCell(dict(record), scores.read(cell.folder, record)),
        ScoredCell(other, scores.read(folders[other["key"]], other)),
    )

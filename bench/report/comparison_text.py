"""Two cells as text: everything that differs, or a few lines at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report import caveats, comparability
from bench.report.cells import (
    Record,
    directions,
    flat,
    label,
    run_name,
)
from bench.report.differences import differences
from bench.report.render import aligned
from bench.report.width import prose


def compare_text(
    record_a: Record, scores_a: Sequence[Record], record_b: Record, scores_b: Sequence[Record]
) -> str:
    """Cell A minus cell B on their common queries, with both cells, and what differs in their
    configuration, above.

    The scores are those of `scores.json`. Raises InputError where the tasks or the golds of a query
    differ.
    """
    counts, names, rows, below = differences(record_a, scores_a, record_b, scores_b)
    head = [*_compared(record_a, record_b), counts, "", *directions(names)]
    return "\n".join([*prose(head), *aligned(rows), "", *prose(below)])


def against(
    record: Record, scores: Sequence[Record], baseline: Record, baseline_scores: Sequence[Record]
) -> str:
    """The same in few lines, for the end of a run: A is the cell, B the baseline."""
    counts, names, rows, below = differences(record, scores, baseline, baseline_scores)
    head = f"A - B, against B = {label(baseline)} (key {baseline['key'][:8]}): {counts}"
    return "\n".join("  " + line for line in (head, *directions(names), *aligned(rows), *below))


def _compared(a: Record, b: Record) -> list[str]:
    """The head of a comparison: the two cells, where their configs differ,
    and what makes them hard to compare.
    """
    names = [
        f"{label(record)}, seed {run_name(record)}, key {record['key'][:8]}" for record in (a, b)
    ]
    flat_a, flat_b = flat(a["config"]), flat(b["config"])
    different = [
        name
        for name in {**flat_a, **flat_b}
        if flat_a.get(name, "-") != flat_b.get(name, "-")
        and name != "variant"
        # of two methods, the settings that one of them has not tell nothing apart
        and ((name in flat_a and name in flat_b) or not name.startswith("method."))
    ]
    rows = [[name, str(flat_a.get(name, "-")), str(flat_b.get(name, "-"))] for name in different]
    config = (
        ["", *aligned([["config", "A", "B"], *rows]), ""]
        if rows
        else ["their configs do not differ"]
    )
    facts = [
        (r["data"]["hash"], r.get("model", r["cell"]["model"]), r["cell"]["base"]) for r in (a, b)
    ]
    odd = [
        name for name, one, two in zip(("data", "model", "base"), *facts, strict=True) if one != two
    ]
    warning = (
        [f"warning: not the same {', '.join(odd)}: this compares more than two methods"]
        if odd
        else []
    )
    doubts = [
        f"{arm}: {text}"
        for arm, record in (("A", a), ("B", b))
        for text in caveats.warnings(record)
    ]
    return [
        f"A  {names[0]}: {comparability.head([a])}",
        f"B  {names[1]}: {comparability.head([b])}",
        *config,
        *warning,
        *doubts,
    ]

"""Two cells as text: everything that differs, or a few lines at the end of a run."""

from __future__ import annotations

from bench.report import caveats, comparability
from bench.report.cells import Record, directions, flat, label, run_name
from bench.report.differences import ScoredCell, compare
from bench.report.render import aligned
from bench.report.width import prose


def compare_text(a: ScoredCell, b: ScoredCell) -> str:
    """Cell A minus cell B on their common queries, with both cells, and what differs in their
    configuration, above.

    Raises InputError where the tasks or the golds of a query differ.
    """
    comparison = compare(a, b)
    head = [
        *_cells(a.record, b.record),
        *_settings(a.record, b.record),
        *_warnings(a.record, b.record),
        comparison.counts,
        "",
        *directions(comparison.metrics),
    ]
    lines = [*prose(head), *aligned(comparison.table), "", *prose(comparison.legend)]
    return "\n".join(lines)


def against(cell: ScoredCell, baseline: ScoredCell) -> str:
    """The same in few lines, for the end of a run: A is the cell, B the baseline."""
    comparison = compare(cell, baseline)
    lines = [
        f"A - B, against B = {label(baseline.record)} (key {baseline.record['key'][:8]}):"
        f" {comparison.counts}",
        *directions(comparison.metrics),
        *aligned(comparison.table),
        *comparison.legend,
    ]
    return "\n".join(f"  {line}" for line in lines)


def _cells(a: Record, b: Record) -> list[str]:
    """Which cells they are, a line each."""
    lines = []
    for letter, record in (("A", a), ("B", b)):
        name = f"{label(record)}, seed {run_name(record)}, key {record['key'][:8]}"
        lines.append(f"{letter}  {name}: {comparability.head([record])}")
    return lines


def _settings(a: Record, b: Record) -> list[str]:
    """Where their configs differ, as a table."""
    of_a, of_b = flat(a["config"]), flat(b["config"])
    rows = []
    for name in {**of_a, **of_b}:
        in_a, in_b = of_a.get(name, "-"), of_b.get(name, "-")
        # of two methods, the settings that one of them has not tell nothing apart
        is_of_one_method = name.startswith("method.") and not (name in of_a and name in of_b)
        if in_a != in_b and name != "variant" and not is_of_one_method:
            rows.append([name, str(in_a), str(in_b)])
    if not rows:
        return ["their configs do not differ"]
    return ["", *aligned([["config", "A", "B"], *rows]), ""]


def _warnings(a: Record, b: Record) -> list[str]:
    """What makes them hard to compare, and what makes each of them doubtful."""
    of_a, of_b = _ground(a), _ground(b)
    odd = [name for name in of_a if of_a[name] != of_b[name]]
    warnings = []
    if odd:
        warnings.append(
            f"warning: not the same {', '.join(odd)}: this compares more than two methods"
        )
    for letter, record in (("A", a), ("B", b)):
        for doubt in caveats.warnings(record):
            warnings.append(f"{letter}: {doubt}")
    return warnings


def _ground(record: Record) -> dict[str, object]:
    """What two methods should share if only they are to be compared."""
    cell = record["cell"]
    return {
        "data": record["data"]["hash"],
        "model": record.get("model", cell["model"]),
        "base": cell["base"],
    }

"""Two cells, metric by metric: their difference, how sure it is,
what it could have shown, and whom it helped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.errors import InputError
from bench.report import coverage_notes
from bench.report.cells import NLL, Record, interval, label, scored_rows, task_of
from bench.report.render import aligned
from bench.report.width import limit, prose
from bench.score.metrics import PRIMARY, Kind, Scored, aggregate

if TYPE_CHECKING:
    from bench.score.stats import Paired

HEAD = ("p", "Holm", "detects", "helped", "harmed")
DETECTS = (
    "detects: the smallest true difference that so many users would show in four of five such tests"
    " at .05."
)
HELPED = "helped, harmed: users whom A serves better, worse."


def differences(
    record_a: Record, scores_a: Sequence[Record], record_b: Record, scores_b: Sequence[Record]
) -> tuple[str, list[str], list[list[str]], list[str]]:
    """What was compared, the metrics, a row for each (the papers' and the NLL), and what the
    columns mean.

    Raises InputError where the tasks or the golds of a query differ.
    """
    from bench.score.stats import holm

    kind, labels, arms = _arms(record_a, scores_a, record_b, scores_b)
    shown = _paired(kind, labels, arms)
    corrected = holm({name: one.p_permutation for name, one in shown.items()})
    common = {one.id for one in arms[0]} & {one.id for one in arms[1]}
    a, b = (aggregate(kind, labels, [one for one in arm if one.id in common]) for arm in arms)
    rows = [["metric", "A", "B", "A - B", "95 %", *HEAD]]
    for name, one in shown.items():
        values = [f"{a[name]:z.3f}", f"{b[name]:z.3f}", f"{one.difference:+z.3f}"]
        rows.append(
            [
                name,
                *values,
                interval(one.low, one.high, one.users) or "-",
                *sureness(one, corrected[name]),
            ]
        )
    first = next(iter(shown.values()))
    counts = (
        f"{first.queries} common queries of {first.users} users, {first.left_out} left out (in one"
        " cell only)"
    )
    notes = coverage_notes.of_differences(_text(rows), shown.values())
    return counts, list(shown), rows, prose([family(shown), DETECTS, HELPED, *notes], limit() - 2)


def _text(rows: Sequence[Sequence[str]]) -> str:
    return " ".join(word for row in rows for word in row)


def sureness(one: Paired, *corrected: float) -> list[str]:
    """The cells below p, its corrections, what it detects, and whom it helped and harmed."""
    shares = [f"{round(share * one.users)} ({share:.0%})" for share in (one.helped, one.harmed)]
    detects = "-" if one.detectable is None else f"{one.detectable:.3f}"
    return [f"{one.p_permutation:.4f}", *(f"{p:.4f}" for p in corrected), detects, *shares]


def family(metrics: Mapping[str, Paired]) -> str:
    """What p is, and over what it is corrected."""
    return (
        "p: two-sided, users swapped between the arms. Holm: over the comparison's metrics"
        f" ({', '.join(metrics)})."
    )


def power(
    a: tuple[Record, Sequence[Record]], b: tuple[Record, Sequence[Record]], effect: float
) -> str:
    """How many users like those of two cells it takes to see an effect of that size,
    for each metric.
    """
    from bench.score.power import users_needed

    shown = _paired(*_arms(*a, *b))
    rows = [["metric", "A - B", "95 %", "users", "detects", f"users for {effect:g}"]]
    for name, one in shown.items():
        detects = "-" if one.detectable is None else f"{one.detectable:.3f}"
        try:
            needed = f"{users_needed(one.error, one.users, effect):,}"
        except InputError:
            if one.detectable is not None:
                raise
            needed = "not known: no two users differ"
        bounds = interval(one.low, one.high, one.users) or "-"
        rows.append([name, f"{one.difference:+z.3f}", bounds, str(one.users), detects, needed])
    first = next(iter(shown.values()))
    lines = [
        f"A  {label(a[0])}, key {a[0]['key'][:8]}",
        f"B  {label(b[0])}, key {b[0]['key'][:8]}",
        (
            f"{first.queries} common queries of {first.users} users"
            f" ({first.queries / first.users:.1f} each)"
        ),
        "",
        *aligned(rows),
        "",
    ]
    units = "Users, not questions, are counted: users like these, with as many questions each."
    return "\n".join(
        [
            *lines,
            *prose([DETECTS, units, *coverage_notes.of_differences(_text(rows), shown.values())]),
        ]
    )


def _arms(
    record_a: Record, scores_a: Sequence[Record], record_b: Record, scores_b: Sequence[Record]
) -> tuple[Kind, tuple[str, ...], tuple[list[Scored], list[Scored]]]:
    task, other = (record["cell"]["task"] for record in (record_a, record_b))
    if task != other:
        raise InputError(f"cells of different tasks cannot be compared: {task} and {other}")
    return *task_of(task), (scored_rows(record_a, scores_a), scored_rows(record_b, scores_b))


def _paired(
    kind: Kind, labels: tuple[str, ...], arms: tuple[Sequence[Scored], Sequence[Scored]]
) -> dict[str, Paired]:
    from bench.score.stats import paired

    results = paired(kind, labels, *arms)
    return {name: results[name] for name in (*PRIMARY[kind], *NLL) if name in results}

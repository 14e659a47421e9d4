"""What a reader must know before believing a cell's number:
what leaks, and which answers could not be read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]

LEAKS: Mapping[str, tuple[str, str]] = {
    "fit_test_overlap_users": ("fit user is a tested user", "fit users are tested users"),
    "fit_test_overlap_texts": (
        "tested question is also a fit user's",
        "tested questions are also a fit user's",
    ),
    "fit_history_holds_query": (
        "tested question stands in a history that is learnt from",
        "tested questions stand in histories that are learnt from",
    ),
    "query_in_history_exact": (
        "history item is the question itself",
        "history items are the question itself",
    ),
    "query_in_history_near": (
        "history item is nearly the question",
        "history items are nearly the question",
    ),
    "items_after_query": (
        "history item is later than the question (not shown for it)",
        "history items are later than the question (not shown for it)",
    ),
}
"""How each count of a record's `leaks` is said, of one and of several."""
DROPPED = (
    "fit_test_overlap_users",
    "query_in_history_exact",
    "query_in_history_near",
    "items_after_query",
)
"""Of those, what `leak=drop` takes away."""


MOST_NAMES = 6
"""So many rows are named beside a finding; the others are counted."""


def leaks(record: Record) -> str:
    """What leaks, in words; empty where nothing does."""
    findings, dropped = [], record["config"].get("leak") == "drop"
    for name, count in record["leaks"].items():
        if _is_count(count):
            singular, plural = LEAKS.get(name, (name, name))
            away = " (dropped)" if dropped and name in DROPPED else ""
            findings.append(f"{count:,} {singular if count == 1 else plural}{away}")
    return ", ".join(findings)


def unparsed(record: Record) -> str:
    """How many answers the official rules could not read; empty where they read all."""
    count, answers = record["counts"].get("unparsed"), record["counts"].get("samples")
    of = f" of {answers}" if answers else ""
    return f"{count}{of} answers unparsed" if count else ""


def counted(record: Record) -> list[str]:
    """What else says less than it seems: golds without a word, rankings by ties,
    items that were not read whole.
    """
    facts, counts = record.get("facts") or {}, record["counts"]
    findings = (
        (counts.get("golds_without_word"), "gold", "without a word that official ROUGE reads"),
        (facts.get("users_rankings_tied"), "ranking", "decided by ties alone"),
        (facts.get("adapters_of_another_model"), "adapter", "trained on another model by its name"),
        (facts.get("users_embedder_cut"), "history item", "longer than the embedder reads"),
    )
    lines = []
    for count, what, why in findings:
        if _is_count(count):
            lines.append(f"{count:,} {what}{'' if count == 1 else 's'} {why}")
    return lines


def _is_count(count: Any) -> bool:
    return isinstance(count, int) and count > 0


def warnings(record: Record) -> list[str]:
    """All of it, a text each, without those that have nothing to say."""
    texts = []
    if unread := unparsed(record):
        texts.append(unread)
    if leak := leaks(record):
        texts.append(f"leaks: {leak}")
    return [*texts, *counted(record)]


@dataclass(frozen=True)
class NamedRecord:
    """A cell, and what a table calls its row."""

    name: str
    record: Record


def of_rows(rows: Sequence[NamedRecord]) -> list[str]:
    """What leaks in the rows of a table: a line for each finding, with the rows that have it."""
    names: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if leak := leaks(row.record):
            names[leak].append(row.name)

    lines = []
    for leak, leaking in names.items():
        where = "all rows" if len(leaking) == len(rows) else _listed(leaking)
        lines.append(f"leaks ({where}): {leak}")
    return lines


def _listed(names: Sequence[str]) -> str:
    different = list(dict.fromkeys(names))
    more = len(different) - MOST_NAMES
    named = ", ".join(different[:MOST_NAMES])
    return f"{named} and {more} more" if more > 0 else named

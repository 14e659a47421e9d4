"""What a reader must know before believing a cell's number:
what leaks, and which answers could not be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def leaks(record: Record) -> str:
    """What leaks, in words; empty where nothing does."""
    found, dropped = [], record["config"].get("leak") == "drop"
    for name, count in record["leaks"].items():
        if not isinstance(count, int) or not count:
            continue
        one, several = LEAKS.get(name, (name, name))
        away = " (dropped)" if dropped and name in DROPPED else ""
        found.append(f"{count:,} {one if count == 1 else several}{away}")
    return ", ".join(found)


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
    found = (
        (counts.get("golds_without_word"), "gold", "without a word that official ROUGE reads"),
        (facts.get("users_rankings_tied"), "ranking", "decided by ties alone"),
        (facts.get("users_embedder_cut"), "history item", "longer than the embedder reads"),
    )
    return [
        f"{count:,} {what}{'' if count == 1 else 's'} {why}"
        for count, what, why in found
        if _some(count)
    ]


def _some(count: Any) -> bool:
    return isinstance(count, int) and count > 0


def warnings(record: Record) -> list[str]:
    """All of it, a text each, without those that have nothing to say."""
    leak = leaks(record)
    return [
        text
        for text in (unparsed(record), f"leaks: {leak}" if leak else "", *counted(record))
        if text
    ]


def of_rows(named: Sequence[tuple[str, Record]]) -> list[str]:
    """What leaks in the rows of a table: a line for each finding, with the rows that have it."""
    found: dict[str, list[str]] = {}
    for name, record in named:
        if leak := leaks(record):
            found.setdefault(leak, []).append(name)
    return [f"leaks ({_rows(names, len(named))}): {leak}" for leak, names in found.items()]


def _rows(names: Sequence[str], all_of_them: int) -> str:
    different = list(dict.fromkeys(names))
    if len(names) == all_of_them:
        return "all rows"
    more = f" and {len(different) - 6} more" if len(different) > 6 else ""
    return ", ".join(different[:6]) + more

"""The answers that a task may have: its labels, or the scale of its ratings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.errors import InputError
from bench.ingest.spool import Count, Spool

MOST_LABELS = 500
MANY_LABELS = 50
MOST_STEPS = 41
USUAL_SCALES = ((1, 5), (0, 5), (1, 10), (0, 10), (1, 7))
"""Lowest and highest rating of a scale of whole numbers, the usual ones first."""


@dataclass(frozen=True)
class AnswerSet:
    """`labels`: what may be answered, in their order; none for texts. `counts`: how many rows have
    each. `notes`: what a reader should know of them.
    """

    labels: tuple[str, ...] = ()
    counts: Sequence[Count] = ()
    notes: list[str] = field(default_factory=list)


def label_set(spool: Spool, column: str, *, fold: bool) -> AnswerSet:
    """All labels, the most frequent first. `fold`: labels that differ in capitals alone become the
    most frequent one of them.
    """
    if spool.different_outputs() > MOST_LABELS:
        raise InputError(
            f"column {column}: {spool.different_outputs():,} different labels (at most"
            f" {MOST_LABELS}, since every prompt lists them): group them, or give --kind generation"
        )
    notes = []
    for names in _alike(spool.outputs()):
        first, *others = names
        if fold:
            for other in others:
                spool.rename_output(other, first)
            notes.append(f"labels made one: {', '.join(names)}")
        else:
            notes.append(
                f"labels that differ in capitals alone: {', '.join(names)} (--ignore-case)"
            )

    counts = spool.outputs()
    if len(counts) < 2:
        raise InputError(
            f"column {column}: there is one label, {counts[0].value:.40}: nothing to predict"
        )
    once = [count.value for count in counts if count.rows == 1]
    if once:
        names_of_some = ", ".join(f"{name:.30}" for name in once[:5])
        notes.append(f"labels seen once: {len(once)} ({names_of_some}{', ...' * (len(once) > 5)})")
    if len(counts) > MANY_LABELS:
        notes.append(
            f"{len(counts)} labels: every prompt lists them all, and few users have an example of"
            " each"
        )
    return AnswerSet(tuple(count.value for count in counts), counts, notes)


def _alike(counts: Sequence[Count]) -> list[list[str]]:
    """Labels that differ in capitals alone, the most frequent of each first."""
    groups: dict[str, list[str]] = defaultdict(list)
    for count in counts:
        groups[count.value.casefold()].append(count.value)
    return [names for names in groups.values() if len(names) > 1]


def rating_set(spool: Spool, column: str, scale: str) -> AnswerSet:
    """The steps of a scale. `scale`: as `1:10:0.5`; empty for the usual one that fits the ratings.
    Raises InputError if no scale fits.
    """
    counts = []
    if spool.different_outputs() <= MOST_STEPS or scale:
        counts = spool.outputs()
    values = sorted(float(count.value) for count in counts)
    if not values:
        raise InputError(
            f"column {column}: {spool.different_outputs():,} different numbers are no scale of"
            f" ratings (at most {MOST_STEPS} steps): round them, or give --scale LOW:HIGH:STEP"
        )
    low, high, step = _given(scale) if scale else _usual(values, column)
    labels = [f"{low + step * index:.10g}" for index in range(round((high - low) / step) + 1)]
    beyond = [count.value for count in counts if count.value not in labels]
    if beyond:
        raise InputError(
            f"column {column}: {beyond[0]} is not on the scale {labels[0]}, {labels[1]}, ...,"
            f" {labels[-1]}: give --scale LOW:HIGH:STEP"
        )
    notes = [] if scale else [f"scale {low:g} to {high:g} in steps of {step:g} (guessed: --scale)"]
    order = {label: index for index, label in enumerate(labels)}
    return AnswerSet(tuple(labels), sorted(counts, key=lambda one: order[one.value]), notes)


def _given(scale: str) -> tuple[float, float, float]:
    """`1:5` or `1:10:0.5` as numbers."""
    parts = scale.split(":")
    try:
        low, high, step = (float(part) for part in [*parts, "1"][:3])
        steps = (high - low) / step
    except (ValueError, ZeroDivisionError):
        steps = -1.0
    if len(parts) not in (2, 3) or not 1 <= steps < MOST_STEPS or abs(steps - round(steps)) > 1e-9:
        raise InputError(
            f"--scale {scale}: the lowest and the highest rating, and the step between two, as in"
            f" 1:5 or 1:10:0.5 (at most {MOST_STEPS} ratings)"
        )
    return low, high, step


def _usual(values: Sequence[float], column: str) -> tuple[float, float, float]:
    """The first usual scale that holds all values; with steps of a half if one is a half."""
    step = 1.0
    for value in values:
        if not float(2 * value).is_integer():
            raise InputError(
                f"column {column}: {value:g} is neither whole nor a half: round the ratings, or"
                " give --scale LOW:HIGH:STEP"
            )
        if not value.is_integer():
            step = 0.5
    for low, high in USUAL_SCALES:
        # Half points may reach below the lowest whole one: 0.5 to 5.
        if low <= values[0] and values[-1] <= high:
            return low, high, step
    if values[0] == values[-1] or values[-1] - values[0] >= MOST_STEPS * step:
        raise InputError(f"column {column}: {values[0]:g} to {values[-1]:g}: give --scale LOW:HIGH")
    return values[0], values[-1], step

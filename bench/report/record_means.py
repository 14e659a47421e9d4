"""Rows that stand for several cells: the repeats of a seed as one row, and the mean over the seeds
of an arm.

Such a row is like a record, so that a table lays it out as it does a cell. Its key is empty.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from bench.report.cells import (
    COSTS,
    Record,
    cost,
    flat,
    overlap,
    run_name,
    span_of,
    unedited,
    users,
)
from bench.report.spread import on_scale, spread

NO_SETTING = ("seed", "repeat", "variant", "_target_")
"""Last names in a configuration that say nothing of an arm's settings, or say them twice."""


def with_means(records: Iterable[Record]) -> list[Record]:
    """Each arm's cells, its repeats of a seed as one row, and the mean over its seeds."""
    labels = defaultdict(list)
    for record in records:
        cell = record["cell"]
        labels[cell["method"], cell["variant"], cell["decoding"]].append(record)

    rows: list[Record] = []
    for members in labels.values():
        for arm in _by_settings(members):
            seeds = repeats_as_one(arm)
            mean = mean_over_seeds(seeds)
            rows += seeds
            if mean is not None:
                rows.append(mean)
    return rows


# Arms of one label


def _by_settings(records: Sequence[Record]) -> list[list[Record]]:
    """Records of one label by their settings; if there are several, the label gets what differs."""
    arms = defaultdict(list)
    for record in records:
        arms[tuple(sorted(_settings(record).items()))].append(record)
    if len(arms) == 1:
        return list(arms.values())

    common = set.intersection(*map(set, arms))
    labelled = []
    for settings, members in arms.items():
        words = []
        for name, value in settings:
            if (name, value) not in common:
                words.append(f"{name.removeprefix('method.')}={value}")
        labelled.append([_with_variant(record, words) for record in members])
    return labelled


def _with_variant(record: Record, more: Sequence[str]) -> Record:
    cell = record["cell"]
    variant = " ".join(filter(None, [cell["variant"], *more]))
    return {**record, "cell": {**cell, "variant": variant}}


def _settings(record: Record) -> dict[str, str]:
    """The configuration without seeds, and without what it holds twice."""
    settings = {}
    for name, value in flat(record.get("config") or {}).items():
        last = name.rpartition(".")[2]
        if last not in NO_SETTING and not name.startswith("method.select."):
            settings[name] = str(value)
    return settings


# Repeats of a seed


def repeats_as_one(arm: Sequence[Record]) -> list[Record]:
    """The cells of an arm, repeats of a seed as one (`as_one`). Failed cells stand alone, and so do
    cells that differ in something no label names.
    """
    names = Counter(map(run_name, arm))
    seeds = defaultdict(list)
    for record in arm:
        together = _is_scored(record) and names[run_name(record)] == 1
        seeds[str(record["cell"]["seed"]), "" if together else record["key"]].append(record)
    return list(map(as_one, seeds.values()))


def as_one(repeats: Sequence[Record]) -> Record:
    """The repeats of one seed as a row: means, with `apart` (the standard deviation) beside each
    metric, and costs of one repeat. A single record is itself.
    """
    first = repeats[0]
    if len(repeats) == 1:
        return first
    seed = f"{first['cell']['seed']}, {len(repeats)} repeats"
    metrics = {}
    for name in _common_metrics(repeats):
        metrics[name] = _mean_of_repeats(name, repeats)
    return {
        **first,
        "key": "",
        "cell": {**first["cell"], "repeat": 0, "seed": seed},
        "metrics": metrics,
        "cost": {"mean": _mean_cost(repeats)},
        "counts": {},
        "unedited": unedited(repeats),
        "overlap": overlap(repeats),
        "overlap_of": "repeats",
    }


def _mean_of_repeats(name: str, repeats: Sequence[Record]) -> dict[str, float | None]:
    """The part of the interval that other users make is the mean of the repeats' own, which is not
    less than their mean's.
    """
    values = _values(name, repeats)
    value, apart = statistics.fmean(values), spread({"": values})
    tested = int(repeats[0]["metrics"][name]["users"])
    low, high = _mean_end(name, "low", repeats), _mean_end(name, "high", repeats)
    if apart is not None:
        ends = on_scale(name, apart.wider(value, low, high, tested), span_of(repeats[0]))
        low, high = ends.low, ends.high
    deviation = apart.sd if apart else 0.0
    return {"value": value, "low": low, "high": high, "users": tested, "apart": deviation}


def _mean_end(name: str, end: str, repeats: Sequence[Record]) -> float | None:
    """An end of the interval, as far from the mean as it is from the values on average; None if
    one of them has none.
    """
    offsets = []
    for record in repeats:
        metric = record["metrics"][name]
        if metric[end] is None or metric["value"] is None:
            return None
        offsets.append(metric[end] - metric["value"])
    return statistics.fmean(_values(name, repeats)) + statistics.fmean(offsets)


# The mean over seeds


def mean_over_seeds(arm: Sequence[Record]) -> Record | None:
    """Metrics and cost averaged over seeds, and each metric's sd; None for a single seed."""
    scored = list(filter(_is_scored, arm))
    seeds = {record["cell"]["seed"] for record in arm}
    # where a seed occurs twice, the cells differ in something no label names: no average of those
    if len(scored) < 2 or len(seeds) < len(arm):
        return None

    first, missing = scored[0], len(arm) - len(scored)
    metrics = {}
    for name in _common_metrics(scored):
        metrics[name] = _mean_of_seeds(name, scored)
    return {
        **first,
        "key": "",
        "cell": {**first["cell"], "seed": f"mean of {len(scored)} seeds"},
        "metrics": metrics,
        "cost": {"mean": _mean_cost(scored)},
        "counts": {},
        "unscored": f"{missing} of {len(arm)} seeds" if missing else None,
        "unedited": unedited(scored),
        "overlap": overlap(scored),
        "overlap_of": "seeds",
    }


def _mean_of_seeds(name: str, records: Sequence[Record]) -> dict[str, Any]:
    values = _values(name, records)
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    return {"value": mean, "sd": deviation, "users": users(records[0])}


# Both


def _common_metrics(records: Sequence[Record]) -> list[str]:
    """The metrics that all records have."""
    names = list(records[0]["metrics"])
    for record in records:
        names = [name for name in names if name in record["metrics"]]
    return names


def _values(name: str, records: Sequence[Record]) -> list[float]:
    return [record["metrics"][name]["value"] for record in records]


def _mean_cost(records: Sequence[Record]) -> dict[str, float]:
    costs = {}
    for what in COSTS:
        costs[what] = statistics.fmean(cost(record, what) for record in records)
    return costs


def _is_scored(record: Record) -> bool:
    return record["status"] == "ok" and bool(record["metrics"])

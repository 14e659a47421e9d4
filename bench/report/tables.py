"""Finished cells as text: one line per cell, tables in which every row may be compared, and paired
comparisons.

Works on records (`record.json` as read) and scores alone. Loads no torch, and numpy only to
compare.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.report import caveats, comparability, coverage_notes
from bench.report.cells import (
    COSTS,
    NLL,
    Record,
    cost,
    directions,
    flat,
    interval,
    kind_of,
    label,
    note,
    overlap,
    run_name,
    unedited,
    users,
)
from bench.report.render import Format, aligned, flat_csv, piped
from bench.report.spread import in_one_row
from bench.report.width import prose
from bench.score.metrics import PRIMARY, Kind
from bench.terminal import escape

FIRST = ("majority", "instruct")  # what every other row has to beat
LEGEND = (
    (
        "[low, high]: 95 % interval over users, of repeats over users and repeats; ±: standard"
        " deviation over repeats; sd: over seeds; seconds and tokens: the whole cell, fitting"
        " included."
    ),
    "lenient_ metrics forgive the form of an answer and are not comparable with published numbers.",
)
CSV = ("key", "status", "error", "unscored", "data", "cell", "metrics", "counts", "leaks", "cost")
LABELS = ("method", "variant", "decoding", "seed")  # columns that say which row it is


def line(record: Record) -> str:
    """One finished cell in one line: method, task and data, primary metrics with intervals or why
    not, users, seconds, and what makes the number doubtful: unparsed answers, leaks.
    """
    cell, kind = record["cell"], kind_of(record["metrics"])
    known = [name for name in (PRIMARY[kind] if kind else ()) if name in record["metrics"]]
    results = [f"{name} {_interval(record['metrics'][name])}" for name in known]
    results += [note(record)] if note(record) or not results else []
    spent = f"{users(record)} users, {cost(record, 'seconds'):.1f} s"
    where = f"{cell['task']} ({record['data']['name']}/{record['data']['split']})"
    said = f"{label(record)} on {where}, seed {run_name(record)}: {', '.join(results)}; {spent}"
    return "; ".join([said, *caveats.warnings(record)])


def table(records: Iterable[Record], format: Format = "text") -> str:
    """All records, one table per data, task, questions, model, base and protocol; trivial rules
    first, in every table of their questions; failed cells as rows, their errors below.

    Seeds of one method and variant get a row each and a row with the mean of their metrics. `csv`
    is for further work: one row per cell with every metric, count and cost, not rounded, and no
    means.
    """
    ordered = sorted(records, key=_order)
    if format == "csv":
        return _csv(sorted(ordered, key=lambda record: comparability.head([record])))
    sections = [
        _section(head, _with_means(members), format == "md")
        for head, members in comparability.groups(ordered)
    ]
    legend = (*LEGEND, *coverage_notes.of_arms("".join(sections)))
    return "\n\n".join([*sections, "\n".join(legend if format == "md" else prose(legend))])


def _order(record: Record) -> tuple[Any, ...]:
    cell = record["cell"]
    rank = FIRST.index(cell["method"]) if cell["method"] in FIRST else len(FIRST)
    words = re.split(r"(\d+(?:\.\d+)?(?:e-?\d+)?)", cell["variant"])  # k=4 before k=10
    variant = [(float(word), "") if at % 2 else (-1.0, word) for at, word in enumerate(words)]
    return (rank, cell["method"], variant, cell["decoding"], cell["seed"], record["key"])


def _with_means(records: Iterable[Record]) -> list[Record]:
    """Each arm's cells, its repeats of a seed as one row, and the mean over its seeds."""
    arms: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        cell = record["cell"]
        arms.setdefault((cell["method"], cell["variant"], cell["decoding"]), []).append(record)

    rows: list[Record] = []
    for members in arms.values():
        for same_settings in _by_settings(members):
            arm = in_one_row(same_settings)
            rows += [*arm, *_mean(arm)]
    return rows


def _by_settings(records: Sequence[Record]) -> list[list[Record]]:
    """Records of one label by their settings; if there are several, the label gets what differs."""
    arms: dict[tuple[tuple[str, str], ...], list[Record]] = {}
    for record in records:
        arms.setdefault(tuple(sorted(_settings(record).items())), []).append(record)
    if len(arms) == 1:
        return list(arms.values())

    common = set.intersection(*map(set, arms))
    labelled = []
    for settings, members in arms.items():
        own = []
        for name, value in settings:
            if (name, value) not in common:
                own.append(f"{name.removeprefix('method.')}={value}")
        labelled.append([_with_variant(record, own) for record in members])
    return labelled


def _with_variant(record: Record, more: Sequence[str]) -> Record:
    cell = record["cell"]
    variant = " ".join(filter(None, [cell["variant"], *more]))
    return {**record, "cell": {**cell, "variant": variant}}


def _settings(record: Record) -> dict[str, str]:
    """The configuration without seeds, and without what it holds twice."""
    return {
        name: str(value)
        for name, value in flat(record.get("config") or {}).items()
        if name.rpartition(".")[2] not in ("seed", "repeat", "variant", "_target_")
        and not name.startswith("method.select.")
    }


def _mean(arm: Sequence[Record]) -> list[Record]:
    """A record-like row: metrics and cost averaged over seeds, and each metric's sd; none for a
    single seed.
    """
    scored = [record for record in arm if record["status"] == "ok" and record["metrics"]]
    seeds = {record["cell"]["seed"] for record in arm}
    # where a seed occurs twice, the cells differ in something no label names: no average of those
    if len(scored) < 2 or len(seeds) < len(arm):
        return []

    first, missing = scored[0], len(arm) - len(scored)
    row = {
        "key": "",
        "cell": {**first["cell"], "seed": f"mean of {len(scored)} seeds"},
        "metrics": _mean_metrics(scored),
        "cost": {"mean": _mean_cost(scored)},
        "counts": {},
        "unscored": f"{missing} of {len(arm)} seeds" if missing else None,
        "unedited": unedited(scored),
        "overlap": overlap(scored),
        "overlap_of": "seeds",
    }
    return [{**first, **row}]


def _mean_metrics(records: Sequence[Record]) -> dict[str, Any]:
    """The metrics that all records have: mean, and standard deviation over the records."""
    common = set.intersection(*(set(record["metrics"]) for record in records))
    metrics = {}
    for name in common:
        values = [record["metrics"][name]["value"] for record in records]
        mean, deviation = statistics.fmean(values), statistics.stdev(values)
        metrics[name] = {"value": mean, "sd": deviation, "users": users(records[0])}
    return metrics


def _mean_cost(records: Sequence[Record]) -> dict[str, float]:
    return {what: statistics.fmean(cost(record, what) for record in records) for what in COSTS}


def _section(head: str, records: Sequence[Record], markdown: bool) -> str:
    """One table with its head, what leaks above it,
    and below it what the cells themselves have to say.
    """
    asked = [
        record for record in records if record["cell"]["method"] != comparability.RULE
    ] or records
    mixed = len({record["cell"]["decoding"] for record in asked}) > 1
    head += "" if mixed else f", decoding {asked[0]['cell']['decoding']}"
    kind = next((kind for kind in (kind_of(record["metrics"]) for record in records) if kind), None)
    common = _common([record["cell"]["variant"] for record in records])
    rows = [_row(record, kind, decoding=mixed) for record in records]
    for row in rows:
        row["variant"] = " ".join(word for word in row["variant"].split() if word not in common)
    filled = [column for column in rows[0] if any(row[column] not in ("", "-") for row in rows)]
    cells = [filled, *([row[column] for column in filled] for row in rows)]
    more = [f"all rows: {' '.join(common)}"] if common else []
    more += caveats.of_rows([(_short(record), record) for record in records if record["key"]])
    below = [f"{_short(record)}: {note(record)}" for record in records if note(record)]
    if kind and all(record["cell"]["method"] != comparability.RULE for record in records):
        task = records[0]["cell"]["task"]
        below.append(
            f"no trivial rule is among these rows: method=majority task={task} says what to beat"
        )
    above = [*more, *directions(filled)]
    if markdown:
        said = ["  \n".join(map(escape.prose, lines)) for lines in (above, below)]
        parts = [f"### {escape.markdown(head)}", said[0], "\n".join(piped(cells)), said[1]]
        return "\n\n".join(filter(None, parts))
    labels = sum(name in LABELS for name in filled)
    lines = prose(list(map(escape.line, [head, *above])))
    return "\n".join([*lines, *aligned(cells, labels), *prose(list(map(escape.line, below)))])


def _short(record: Record) -> str:
    """A row by its method and key, or where it has none its seeds."""
    cell = record["cell"]
    return f"{cell['method']} {record['key'][:8] or cell['seed']}"


def _common(variants: Sequence[str]) -> list[str]:
    """The overrides that every row has: said once, above the table."""
    first, *others = (variant.split() for variant in variants)
    return [word for word in first if others and all(word in other for other in others)]


def _row(record: Record, kind: Kind | None, *, decoding: bool) -> dict[str, str]:
    cell, metrics, unparsed = record["cell"], record["metrics"], record["counts"].get("unparsed")
    # the row of a mean says it itself
    bare = record["unedited"] if "unedited" in record else unedited([record])
    row = {"method": ", ".join(filter(None, [cell["method"], bare])), "variant": cell["variant"]}
    row |= {"decoding": cell["decoding"] if decoding else "", "seed": run_name(record)}
    primary = PRIMARY[kind] if kind else ()
    row |= {name: _interval(metrics[name]) if name in metrics else "-" for name in primary}
    row |= {"users": str(users(record)), "unparsed": "-" if unparsed is None else str(unparsed)}
    for name in (*NLL, *(f"lenient_{name}" for name in primary)):
        row[name] = f"{metrics[name]['value']:z.3f}" if name in metrics else "-"
    row["seconds"] = f"{cost(record, 'seconds'):,.1f}"
    row["tokens"] = f"{cost(record, 'tokens_in') + cost(record, 'tokens_out'):,.0f}"
    return row | {"key": record["key"][:8]}


def _csv(records: Iterable[Record]) -> str:
    rows = [flat({name: record.get(name) for name in CSV}) for record in records]
    return flat_csv(rows)


def _interval(metric: Mapping[str, Any]) -> str:
    bounds = interval(metric.get("low"), metric.get("high"), int(metric["users"]))
    spread = f"(sd {metric['sd']:.3f})" if "sd" in metric else bounds
    apart = f" ± {metric['apart']:.3f}" if "apart" in metric else ""
    return f"{metric['value']:z.3f}{apart} {spread}".strip()

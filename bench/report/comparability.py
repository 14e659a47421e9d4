"""Which cells may stand in one table: same data and questions, same model, base and protocol."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import filterfalse

from bench.report.cells import Record

RULE = "majority"
"""The method that asks no model: it belongs to every table of its questions, whatever the base of
the others.
"""
_CHOICE: Mapping[str, tuple[str, ...]] = {
    "longest": ("n_test",),
    "bin": ("n_bins", "bin", "n_users"),
}
"""Settings of a protocol that say whose questions are asked, by its `choose`."""


@dataclass(frozen=True)
class Group:
    """The cells of one table, and what they share."""

    head: str
    records: list[Record]


def groups(records: Iterable[Record]) -> list[Group]:
    """The tables, by head, the records of each in the order given."""
    rules: dict[Hashable, list[Record]] = defaultdict(list)
    tables: dict[tuple[Hashable, Hashable], list[Record]] = defaultdict(list)
    for record in records:
        if is_rule(record):
            rules[_asked(record)].append(record)
        else:
            tables[_asked(record), _answered(record)].append(record)

    with_models = {asked for asked, _ in tables}
    for asked in rules:
        if asked not in with_models:
            tables[asked, ()] = []

    shown_together = []
    for (asked, _), members in tables.items():
        together = [*_once(rules[asked]), *members]
        shown_together.append(Group(head(together), together))
    return sorted(shown_together, key=lambda group: group.head)


def is_rule(record: Record) -> bool:
    return bool(record["cell"]["method"] == RULE)


def head(members: Sequence[Record]) -> str:
    """What the rows share: task, data, questions, and of those with a model that,
    its base and the protocol.
    """
    # a rule, which asks no model, does not say which one the others ask
    record = next(filterfalse(is_rule, members), members[0])
    cell, data = record["cell"], record["data"]
    where = (
        f"{cell['task']} on {data['name']}/{data['split']} ({data['kind']} split,"
        f" {data['hash'][:8]})"
    )
    counts = {(other["data"]["queries"], other["data"]["users"]) for other in members}
    if len(counts) == 1:
        where += f", {data['queries']} questions of {data['users']} users"
    if is_rule(record):
        return f"{where}, protocol {cell['protocol']}"

    dtype = record.get("model", {}).get("dtype", "")
    model = f"model {cell['model']} {dtype}".strip()
    return f"{where}, {model}, base {cell['base']}, protocol {cell['protocol']}"


def _asked(record: Record) -> Hashable:
    """Which questions, of which data.

    Where the seed chooses the users, their number says nothing.
    """
    cell, data, config = record["cell"], record["data"], record["config"]
    protocol = config.get("protocol") or {}
    choose = protocol.get("choose")
    if not isinstance(choose, str):
        choose = "all"
    settings = ("test_split", "pool", *_CHOICE.get(choose, ()))
    return (
        cell["task"],
        (data["name"], data["split"], data["kind"], data["hash"]),
        cell["protocol"],
        choose,
        tuple(str(protocol.get(name)) for name in settings),
        str(config.get("limit")) if choose == "bin" else (data["queries"], data["users"]),
    )


def _answered(record: Record) -> Hashable:
    cell = record["cell"]
    return (cell["model"], str(record.get("model", {}).get("dtype")), cell["base"])


def _once(rules: Sequence[Record]) -> list[Record]:
    """A rule that ran beside several models is one row:
    it answered the same each time, to the same users.
    """
    different: dict[Hashable, Record] = {}
    for record in rules:
        rule = record["config"]["method"].get("rule", record["cell"]["variant"])
        metrics = record["metrics"].items()
        outcome = (
            str(rule),
            record["cell"]["seed"],
            record["status"],
            tuple(sorted((name, metric["value"]) for name, metric in metrics)),
            str(record["config"].get("leak")),
            str(record["leaks"]),
        )
        different.setdefault(outcome, record)
    return list(different.values())

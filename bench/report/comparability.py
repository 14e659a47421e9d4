"""Which cells may stand in one table: same data and questions, same model, base and protocol."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

Record = Mapping[str, Any]

RULE = "majority"
"""The method that asks no model: it belongs to every table of its questions, whatever the base of
the others.
"""
_CHOICE: Mapping[str, tuple[str, ...]] = {
    "longest": ("n_test",),
    "bin": ("n_bins", "bin", "n_users"),
}
"""Settings of a protocol that say whose questions are asked, by its `choose`."""


def groups(records: Iterable[Record]) -> list[tuple[str, list[Record]]]:
    """The tables: each one's head, and the records in it, in the order given. By head."""
    records = list(records)
    found: dict[tuple[Hashable, Hashable], list[Record]] = {}
    for record in records:
        if record["cell"]["method"] != RULE:
            found.setdefault((_asked(record), _answered(record)), []).append(record)
    rules: dict[Hashable, list[Record]] = {}
    for record in records:
        if record["cell"]["method"] == RULE:
            rules.setdefault(_asked(record), []).append(record)
    homes = {asked for asked, _ in found}
    for asked, members in rules.items():
        if asked not in homes:
            found[asked, ()] = []
        for key in [key for key in found if key[0] == asked]:
            found[key] = _once(members) + found[key]
    return sorted(((head(members), members) for members in found.values()), key=lambda one: one[0])


def head(members: list[Record]) -> str:
    """What the rows share: task, data, questions, and of those with a model that,
    its base and the protocol.
    """
    record = next((one for one in members if one["cell"]["method"] != RULE), members[0])
    cell, data = record["cell"], record["data"]
    where = (
        f"{cell['task']} on {data['name']}/{data['split']} ({data['kind']} split,"
        f" {data['hash'][:8]})"
    )
    counts = {(one["data"]["queries"], one["data"]["users"]) for one in members}
    asked = f", {data['queries']} questions of {data['users']} users" if len(counts) == 1 else ""
    if cell["method"] == RULE:
        return f"{where}{asked}, protocol {cell['protocol']}"
    dtype = record.get("model", {}).get("dtype", "")
    model = f"model {cell['model']} {dtype}".strip()
    return f"{where}{asked}, {model}, base {cell['base']}, protocol {cell['protocol']}"


def _asked(record: Record) -> Hashable:
    """Which questions, of which data.

    Where the seed chooses the users, their number says nothing.
    """
    cell, data, config = record["cell"], record["data"], record["config"]
    protocol = config.get("protocol") or {}
    choose = protocol.get("choose") if isinstance(protocol.get("choose"), str) else "all"
    chosen = [
        str(protocol.get(name)) for name in ("test_split", "pool", *_CHOICE.get(str(choose), ()))
    ]
    asked = str(config.get("limit")) if choose == "bin" else (data["queries"], data["users"])
    where = [data[name] for name in ("name", "split", "kind", "hash")]
    return (cell["task"], *where, cell["protocol"], choose, *chosen, asked)


def _answered(record: Record) -> Hashable:
    cell = record["cell"]
    return (cell["model"], str(record.get("model", {}).get("dtype")), cell["base"])


def _once(rules: list[Record]) -> list[Record]:
    """A rule that ran beside several models is one row:
    it answered the same each time, to the same users.
    """
    found: dict[Hashable, Record] = {}
    for record in rules:
        rule = record["config"]["method"].get("rule", record["cell"]["variant"])
        values = tuple(sorted((name, one["value"]) for name, one in record["metrics"].items()))
        said = (str(record["config"].get("leak")), str(record["leaks"]))
        found.setdefault(
            (str(rule), record["cell"]["seed"], record["status"], values, said), record
        )
    return list(found.values())

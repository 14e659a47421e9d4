"""Settings that are given and that a cell does not read: one line that says so, in place of another
result than meant.

A class says of its own fields when they are read (`ONLY_WITH`); the sections that several methods
share (`selection`, `retriever`, `profile`, `adapter`) are read where the method's configuration
names them, as in `select: ${selection}`. A sweep shares its settings among its cells: there, only
what none of them reads is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from bench.checks import fields
from bench.checks.fields import made_of
from bench.data.task import Task
from bench.errors import InputError

SECTIONS = ("selection", "retriever", "profile", "adapter")
"""Settings of several methods, each read where the method's configuration refers to it."""

_GROUPS = ("data", "task", "model", "base", "method", "protocol", "decoding", "scale", "experiment")

_REFERENCE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")


def check_one(config: DictConfig, values: Mapping[str, Any], task: Task) -> None:
    """Raises InputError where a single run is given a setting that it does not read. A sweep has
    been checked as one.

    `values`: the same configuration, resolved.
    """
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        return
    _refuse_added(hydra.overrides.task, config)
    for key in _keys(hydra.overrides.task):
        if problem := unread(key, config, values, task):
            raise InputError(
                f"{problem}; leave it out, or share it with cells that read it in one sweep (-m)"
            )


def _refuse_added(words: Iterable[str], config: DictConfig) -> None:
    """Raises InputError for a setting that `+` has made and that nothing refers to."""
    raw = str(OmegaConf.to_container(config, resolve=False))
    for word in words:
        key = word.partition("=")[0]
        name = key.removeprefix("+")
        new = key.startswith("+") and name.isidentifier() and name not in (*_GROUPS, "hydra")
        if new and f"${{{name}}}" not in raw:
            raise InputError(f"{key}: no such setting here, and + makes one that nothing reads")


def check_sweep(
    keys: Iterable[str], cells: Sequence[tuple[DictConfig, Mapping[str, Any], Task]]
) -> None:
    """Raises InputError where a setting of a sweep's command line is read by none of its cells."""
    for key in _keys(keys):
        problems = [unread(key, *cell) for cell in cells]
        if problems and all(problems):
            raise InputError(f"{problems[0]}, nor in any other cell of this sweep; leave it out")


def unread(key: str, config: DictConfig, values: Mapping[str, Any], task: Task) -> str | None:
    """Why the setting `key` changes nothing in this cell; None where it is read."""
    section = key.partition(".")[0]
    if problem := _alone(key, values, task) or _of_class(key, values):
        return f"{key} has no effect: {problem}"
    live = set(_live(config, values))
    if section in SECTIONS and not any(_overlap(key, other) for other in live):
        return f"{key} has no effect: {_name(values)} reads nothing of {section}"
    return None


def _keys(words: Iterable[str]) -> Iterator[str]:
    """The settings that overrides give: `method.k` of `method.k=4`. A group's choice is none, a
    package is.
    """
    for word in words:
        key = word.partition("=")[0].lstrip("+~")
        group, at, package = key.partition("@")
        if at:
            yield package
        elif "." in group or "=" not in word or group not in _GROUPS:
            yield group


def _alone(key: str, values: Mapping[str, Any], task: Task) -> str | None:
    """What goes by other sections, or by the task."""
    section, _, field = key.partition(".")
    kind, _ = made_of("method", values["method"])
    if section in ("model", "base", "decoding") and not getattr(kind, "needs_model", True):
        return f"{_name(values)} asks no model"
    if section == "base" and field not in ("", "kind"):
        return _of_base(field, values, task)
    if section == "rules" and not values.get("experiment"):
        return "the rules are an experiment's; method=majority method.rule=... runs one"
    read, why = _of_others(values, task).get(key, (True, ""))
    return None if read else why


def _of_others(values: Mapping[str, Any], task: Task) -> dict[str, tuple[bool, str]]:
    """Single settings that are read where others stand so: whether they do, and else why they are
    not.
    """
    generated, rule = values["data"]["name"] == "sample", values["decoding"]["rule"]
    written = bool(task.labels) and rule != "likelihood"
    return {
        "data.root": (not generated, "the generated sample has no folder; give data=lamp too"),
        "data.seed": (generated, "only the generated sample has a seed (data=sample)"),
        "decoding.seed": (False, "seed=... is the root of every draw"),
        "decoding.stop_at_label": (
            written,
            f"no answer of {task.name} by decoding.rule={rule} ends at a label",
        ),
        "shard.index": (
            values["shard"]["count"] > 1,
            "say how many parts there are, as in shard.count=4",
        ),
        "protocol.encoder": (
            values["protocol"].get("least_similar") is not None,
            "give protocol.least_similar too",
        ),
        "model.revision": (
            _from_hub(values["model"]["source"]),
            "only a model of the hub has revisions",
        ),
        "model.base": (values["base"]["kind"] == "auto", "it is what base=auto takes"),
    }


def _of_base(field: str, values: Mapping[str, Any], task: Task) -> str | None:
    """What an adapted base is made with. What is in its key makes another base, and has an effect
    (BaseSpec.key).
    """
    kind = values["model"]["base"] if values["base"]["kind"] == "auto" else values["base"]["kind"]
    if kind == "instruct":
        return (
            f"the base is {values['model']['name']} as it is; base=task_adapted is trained with it"
        )
    name, _, of = field.partition(".")
    if name == "more" and of not in ("", task.name):
        return f"the task is {task.name}"
    return None


def _of_class(key: str, values: Mapping[str, Any]) -> str | None:
    """What a class says of its fields, on the way to this setting."""
    path, at = "", values
    for name in key.split("."):
        if not isinstance(at, Mapping):
            return None
        if (dead := fields.unread(path, at).get(name)) is not None:
            return dead
        path, at = f"{path}.{name}" if path else name, at.get(name)  # type: ignore[assignment]
    return None


def _live(config: DictConfig, values: Mapping[str, Any]) -> Iterator[str]:
    """The settings that the method and the base refer to, and what these refer to in turn."""
    todo, seen = ["method", "base"], set[str]()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        yield path
        raw = OmegaConf.to_container(config, resolve=False)
        assert isinstance(raw, dict)
        found = _within(path, _at(raw, path), _at(values, path))
        todo += [other for other in found if other.partition(".")[0] in SECTIONS]


def _within(path: str, raw: Any, value: Any) -> Iterator[str]:
    """What a part refers to, but for the fields that it does not read."""
    if isinstance(raw, Mapping):
        dead = fields.unread(path, value) if isinstance(value, Mapping) else {}
        for name, one in raw.items():
            if name not in dead:
                inner = value.get(name) if isinstance(value, Mapping) else None
                yield from _within(f"{path}.{name}", one, inner)
    elif isinstance(raw, str):
        yield from _REFERENCE.findall(raw)


def _at(values: Any, path: str) -> Any:
    for name in path.split("."):
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _from_hub(source: str) -> bool:
    return not source.startswith(("tiny:", "package:")) and not Path(source).is_dir()


def _name(values: Mapping[str, Any]) -> str:
    return str(values["method"]["_target_"]).rpartition(".")[2]

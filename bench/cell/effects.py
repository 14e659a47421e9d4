"""Settings that are given and that a cell does not read: one line that says so, in place of a
result that was not meant.

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
from bench.checks.fields import describe
from bench.data.task import Task
from bench.errors import InputError

SECTIONS = ("selection", "retriever", "profile", "adapter")
"""Settings of several methods, each read where the method's configuration refers to it."""

_GROUPS = ("data", "task", "model", "base", "method", "protocol", "decoding", "scale", "experiment")

_REFERENCE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")


def check_one(config: DictConfig, values: Mapping[str, Any], task: Task) -> None:
    """Raises InputError if a single run is given a setting that it does not read. A sweep has been
    checked as one.

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
        if not key.startswith("+") or not name.isidentifier() or name in (*_GROUPS, "hydra"):
            continue
        if f"${{{name}}}" not in raw:
            raise InputError(f"{key}: no such setting here, and + makes one that nothing reads")


def check_sweep(
    keys: Iterable[str], cells: Sequence[tuple[DictConfig, Mapping[str, Any], Task]]
) -> None:
    """Raises InputError if a setting of a sweep's command line is read by none of its cells."""
    for key in _keys(keys):
        problems = [unread(key, *cell) for cell in cells]
        if problems and all(problems):
            raise InputError(f"{problems[0]}, nor in any other cell of this sweep; leave it out")


def unread(key: str, config: DictConfig, values: Mapping[str, Any], task: Task) -> str | None:
    """Why the setting `key` changes nothing in this cell; None if it is read."""
    problem = _by_other_settings(key, values, task) or _by_class(key, values)
    if problem:
        return f"{key} has no effect: {problem}"

    section = key.partition(".")[0]
    if section in SECTIONS and not _is_referred_to(key, config, values):
        return f"{key} has no effect: {_method_name(values)} reads nothing of {section}"
    return None


def _keys(words: Iterable[str]) -> Iterator[str]:
    """The settings that overrides give: `method.k` of `method.k=4`. The choice of a group's option
    gives none, a package does.
    """
    for word in words:
        key = word.partition("=")[0].lstrip("+~")
        group, at, package = key.partition("@")
        if at:
            yield package
        elif "." in group or "=" not in word or group not in _GROUPS:
            yield group


def _by_other_settings(key: str, values: Mapping[str, Any], task: Task) -> str | None:
    """Why other sections, or the task, leave the setting unread."""
    section, _, field = key.partition(".")
    kind = describe("method", values["method"]).kind
    if section in ("model", "base", "decoding") and not getattr(kind, "needs_model", True):
        return f"{_method_name(values)} asks no model"
    if section == "base" and field not in ("", "kind"):
        return _of_base(field, values, task)
    if section == "rules" and not values.get("experiment"):
        return "the rules are an experiment's; method=majority method.rule=... runs one"
    read, why = _of_others(values, task).get(key, (True, ""))
    return None if read else why


def _of_others(values: Mapping[str, Any], task: Task) -> dict[str, tuple[bool, str]]:
    """Settings that are read only as others stand: whether they are, and why else they are not."""
    generated, rule = values["data"]["name"] == "sample", values["decoding"]["rule"]
    label_written = bool(task.labels) and rule != "likelihood"
    least_similar = values["protocol"].get("least_similar")
    return {
        "data.root": (not generated, "the generated sample has no folder; give data=lamp too"),
        "data.version": (generated, "only the generated sample has versions (data=sample)"),
        "data.seed": (generated, "only the generated sample has a seed (data=sample)"),
        "decoding.seed": (False, "seed=... is the root of every draw"),
        "decoding.stop_at_label": (
            label_written,
            f"no answer of {task.name} by decoding.rule={rule} ends at a label",
        ),
        "shard.index": (
            values["shard"]["count"] > 1,
            "say how many parts there are, as in shard.count=4",
        ),
        "protocol.encoder": (least_similar is not None, "give protocol.least_similar too"),
        "model.revision": (
            _from_hub(values["model"]["source"]),
            "only a model of the hub has revisions",
        ),
        "model.base": (values["base"]["kind"] == "auto", "it is what base=auto takes"),
    }


def _of_base(field: str, values: Mapping[str, Any], task: Task) -> str | None:
    """Why a setting of the adapted base is not read. What is in the base's key makes another base,
    and so has an effect (BaseSpec.key).
    """
    kind = values["base"]["kind"]
    if kind == "auto":
        kind = values["model"]["base"]
    if kind == "instruct":
        return (
            f"the base is {values['model']['name']} as it is; base=task_adapted is trained with it"
        )
    name, _, of = field.partition(".")
    if name == "more" and of not in ("", task.name):
        return f"the task is {task.name}"
    return None


def _by_class(key: str, values: Mapping[str, Any]) -> str | None:
    """Why a class on the way to the setting leaves its field unread."""
    path, part = "", values
    for name in key.split("."):
        if not isinstance(part, Mapping):
            return None
        problem = fields.unread(path, part).get(name)
        if problem is not None:
            return problem
        path = f"{path}.{name}" if path else name
        part = part.get(name)  # type: ignore[assignment]
    return None


def _is_referred_to(key: str, config: DictConfig, values: Mapping[str, Any]) -> bool:
    """Whether the method or the base refers to the setting, to a part of it or to one around it."""
    for other in _references(config, values):
        if key == other or key.startswith(f"{other}.") or other.startswith(f"{key}."):
            return True
    return False


def _references(config: DictConfig, values: Mapping[str, Any]) -> Iterator[str]:
    """The settings that the method and the base refer to, and what these refer to in turn."""
    raw = OmegaConf.to_container(config, resolve=False)
    todo, seen = ["method", "base"], set[str]()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        yield path
        for other in _references_within(path, _part(raw, path), _part(values, path)):
            if other.partition(".")[0] in SECTIONS:
                todo.append(other)


def _references_within(path: str, raw: Any, value: Any) -> Iterator[str]:
    """What a part refers to, except for its fields that are not read. `raw`: before references are
    resolved, `value`: after.
    """
    if isinstance(raw, str):
        yield from _REFERENCE.findall(raw)
    if not isinstance(raw, Mapping):
        return
    resolved = value if isinstance(value, Mapping) else {}
    unread_fields = fields.unread(path, resolved)
    for name, part in raw.items():
        if name not in unread_fields:
            yield from _references_within(f"{path}.{name}", part, resolved.get(name))


def _part(values: Any, path: str) -> Any:
    for name in path.split("."):
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def _from_hub(source: str) -> bool:
    return not source.startswith(("tiny:", "package:")) and not Path(source).is_dir()


def _method_name(values: Mapping[str, Any]) -> str:
    return str(values["method"]["_target_"]).rpartition(".")[2]

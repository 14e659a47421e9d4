"""Every setting of a configuration, checked in one place before anything is read or loaded (conf/,
docs/choices.md).

What a group's dataclass says of its fields (bench/checks/bounds.py) and what stands here of all
other settings is checked on plain values; then what only makes sense together. What is wrong is an
InputError of one line, in the command line's words.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.cell import effects, repeats
from bench.cell.sections import Settings
from bench.checks.bounds import NAME
from bench.checks.fields import check, describe, hints_of
from bench.data import task_yaml
from bench.data.task import Task, load
from bench.errors import InputError, as_text, input_error_in
from bench.method import Method
from bench.types import Decoding

_MADE = ("task", "model", "base", "method", "protocol", "decoding")
"""Groups whose options each name the class that is made of them."""

task_yaml.register()

COLDEST = 0.001
"""The lowest temperature of a draw: below, scores divided by it overflow."""


def checked(config: DictConfig, chosen: Mapping[str, str]) -> dict[str, Any]:
    """The configuration as plain values, all of them checked; `~` in front of a folder is the home
    it stands for.

    `chosen`: the options of its groups by name, as Hydra knows them. Raises InputError.
    """
    values = _expanded("", _plain(config))
    for name, hint in hints_of(Settings).items():
        if name not in values:
            raise InputError(f"{name} is missing: it was deleted from the configuration")
        check(name, values[name], hint)
    _check_method(values)
    for group in _MADE:
        # the class that its fields are of; `base={}` would pass as all defaults
        if "_target_" not in values[group]:
            raise InputError(
                f"{group}={values[group]}: choose one of its options, as --help has them"
            )
    for group in ("task", "model", "method", "protocol"):
        check(group, chosen.get(group), Annotated[str, NAME])
    _check_draws(values)
    _check_together(values, chosen)
    return dict(values)


def check_shared(given: Iterable[str], configs: Sequence[DictConfig]) -> None:
    """Raises InputError if a setting of a sweep's command line is read by none of its cells.

    A cell that is wrong in itself says so when it runs.
    """
    cells = []
    for config in configs:
        try:
            values = _expanded("", _plain(config))
            check("task", values["task"], Task)
            _check_method(values)
        except InputError:
            return
        task = load(**describe("task", values["task"]).values)
        cells.append((config, values, task))
    effects.check_sweep(sorted(given), cells)
    repeats.check_sweep([values for _, values, _ in cells])


def section(config: DictConfig, name: str) -> dict[str, Any]:
    """One section or group of a configuration as plain values, checked as `checked` does."""
    values: dict[str, Any] = _expanded(name, _plain(config).get(name))
    check(name, values, hints_of(Settings)[name])
    if name == "data":
        _check_data(values)
    return dict(values)


def _plain(config: DictConfig) -> dict[str, Any]:
    try:
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:  # a value that another one is looked up by
        if (mistake := input_error_in(error)) is not None:
            raise mistake from None
        _check_alone(config)
        raise InputError(_not_there(config, " ".join(str(error).split()))) from None


def _not_there(config: DictConfig, text: str) -> str:
    """What is wrong with a name by which other settings are looked up,
    and the names that there are.
    """
    match = re.search(r"Interpolation key '([\w.-]+)' not found.*full_key: ([\w.]+)", text)
    if not match:
        return text
    path, part = match[1].split("."), config
    for depth, name in enumerate(path):
        if name not in part:
            known = ", ".join(map(str, part))
            upto = ".".join(path[: depth + 1])
            return f"{match[2]}: {upto}: no {name} here; choose one of {known}"
        part = part[name]
    return text


def _check_alone(config: DictConfig) -> None:
    """The groups that can be read by themselves:
    of a wrong value that others are looked up by, the better error.
    """
    for name in ("data", "selection", "method"):
        try:
            group = config[name]
            values = group
            if OmegaConf.is_config(group):
                values = OmegaConf.to_container(group, resolve=True)
        except OmegaConfBaseException:
            continue
        if name == "method":
            _check_method({"method": values})
        else:
            check(name, values, hints_of(Settings)[name])


def _check_method(values: Mapping[str, Any]) -> None:
    """A method of the harness or of anybody: its fields by its own hints, if it is a dataclass."""
    method = values.get("method")
    if not isinstance(method, Mapping) or "_target_" not in method:
        raise InputError(f"method={as_text(method)}: name one of the methods (--help lists them)")
    kind = describe("method", method).kind
    if kind is not None:
        check("method", method, kind if issubclass(kind, Method) else Method)


def _expanded(path: str, value: Any) -> Any:
    """The values with the home folder in place of `~`; texts that are no folders are left alone."""
    if isinstance(value, Mapping):
        return {
            name: _expanded(f"{path}.{name}" if path else str(name), entry)
            for name, entry in value.items()
        }
    if not isinstance(value, str) or not value.startswith("~"):
        return value
    if path.startswith(("task.", "experiment.")) or ".prompts." in path:
        return value
    whole = os.path.expanduser(value)
    if whole.startswith("~"):
        raise InputError(
            f"{path}={as_text(value)}: nobody here has this home folder; write the whole path"
        )
    return whole


def _decodings(path: str, value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every decoding in the configuration, with its path."""
    if isinstance(value, Mapping):
        if value.get("_target_") == f"{Decoding.__module__}.{Decoding.__qualname__}":
            yield path, value
        for name, entry in value.items():
            yield from _decodings(f"{path}.{name}" if path else str(name), entry)


def _check_draws(values: Mapping[str, Any]) -> None:
    for path, decoding in _decodings("", values):
        temperature = decoding.get("temperature", 1.0)
        if decoding.get("rule") == "sample" and temperature < COLDEST:
            raise InputError(
                f"{path}.temperature={temperature:g}: {path}.rule=sample draws from {COLDEST} on; "
                f"{path}.rule=greedy takes the most likely"
            )


def _check_data(data: Mapping[str, Any]) -> None:
    if data["name"] == "folder" and not data["root"]:
        raise InputError("data=folder needs data.root=FOLDER, which python -m bench.ingest makes")
    if data["name"] == "lamp" and not data["root"]:
        raise InputError(
            "data=lamp needs data.root=FOLDER, in LaMP's layout (get one: python -m bench.download)"
        )


def _check_shard(shard: Mapping[str, Any]) -> None:
    index, count = shard["index"], shard["count"]
    if index < count:
        return
    advice = "; say how many there are, as in shard.count=4" if count == 1 else ""
    raise InputError(
        f"shard.index={index} shard.count={count}: the parts are counted from 0 to {count - 1}"
        f"{advice}"
    )


def _check_together(values: Mapping[str, Any], chosen: Mapping[str, str]) -> None:
    """What is right alone and makes no sense together."""
    _check_data(values["data"])
    _check_shard(values["shard"])
    if values["decoding"]["rule"] == "likelihood" and not values["task"]["labels"]:
        raise InputError(
            f"decoding.rule=likelihood: it chooses among labels, and {values['task']['name']} has"
            " none; decoding=greedy writes the answer"
        )
    if chosen.get("base") == "instruct" and values["base"]["kind"] != "instruct":
        raise InputError(
            f"method={chosen['method']} brings its own adapted base, so base=instruct would be"
            " ignored: base.kind=instruct takes the model as it is"
        )
    if chosen.get("scale") != "paper" and not values["experiment"]:
        raise InputError(
            "scale= is of experiments: name one too, as in experiment=chameleon_table1"
        )

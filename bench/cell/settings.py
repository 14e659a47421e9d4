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
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.cell import effects, repeats
from bench.cell.repeats import MOST
from bench.cell.windows import CHUNK
from bench.checks.bounds import COUNT, NAME, PLACE, SEED, Range
from bench.checks.fields import check, hints_of, made_of
from bench.data.leaks import Policy
from bench.data.parse import Kind as Split
from bench.data.protocol import Protocol
from bench.data.retrieval import Retriever
from bench.data.selection import PCASelection
from bench.data.task import Kind, Task, load
from bench.disk.sources import Stale
from bench.errors import InputError, shown
from bench.lm.base import BaseSpec
from bench.lm.profile import Profile
from bench.lm.spec import ModelSpec
from bench.method import Method
from bench.types import Decoding

_MADE = ("task", "model", "base", "method", "protocol", "decoding")
"""Groups whose options each name the class that is made of them."""

COLDEST = 0.001
"""The lowest temperature of a draw: below, scores divided by it overflow."""


@dataclass(frozen=True)
class Part:
    """Which part of a cell's users (bench/cell/shard.py)."""

    index: int
    count: Annotated[int, Range(1, 10**6)]


@dataclass(frozen=True)
class Limit:
    """The clock of fit and adapt."""

    minutes: Annotated[float, Range(above=True)] | None


@dataclass(frozen=True)
class Data:
    """Which data: `root` is LaMP's folder, `seed` tells one generated sample from another."""

    name: Literal["sample", "lamp"]
    root: Annotated[str, PLACE] | None
    kind: Split
    seed: Annotated[int, SEED]


@dataclass(frozen=True)
class AdapterPath:
    """What method=adapter tries."""

    path: Annotated[str, PLACE] | None


@dataclass(frozen=True)
class ResultsSection:
    """Where cells lie."""

    root: Annotated[str, PLACE]


@dataclass(frozen=True)
class Said:
    """What a cell is told of its experiment (bench/sweep/sweeper.py); its manifest is called
    by it."""

    name: Annotated[str, NAME]
    scale: Annotated[str, NAME]
    arm: Annotated[str, NAME]
    at: Mapping[str, Any]
    hash: Annotated[str, NAME]
    extra: tuple[str, ...]
    own: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """All of conf/config.yaml: groups and sections by their dataclasses, single settings by type
    and bounds.
    """

    seed: Annotated[int, SEED]
    repeat: Annotated[int, Range(0, MOST - 1)]
    limit: Annotated[int, COUNT] | None
    noise_floor: bool
    leak: Policy
    stale: Stale
    dry: bool
    progress: bool
    window: Annotated[int, Range(CHUNK, step=CHUNK)]
    shard: Part
    budget: Limit
    data: Data
    results: ResultsSection
    adapter: AdapterPath
    experiment: Said | None
    rules: Mapping[Kind, tuple[str, ...]]
    task: Task
    selection: PCASelection
    retriever: Retriever
    profile: Profile
    model: ModelSpec
    base: BaseSpec
    protocol: Protocol
    decoding: Decoding


def checked(config: DictConfig, chosen: Mapping[str, str]) -> dict[str, Any]:
    """The configuration as plain values, all of them checked; `~` in front of a folder is the home
    it stands for.

    `chosen`: the options of its groups by name, as Hydra knows them. Raises InputError.
    """
    values = _expanded("", _plain(config))
    for one in fields(Settings):
        if one.name not in values:
            raise InputError(f"{one.name} is missing: it was deleted from the configuration")
        check(one.name, values[one.name], hints_of(Settings)[one.name])
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
    """Raises InputError where a setting of a sweep's command line is read by none of its cells.

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
        _, fields_of = made_of("task", values["task"])
        cells.append((config, values, load(**fields_of)))
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
        _check_alone(config)
        raise InputError(_not_there(config, " ".join(str(error).split()))) from None


def _not_there(config: DictConfig, text: str) -> str:
    """What is wrong with a name by which other settings are looked up, and the names that there
    are.
    """
    found = re.search(r"Interpolation key '([\w.-]+)' not found.*full_key: ([\w.]+)", text)
    if not found:
        return text
    path, there = found[1].split("."), config
    for depth, name in enumerate(path):
        if name not in there:
            known = ", ".join(map(str, there))
            return (
                f"{found[2]}: {'.'.join(path[: depth + 1])}: no {name} here; choose one of {known}"
            )
        there = there[name]
    return text


def _check_alone(config: DictConfig) -> None:
    """The groups that can be read by themselves: of a wrong value that others are looked up by, the
    better error.
    """
    for name in ("data", "selection", "method"):
        try:
            one = config[name]
            values = OmegaConf.to_container(one, resolve=True) if OmegaConf.is_config(one) else one
        except OmegaConfBaseException:
            continue
        if name == "method":
            _check_method({"method": values})
        else:
            check(name, values, hints_of(Settings)[name])


def _check_method(values: Mapping[str, Any]) -> None:
    """A method of the harness or of anybody: its fields by its own hints, where it is a
    dataclass."""
    method = values.get("method")
    if not isinstance(method, Mapping) or "_target_" not in method:
        raise InputError(f"method={shown(method)}: name one of the methods (--help lists them)")
    kind, _ = made_of("method", method)
    if kind is not None:
        check("method", method, kind if issubclass(kind, Method) else Method)


def _expanded(path: str, value: Any) -> Any:
    """The values with the home folder in place of `~`; texts that are no folders are left alone."""
    if isinstance(value, Mapping):
        return {
            name: _expanded(f"{path}.{name}" if path else str(name), one)
            for name, one in value.items()
        }
    if (
        not isinstance(value, str)
        or not value.startswith("~")
        or path.startswith(("task.", "experiment."))
    ):
        return value
    if ".prompts." in path:
        return value
    whole = os.path.expanduser(value)
    if whole.startswith("~"):
        raise InputError(
            f"{path}={shown(value)}: nobody here has this home folder; write the whole path"
        )
    return whole


def _decodings(path: str, value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every decoding in the configuration, with its path."""
    if isinstance(value, Mapping):
        if value.get("_target_") == f"{Decoding.__module__}.{Decoding.__qualname__}":
            yield path, value
        for name, one in value.items():
            yield from _decodings(f"{path}.{name}" if path else str(name), one)


def _check_draws(values: Mapping[str, Any]) -> None:
    for path, one in _decodings("", values):
        heat = one.get("temperature", 1.0)
        if one.get("rule") == "sample" and heat < COLDEST:
            raise InputError(
                f"{path}.temperature={heat:g}: {path}.rule=sample draws from {COLDEST} on; "
                f"{path}.rule=greedy takes the most likely"
            )


def _check_data(data: Mapping[str, Any]) -> None:
    if data["name"] == "lamp" and not data["root"]:
        raise InputError(
            "data=lamp needs data.root=FOLDER, in LaMP's layout (get one: python -m bench.download)"
        )


def _check_together(values: Mapping[str, Any], chosen: Mapping[str, str]) -> None:
    """What is right alone and makes no sense together."""
    _check_data(values["data"])
    part = values["shard"]
    if part["index"] >= part["count"]:
        raise InputError(
            f"shard.index={part['index']} shard.count={part['count']}: the parts are counted from 0"
            f" to {part['count'] - 1}"
            + ("; say how many there are, as in shard.count=4" if part["count"] == 1 else "")
        )
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

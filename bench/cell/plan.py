"""What a configuration asks for, resolved without loading any weights: data, users, base, and the
cell's place.

A Plan is what is asked; who takes part, and which base they train, is a Cohort
(bench/cell/cohort.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig

from bench.cell import effects, repeats, settings
from bench.cell.capabilities import check_capabilities
from bench.cell.key import CellIdentity, by_content, fields_in_key, method_fields
from bench.cell.variant import of_the_cell, portable, variant
from bench.data import lamp
from bench.data.parse import Separation
from bench.data.people import People
from bench.data.protocol import Protocol
from bench.data.sample import generator
from bench.data.task import Task
from bench.data.templates import check_task
from bench.disk import store
from bench.disk.env import cache_folder
from bench.errors import InputError
from bench.lm.base import BaseSpec
from bench.lm.spec import ModelSpec
from bench.method import Method
from bench.types import Decoding


@dataclass(frozen=True)
class Plan:
    """One cell as it is asked for.

    `people`: whom the protocol chooses, worked out when first needed. `fields`: the method's, as
    the key has them. `identity`: the model's (`ModelSpec.identity`). `learnt`: what an adapted base
    learns from, by the data's hashes. `overrides`: the words of a command that ask for this cell,
    without this machine's folders.
    """

    config: Mapping[str, Any]
    fields: Mapping[str, Any]
    task: Task
    spec: ModelSpec
    identity: Mapping[str, Any]
    base: BaseSpec
    learnt: str
    method: Method
    protocol: Protocol
    decoding: Decoding
    people: Callable[[], People]
    tested: lamp.Dataset
    fitted: lamp.Dataset
    cell: store.Cell
    overrides: Sequence[str] = ()

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def adapted(self) -> bool:
        """Whether the base is one that the fit users train."""
        return self.base.kind == "task_adapted"

    @property
    def names(self) -> dict[str, Any]:
        """What a reader calls this cell; `cell` of the record."""
        return {
            "task": self.task.name,
            "method": self.cell.method,
            "model": self.spec.name,
            "base": self.base.kind,
            "protocol": self.protocol.name,
            "decoding": self.decoding.rule,
            "seed": self.seed,
            "repeat": int(self.config["repeat"]),
            "variant": self.config["variant"],
        }


@dataclass(frozen=True)
class _Parts:
    """The objects that the groups of a configuration describe."""

    task: Task
    spec: ModelSpec
    base: BaseSpec
    method: Method
    protocol: Protocol
    decoding: Decoding


@dataclass(frozen=True)
class _Splits:
    """The tested users' data, and that of the fit users."""

    tested: lamp.Dataset
    fitted: lamp.Dataset


def resolve(config: DictConfig, read: Callable[..., lamp.Dataset] = lamp.read) -> Plan:
    """Read the data and work out the cell.

    Raises InputError if the configuration or the data is wrong.
    """
    hydra = HydraConfig.get()
    alone = hydra.mode != RunMode.MULTIRUN
    values = repeats.drawn(settings.checked(config, hydra.runtime.choices), alone=alone)
    parts = _parts(values)
    name = hydra.runtime.choices["method"]
    check_capabilities(parts.spec, name, parts.method, parts.base, parts.decoding)
    effects.check_one(config, values, parts.task)

    splits = _splits(values["data"], parts, read)
    tested, fitted, seed = splits.tested, splits.fitted, values["seed"]
    people = cache(lambda: parts.protocol.people(fitted.users, tested.users, seed))

    model = parts.spec.identity()
    learnt = parts.protocol.learnt(fitted.hash, tested.hash, seed)
    fields = method_fields(parts.method, values["method"])
    identity = _identity(values, parts, splits, model, learnt, fields)
    cell = store.Cell(
        store.place("results.root", values["results"]["root"]),
        parts.task.name,
        name,
        identity.key(),
    )

    words = portable(hydra.overrides.task)
    return Plan(
        config=values | {"variant": variant(words, values["experiment"])},
        fields=fields,
        task=parts.task,
        spec=parts.spec,
        identity=model,
        base=parts.base,
        learnt=learnt,
        method=parts.method,
        protocol=parts.protocol,
        decoding=parts.decoding,
        people=people,
        tested=tested,
        fitted=fitted,
        cell=cell,
        overrides=of_the_cell(words),
    )


def _parts(values: Mapping[str, Any]) -> _Parts:
    """The parts, each made of its group, and checked with the task."""
    task: Task = _made(values["task"])
    spec: ModelSpec = _made(values["model"])
    base: BaseSpec = _made(values["base"])
    if base.kind == "auto":
        base = replace(base, kind=spec.base)
    parts = _Parts(
        task=task,
        spec=spec,
        base=base,
        method=_made(values["method"]),
        protocol=_made(values["protocol"]),
        decoding=_made(values["decoding"]),
    )
    check_task(parts.task)
    parts.method.check(parts.task)
    return parts


def _identity(
    values: Mapping[str, Any],
    parts: _Parts,
    splits: _Splits,
    model: Mapping[str, Any],
    learnt: str,
    fields: Mapping[str, Any],
) -> CellIdentity:
    base = "instruct"
    if parts.base.kind == "task_adapted":
        base = parts.base.key(model, parts.task, learnt)
    return CellIdentity(
        task=parts.task,
        method=fields_in_key(parts.method, fields),
        model=model,
        base=base,
        protocol=by_content(parts.protocol.identity()),
        decoding=parts.decoding,
        data=(splits.tested.hash, splits.fitted.hash, values["data"]["kind"]),
        seed=values["seed"],
        limit=values["limit"],
        leak=values["leak"],
        noise_floor=values["noise_floor"],
        retrain=parts.base.retrain,
        minutes=values["budget"]["minutes"],
    )


def _splits(data: Mapping[str, Any], parts: _Parts, read: Callable[..., lamp.Dataset]) -> _Splits:
    """Both splits, read. If they are pooled, the tested users come from both."""
    task, protocol = parts.task, parts.protocol
    root, kind = data_root(data), data["kind"]
    tested = read(task, root, split=protocol.test_split, kind=kind)
    fitted = _fit_split(read, root, task, protocol, kind, _learner(parts))
    if protocol.pool:
        split = f"{fitted.split}+{tested.split}"
        tested = replace(tested, split=split, golds=fitted.golds and tested.golds)
    return _Splits(tested, fitted)


def _learner(parts: _Parts) -> str:
    """Who reads the fit split, in words; empty if nobody does."""
    if parts.base.kind == "task_adapted":
        return "the adapted base is trained on it (base=instruct takes the model as it is)"
    if parts.protocol.pool:
        return "protocol.pool=true takes the users of both splits"
    if parts.method.reads_fit_users(parts.task):
        return "the method learns from its users"
    return ""


def _fit_split(
    read: Callable[..., lamp.Dataset],
    root: Path,
    task: Task,
    protocol: Protocol,
    kind: Separation,
    learner: str,
) -> lamp.Dataset:
    """The fit split; an empty one if it is not there and nobody reads it."""
    if not lamp.absent(task, root, protocol.fit_split, kind):
        return read(task, root, split=protocol.fit_split, kind=kind)
    if not learner:
        return lamp.nothing(protocol.fit_split, kind)
    try:
        return read(task, root, split=protocol.fit_split, kind=kind)
    except InputError as error:
        raise InputError(f"{error}; {learner}") from None


def _made(values: Mapping[str, Any]) -> Any:
    """The dataclass that a group of the configuration describes. A wrong value is bad input."""
    try:
        return instantiate(values, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise InputError(" ".join(str(error).split())) from None


def data_root(data: Mapping[str, Any]) -> Path:
    """The data folder of a section `data`; the sample is written on first use."""
    if data["name"] != "sample":
        return Path(data["root"])
    version, seed = data["version"], data["seed"]
    root = cache_folder() / "sample" / f"version{version}-seed{seed}"
    with store.writing(root):
        generator.write(root, version=version, seed=seed)
    return root

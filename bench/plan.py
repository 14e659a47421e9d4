"""What a configuration asks for, resolved without loading any weights: data, users, base, and the cell's key."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from bench import store
from bench.data import lamp, leaks, sample
from bench.data.convert import digest
from bench.data.people import People
from bench.data.retrieval import known_embedder
from bench.data.task import OPPU_WORDS, Task
from bench.env import cache_folder
from bench.lm.base import BaseSpec
from bench.lm.spec import ModelSpec
from bench.method import Method
from bench.protocol import Protocol
from bench.types import Decoding, InputError, check_fields, one_of

_NOT_THE_CELL = ("experiment=", "scale=", "results.root=", "progress=", "dry=")

# Sections of the configuration that are no group, and a setting of each to name in an error.
_SECTIONS = {
    "results": "root", "budget": "minutes", "shard": "count", "adapter": "path", "selection": "n_items",
    "retriever": "ranker", "profile": "items", "rules": "rating",
}  # fmt: skip

_EMBEDDERS = ("embedder", "encoder")
"""Settings that name a sentence encoder."""


@dataclass(frozen=True)
class Plan:
    """One cell as it is asked for. Who takes part, and which base they train, a Cohort says (bench/cohort.py).

    `people`: whom the protocol chooses, asked when first needed. `fields`: the method's, as the key has them.
    `identity`: the model's (`ModelSpec.identity`). `learnt`: what an adapted base learns from, by the data's hashes.
    `overrides`: what asks for this cell, without this machine's folders.
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
            "variant": self.config["variant"],
        }


def resolve(config: DictConfig, read: Callable[..., lamp.Dataset] = lamp.read) -> Plan:
    """Read the data and work out the cell. Raises InputError where the configuration or the data is wrong."""
    values = _values(config)
    task: Task = _made(config.task)
    spec: ModelSpec = _made(config.model)
    base: BaseSpec = _made(config.base)
    method: Method = _made(config.method)
    protocol: Protocol = _made(config.protocol)
    decoding: Decoding = _made(config.decoding)
    base = replace(base, kind=spec.base) if base.kind == "auto" else base
    _check(config, {"model": spec, "base": base, "method": method, "protocol": protocol, "decoding": decoding})
    root = data_root(config)
    tested = read(task, root, split=protocol.test_split, kind=config.data.kind)
    fitted = read(task, root, split=protocol.fit_split, kind=config.data.kind)
    if protocol.pool:
        tested = replace(tested, split=f"{fitted.split}+{tested.split}", golds=fitted.golds and tested.golds)
    people = cache(lambda: protocol.people(fitted.users, tested.users, config.seed))
    identity = spec.identity()
    learnt = protocol.learnt(fitted.hash, tested.hash, config.seed)
    fields = _fields(method, values["method"])
    known_by = {
        "schema": store.SCHEMA,
        "task": asdict(task),
        "method": _said(method, fields),
        "model": identity,
        "base": base.key(identity, task, learnt) if base.kind == "task_adapted" else "instruct",
        "protocol": known(protocol.identity()),
        "decoding": asdict(decoding),
        "data": [tested.hash, fitted.hash, config.data.kind],
        "run": [config.seed, config.limit, config.leak, config.noise_floor, base.retrain],
    }
    if config.budget.minutes is not None:  # a training that stops at its budget learns less
        known_by["minutes"] = config.budget.minutes
    if fields.get("style") == "oppu":  # since it cuts what it shows
        known_by["shown_words"] = OPPU_WORDS
    hydra = HydraConfig.get()
    cell = store.Cell(
        store.place("results.root", config.results.root),
        task.name,
        hydra.runtime.choices["method"],
        store.key(known_by),
    )
    words = [_without_folder(word.lstrip("+")) for word in hydra.overrides.task]
    return Plan(
        values | {"variant": _variant(_own(words, values["experiment"]))},
        fields, task, spec, identity, base, learnt, method, protocol, decoding, people, tested, fitted, cell,
        [word for word in words if not word.startswith(_NOT_THE_CELL)],
    )  # fmt: skip


def _check(config: DictConfig, parts: Mapping[str, object]) -> None:
    """Raises InputError where a value is of the wrong kind or none of its choices."""
    for name, part in parts.items():
        check_fields(name, part)
    one_of("data.kind", config.data.kind, ("user", "time"))
    one_of("leak", config.leak, get_args(leaks.Policy))
    if config.limit is not None and not (isinstance(config.limit, int) and config.limit > 0):
        raise InputError(f"limit={config.limit}: a number of users from 1, or null for all")
    for name in ("noise_floor", "dry", "progress"):
        if not isinstance(config[name], bool):
            raise InputError(f"{name}={config[name]}: true or false")
    if not isinstance(config.seed, int):
        raise InputError(f"seed={config.seed}: a whole number")
    if config.budget.minutes is not None and not config.budget.minutes > 0:
        raise InputError(f"budget.minutes={config.budget.minutes}: more than 0, or null for no limit")
    chosen = HydraConfig.get().runtime.choices
    if chosen["base"] == "instruct" and parts["base"].kind != "instruct":  # type: ignore[attr-defined]
        raise InputError(
            f"method={chosen['method']} brings its own adapted base, so base=instruct would be ignored: "
            "base.kind=instruct takes the model as it is"
        )
    if chosen["scale"] != "paper" and not config.experiment:
        raise InputError("scale= is of experiments: name one too, as in experiment=chameleon_table1")


def _values(config: DictConfig) -> dict[str, Any]:
    for name, setting in _SECTIONS.items():
        if not isinstance(config[name], DictConfig):
            raise InputError(f"{name}={config[name]}: {name} has settings of its own, as in {name}.{setting}=...")
    try:
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:  # a value that another one is looked up by
        raise InputError(_not_there(config, " ".join(str(error).split()))) from None


def _not_there(config: DictConfig, text: str) -> str:
    """What is wrong with a name by which other settings are looked up, and the names that there are."""
    found = re.search(r"Interpolation key '([\w.-]+)' not found.*full_key: ([\w.]+)", text)
    if not found:
        return text
    path, there = found[1].split("."), config
    for depth, name in enumerate(path):
        if name not in there:
            known = ", ".join(map(str, there))
            return f"{found[2]}: {'.'.join(path[: depth + 1])}: no {name} here; choose one of {known}"
        there = there[name]
    return text


def _made(config: DictConfig) -> Any:
    """The dataclass that a group of the configuration describes; what is wrong with a value is bad input."""
    try:
        return instantiate(config, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise InputError(" ".join(str(error).split())) from None
    except MissingMandatoryValue as error:
        raise InputError(f"{error.full_key}=... is needed here, and has no default") from None


def data_root(config: DictConfig) -> Path:
    """The data folder; the sample is written on first use."""
    if config.data.name != "sample":
        if not config.data.root:
            raise InputError("data=lamp needs data.root=FOLDER, in LaMP's layout (get one: python -m bench.download)")
        return Path(config.data.root).expanduser()
    root = cache_folder() / "sample" / f"v{sample.VERSION}-seed{config.data.seed}"
    with store.writing(root):
        sample.write(root, seed=config.data.seed)
    return root


def _fields(method: Method, configured: Mapping[str, Any]) -> dict[str, Any]:
    """The method's fields; one that says its own `identity` (a folder: a hash of its files) is known by that."""
    named = {name: getattr(getattr(method, name, None), "identity", None) for name in configured}
    return {name: who() if (who := named[name]) else known(value) for name, value in configured.items()}


def _said(method: Method, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields by which the cell is known: a setting younger than published records is not said at its default."""
    unsaid = getattr(method, "UNSAID", {})
    return {name: value for name, value in fields.items() if name not in unsaid or value != unsaid[name]}


def known(value: Any) -> Any:
    """A configured value with every file and folder it names known by name and content: `data.jsonl@3f9a...`.

    A sentence encoder of the hub is known by its commit.
    """
    if isinstance(value, Mapping):
        return {name: _embedder(one) if name in _EMBEDDERS else known(one) for name, one in value.items()}
    if isinstance(value, list):
        return [known(one) for one in value]
    if not isinstance(value, str) or not ({"/", "."} & set(value)) or not os.path.exists(value):
        return value
    path = Path(value)
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    content = [f"{one.relative_to(path)}:{digest(one, cache_folder() / 'data')}" for one in files]
    return f"{path.name}@{store.key({'files': content})[:16]}"


def _embedder(value: Any) -> Any:
    """A sentence encoder known by its commit on the hub, or as a folder by its content."""
    return known(os.path.expanduser(known_embedder(value))) if isinstance(value, str) else value


def _own(words: Sequence[str], experiment: Mapping[str, Any] | None) -> Sequence[str]:
    """Of an experiment's cell, the overrides that its other cells need not have."""
    return [word for word in words if experiment is None or word.partition("=")[0] in experiment["own"]]


def _variant(words: Sequence[str]) -> str:
    """The overrides in words, so that two cells of one method can be told apart."""
    told = [word.removeprefix("method.") for word in words if word.startswith("method.")]
    others = (
        "noise_floor=", "limit=", "protocol.", "base.", "model.", "model@", "selection.", "leak=", "decoding.",
        "adapter.", "retriever.", "profile.", "budget.",
    )  # fmt: skip
    return " ".join(told + [word for word in words if word.startswith(others)])


def _without_folder(word: str) -> str:
    """A path as its last name: the record names none of this machine's places."""
    name, _, value = word.partition("=")
    return f"{name}={Path(value).name}" if "/" in value and os.path.exists(value) else word

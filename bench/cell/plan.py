"""What a configuration asks for, resolved without loading any weights: data, users, base, and the
cell's key.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig

from bench.cell import effects, repeats, settings
from bench.cell.schema import in_schema_1
from bench.data import lamp
from bench.data.convert import digest
from bench.data.embed import known_embedder
from bench.data.parse import Kind
from bench.data.people import People
from bench.data.protocol import Protocol
from bench.data.sample import generator
from bench.data.task import OPPU_WORDS, Task
from bench.data.templates import check_task
from bench.disk import store
from bench.disk.files import is_there
from bench.env import cache_folder
from bench.errors import InputError
from bench.lm.base import BaseSpec
from bench.lm.spec import ModelSpec
from bench.method import Method
from bench.types import Decoding
from bench.weights import hub

_NOT_THE_CELL = ("experiment=", "scale=", "results.root=", "progress=", "dry=", "stale=")

_EMBEDDERS = ("embedder", "encoder")
"""Settings that name a sentence encoder."""


@dataclass(frozen=True)
class Plan:
    """One cell as it is asked for. Who takes part, and which base they train, a Cohort says
    (bench/cell/cohort.py).

    `people`: whom the protocol chooses, asked when first needed. `fields`: the method's, as the key
    has them. `identity`: the model's (`ModelSpec.identity`). `learnt`: what an adapted base learns
    from, by the data's hashes. `overrides`: what asks for this cell, without this machine's
    folders.
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


def resolve(config: DictConfig, read: Callable[..., lamp.Dataset] = lamp.read) -> Plan:
    """Read the data and work out the cell. Raises InputError where the configuration or the data is
    wrong.
    """
    hydra = HydraConfig.get()
    alone = hydra.mode != RunMode.MULTIRUN
    values = repeats.drawn(settings.checked(config, hydra.runtime.choices), alone=alone)
    task: Task = _made(values["task"])
    spec: ModelSpec = _made(values["model"])
    base: BaseSpec = _made(values["base"])
    method: Method = _made(values["method"])
    protocol: Protocol = _made(values["protocol"])
    decoding: Decoding = _made(values["decoding"])
    base = replace(base, kind=spec.base) if base.kind == "auto" else base
    check_task(task)
    method.check(task)
    effects.check_one(config, values, task)
    root = data_root(values["data"])
    seed, kind = values["seed"], values["data"]["kind"]
    tested = read(task, root, split=protocol.test_split, kind=kind)
    fitted = _fit_split(read, root, task, protocol, kind, _learner(task, method, base, protocol))
    if protocol.pool:
        tested = replace(
            tested, split=f"{fitted.split}+{tested.split}", golds=fitted.golds and tested.golds
        )
    people = cache(lambda: protocol.people(fitted.users, tested.users, seed))
    identity = spec.identity()
    learnt = protocol.learnt(fitted.hash, tested.hash, seed)
    fields = _fields(method, values["method"])
    known_by = {
        "schema": store.SCHEMA,
        "task": asdict(task),
        "method": in_schema_1(_said(method, fields)),
        "model": identity,
        "base": base.key(identity, task, learnt) if base.kind == "task_adapted" else "instruct",
        "protocol": known(protocol.identity()),
        "decoding": asdict(decoding),
        "data": [tested.hash, fitted.hash, kind],
        "run": [seed, values["limit"], values["leak"], values["noise_floor"], base.retrain],
    }
    # a training that stops at its budget learns less
    if (minutes := values["budget"]["minutes"]) is not None:
        known_by["minutes"] = minutes
    if fields.get("style") == "oppu":  # since it cuts what it shows
        known_by["shown_words"] = OPPU_WORDS
    cell = store.Cell(
        store.place("results.root", values["results"]["root"]),
        task.name,
        hydra.runtime.choices["method"],
        store.key(known_by),
    )
    words = [_without_folder(word.lstrip("+")) for word in hydra.overrides.task]
    return Plan(
        values | {"variant": _variant(_own(words, values["experiment"]))},
        fields,
        task,
        spec,
        identity,
        base,
        learnt,
        method,
        protocol,
        decoding,
        people,
        tested,
        fitted,
        cell,
        [word for word in words if not word.startswith(_NOT_THE_CELL)],
    )


def _learner(task: Task, method: Method, base: BaseSpec, protocol: Protocol) -> str:
    """Who reads the fit split, in words; empty where nobody does."""
    if base.kind == "task_adapted":
        return "the adapted base is trained on it (base=instruct takes the model as it is)"
    if protocol.pool:
        return "protocol.pool=true takes the users of both splits"
    return "the method learns from its users" if method.reads_fit_users(task) else ""


def _fit_split(
    read: Callable[..., lamp.Dataset],
    root: Path,
    task: Task,
    protocol: Protocol,
    kind: Kind,
    learner: str,
) -> lamp.Dataset:
    """The fit split; none where it is not there and nobody reads it."""
    if not lamp.absent(task, root, protocol.fit_split, kind):
        return read(task, root, split=protocol.fit_split, kind=kind)
    if not learner:
        return lamp.nothing(protocol.fit_split, kind)
    try:
        return read(task, root, split=protocol.fit_split, kind=kind)
    except InputError as error:
        raise InputError(f"{error}; {learner}") from None


def _made(values: Mapping[str, Any]) -> Any:
    """The dataclass that a group of the configuration describes; what is wrong with a value is bad
    input.
    """
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
    root = cache_folder() / "sample" / f"v{generator.VERSION}-seed{data['seed']}"
    with store.writing(root):
        generator.write(root, seed=data["seed"])
    return root


def _fields(method: Method, configured: Mapping[str, Any]) -> dict[str, Any]:
    """The method's fields; one that says its own `identity` (a folder: a hash of its files) is
    known by that.
    """
    named = {name: getattr(getattr(method, name, None), "identity", None) for name in configured}
    return {
        name: who() if (who := named[name]) else known(value) for name, value in configured.items()
    }


def _said(method: Method, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields by which the cell is known: a setting younger than published records is not said
    at its default.
    """
    unsaid = getattr(method, "UNSAID", {})
    return {
        name: value for name, value in fields.items() if name not in unsaid or value != unsaid[name]
    }


def known(value: Any) -> Any:
    """A configured value with every file and folder it names known by name and content:
    `data.jsonl@3f9a...`.

    What comes from the hub is known by its commit.
    """
    if isinstance(value, Mapping):
        found = {
            name: _embedder(one) if name in _EMBEDDERS else known(one)
            for name, one in value.items()
        }
        return found | _revisions(value)
    if isinstance(value, list):
        return [known(one) for one in value]
    if not isinstance(value, str) or not ({"/", "."} & set(value)) or not _names_data(value):
        return value
    path = Path(value)
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    content = [f"{one.relative_to(path)}:{digest(one, cache_folder() / 'data')}" for one in files]
    return f"{path.name}@{store.key({'files': content})[:16]}"


def _names_data(text: str) -> bool:
    """Whether a file or folder is of this name; not the folder of this process, nor one
    around it."""
    if not os.path.lexists(text):  # a text too long for a name is none
        return False
    if not os.path.isdir(text):
        return is_there(Path(text))
    here = Path.cwd()
    return Path(text).resolve() not in (here, *here.parents)


def _embedder(value: Any) -> Any:
    """A sentence encoder known by its commit on the hub, or as a folder by its content."""
    return known(os.path.expanduser(known_embedder(value))) if isinstance(value, str) else value


def _revisions(value: Mapping[str, Any]) -> dict[str, Any]:
    """The commits of a model, or of a data set of dialogues, that is from the hub."""
    if str(value.get("_target_", "")).endswith(".ModelSpec"):
        fields = {name: one for name, one in value.items() if name != "_target_"}
        spec = ModelSpec(**fields)
        return {"revision": spec.commit} if spec.commit else {}
    data = value.get("code_data")
    if not isinstance(data, str) or data.endswith(".jsonl"):
        return {}
    commit = hub.commit(data, value.get("code_revision"), "dataset")
    return {"code_revision": commit} if commit else {}


def _own(words: Sequence[str], experiment: Mapping[str, Any] | None) -> Sequence[str]:
    """Of an experiment's cell, the overrides that its other cells need not have."""
    return [
        word for word in words if experiment is None or word.partition("=")[0] in experiment["own"]
    ]


def _variant(words: Sequence[str]) -> str:
    """The overrides in words, so that two cells of one method can be told apart."""
    told = [word.removeprefix("method.") for word in words if word.startswith("method.")]
    others = (
        "noise_floor=",
        "limit=",
        "protocol.",
        "base.",
        "model.",
        "model@",
        "selection.",
        "leak=",
        "decoding.",
        "adapter.",
        "retriever.",
        "profile.",
        "budget.",
    )
    return " ".join(told + [word for word in words if word.startswith(others)])


def _without_folder(word: str) -> str:
    """A path as its last name: the record names none of this machine's places."""
    name, _, value = word.partition("=")
    value = value.strip("'")  # a name with blanks and the like is quoted
    return f"{name}={Path(value).name}" if "/" in value and os.path.exists(value) else word

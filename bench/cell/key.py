"""What identifies a cell: everything that can change its answers, hashed into its key.

Two cells of equal keys are one cell. What changes no answer (folders, progress bars, windows,
shards) is in no key. Classes are named as published records have them (bench/cell/schema.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.cell.schema import TARGET, in_schema_1
from bench.data import hub
from bench.data.convert import digest
from bench.data.embed import known_embedder
from bench.data.task import OPPU_WORDS, Task
from bench.disk import store
from bench.disk.env import cache_folder
from bench.disk.files import is_there
from bench.lm.spec import ModelSpec
from bench.method import Method
from bench.types import Decoding

_EMBEDDERS = ("embedder", "encoder")
"""Settings that name a sentence encoder."""


@dataclass(frozen=True)
class CellIdentity:
    """All that can change a cell's answers.

    `method`: its fields, as `method_fields` and `fields_in_key` give them. `model`:
    `ModelSpec.identity`. `base`: the key of the adapted base, or `instruct`. `protocol`: its
    identity, by content. `data`: hashes of the tested and of the fit split, and how the data was
    split. `limit`: how many users are tested (None: all). `minutes`: the limit of fit and adapt
    (None: no limit).
    """

    task: Task
    method: Mapping[str, Any]
    model: Mapping[str, Any]
    base: str
    protocol: Mapping[str, Any]
    decoding: Decoding
    data: tuple[str, str, str]
    seed: int
    limit: int | None
    leak: str
    noise_floor: bool
    retrain: bool
    minutes: float | None

    def key(self) -> str:
        """16 hex digits. The order and the names of the parts are those of published records."""
        parts: dict[str, Any] = {
            "schema": store.SCHEMA,
            "task": asdict(self.task),
            "method": in_schema_1(self.method),
            "model": self.model,
            "base": self.base,
            "protocol": self.protocol,
            "decoding": asdict(self.decoding),
            "data": list(self.data),
            "run": [self.seed, self.limit, self.leak, self.noise_floor, self.retrain],
        }

        # a training that stops at its budget learns less
        if self.minutes is not None:
            parts["minutes"] = self.minutes

        # older records of this style, whose prompts showed items uncut, have another key
        if self.method.get("style") == "oppu":
            parts["shown_words"] = OPPU_WORDS

        return store.key(parts)


def method_fields(method: Method, configured: Mapping[str, Any]) -> dict[str, Any]:
    """A method's configured fields, by content. A part that has an `identity` of its own (a folder:
    a hash of its files) stands as that.
    """
    fields = {}
    for name, value in configured.items():
        identity = getattr(getattr(method, name, None), "identity", None)
        fields[name] = identity() if identity else _said(by_content(value))
    return fields


def fields_in_key(method: Method, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that go into the key: all except for settings that are younger than published
    records and have their default (`UNSAID`).
    """
    unsaid = getattr(method, "UNSAID", {})
    return {
        name: value for name, value in fields.items() if name not in unsaid or value != unsaid[name]
    }


def by_content(value: Any) -> Any:
    """A configured value with the content of each file and folder that it names:
    `data.jsonl@3f9a...`. What comes from the hub has its commit.
    """
    if isinstance(value, Mapping):
        return _mapping_by_content(value)
    if isinstance(value, list):
        return [by_content(entry) for entry in value]
    if isinstance(value, str) and _names_data(value):
        return _path_by_content(Path(value))
    return value


def _mapping_by_content(value: Mapping[str, Any]) -> dict[str, Any]:
    content = {}
    for name, entry in value.items():
        content[name] = _embedder(entry) if name in _EMBEDDERS else by_content(entry)
    return content | _revisions(value)


def _said(value: Any) -> Any:
    """A configured value with the models in it as keys have them (`ModelSpec.UNSAID`)."""
    if not isinstance(value, Mapping):
        return value
    fields = {name: _said(entry) for name, entry in value.items()}
    return ModelSpec.said(fields) if str(value.get(TARGET, "")).endswith(".ModelSpec") else fields


def _embedder(value: Any) -> Any:
    """A sentence encoder by its commit on the hub, or as a folder by its content."""
    if not isinstance(value, str):
        return value
    return by_content(os.path.expanduser(known_embedder(value)))


def _path_by_content(path: Path) -> str:
    """The last name of a file or folder, with a hash of all that is in it."""
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
    cache = cache_folder() / "data"
    content = [f"{file.relative_to(path)}:{digest(file, cache)}" for file in files]
    return f"{path.name}@{store.key({'files': content})[:16]}"


def _names_data(text: str) -> bool:
    """Whether a text is the path of a file or folder. The folder of this process, the user's own,
    and those around them, are no data.
    """
    if "/" not in text and "." not in text:
        return False
    if not os.path.lexists(text):  # also a text that is too long for a name
        return False
    if not os.path.isdir(text):
        return is_there(Path(text))
    here, home = Path.cwd(), Path.home().resolve()
    return Path(text).resolve() not in (here, *here.parents, home, *home.parents)


def _revisions(value: Mapping[str, Any]) -> dict[str, Any]:
    """The commit of a model, or of a data set of dialogues, that is from the hub."""
    if str(value.get(TARGET, "")).endswith(".ModelSpec"):
        fields = {name: entry for name, entry in value.items() if name != TARGET}
        spec = ModelSpec(**fields)
        return {"revision": spec.commit} if spec.commit else {}

    data = value.get("code_data")
    if not isinstance(data, str) or data.endswith(".jsonl"):
        return {}
    commit = hub.commit(data, value.get("code_revision"), "dataset")
    return {"code_revision": commit} if commit else {}

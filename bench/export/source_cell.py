"""A cell's folder as an export reads it: checked first, since it may come from anybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cell.parts import build
from bench.data.task import Task
from bench.disk import store
from bench.errors import InputError
from bench.lm.spec import ModelSpec
from bench.types import Decoding

if TYPE_CHECKING:
    from bench.lm.chat_template import ChatTemplate
    from bench.lm.patch import Patch
    from bench.lm.peft_export import TaskType
    from bench.method import Method

_RECORD: Mapping[str, type] = {
    "key": str,
    "cell.method": str,
    "cell.task": str,
    "cell.model": str,
    "cell.base": str,
    "cell.protocol": str,
    "cell.seed": int,
    "model.base": str,
    "model.weights": str,
    "model.dtype": str,
    "model.max_prompt_tokens": int,
    "model.history_tokens": int,
}
"""What an export reads of a finished cell's record."""

_CONFIG: Mapping[str, type] = {
    "model": dict,
    "task": dict,
    "method": dict,
    "decoding": dict,
    "protocol.history": str,
}
"""What it reads of the configuration."""


@dataclass(frozen=True)
class SourceCell:
    """A finished cell. `folder`: where it lies; `history`: the protocol's, `none` where prompts
    show no history.
    """

    folder: Path
    record: Mapping[str, Any]
    history: str
    model: ModelSpec
    task: Task
    method: Method
    decoding: Decoding

    @staticmethod
    def read(folder: Path, plugins: Sequence[str] = ()) -> SourceCell:
        """Raises InputError where there is no finished cell, or one that is not as Lamplight writes
        it.

        `plugins`: packages or modules whose methods a cell may name besides the product's own.
        """
        for name in ("record.json", "config.yaml"):
            if not (folder / name).is_file():
                raise InputError(
                    f"{folder}: no {name}, so this is no cell's folder"
                    " (results/runs/TASK/METHOD/KEY)"
                )
        record = _checked(folder / "record.json", {"status": str})
        if record["status"] != "ok":
            reason = record.get("error", "no reason given")
            raise InputError(
                f"{folder}: the cell's status is {record['status']} ({reason}); run it again"
            )
        record = _checked(folder / "record.json", _RECORD)
        path = folder / "config.yaml"
        config = _checked(path, _CONFIG)
        kinds: Mapping[str, type] = {"model": ModelSpec, "task": Task, "decoding": Decoding}
        parts = {name: _part(config[name], kind, f"{path}: {name}") for name, kind in kinds.items()}
        method = build(config["method"], f"{path}: method", plugins)
        if not hasattr(method, "request"):
            raise InputError(f"{path}: method is {type(method).__name__}, which is no method")
        return SourceCell(folder, record, config["protocol"]["history"], method=method, **parts)

    @property
    def name(self) -> str:
        return f"{self.record['cell']['method']} on {self.record['cell']['task']}"


@dataclass(frozen=True)
class Base:
    """The model that the adapters belong to.

    `source`: a hub id or folder; `patch`: merged into it first, if any.
    """

    spec: ModelSpec
    tokenizer: Any
    seq2seq: bool
    patch: Patch | None

    @property
    def source(self) -> str:
        return self.spec.hub or self.spec.source

    @property
    def task_type(self) -> TaskType:
        return "SEQ_2_SEQ_LM" if self.seq2seq else "CAUSAL_LM"

    @cached_property
    def template(self) -> ChatTemplate | None:
        """How prompts are rendered; None if they are plain."""
        from bench.lm.prompt_text import chat_template

        return chat_template(self.spec, self.tokenizer, seq2seq=self.seq2seq)


def _part(config: Any, kind: type, where: str) -> Any:
    part = build(config, where)
    if not isinstance(part, kind):
        raise InputError(f"{where} describes a {type(part).__name__}, not a {kind.__name__}")
    return part


def _checked(path: Path, needed: Mapping[str, type]) -> dict[str, Any]:
    """The JSON object in a file;
    InputError unless it has the needed values (dotted names) with their types.
    """
    content = store.read_json(path)
    for name, kind in needed.items():
        value = content
        for step in name.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        if not isinstance(value, kind):
            raise InputError(
                f"{path}: {name} is missing or no {kind.__name__}: not a cell as Lamplight"
                " writes it"
            )
    return dict(content)

"""The task that lies beside its data: `task.yaml` in data.root, for `data=folder`.

Its keys are those of `conf/task/*.yaml`. Whatever is wrong in it is one line with the file and the
key.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from bench.checks.fields import check
from bench.data.task import Task, load
from bench.data.templates import check_task
from bench.errors import InputError

FILE = "task.yaml"
RESOLVER = "task_yaml"
"""How conf/task/folder.yaml asks for a key: `${task_yaml:${data.root},kind}`."""


def read_task(root: Path) -> Task:
    """The task of a data folder. Raises InputError if its task.yaml is not there or not right."""
    return load(**task_values(root))


def task_values(root: Path) -> Mapping[str, Any]:
    """The checked keys of a data folder's task.yaml. Raises InputError."""
    path = Path(root).expanduser() / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8: write it again in UTF-8") from None
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}: data=folder takes its task from this file, which python -m"
            " bench.ingest writes (docs/your_data.md)"
        ) from None
    return _values(path, text)


def register() -> None:
    """Let configurations take their task from a data folder. Needed once in every process."""
    OmegaConf.register_new_resolver(RESOLVER, _value, replace=True)


def _value(root: str | None, key: str) -> Any:
    if not root:
        raise InputError(
            "data=folder needs data.root=FOLDER, which holds task.yaml (python -m bench.ingest"
            " makes one of your own data)"
        )
    return task_values(Path(root))[key]


@lru_cache(maxsize=8)
def _values(path: Path, text: str) -> Mapping[str, Any]:
    """Read once for all the keys that a configuration takes from it."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: {_where(error)}") from None
    if not isinstance(values, Mapping):
        raise InputError(f"{path}: no keys; a task has `name: ...`, `kind: ...` and others")
    values = {str(name): value for name, value in values.items() if name != "_target_"}
    try:
        check("task", values, Task)
        check_task(load(**values))
    except InputError as error:
        # The keys stand in this file by themselves, not below `task`.
        raise InputError(f"{path}: {str(error).removeprefix('task.')}") from None
    return values


def _where(error: yaml.YAMLError) -> str:
    """What YAML says is wrong, with its line."""
    mark = getattr(error, "problem_mark", None)
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    if mark is None:
        return f"not YAML: {problem}"
    return f"line {mark.line + 1}: not YAML: {problem}; quote a text that holds : or # or quotes"

"""What LaMP keeps beside its questions: golds, and groups of questions that are one person's."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.data.json_stream import Source, whole
from bench.data.parse import identifier, in_words, rating_of, text_of
from bench.data.task import Task
from bench.disk.files import is_there
from bench.errors import InputError


@dataclass(frozen=True, slots=True)
class ById:
    """Golds or groups by question id, and the SHA-256 of the file that they are from."""

    values: Mapping[str, str]
    sha: str = ""


def golds_of(task: Task, source: Source, *, required: bool) -> ById | None:
    """Gold by question id; None if there is no file and none is required."""
    if not is_there(source.path):
        if required:
            raise InputError(
                f"{source.label} is missing (need the golds for scores); to get it: {source.remedy}"
            )
        return None
    data = source.path.read_bytes()
    value = whole(source, data)
    if not isinstance(value, dict) or not isinstance(value.get("golds"), list):
        raise InputError(f'{source.label}: no list of golds (need {{"task": ..., "golds": [...]}})')
    if value.get("task", task.official) not in (task.official, task.submission):
        raise InputError(
            f"{source.label}: golds of task {in_words(value['task'])} (need {task.official})"
        )
    golds: dict[str, str] = {}
    for position, entry in enumerate(value["golds"]):
        name = identifier(entry.get("id")) if isinstance(entry, dict) else None
        if name is None or "output" not in entry:
            raise InputError(
                f"{source.label}: gold {position} has no 'id' and 'output' (need both)"
            )
        if name in golds:
            raise InputError(f"{source.label}: two golds for question {name} (need one)")
        try:
            golds[name] = _gold(task, text_of(entry["output"], "output", Counter()))
        except InputError as error:
            raise InputError(f"{source.label}: gold of question {name}{error}") from error
    return ById(golds, hashlib.sha256(data).hexdigest())


def _gold(task: Task, text: str) -> str:
    gold = rating_of(text, "output", task.labels) if task.kind == "rating" else text.strip()
    if task.labels and gold not in task.labels:
        raise InputError(
            f" has {in_words(gold)} as 'output' (need one of {', '.join(task.labels)})"
        )
    return gold


def groups_of(source: Source, folder: str) -> ById:
    """Group by question id from groups.json's section for this split; empty without one."""
    if not is_there(source.path):
        return ById({})
    data = source.path.read_bytes()
    value, section = whole(source, data), None
    if isinstance(value, dict):
        section = value.get(folder, value.get(folder.rpartition("/")[0], {}))
    if not isinstance(section, dict):
        raise InputError(
            f"{source.label}: {folder} is {in_words(section)} (need an object of groups by"
            " question id)"
        )
    groups: dict[str, str] = {}
    for name, entry in section.items():
        group = identifier(entry.get("group") if isinstance(entry, dict) else entry)
        if group is None:
            raise InputError(
                f"{source.label}: {folder}: question {in_words(name)} has no 'group' (need text)"
            )
        groups[name] = group
    return ById(groups, hashlib.sha256(data).hexdigest() if groups else "")


def check_golds(ids: Sequence[str], golds: Mapping[str, str], label: str) -> None:
    known = set(ids)
    without = [name for name in ids if name not in golds]
    unknown = [name for name in golds if name not in known]
    if without or unknown:
        problem = "no gold for question" if without else "a gold for the unknown question"
        names = without or unknown
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        raise InputError(
            f"{label}: {problem} {', '.join(names[:5])}{more} (need one gold for each question)"
        )

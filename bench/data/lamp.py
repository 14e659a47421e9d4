"""Read and check LaMP files, user-based or time-based, into users. What is wrong is said in one line with its place.

    data = read(task, Path("data/lamp"), split="dev")
    data.users[0].history, data.counts, data.hash

Records and profile items are counted from 0, as in the item ids `{question id}/{position}`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from io import BytesIO
from operator import and_, or_
from pathlib import Path
from typing import Any, Literal, overload

from bench.data import convert
from bench.data.task import Task
from bench.types import InputError, Item, Query, User

Kind = Literal["user", "time"]

STREAM_FROM = 64 * 2**20  # bytes: larger questions files are converted once, then read user by user
_FORMAT = 1
_DATE = re.compile(r"[0-9]{1,4}(-[0-9]{1,2}){0,2}")
_BAD_CHARACTERS = re.compile("[\x00\ud800-\udfff]")
_COUNTED = ("users", "queries", "items", "users_without_history", "items_after_first_query", "items_undated",
            "items_without_id", "items_repeated_id", "fields_empty", "fields_not_text", "queries_empty",
            "characters_replaced")  # fmt: skip


@dataclass(frozen=True)
class Dataset:
    """One split of one task. `users` may be lazy (each access reads one user from disk).

    `files`: SHA-256 of each file by its name below the data root. `hash`: of questions, golds and groups. `golds`:
    whether queries have theirs. `counts`: users, queries, items, and everything odd that was handled, not refused.
    """

    users: Sequence[User]
    split: str
    kind: Kind
    files: Mapping[str, str]
    hash: str
    golds: bool
    counts: Mapping[str, int]
    question_count: int


def read(
    task: Task,
    root: Path,
    *,
    split: str,
    kind: Kind = "user",
    cache: Path | None = None,
    progress: bool = True,
    require_golds: bool = True,
) -> Dataset:
    """The split `{root}[/time]/{task.folder}/{split}`, every record checked. Raises InputError.

    Golds may be absent for `test`; elsewhere only with `require_golds=False` (answers without scores).
    Files above 64 MB are converted once into `cache` and then read user by user.
    """
    root, folder = Path(root).expanduser(), f"{'time/' if kind == 'time' else ''}{task.folder}/{split}"
    remedy = f"python -m bench.download task={task.name} split={kind} parts={split}"
    questions, outputs, grouping = (
        convert.Source(root / name, name, remedy)
        for name in (f"{folder}/{split}_questions.json", f"{folder}/{split}_outputs.json", "groups.json")
    )
    try:
        _must_exist(root, questions)
        golds, outputs_sha = _golds(task, outputs, required=require_golds and split != "test")
        groups, groups_sha = _groups(grouping, folder) if kind == "user" else ({}, "")
        builder = _Builder(task, kind, questions.label, golds or {}, groups)
        rows, users, questions_sha = _users(questions, builder, cache or convert.cache_home(), progress)
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read: {error.strerror}") from error
    if golds is not None:
        _must_match(rows.ids, golds, outputs.label)
    content = json.dumps([questions_sha, outputs_sha, sorted(groups.items())])
    files = {questions.label: questions_sha, outputs.label: outputs_sha, grouping.label: groups_sha}
    return Dataset(
        users=users,
        split=split,
        kind=kind,
        files={name: sha for name, sha in files.items() if sha},
        hash=hashlib.sha256(content.encode()).hexdigest(),
        golds=golds is not None,
        counts=rows.counts | {"questions_ungrouped": sum(name not in groups for name in rows.ids) if groups else 0},
        question_count=len(rows.ids),
    )


def day(date: str) -> tuple[int, ...]:
    """A date as LaMP's rankers compare it: `2018-03-01` -> (2018, 3, 1), `2015` -> (2015,)."""
    return tuple(int(part) for part in date.split("-"))


def _must_exist(root: Path, questions: convert.Source) -> None:
    if not questions.path.is_file():
        present = sorted(path.parent.relative_to(root).as_posix() for path in root.rglob("*_questions.json"))
        here = f"it has {', '.join(present)}" if present else "it has no LaMP file at all"
        raise InputError(f"{root} has no {questions.label} ({here}); to get it: {questions.remedy}")


def _golds(task: Task, source: convert.Source, *, required: bool) -> tuple[dict[str, str] | None, str]:
    """Gold by question id, and the file's SHA-256; None where there is no file and none is required."""
    if not source.path.is_file():
        if required:
            raise InputError(f"{source.label} is missing (need the golds for scores); to get it: {source.remedy}")
        return None, ""
    data = source.path.read_bytes()
    value = convert.whole(source, data)
    if not isinstance(value, dict) or not isinstance(value.get("golds"), list):
        raise InputError(f'{source.label}: no list of golds (need {{"task": ..., "golds": [...]}})')
    if value.get("task", task.official) not in (task.official, task.submission):
        raise InputError(f"{source.label}: golds of task {_shown(value['task'])} (need {task.official})")
    golds: dict[str, str] = {}
    for position, entry in enumerate(value["golds"]):
        name = _id(entry.get("id")) if isinstance(entry, dict) else None
        if name is None or "output" not in entry:
            raise InputError(f"{source.label}: gold {position} has no 'id' and 'output' (need both)")
        if name in golds:
            raise InputError(f"{source.label}: two golds for question {name} (need one)")
        try:
            golds[name] = _gold(task, _text(entry["output"], "output", Counter()))
        except InputError as error:
            raise InputError(f"{source.label}: gold of question {name}{error}") from error
    return golds, hashlib.sha256(data).hexdigest()


def _gold(task: Task, text: str) -> str:
    gold = _rating(text, "output") if task.kind == "rating" else text.strip()
    if task.labels and gold not in task.labels:
        raise InputError(f" has {_shown(gold)} as 'output' (need one of {', '.join(task.labels)})")
    return gold


def _groups(source: convert.Source, folder: str) -> tuple[dict[str, str], str]:
    """Group by question id from groups.json's section for this split, and the file's SHA-256; empty without one."""
    if not source.path.is_file():
        return {}, ""
    data = source.path.read_bytes()
    value = convert.whole(source, data)
    section = value.get(folder, value.get(folder.rpartition("/")[0], {})) if isinstance(value, dict) else None
    if not isinstance(section, dict):
        raise InputError(f"{source.label}: {folder} is {_shown(section)} (need an object of groups by question id)")
    groups = {name: _id(group.get("group") if isinstance(group, dict) else group) for name, group in section.items()}
    for name, group in groups.items():
        if group is None:
            raise InputError(f"{source.label}: {folder}: question {_shown(name)} has no 'group' (need text)")
    return {name: str(group) for name, group in groups.items()}, hashlib.sha256(data).hexdigest() if groups else ""


def _must_match(ids: Sequence[str], golds: Mapping[str, str], label: str) -> None:
    known = set(ids)
    for problem, names in (
        ("no gold for question", [name for name in ids if name not in golds]),
        ("a gold for the unknown question", [name for name in golds if name not in known]),
    ):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise InputError(f"{label}: {problem} {', '.join(names[:5])}{more} (need one gold for each question)")


@dataclass(frozen=True)
class _Rows:
    """What one pass over all records finds: the records of each user, all question ids, the counts."""

    rows: list[list[int]]
    ids: list[str]
    counts: dict[str, int]


def _users(source: convert.Source, builder: _Builder, cache: Path, progress: bool) -> tuple[_Rows, Sequence[User], str]:
    if source.path.stat().st_size <= STREAM_FROM:
        data, users = source.path.read_bytes(), list[User]()
        raws = [raw for raw, _ in convert.records(source, BytesIO(data))]
        return _scan(builder, raws, users.append, progress=False), users, hashlib.sha256(data).hexdigest()
    sha = convert.digest(source.path, cache)
    lines = convert.convert(source, sha, cache, progress=progress)
    form = repr((_FORMAT, builder.kind, builder.task.name, builder.task.fields, builder.task.kind))
    index = lines.path.with_name(f"index-{hashlib.sha256(form.encode()).hexdigest()[:12]}.json")
    try:
        rows = _Rows(**convert.load_json(index))
    except TypeError:
        rows = _scan(builder, lines, lambda user: None, progress=progress)
        convert.save_json(index, vars(rows))
    return rows, LazyUsers(rows.rows, lines, builder), sha


def _scan(builder: _Builder, raws: convert.Records, use: Callable[[User], None], *, progress: bool) -> _Rows:
    """Build every user once: all mistakes are found before any model is loaded."""
    if not len(raws):
        raise InputError(f"{builder.label}: the list is empty (need at least one question)")
    rows, ids, counts = builder.rows(raws), dict[str, None](), Counter[str]()
    with convert.bar(f"checking {builder.label}", len(rows), enabled=progress) as advance:
        for row in rows:
            user = builder.user([raws[index] for index in row], row, counts)
            for query in user.queries:
                if query.id in ids:
                    raise InputError(f"{builder.label}: question {query.id} occurs twice (need unique ids)")
                ids[query.id] = None
            use(user)
            advance(1)
    return _Rows(rows, list(ids), {name: counts[name] for name in _COUNTED})


@dataclass(frozen=True)
class LazyUsers(Sequence[User]):
    """Users of a converted file: each access reads and checks one user's records."""

    rows: Sequence[Sequence[int]]
    records: convert.Records
    builder: _Builder

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> User: ...
    @overload
    def __getitem__(self, index: slice) -> LazyUsers: ...
    def __getitem__(self, index: int | slice) -> User | LazyUsers:
        if isinstance(index, slice):
            return LazyUsers(self.rows[index], self.records, self.builder)
        row = self.rows[index]
        return self.builder.user([self.records[position] for position in row], row, Counter())


@dataclass(frozen=True)
class _Builder:
    """Turns records into users. Its errors end a place: `question 211` + `: profile item 4` + ` has no 'score'`."""

    task: Task
    kind: Kind
    label: str
    golds: Mapping[str, str]
    groups: Mapping[str, str]

    def rows(self, raws: convert.Records) -> list[list[int]]:
        """The records of each user, users in the order of their first question."""
        users: dict[str | int, list[int]] = {}
        for index in range(len(raws)):
            users.setdefault(index if self.kind == "user" else self._ids(raws[index], index)[1], []).append(index)
        return list(users.values())

    def user(self, raws: Sequence[Any], row: Sequence[int], counts: Counter[str]) -> User:
        queries, profiles, owner = [], [], ""
        for raw, index in zip(raws, row, strict=True):
            name, owner = self._ids(raw, index)
            try:
                queries.append(self._query(name, raw, counts))
                profiles.append(self._profile(name, raw["profile"], counts))
            except InputError as error:
                raise InputError(f"{self.label}: question {name}{error}") from error
        history, left = _common(profiles)
        counts.update(users=1, queries=len(queries), items=len(history))
        counts.update(users_without_history=not history, items_after_first_query=left)
        counts["items_undated"] += sum(item.date is None for item in history)
        return User(owner, history, tuple(queries), owner if self.kind == "time" else self.groups.get(owner, owner))

    def _ids(self, raw: Any, index: int) -> tuple[str, str]:
        """Question id and user id, which in the user-based sets is the question id."""
        keys = ["id", "input", "profile", *(["user_id"] if self.kind == "time" else [])]
        place, need = f"{self.label}: record {index}", f"(need {', '.join(keys)})"
        if not isinstance(raw, dict):
            raise InputError(f"{place} is {_shown(raw)} {need}")
        for key in keys:
            if key not in raw:
                raise InputError(f"{place} has no {key!r} {need}")
            if key in ("id", "user_id") and _id(raw[key]) is None:
                raise InputError(f"{place} has {_shown(raw[key])} as {key!r} (need a word or a number)")
            place = f"{self.label}: question {_id(raw['id'])}"
        return str(_id(raw["id"])), str(_id(raw[keys[-1] if self.kind == "time" else "id"]))

    def _query(self, name: str, raw: Mapping[str, Any], counts: Counter[str]) -> Query:
        text = _text(raw["input"], "input", counts)
        try:
            bare = self.task.query_text(text)
        except InputError as error:
            raise InputError(f": {error}") from error
        counts["queries_empty"] += not bare
        return Query(name, text, bare, self.golds.get(name), _date(raw.get("date")))

    def _profile(self, name: str, raw: Any, counts: Counter[str]) -> dict[str, Item]:
        if not isinstance(raw, list):
            raise InputError(f" has {_shown(raw)} as 'profile' (need a list of items)")
        items: dict[str, Item] = {}
        for position, entry in enumerate(raw):
            try:
                fields, date = self._fields(entry, counts), _date(entry.get("date"))
            except InputError as error:
                raise InputError(f": profile item {position}{error}") from error
            given = _id(entry.get("id"))
            counts["items_without_id"] += given is None
            counts["items_repeated_id"] += given in items
            own = f"{name}/{position}" if given is None or given in items else given
            items[own] = Item(own, fields, date)
        return items

    def _fields(self, raw: Any, counts: Counter[str]) -> dict[str, str]:
        need, fields = ", ".join(self.task.fields), {}
        if not isinstance(raw, dict):
            raise InputError(f" is {_shown(raw)} (need an object with {need})")
        for key in self.task.fields:
            if key not in raw:
                raise InputError(f" has no {key!r} (need {need})")
            text = _text(raw[key], key, counts)
            fields[key] = _rating(text, key) if self.task.kind == "rating" and key == self.task.target else text
        if isinstance(raw.get("citation"), str):  # OPPU's copies carry the answer of LaMP-1 here
            fields["citation"] = _text(raw["citation"], "citation", counts)
        return fields


def _common(profiles: Sequence[Mapping[str, Item]]) -> tuple[tuple[Item, ...], int]:
    """The items that stand in every profile, oldest first (undated ones before), and how many items do not."""
    items = list(profiles[0].values())
    left = 0
    if len(profiles) > 1:
        seen = [Counter((*item.fields.items(), item.date) for item in profile.values()) for profile in profiles]
        common, kept = reduce(and_, seen), []
        left = reduce(or_, seen).total() - common.total()
        for item in items:
            key = (*item.fields.items(), item.date)
            if common[key]:
                common[key] -= 1
                kept.append(item)
        items = kept
    return tuple(sorted(items, key=lambda item: day(item.date) if item.date else ())), left


def _id(value: Any) -> str | None:
    """An id as text; None if it cannot serve as one (ids stand in messages and file names: short and printable)."""
    text = "" if isinstance(value, bool) or not isinstance(value, str | int) else str(value)
    return text if 0 < len(text) <= 100 and text.isprintable() else None


def _text(value: Any, key: str, counts: Counter[str]) -> str:
    """A field as text: numbers are written out, null is empty, characters no encoder takes become U+FFFD."""
    if not isinstance(value, str):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise InputError(f" has {_shown(value)} as {key!r} (need text)")
        counts["fields_not_text"] += 1
        value = "" if value is None else str(value)
    counts["fields_empty"] += not value
    if not value.isascii() or "\x00" in value:
        value, replaced = _BAD_CHARACTERS.subn("\ufffd", value)
        counts["characters_replaced"] += replaced
    return str(value)


def _rating(text: str, key: str) -> str:
    try:
        return str([1.0, 2.0, 3.0, 4.0, 5.0].index(float(text)) + 1)
    except ValueError:
        raise InputError(f" has {_shown(text)} as {key!r} (need 1, 2, 3, 4 or 5)") from None


def _date(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or not _DATE.fullmatch(str(value)):
        raise InputError(f" has {_shown(value)} as 'date' (need YYYY-MM-DD or a year)")
    return str(value)


def _shown(value: Any) -> str:
    """A value in a message: one line, short."""
    names = {dict: "an object", list: "a list", type(None): "null", bool: "true or false"}
    return names.get(type(value)) or repr(value)[:60]

"""Read and check LaMP files, user-based or time-based, into users. What is wrong is said in one
line with its place.

    data = read(task, Path("data/lamp"), split="dev")
    data.users[0].history, data.counts, data.hash

Records and profile items are counted from 0, as in the item ids `{question id}/{position}`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import overload

from bench.data import convert, task_yaml
from bench.data.file_bar import bar
from bench.data.golds import ById, check_golds, golds_of, groups_of
from bench.data.json_stream import Source, records
from bench.data.parse import COUNTED, Builder, Separation
from bench.data.task import Task
from bench.disk import sources
from bench.disk.files import is_there
from bench.disk.shortcut import load_checked, save_checked
from bench.errors import InputError
from bench.types import User

STREAM_FROM = 64 * 2**20  # bytes: larger questions files are converted once, then read user by user


@dataclass(frozen=True)
class Dataset:
    """One split of one task. `users` may be lazy (each access reads one user from disk).

    `files`: SHA-256 of each file by its name below the data root. `hash`: of questions, golds and
    groups. `golds`: whether queries have theirs. `counts`: users, queries, items, and everything
    odd that was handled, not refused.
    """

    users: Sequence[User]
    split: str
    kind: Separation
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
    kind: Separation = "user",
    cache: Path | None = None,
    progress: bool = True,
    require_golds: bool = True,
) -> Dataset:
    """The split `{root}[/time]/{task.folder}/{split}`, every record checked. Raises InputError.

    Golds may be absent for `test`; elsewhere only with `require_golds=False` (answers without
    scores). Files above 64 MB are converted once into `cache` and then read user by user.
    """
    root, folder = Path(root).expanduser(), _folder(task, split, kind)
    remedy = f"python -m bench.download task={task.name} split={kind} root={root}"
    if is_there(root / task_yaml.FILE):
        remedy = "python -m bench.ingest FILE --out FOLDER (docs/your_data.md)"

    def source(name: str) -> Source:
        return Source(root / name, name, remedy)

    questions = source(f"{folder}/{split}_questions.json")
    outputs, grouping = source(f"{folder}/{split}_outputs.json"), source("groups.json")
    try:
        _must_exist(root, questions)
        golds = golds_of(task, outputs, required=require_golds and split != "test")
        groups = groups_of(grouping, folder) if kind == "user" else ById({})
        builder = Builder(task, kind, questions.label, golds.values if golds else {}, groups.values)
        people = _users(questions, builder, cache or convert.cache_home(), progress)
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read: {error.strerror}") from error

    ids, counts = people.rows.ids, dict(people.rows.counts)
    if golds is not None:
        check_golds(ids, golds.values, outputs.label)
    counts["questions_ungrouped"] = 0
    if groups.values:
        counts["questions_ungrouped"] = sum(name not in groups.values for name in ids)

    files = {questions.label: people.sha, grouping.label: groups.sha}
    files |= {outputs.label: golds.sha if golds else ""}
    content = json.dumps([people.sha, files[outputs.label], sorted(groups.values.items())])
    # Each dated question sees its own past alone. Earlier versions did not read it so.
    if counts["queries_dated"]:
        content += "dated questions"
    return Dataset(
        users=people.users,
        split=split,
        kind=kind,
        files={name: sha for name, sha in files.items() if sha},
        hash=hashlib.sha256(content.encode()).hexdigest(),
        golds=golds is not None,
        counts=counts,
        question_count=len(ids),
    )


def absent(task: Task, root: Path, split: str, kind: Separation) -> bool:
    """Whether a data folder has nothing at all where this split would be."""
    return not os.path.lexists(Path(root) / _folder(task, split, kind))


def nothing(split: str, kind: Separation) -> Dataset:
    """A split that is not there and that nobody reads: no users, and `none` in place of a hash."""
    return Dataset((), split, kind, files={}, hash="none", golds=False, counts={}, question_count=0)


def _folder(task: Task, split: str, kind: Separation) -> str:
    return f"{'time/' if kind == 'time' else ''}{task.folder}/{split}"


def _must_exist(root: Path, questions: Source) -> None:
    if root.is_file():
        raise InputError(
            f"{root} is a file: give the folder that holds {questions.label}, as in"
            " data.root=FOLDER"
        )
    if not is_there(questions.path):
        # No deeper: the folder may be anything, the whole disk too.
        present = []
        for depth in ("*/*", "*/*/*", "*/*/*/*"):
            for path in root.glob(f"{depth}_questions.json"):
                present.append(path.parent.relative_to(root).as_posix())
        present.sort()
        here = f"it has {', '.join(present)}" if present else "it has no LaMP file at all"
        raise InputError(f"{root} has no {questions.label} ({here}); to get it: {questions.remedy}")


@dataclass(frozen=True)
class _Rows:
    """What one pass over all records finds: the records of each user,
    all question ids, the counts.
    """

    rows: list[list[int]]
    ids: list[str]
    counts: dict[str, int]


@dataclass(frozen=True)
class _People:
    """The users of a questions file, its rows, and its SHA-256."""

    users: Sequence[User]
    rows: _Rows
    sha: str


def _users(source: Source, builder: Builder, cache: Path, progress: bool) -> _People:
    if source.path.stat().st_size <= STREAM_FROM:
        data, users = source.path.read_bytes(), list[User]()
        raws = [raw for raw, _ in records(source, BytesIO(data))]
        rows = _scan(builder, raws, users.append, progress=False)
        return _People(users, rows, hashlib.sha256(data).hexdigest())
    sha = convert.digest(source.path, cache)
    lines = convert.convert(source, sha, cache, progress=progress)
    code = sources.digest(sources.reading())
    form = repr((code, builder.kind, builder.task.name, builder.task.fields, builder.task.kind))
    index = lines.path.with_name(f"index-{hashlib.sha256(form.encode()).hexdigest()[:12]}.json")
    try:
        rows = _Rows(**load_checked(index))
    except TypeError:
        rows = _scan(builder, lines, lambda user: None, progress=progress)
        save_checked(index, vars(rows))
    return _People(LazyUsers(rows.rows, lines, builder), rows, sha)


def _scan(
    builder: Builder, raws: convert.Records, use: Callable[[User], None], *, progress: bool
) -> _Rows:
    """Build every user once: all mistakes are found before any model is loaded."""
    if not len(raws):
        raise InputError(f"{builder.label}: the list is empty (need at least one question)")
    rows, ids, counts = builder.rows(raws), dict[str, None](), Counter[str]()
    with bar(f"checking {builder.label}", len(rows), enabled=progress) as advance:
        for row in rows:
            user = builder.user([raws[index] for index in row], row, counts)
            for query in user.queries:
                if query.id in ids:
                    raise InputError(
                        f"{builder.label}: question {query.id} occurs twice (need unique ids)"
                    )
                ids[query.id] = None
            use(user)
            advance(1)
    return _Rows(rows, list(ids), {name: counts[name] for name in COUNTED})


@dataclass(frozen=True)
class LazyUsers(Sequence[User]):
    """Users of a converted file: each access reads and checks one user's records."""

    rows: Sequence[Sequence[int]]
    records: convert.Records
    builder: Builder

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

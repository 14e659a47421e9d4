"""LaMP's JSON records as users: what a record must have, and what odd things are mended and
counted, not refused.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Any, Literal

from bench.data.convert import Records
from bench.data.dates import day
from bench.data.task import Task
from bench.errors import InputError
from bench.types import Item, Query, User

Separation = Literal["user", "time"]

COUNTED = (
    "users",
    "queries",
    "items",
    "users_without_history",
    "items_after_first_query",
    "items_undated",
    "items_without_id",
    "items_repeated_id",
    "fields_empty",
    "fields_not_text",
    "queries_empty",
    "queries_dated",
    "characters_replaced",
)
_DATE = re.compile(r"[0-9]{1,4}(-[0-9]{1,2}){0,2}")
_BAD_CHARACTERS = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True)
class Builder:
    """Turns records into users. `label` is the file's name in messages.

    Errors end a place: `question 211` + `: profile item 4` + ` has no 'score'`.
    """

    task: Task
    kind: Separation
    label: str
    golds: Mapping[str, str]
    groups: Mapping[str, str]

    def rows(self, raws: Records) -> list[list[int]]:
        """The records of each user, users in the order of their first question."""
        if self.kind == "user":
            return [[index] for index in range(len(raws))]
        users: dict[str, list[int]] = {}
        for index in range(len(raws)):
            owner = self._ids(raws[index], index).owner
            users.setdefault(owner, []).append(index)
        return list(users.values())

    def user(self, raws: Sequence[Any], row: Sequence[int], counts: Counter[str]) -> User:
        """The user of these records, numbered `row` in the file;
        what was mended is added to `counts`.
        """
        queries = []
        profiles = []
        owner = ""
        for raw, index in zip(raws, row, strict=True):
            ids = self._ids(raw, index)
            owner = ids.owner
            try:
                queries.append(self._query(ids.question, raw, counts))
                profiles.append(self._profile(ids.question, raw["profile"], counts))
            except InputError as error:
                raise InputError(f"{self.label}: question {ids.question}{error}") from error

        common = common_history(profiles)
        history = common.items
        counts.update(users=1, queries=len(queries), items=len(history))
        counts.update(users_without_history=not history, items_after_first_query=common.left_out)
        counts["items_undated"] += sum(item.date is None for item in history)
        group = owner if self.kind == "time" else self.groups.get(owner, owner)
        return User(owner, history, tuple(queries), group)

    def _ids(self, raw: Any, index: int) -> _RecordIds:
        """Question id and user id, which in the user-based sets is the question id."""
        keys = ["id", "input", "profile"]
        if self.kind == "time":
            keys.append("user_id")
        place = f"{self.label}: record {index}"
        need = f"(need {', '.join(keys)})"
        if not isinstance(raw, dict):
            raise InputError(f"{place} is {in_words(raw)} {need}")
        for key in keys:
            if key not in raw:
                raise InputError(f"{place} has no {key!r} {need}")
            if key in ("id", "user_id") and identifier(raw[key]) is None:
                raise InputError(
                    f"{place} has {in_words(raw[key])} as {key!r} (need a word or a number)"
                )
            place = f"{self.label}: question {identifier(raw['id'])}"
        owner = raw["user_id" if self.kind == "time" else "id"]
        return _RecordIds(str(identifier(raw["id"])), str(identifier(owner)))

    def _query(self, name: str, raw: Mapping[str, Any], counts: Counter[str]) -> Query:
        text = text_of(raw["input"], "input", counts)
        try:
            bare = self.task.query_text(text)
        except InputError as error:
            raise InputError(f": {error}") from error
        date = _date_of(raw.get("date"))
        counts["queries_empty"] += not bare
        counts["queries_dated"] += date is not None
        return Query(name, text, bare, self.golds.get(name), date)

    def _profile(self, name: str, raw: Any, counts: Counter[str]) -> dict[str, Item]:
        if not isinstance(raw, list):
            raise InputError(f" has {in_words(raw)} as 'profile' (need a list of items)")
        items: dict[str, Item] = {}
        for position, entry in enumerate(raw):
            try:
                fields, date = self._fields(entry, counts), _date_of(entry.get("date"))
            except InputError as error:
                raise InputError(f": profile item {position}{error}") from error
            given = identifier(entry.get("id"))
            counts["items_without_id"] += given is None
            counts["items_repeated_id"] += given in items
            id = f"{name}/{position}" if given is None or given in items else given
            items[id] = Item(id, fields, date)
        return items

    def _fields(self, raw: Any, counts: Counter[str]) -> dict[str, str]:
        need = ", ".join(self.task.fields)
        if not isinstance(raw, dict):
            raise InputError(f" is {in_words(raw)} (need an object with {need})")
        fields = {}
        for key in self.task.fields:
            if key not in raw:
                raise InputError(f" has no {key!r} (need {need})")
            text = text_of(raw[key], key, counts)
            is_rating = self.task.kind == "rating" and key == self.task.target
            fields[key] = rating_of(text, key, self.task.labels) if is_rating else text
        if isinstance(raw.get("citation"), str):  # OPPU's copies carry the answer of LaMP-1 here
            fields["citation"] = text_of(raw["citation"], "citation", counts)
        return fields


@dataclass(frozen=True)
class _RecordIds:
    """Of whom a record is: the id of its question, and of the user."""

    question: str
    owner: str


@dataclass(frozen=True)
class CommonHistory:
    """The items that stand in every profile of a user, oldest first (undated ones before).

    `left_out`: how many items do not stand in every profile.
    """

    items: tuple[Item, ...]
    left_out: int


def common_history(profiles: Sequence[Mapping[str, Item]]) -> CommonHistory:
    """What the profiles of a user's questions have in common: items with the same text and date,
    as often as every profile has them.
    """
    items = list(profiles[0].values())
    left_out = 0
    if len(profiles) > 1:
        contents = [Counter(map(_content, profile.values())) for profile in profiles]
        in_all = reduce(and_, contents)
        left_out = reduce(or_, contents).total() - in_all.total()
        items = []
        for item in profiles[0].values():
            if in_all[_content(item)]:
                in_all[_content(item)] -= 1
                items.append(item)
    return CommonHistory(tuple(sorted(items, key=_age)), left_out)


def _content(item: Item) -> tuple[object, ...]:
    """What makes two items the same."""
    return (*item.fields.items(), item.date)


def _age(item: Item) -> tuple[int, ...]:
    return day(item.date) if item.date else ()


def identifier(value: Any) -> str | None:
    """An id as text; None if it cannot serve as one
    (ids stand in messages and file names: short and printable).
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    return text if 0 < len(text) <= 100 and text.isprintable() else None


def text_of(value: Any, key: str, counts: Counter[str]) -> str:
    """A field as text: numbers are written out, null is empty,
    characters no encoder takes become U+FFFD.
    """
    if not isinstance(value, str):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not is_number:
            raise InputError(f" has {in_words(value)} as {key!r} (need text)")
        counts["fields_not_text"] += 1
        value = "" if value is None else str(value)
    counts["fields_empty"] += not value
    if not value.isascii() or "\x00" in value:
        value, replaced = _BAD_CHARACTERS.subn("\ufffd", value)
        counts["characters_replaced"] += replaced
    return str(value)


def rating_of(text: str, key: str, labels: Sequence[str]) -> str:
    """A rating as one of the labels: "4", "4.0" and "4e0" are all "4"."""
    try:
        rating = float(text)
    except ValueError:
        rating = math.nan
    for label in labels:
        if float(label) == rating:
            return label
    needed = f"{', '.join(labels[:-1])} or {labels[-1]}"
    raise InputError(f" has {in_words(text)} as {key!r} (need {needed})")


def _date_of(value: Any) -> str | None:
    if value is None or value == "":
        return None
    is_text = isinstance(value, str | int) and not isinstance(value, bool)
    if not is_text or not _DATE.fullmatch(str(value)):
        raise InputError(f" has {in_words(value)} as 'date' (need YYYY-MM-DD or a year)")
    return str(value)


def in_words(value: Any) -> str:
    """A value in a message: one line, short."""
    names = {dict: "an object", list: "a list", type(None): "null", bool: "true or false"}
    return names.get(type(value)) or repr(value)[:60]

"""The one check of settings: configured values against the hints of the dataclasses that are made
of them.

A dataclass says by its types and their marks (bench/checks/bounds.py) what its settings may be. A
configuration is checked as plain values, before anything is made of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_object

from bench.checks.bounds import ANY, Fields, Form, Range
from bench.errors import InputError, as_text, one_of

UNSET = "???"
"""How a configuration says that a value has to be given."""

_TEXT = Form(r"[^\x00\ud800-\udfff]*", "text")


def check_fields(path: str, part: object) -> None:
    """Raises InputError if a field of a dataclass, or of one inside it, is not what its hint
    says.

    `path`: what the command line calls the dataclass, as `method`.
    """
    values = {
        field.name: getattr(part, field.name)
        for field in fields(part)  # type: ignore[arg-type]
    }
    _check_all(path, values, type(part), ())


def check(path: str, value: Any, hint: Any) -> None:
    """Raises InputError if a configured value is not of the type, bounds and form of the hint.

    `path`: what the command line calls it. A dataclass' values may be an instance, or a mapping
    with its `_target_`.
    """
    _check(path, value, hint, "")


@dataclass(frozen=True)
class Description:
    """What a configured part describes: a dataclass (None: no such), and its fields' values."""

    kind: type | None
    values: Mapping[str, Any]


def describe(path: str, value: Mapping[str, Any]) -> Description:
    """What a mapping with a `_target_` describes. Of a function, it is the dataclass that the
    function returns. Raises InputError if the target is not there.
    """
    target = value.get("_target_")
    values = dict(value)
    values.pop("_target_", None)
    if target is None:
        return Description(None, values)
    kind = _target(path, target)
    if not isinstance(kind, type):
        kind = _hints(path, kind).get("return")
    return Description(kind if is_dataclass(kind) else None, values)  # type: ignore[arg-type]


def unread(path: str, part: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a configured part that are not read as its other fields stand, with the reason
    (`ONLY_WITH`).

    The other field may be a part's own: `decoding.rule`.
    """
    if "_target_" not in part:
        return {}
    kind = describe(path, part).kind
    rules: Mapping[str, tuple[str, tuple[Any, ...]]] = getattr(kind, "ONLY_WITH", {})
    return {
        name: f"it is read with {path}.{other}={' or '.join(map(as_text, wanted))} alone"
        for name, (other, wanted) in rules.items()
        if _stands(part, other, wanted[0]) not in wanted
    }


def _stands(part: Any, name: str, otherwise: Any) -> Any:
    """The value at a dotted name; `otherwise` where nothing is configured there."""
    for step in name.split("."):
        if not isinstance(part, Mapping) or step not in part:
            return otherwise
        part = part[step]
    return part


def _check(path: str, value: Any, hint: Any, also: str) -> None:
    """Check by the kind of the hint. `also`: what else the setting may be, for the error."""
    if value == UNSET:
        raise InputError(f"{path}=... is needed here, and has no default")

    marks: Sequence[Any] = ()
    if get_origin(hint) is Annotated:
        hint, *marks = get_args(hint)

    origin = get_origin(hint)
    if origin in (Union, UnionType):
        _check_union(path, value, hint)
    elif origin is Literal:
        _check_choice(path, value, get_args(hint), also)
    elif hint is str:
        _check_text(path, value, marks, also)
    elif hint in (bool, int, float):
        _check_number(path, value, hint, marks, also)
    elif is_dataclass(hint):
        _check_part(path, value, hint)  # type: ignore[arg-type]
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        _check_mapping(path, value, get_args(hint), marks)
    elif isinstance(origin, type) and issubclass(origin, Sequence):
        _check_list(path, value, get_args(hint)[0], also)


def _check_union(path: str, value: Any, hint: Any) -> None:
    arms = [arm for arm in get_args(hint) if arm is not NoneType]
    may_be_null = len(arms) < len(get_args(hint))
    if value is None and may_be_null:
        return
    null = ", or null" if may_be_null else ""
    if len(arms) == 1:
        _check(path, value, arms[0], null)
        return
    refused = []
    for arm in arms:
        try:
            _check(path, value, arm, null)
            return
        except InputError as error:
            refused.append(error)
    raise refused[0]


def _check_choice(path: str, value: Any, choices: Sequence[Any], also: str) -> None:
    try:
        one_of(path, value, choices)
    except InputError as error:
        raise InputError(f"{error}{also}") from None


def _check_text(path: str, value: Any, marks: Sequence[Any], also: str) -> None:
    form = next((mark for mark in marks if isinstance(mark, Form)), _TEXT)
    if not isinstance(value, str) or not re.fullmatch(form.pattern, value):
        kind = "" if isinstance(value, str) else f" ({_kind(value)})"
        quotes = (
            f"; a number as text: '{path}=\"{as_text(value)}\"'"
            if type(value) in (int, float, bool)
            else ""
        )
        raise InputError(f"{path}={as_text(value)}{kind}: {form.words}{also}{quotes}")


def _check_number(path: str, value: Any, kind: type, marks: Sequence[Any], also: str) -> None:
    if kind is bool:
        if type(value) is not bool:
            raise InputError(f"{path}={as_text(value)}: true or false{also}")
        return

    bounds = Range() if kind is int else ANY
    for mark in marks:
        if isinstance(mark, Range):
            bounds = mark

    # a bool is an int to Python, and none to a setting
    is_number = type(value) is int
    if kind is float and type(value) is float:
        is_number = math.isfinite(value)
    if not is_number or value not in bounds:
        words = "a whole number" if kind is int else "a number"
        limits = "" if bounds == ANY else f" {bounds}"
        raise InputError(f"{path}={as_text(value)}: {words}{limits}{also}")


def _check_part(path: str, value: Any, hint: type) -> None:
    """A dataclass inside a configuration: an instance, or what describes one."""
    if is_dataclass(value):
        check_fields(path, value)
        return
    if not isinstance(value, Mapping):
        raise _no_mapping(path, value, fields(hint)[0].name)
    part = describe(path, value)
    if "_target_" in value and not (part.kind and issubclass(part.kind, hint)):
        raise InputError(
            f"{path}._target_={as_text(value['_target_'])}: it makes no {hint.__name__}"
        )
    _check_all(path, part.values, part.kind or hint, ())


def _check_all(path: str, values: Mapping[str, Any], kind: type, without: Sequence[str]) -> None:
    """The values of a dataclass' fields: all there that have no default, none that are not there,
    each as its hint.
    """
    hints = _hints(path, kind)
    known = {
        field.name: field for field in fields(kind) if field.init and field.name not in without
    }

    for name in values:
        if name not in known:
            raise InputError(
                f"{_at(path, name)}: no such setting here; there are {', '.join(known)}"
            )
    for name, field in known.items():
        if name in values:
            _check(_at(path, name), values[name], hints[name], "")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{_at(path, name)} is missing (there need to be {', '.join(known)})")


def _check_mapping(path: str, value: Any, kinds: Sequence[Any], marks: Sequence[Any]) -> None:
    if not isinstance(value, Mapping):
        raise _no_mapping(path, value, "NAME")
    for mark in marks:
        if isinstance(mark, Fields):
            _check_all(path, value, mark.of, mark.without)
            mark.of(**value)  # raises where values do not go together
            return
    for name, entry in value.items():
        _check(f"{path}: {as_text(name)}", name, kinds[0], "")
        _check(_at(path, name), entry, kinds[1], "")


def _check_list(path: str, value: Any, kind: Any, also: str) -> None:
    if not isinstance(value, list | tuple):
        raise InputError(f"{path}={as_text(value)}: a list, as in {path}=[...]{also}")
    for index, entry in enumerate(value):
        _check(f"{path}[{index}]", entry, kind, "")


def _no_mapping(path: str, value: Any, inside: str) -> InputError:
    return InputError(
        f"{path}={as_text(value)}: {path} has settings of its own, as in {path}.{inside}=..."
    )


@cache
def hints_of(kind: Any) -> Mapping[str, Any]:
    """The types of a dataclass' fields (or of a function's arguments), with their marks."""
    return get_type_hints(kind, include_extras=True)


def _hints(path: str, kind: Any) -> Mapping[str, Any]:
    try:
        return hints_of(kind)
    # of a plug-in, whose types are imported for a type checker alone
    except (NameError, TypeError) as error:
        raise InputError(
            f"{path}: {kind.__module__}.{kind.__qualname__}: {error}: import the types of fields"
        ) from None


def _target(path: str, name: Any) -> Any:
    if not isinstance(name, str):
        raise InputError(
            f"{path}._target_={as_text(name)}: the name of a class, as in package.module.Class"
        )
    try:
        return get_object(name)
    except Exception as error:  # whatever the module raises while it is imported
        raise InputError(
            f"{path}._target_={as_text(name)}: {' '.join(str(error).split())}"
        ) from None


def _at(path: str, name: Any) -> str:
    return f"{path}.{name}" if path else str(name)


def _kind(value: object) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        NoneType: "nothing",
        list: "a list",
    }
    return names.get(type(value), "several settings")

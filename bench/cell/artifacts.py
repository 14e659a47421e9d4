"""Personalizations on disk: what a method fits and adapts, as JSON beside the patches'
safetensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.disk import seals
from bench.errors import InputError
from bench.types import Item, Personalization

if TYPE_CHECKING:
    from bench.lm.patch import Patch


def save_personalizations(
    personals: Sequence[Personalization],
    folder: Path,
    name: str,
    *,
    cell: str = "",
    users: Sequence[str] = (),
) -> None:
    """Write `name.json`, and each different patch once as `patches/ID.safetensors`.

    `cell` and `users` (ids): whose they are. The JSON comes last, in one piece: its existence means
    complete.
    """
    for patch in {patch.id: patch for personal in personals for patch in personal.patches}.values():
        path = folder / "patches" / f"{patch.id}.safetensors"
        if not path.exists():
            patch.save(path)
    values = [_as_json(personal) for personal in personals]
    if users:
        values = [value | {"user": user} for value, user in zip(values, users, strict=True)]
    seals.write(folder / f"{name}.json", values, {"cell": cell, "name": name, "users": list(users)})


def load_personalizations(
    folder: Path,
    name: str,
    known: Mapping[str, Patch] | None = None,
    *,
    cell: str | None = None,
    users: Sequence[str] | None = None,
) -> list[Personalization] | None:
    """What `save_personalizations` wrote, or None where it is not complete. Equal and `known`
    patches are one.

    Raises InputError where it is damaged, or another cell's or other users' (None: anybody's).
    """
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    owner: dict[str, Any] = {"name": name}
    owner |= ({} if cell is None else {"cell": cell}) | (
        {} if users is None else {"users": list(users)}
    )
    return _from_values(path, seals.read(path, owner, _remedy(folder)), known or {})


def load_users(folder: Path) -> dict[str, Personalization]:
    """The personalizations of a cell's tested users by user id, in the order of the users.

    Those of earlier versions have no checksum and are taken as they are. Raises InputError where
    there are none, where they do not say whose they are, and where they are damaged.
    """
    found: dict[str, Personalization] = {}
    for path in sorted(folder.glob("adapt-*.json")):
        values = seals.read(path, {"name": path.stem}, _remedy(folder), older=True)
        personals = _from_values(path, values, {})
        if any("user" not in value for value in values):
            raise InputError(f"{path}: it does not say which user is meant; {_remedy(folder)}")
        found |= dict(zip((value["user"] for value in values), personals, strict=True))
    if not found:
        raise InputError(f"{folder}: no personalizations (adapt-*.json)")
    return found


def _remedy(artifacts: Path) -> str:
    """A part alone made anew would not be what the cell's answers were given with."""
    return f"delete {artifacts.parent} and run the cell again"


def _as_json(personal: Personalization) -> dict[str, Any]:
    items = (
        None
        if personal.items is None
        else [[item.id, dict(item.fields), item.date] for item in personal.items]
    )
    return {
        "text": dict(personal.text),
        "items": items,
        "shown": {question: list(indices) for question, indices in personal.shown.items()},
        "data": dict(personal.data),
        "patches": [patch.id for patch in personal.patches],
        "facts": dict(personal.facts),
        "notes": dict(personal.notes),
    }


def _from_values(path: Path, values: Any, known: Mapping[str, Patch]) -> list[Personalization]:
    try:
        ids = {id for value in values for id in value["patches"]}
        places = {id: path.parent / "patches" / f"{id}.safetensors" for id in ids}
        patches = {id: known.get(id) or _patch(place) for id, place in places.items()}
        return [_from_json(value, patches) for value in values]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: no personalizations ({error}); {_remedy(path.parent)}") from None


def _patch(path: Path) -> Patch:
    """A patch is known by what it does: its file's name is its id."""
    from bench.lm.patch import Patch

    try:
        patch = Patch.load(path)
    except Exception as error:  # the library has an exception of its own for every kind of damage
        raise InputError(f"{path}: no patch ({error}); {_remedy(path.parents[1])}") from None
    if patch.id != path.stem:
        raise InputError(
            f"{path}: the patch was changed after it was written; {_remedy(path.parents[1])}"
        )
    return patch


def _from_json(value: Mapping[str, Any], patches: Mapping[str, Patch]) -> Personalization:
    items = value["items"]
    text = dict(value["text"])
    shown = {question: tuple(indices) for question, indices in value.get("shown", {}).items()}
    return Personalization(
        text=text,
        shown=_shown_in_text(text) | shown,
        data=value.get("data", {}),
        items=(
            None if items is None else tuple(Item(id, fields, date) for id, fields, date in items)
        ),
        patches=tuple(patches[id] for id in value["patches"]),
        facts=value["facts"],
        notes=value["notes"],
    )


def _shown_in_text(text: dict[str, str]) -> dict[str, tuple[int, ...]]:
    """Which items a question shows as earlier versions recorded it, `{"items/QUESTION": "0 3 5"}`
    among the texts. It is taken out of them.
    """
    shown = {}
    for name in [name for name in text if name.startswith("items/")]:
        shown[name.removeprefix("items/")] = tuple(map(int, text.pop(name).split()))
    return shown

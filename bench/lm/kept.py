"""Personalizations on disk: what a method fits and adapts, as JSON beside the patches' safetensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.lm.patch import Patch
from bench.store import read_json, write_json
from bench.types import InputError, Item, Personalization


def save_personalizations(
    personals: Sequence[Personalization], folder: Path, name: str, *, users: Sequence[str] = ()
) -> None:
    """Write `name.json`, and each different patch once as `patches/ID.safetensors`. `users`: whose they are, by id.

    The JSON comes last and in one piece, so that its existence means complete.
    """
    for patch in {patch.id: patch for personal in personals for patch in personal.patches}.values():
        path = folder / "patches" / f"{patch.id}.safetensors"
        if not path.exists():
            patch.save(path)
    values = [_as_json(personal) for personal in personals]
    if users:
        values = [value | {"user": user} for value, user in zip(values, users, strict=True)]
    write_json(folder / f"{name}.json", values)


def load_personalizations(
    folder: Path, name: str, known: Mapping[str, Patch] | None = None
) -> list[Personalization] | None:
    """What `save_personalizations` wrote, or None where it is not complete. Equal and `known` patches are one."""
    path = folder / f"{name}.json"
    return _from_values(folder, read_json(path), known or {}) if path.exists() else None


def load_users(folder: Path) -> dict[str, Personalization]:
    """The personalizations of a cell's tested users by user id, in the order of the users.

    Raises InputError where there are none, or where they do not say whose they are.
    """
    values = [value for path in sorted(folder.glob("adapt-*.json")) for value in read_json(path)]
    if not values:
        raise InputError(f"{folder}: no personalizations (adapt-*.json)")
    if any("user" not in value for value in values):
        raise InputError(f"{folder}: adapt-*.json does not say which user is meant; delete the cell and run it again")
    return dict(zip((value["user"] for value in values), _from_values(folder, values, {}), strict=True))


def _as_json(personal: Personalization) -> dict[str, Any]:
    items = None if personal.items is None else [[item.id, dict(item.fields), item.date] for item in personal.items]
    return {
        "text": dict(personal.text),
        "items": items,
        "patches": [patch.id for patch in personal.patches],
        "facts": dict(personal.facts),
        "notes": dict(personal.notes),
    }


def _from_values(
    folder: Path, values: Sequence[Mapping[str, Any]], known: Mapping[str, Patch]
) -> list[Personalization]:
    ids = {id for value in values for id in value["patches"]}
    patches = {id: known.get(id) or Patch.load(folder / "patches" / f"{id}.safetensors") for id in ids}
    return [_from_json(value, patches) for value in values]


def _from_json(value: Mapping[str, Any], patches: Mapping[str, Patch]) -> Personalization:
    items = value["items"]
    return Personalization(
        text=value["text"],
        items=None if items is None else tuple(Item(id, fields, date) for id, fields, date in items),
        patches=tuple(patches[id] for id in value["patches"]),
        facts=value["facts"],
        notes=value["notes"],
    )

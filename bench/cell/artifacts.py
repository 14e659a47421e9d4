"""Personalizations on disk: what a method fits and adapts,
as JSON beside the patches' safetensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.disk import seals
from bench.errors import InputError
from bench.types import Item, Personalization, Weights

if TYPE_CHECKING:
    from bench.lm.patch import Patch


CHUNK = 128
"""How many users are adapted before their artifacts are written."""


def chunk_name(start: int) -> str:
    """The artifact that holds the users from index `start` on."""
    return f"adapt-{start // CHUNK:05d}"


def is_saved(folder: Path, name: str) -> bool:
    """Whether `name.json` is there; then it is complete."""
    return (folder / f"{name}.json").exists()


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
    for personal in personals:
        for patch in personal.patches:
            path = _patch_path(folder, patch.id)
            if not path.exists():
                patch.save(path)

    values = [_as_json(personal) for personal in personals]
    if users:
        values = [value | {"user": user} for value, user in zip(values, users, strict=True)]
    seals.write(folder / f"{name}.json", values, {"cell": cell, "name": name, "users": list(users)})


def load_personalizations(
    folder: Path,
    name: str,
    known: Mapping[str, Weights] | None = None,
    *,
    cell: str | None = None,
    users: Sequence[str] | None = None,
) -> list[Personalization] | None:
    """What `save_personalizations` wrote, or None if it is not complete. Equal and `known` patches
    are one.

    Raises InputError if it is damaged, or another cell's or other users' (None: anybody's).
    """
    if not is_saved(folder, name):
        return None
    owner: dict[str, Any] = {"name": name}
    if cell is not None:
        owner["cell"] = cell
    if users is not None:
        owner["users"] = list(users)
    path = folder / f"{name}.json"
    return _from_values(path, seals.read(path, owner, _remedy(folder)), known or {})


def load_chunks(folder: Path, cell: str) -> Iterator[Personalization]:
    """The personalizations of all users of a cell or shard, in the order of the users, a chunk in
    memory at a time. Raises InputError as `load_personalizations` does.
    """
    for path in _chunks(folder):
        yield from load_personalizations(folder, path.stem, cell=cell) or ()


def load_users(folder: Path) -> dict[str, Personalization]:
    """The personalizations of a cell's tested users by user id, in the order of the users.

    Those of earlier versions have no checksum and are taken as they are. Raises InputError if there
    are none, if they do not say whose they are, and if they are damaged.
    """
    users: dict[str, Personalization] = {}
    for path in _chunks(folder):
        values = seals.read(path, {"name": path.stem}, _remedy(folder), older=True)
        personals = _from_values(path, values, {})
        for value, personal in zip(values, personals, strict=True):
            if "user" not in value:
                raise InputError(f"{path}: it does not say which user is meant; {_remedy(folder)}")
            users[value["user"]] = personal
    if not users:
        raise InputError(f"{folder}: no personalizations (adapt-*.json)")
    return users


def _chunks(folder: Path) -> list[Path]:
    return sorted(folder.glob("adapt-*.json"))


def _patch_path(folder: Path, patch_id: str) -> Path:
    return folder / "patches" / f"{patch_id}.safetensors"


def _remedy(artifacts: Path) -> str:
    """A part alone made anew would not be what the cell's answers were given with."""
    return f"delete {artifacts.parent} and run the cell again"


def _as_json(personal: Personalization) -> dict[str, Any]:
    items = None
    if personal.items is not None:
        items = [[item.id, dict(item.fields), item.date] for item in personal.items]
    return {
        "text": dict(personal.text),
        "items": items,
        "shown": {question: list(indices) for question, indices in personal.shown.items()},
        "data": dict(personal.data),
        "patches": [patch.id for patch in personal.patches],
        "facts": dict(personal.facts),
        "notes": dict(personal.notes),
    }


def _from_values(path: Path, values: Any, known: Mapping[str, Weights]) -> list[Personalization]:
    """The personalizations in the content of the file `path`; each patch is loaded once."""
    patches = dict(known)
    try:
        for value in values:
            for patch_id in value["patches"]:
                if patch_id not in patches:
                    patches[patch_id] = _patch(_patch_path(path.parent, patch_id))
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


def _from_json(value: Mapping[str, Any], patches: Mapping[str, Weights]) -> Personalization:
    items = None
    if value["items"] is not None:
        items = tuple(Item(item_id, fields, date) for item_id, fields, date in value["items"])

    text = dict(value["text"])
    shown = _shown_in_text(text)
    for question, indices in value.get("shown", {}).items():
        shown[question] = tuple(indices)

    return Personalization(
        text=text,
        items=items,
        patches=tuple(patches[patch_id] for patch_id in value["patches"]),
        facts=value["facts"],
        notes=value["notes"],
        shown=shown,
        data=value.get("data", {}),
    )


def _shown_in_text(text: dict[str, str]) -> dict[str, tuple[int, ...]]:
    """Which items a question shows as earlier versions recorded it, `{"items/QUESTION": "0 3 5"}`
    among the texts. It is taken out of them.
    """
    shown = {}
    for name in list(text):
        if name.startswith("items/"):
            shown[name.removeprefix("items/")] = tuple(map(int, text.pop(name).split()))
    return shown

"""Which cells an experiment has: one small file for each,
written before the cell runs and read by the report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.disk import store
from bench.errors import InputError

FOLDER = "experiments"


def note(cell: store.Cell, said: Mapping[str, Any], overrides: Sequence[str]) -> Path:
    """Write the manifest of one cell: `ROOT/experiments/NAME/SCALE/ARM-HASH.json`.

    `said`: the cell's `experiment` setting (name, scale, arm, at, hash, extra); `overrides`: all
    that made the cell.
    """
    folder = cell.root / FOLDER / said["name"] / said["scale"]
    path: Path = folder / f"{said['arm']}-{said['hash']}.json"
    value = {
        "experiment": said["name"],
        "scale": said["scale"],
        "arm": said["arm"],
        "at": said["at"],
        "extra": said["extra"],
        "overrides": list(overrides),
        "cell": cell.folder.relative_to(cell.root).as_posix(),
    }
    if not _says(path, value):  # a finished cell may be looked up where nothing can be written
        store.write_json(path, value)
    return path


def _says(path: Path, value: Mapping[str, Any]) -> bool:
    try:
        return bool(store.read_json(path) == value)
    except InputError:
        return False


def each(root: Path, experiment: str, scale: str) -> Iterator[tuple[Path, Any]]:
    """The manifests of an experiment at a scale by path, with what each says:
    None if it cannot be read.
    """
    for path in sorted(root.glob(f"{FOLDER}/{experiment}/{scale}/*.json")):
        try:
            yield path, store.read_json(path)
        except InputError:
            yield path, None

"""The manifests of an experiment's cells: which arm each cell is, at which place, and where its
folder lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.disk import manifest
from bench.terminal import escape


@dataclass(frozen=True)
class Entry:
    """What a manifest says. `cell`: `task/method/key`. `extra`: overrides from the command line
    beside the experiment's own.
    """

    arm: str
    at: Mapping[str, Any]
    cell: Path
    extra: tuple[str, ...]

    def folder(self, roots: Sequence[Path], root: Path) -> Path:
        """The folder of the cell, in the first of the roots that has its record, else in the root
        of its manifest.
        """
        for other in roots:
            if (other / self.cell / "record.json").exists():
                return other / self.cell
        return root / self.cell


def entries(root: Path, experiment: str, scale: str, notes: list[str]) -> Iterator[Entry]:
    """The manifests below a results folder. What is none is left out, and `notes` says so."""
    for path, content in manifest.each(root, experiment, scale):
        try:
            yield _entry(content)
        except (AttributeError, KeyError, TypeError, ValueError):
            notes.append(
                f"Left out: {path}: no manifest with arm, at and cell; run the experiment again."
            )


def _entry(content: Any) -> Entry:
    """ValueError, or another error of a wrong type, if the content is none."""
    arm, at, cell = content["arm"], dict(content["at"]), Path(content["cell"])
    extra = content.get("extra") or []

    for value in at.values():
        if not isinstance(value, str | int | float | None):
            raise ValueError
    # `task/method/key`: a path leads nowhere else
    inside = not cell.is_absolute() and len(cell.parts) == 3 and ".." not in cell.parts
    if not (isinstance(arm, str) and inside and isinstance(extra, list)):
        raise ValueError
    words = [escape.line(str(word)) for word in extra]
    return Entry(escape.line(arm), escape.tree(at), cell, tuple(words))


def scales(root: Path, experiment: str) -> set[str]:
    """The scales at which an experiment has been run: those with a manifest, or statistics."""
    folder = root / manifest.FOLDER / experiment
    with_manifest = {path.parent.name for path in folder.glob("*/*.json")}
    with_statistics = {path.stem.partition("-")[2] for path in folder.glob("statistics-*.json")}
    return with_manifest | with_statistics

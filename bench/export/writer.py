"""Take a cell's patches out of the harness as PEFT adapter folders.

python -m bench.export CELL [--user U] [--plugin PACKAGE] OUT

  CELL      a cell's folder, with record.json and artifacts/ (results/runs/TASK/METHOD/KEY),
            or the beginning of its key
  OUT       a folder that is not there yet, or is empty
  --user U  only the adapter of this user (all users' ids: samples.jsonl of the cell)
  --plugin PACKAGE  the package or module of the cell's method, if it is not one of Lamplight's own.
            A cell is data that people share, so nothing else that it names is ever run;
            may be given again

Writes OUT/adapters/ID (one for each different adapter), OUT/users.json (which user has which),
OUT/base (where the cell's model was adapted to the task first) and OUT/README.md (how to load them,
and how a prompt is rendered). Exit codes: 0 done, 1 the disk refused, 2 bad input. More:
docs/export.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.disk import store
from bench.disk.env import cache_folder
from bench.disk.fingerprints import today
from bench.errors import InputError
from bench.export.model_card import readme
from bench.export.source_cell import Base, SourceCell
from bench.lm import base as bases
from bench.terminal import escape, silence
from bench.types import Personalization

if TYPE_CHECKING:
    from bench.lm.patch import Patch

_SHOWN = 5
"""Ids that an error names."""


def export(
    folder: Path,
    out: Path,
    *,
    user: str | None = None,
    plugins: Sequence[str] = (),
    say: Callable[[str], None] = escape.say,
) -> None:
    """Write the adapters of a cell, or of one of its users. Raises InputError on bad input,
    StoreError by the disk.

    `plugins`: packages or modules that may hold the cell's method besides the product's own.
    """
    from bench.lm.peft_export import kind_of, to_peft

    cell = SourceCell.read(folder, plugins)
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out}: not empty; give a folder that is not there yet")
    personals = _personals(cell, user)
    owners = {name: _patch(one) for name, one in personals.items()}
    adapters = {patch.id: patch for patch in owners.values() if patch is not None}
    if not adapters:
        whose = f"user {user}" if user is not None else "the cell"
        raise InputError(
            f"{folder}: {whose} has no patch ({cell.name} changed no weights): nothing to export"
        )
    kinds = {id: kind_of(patch) for id, patch in adapters.items()}
    base = _base(cell)
    text = escape.visible(
        readme(cell, base, _fullest(personals.values()), kinds)
    )  # before anything is written: it may be refused
    for id, patch in adapters.items():
        to_peft(patch, out / "adapters" / id, model=base.source, task_type=base.task_type)
        users = sum(own is not None and own.id == id for own in owners.values())
        say(
            f"adapters/{id}: {kinds[id]}, {patch.bytes:,} bytes at two a number, users: {users} of"
            f" {len(owners)}"
        )
    if base.patch is not None:
        to_peft(base.patch, out / "base", model=base.source, task_type=base.task_type)
        say("base: LoRA, the adaption to the task; merge it before the others")
    store.write_json(
        out / "users.json",
        {name: None if patch is None else patch.id for name, patch in owners.items()},
    )
    (out / "README.md").write_text(text, encoding="utf-8")
    say(
        f"README.md: how to load {'it' if len(adapters) == 1 else 'them'}, prompt, decoding "
        f" ({out})"
    )


def _personals(cell: SourceCell, user: str | None) -> dict[str, Personalization]:
    """The personalizations asked for, by user."""
    from bench.cell.artifacts import load_users

    found = load_users(cell.folder / "artifacts")
    if user is None:
        return found
    if user not in found:
        some = ", ".join(list(found)[:_SHOWN])
        raise InputError(
            f"{cell.folder}: no user {user!r}; it has {len(found)} users"
            f" ({some}{', ...' * (len(found) > _SHOWN)})"
        )
    return {user: found[user]}


def _fullest(personals: Iterable[Personalization]) -> Personalization:
    """Of those who have a patch, one whose prompt shows the most:
    with words of their own, and the most items.
    """
    return max(personals, key=lambda one: (bool(one.patches), bool(one.text), len(one.items or ())))


def _patch(personal: Personalization) -> Patch | None:
    """All of a user's patches as one."""
    from bench.lm.patch import concrete
    from bench.lm.peft_export import joined

    return joined(concrete(personal.patches)) if personal.patches else None


def _base(cell: SourceCell) -> Base:
    """The model's tokenizer and the patch of its task-adapted base,
    which is found by its fingerprint.
    """
    from bench.lm.load import reader

    spec = cell.model
    tokenizer, seq2seq = reader(spec)
    mark = today(cell.record["model"]["base"])
    if mark == "instruct":
        return Base(spec, tokenizer, seq2seq, None)
    for place in (bases.SHIPPED, cache_folder() / "bases"):
        for path in sorted(place.glob("*.safetensors")):
            if mark in (bases.fingerprint(path), bases.bytes_hash(path)):
                return Base(spec, tokenizer, seq2seq, bases.load(path))
    raise InputError(
        f"{cell.folder}: the cell's task-adapted base ({mark}) is not on this machine; run the cell"
        " again"
    )


def main(arguments: Sequence[str]) -> int:
    """The command line. The exit code."""
    if not arguments or {"-h", "--help", "help"} & set(arguments):
        print(str(__doc__).strip())
        return 0 if arguments else 2
    silence.libraries()
    parser = argparse.ArgumentParser(prog="python -m bench.export", add_help=False)
    parser.add_argument("cell", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--user")
    parser.add_argument("--plugin", action="append", default=[])
    given = parser.parse_args(arguments)
    try:
        export(
            _folder(given.cell.expanduser()),
            given.out.expanduser(),
            user=given.user,
            plugins=given.plugin,
        )
    except InputError as error:
        return _failed(str(error), 2)
    except store.StoreError as error:
        return _failed(str(error), 1)
    except OSError as error:
        return _failed(f"cannot write {error.filename or given.out}: {error.strerror or error}", 1)
    return 0


def _folder(cell: Path) -> Path:
    """The folder of a cell that may be named by its key,
    or the beginning of it, below results/runs.
    """
    return (
        cell
        if cell.is_dir() or cell.is_absolute()
        else store.resolve(str(cell), [Path("results/runs")])
    )


def _failed(problem: str, code: int) -> int:
    escape.say(f"bench.export: {escape.line(problem)}", sys.stderr)
    return code

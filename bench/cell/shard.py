"""One cell split by users: each shard leaves its part in a folder of its own; the last one puts the
parts together.

`CELL/shards/COUNT/INDEX/` holds what a cell's folder holds for its users: samples, artifacts, cost.
Merging writes the files that an unsharded run would have left before its record, so that the
ordinary run goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from bench.cell import likelihoods
from bench.cell.artifacts import CHUNK, chunk_name, load_chunks, save_personalizations
from bench.cost import ledger
from bench.cost.bill import Bill
from bench.disk import files, seals
from bench.disk.store import Cell
from bench.errors import InputError
from bench.types import User


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count` of a cell's users."""

    whole: Cell
    index: int
    count: int

    @property
    def cell(self) -> Cell:
        """Where this part leaves its files."""
        return Cell(self.whole.folder, "shards", str(self.count), str(self.index))

    @property
    def _mark(self) -> Path:
        return self.cell.folder / "done.json"

    @property
    def _owner(self) -> seals.Owner:
        return {"cell": self.whole.key, "name": f"shard {self.index} of {self.count}"}

    @property
    def done(self) -> bool:
        """Whether all of its users have their answers."""
        return self._mark.exists()

    def finish(self, users: Sequence[User], dropped: int) -> None:
        """Say so, after everything else; `dropped`: lines that a crash had cut off."""
        seals.write(self._mark, {"users": len(users), "lines_dropped": dropped}, self._owner)

    @property
    def dropped(self) -> int:
        """Lines that a crash had cut off."""
        remedy = f"delete {self.cell.folder} and run this shard again"
        return int(seals.read(self._mark, self._owner, remedy)["lines_dropped"])

    def users(self, users: Sequence[User]) -> Sequence[User]:
        """Its part of the users, who have their protocol's history already:
        a stretch of their order.
        """
        start = len(users) * self.index // self.count
        end = len(users) * (self.index + 1) // self.count
        return users[start:end]

    def missing(self) -> str:
        """The parts that are not done yet, in words; empty when all are."""
        words = []
        for part in self.all():
            if not part.done:
                at_work = (part.cell.folder / "claim").exists()
                words.append(f"{part.index} (at work)" if at_work else str(part.index))
        return ", ".join(words)

    def all(self) -> list[Shard]:
        """All parts of the cell, in the order of their users."""
        return [Shard(self.whole, index, self.count) for index in range(self.count)]


def asked(config: Mapping[str, Any], whole: Cell) -> Shard | None:
    """The part that the settings ask for; None for a whole cell.

    Raises InputError if they make no sense.
    """
    index, count = config["shard"]["index"], config["shard"]["count"]
    if count < 1 or not 0 <= index < count:
        raise InputError(
            f"shard.index={index} shard.count={count}: give an index from 0 to {max(count, 1) - 1}"
        )
    if count == 1:
        return None
    if config["budget"]["minutes"] is not None:
        raise InputError(
            "budget.minutes limits the clock of one process: give shard.count=1 with it"
        )
    return Shard(whole, index, count)


def merge(shard: Shard, users: Sequence[User]) -> int:
    """Put all parts together in the cell's own folder. Who is stopped half-way does it again.

    Returns how many lines crashes had cut off.
    """
    shards, whole = shard.all(), shard.whole
    parts = [part.cell for part in shards]
    _merge_personalizations(parts, whole, users)
    likelihoods.join([part.artifacts for part in parts], whole.artifacts, whole.key)

    bill = Bill()
    for part in parts:
        bill += ledger.total(part.artifacts)
    ledger.merge(whole.artifacts, bill)

    files.replace(whole.samples, _lines(parts))
    return sum(part.dropped for part in shards)


def remove(whole: Cell) -> None:
    """The parts, once the cell has its record."""
    files.remove(whole.folder / "shards")


def _merge_personalizations(parts: Sequence[Cell], whole: Cell, users: Sequence[User]) -> None:
    """Cut the parts' personalizations, in the order of the users, into the whole cell's chunks."""
    personals = chain.from_iterable(load_chunks(part.artifacts, whole.key) for part in parts)
    for start in range(0, len(users), CHUNK):
        ids = [user.id for user in users[start : start + CHUNK]]
        chunk = list(islice(personals, len(ids)))
        save_personalizations(chunk, whole.artifacts, chunk_name(start), cell=whole.key, users=ids)


def _lines(parts: Sequence[Cell]) -> Iterator[str]:
    for part in parts:
        if part.samples.exists():
            with part.samples.open(encoding="utf-8") as lines:
                for line in lines:
                    if line.endswith("\n"):  # a crash cut the others off
                        yield line

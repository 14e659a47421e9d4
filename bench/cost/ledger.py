"""What a cell has cost so far, on disk: a cost belongs to a result, so that a cell that was killed
ends up costing what an undisturbed one does.

The work of a cell is done in pieces: what all users share (`fit`), each chunk of users, a base, and
for the rest the run itself. A piece's line is written just before its result. Who is killed in
between does the piece again and writes a line of the same name; the last one counts. Inside a
piece, a cache stores part by part what a model wrote or learnt: each part has a line of its own,
and counts again, as it was, when the piece is done again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.cost.bill import Bill
from bench.cost.budget import Budget
from bench.disk import files, json_lines
from bench.errors import InputError

NAME = "cost.jsonl"


class Piece:
    """A piece of work at hand. `earlier`: its parts that a killed run has stored."""

    def __init__(self, ledger: Ledger, name: str, earlier: dict[str, Bill]) -> None:
        self._ledger, self._name, self._earlier = ledger, name, earlier
        self._since = ledger.budget.bill()

    def write(self) -> None:
        """Say what it has cost so far."""
        self._ledger.write({"piece": self._name}, self._ledger.budget.bill() - self._since)

    def leave_out(self, bill: Bill) -> None:
        """Take off what belongs to another piece."""
        self._since += bill

    def again(self, part: str) -> bool:
        """Whether an earlier run of the same piece made this part; then it costs what it cost.

        True only once.
        """
        bill = self._earlier.pop(part, None)
        if bill is not None:
            self._ledger.budget.add(bill)
        return bill is not None

    def keep(self, part: str, bill: Bill) -> None:
        """Say what a part has cost, before it is stored."""
        self._ledger.write({"piece": self._name, "part": part}, bill)


class Ledger:
    """The costs of the cell in whose artifacts the file is; those of finished pieces are added to
    the budget.

    `counted`: whether they are this budget's at all. A shard that learns what all share notes it
    for all.
    """

    def __init__(self, artifacts: Path, budget: Budget, *, counted: bool = True) -> None:
        self.path, self.budget, self._counted = artifacts / NAME, budget, counted
        costs = _read(self.path)
        self._pieces, self._parts = costs.pieces, costs.parts
        if counted:
            budget.add(sum(self._pieces.values(), Bill()))

    def begin(self) -> Piece:
        """The piece of all that is not part of another; each run of the cell has one."""
        number = sum(name.startswith("run-") for name in self._pieces)
        piece = Piece(self, f"run-{number}", {})
        self.budget.pieces.append(piece)
        return piece

    @contextmanager
    def piece(self, name: str) -> Iterator[Piece]:
        """Inside, a piece is done.

        A killed run may have done it in part, or all of it except for the result.
        """
        before = self._pieces.pop(name, None)
        if before and self._counted:
            self.budget.take_back(before)
        began, piece = self.budget.bill(), Piece(self, name, self._parts.pop(name, {}))
        self.budget.pieces.append(piece)
        try:
            yield piece
        finally:
            self.budget.pieces.pop()
            if self.budget.pieces:
                self.budget.pieces[-1].leave_out(self.budget.bill() - began)

    def write(self, what: dict[str, Any], bill: Bill) -> None:
        json_lines.append(self.path, [json_lines.sealed(what | bill.as_json())])


def total(artifacts: Path) -> Bill:
    """What all finished pieces have cost."""
    return sum(_read(artifacts / NAME).pieces.values(), Bill())


def merge(artifacts: Path, parts: Bill) -> None:
    """Replace what the cell's runs have cost by the bill of its shards;
    what they have in common stays.
    """
    pieces = {}
    for name, bill in _read(artifacts / NAME).pieces.items():
        if not name.startswith(("run-", "adapt-")):
            pieces[name] = bill
    pieces["shards"] = parts
    lines = [json_lines.sealed({"piece": name} | bill.as_json()) for name, bill in pieces.items()]
    files.replace(artifacts / NAME, lines)


@dataclass(frozen=True)
class _Costs:
    """What a ledger's file holds: pieces by name, and parts by piece and name."""

    pieces: dict[str, Bill] = field(default_factory=dict)
    parts: dict[str, dict[str, Bill]] = field(default_factory=dict)


def _read(path: Path) -> _Costs:
    costs = _Costs()
    for number, line in enumerate(json_lines.stream(path), 1):
        if line is None:
            break
        try:
            fields = json_lines.parse(line).fields
            bill, name, part = Bill.from_json(fields), str(fields["piece"]), fields.get("part")
        except (ValueError, KeyError) as error:
            raise InputError(
                f"{path}: line {number} is no cost ({error}); delete the line, and the cell's cost"
                f" is short of it, or delete {path.parents[1]} to run the whole cell again"
            ) from None
        if part is None:
            costs.pieces[name] = bill
        else:
            costs.parts.setdefault(name, {})[str(part)] = bill
    return costs

"""Rows that cannot be used: the first one ends the command, or all are left out and counted."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.errors import InputError

EXAMPLES = 3


@dataclass
class BadRows:
    """What was refused. `skip`: go on without such rows."""

    skip: bool = False
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def refuse(self, problem: str) -> None:
        """Count a row, or raise InputError. `problem`: file, line, column and what to do."""
        if not self.skip:
            raise InputError(f"{problem}; --skip-bad leaves such rows out and counts them")
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(problem)

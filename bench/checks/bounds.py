"""Marks of what a setting may be, beside its type: `k: Annotated[int, Range(1)] = 4`.
bench/checks/fields.py checks them.
"""

from __future__ import annotations

from dataclasses import dataclass

LARGEST = 2**31 - 1
"""Of a whole number that has no bound of its own: what the libraries below can still count with."""


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers that a setting may have, from `low` to `high`.

    `above`: `low` itself is none of them. `step`: only its multiples are.
    """

    low: float = 0
    high: float = LARGEST
    above: bool = False
    step: int = 1

    def __contains__(self, value: float) -> bool:
        inside = self.low <= value <= self.high and not (self.above and value == self.low)
        return inside and (self.step == 1 or value % self.step == 0)

    def __str__(self) -> str:
        words = f"above {self.low:g}" if self.above else f"from {self.low:g}"
        words += "" if self.high == LARGEST else f" to {self.high:.10g}"
        return words if self.step == 1 else f"{words} that is a multiple of {self.step}"


@dataclass(frozen=True, slots=True)
class Form:
    """How a text must look: a pattern that it fits as a whole, and the same in words."""

    pattern: str
    words: str


@dataclass(frozen=True, slots=True)
class Fields:
    """Of a mapping: its keys are the fields of a dataclass that is made later,
    those left out that are set then.
    """

    of: type
    without: tuple[str, ...] = ()


ANY = Range(-LARGEST)
SHARE = Range(0, 1)
SOME = Range(0, 1, above=True)
ABOVE = Range(0, above=True)
COUNT = Range(1)
SEED = Range(0, 2**32 - 1)
NAME = Form(
    r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}",
    "a name is of letters, digits, '.', '_' and '-', with no dot first: folders and files are"
    " called by it",
)
INSIDE = Form(rf"{NAME.pattern}(/{NAME.pattern})*", f"names with / between them; {NAME.words}")
PLACE = Form(
    r"(?s)(?!.*[^/]{256})[^\x00-\x1f\x7f\ud800-\udfff]{1,1000}", "a folder, file or name, not empty"
)

"""What stands below a table whose intervals do not hold the truth in 95 % of samples."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bench.report import coverage_notes
from bench.report.coverage_notes import ALIKE, FEW, MACRO, ROUGE


@pytest.mark.parametrize(
    ("shown", "notes"),
    [
        ("accuracy ↑ 0.50 [0.40, 0.60]", []),
        ("accuracy ↑ 0.50 [0.40, 0.60]^", [FEW]),
        ("f1 ↑ 0.50 [0.40, 0.60]", [MACRO]),
        ("rouge1 ↑ 0.50 [0.40, 0.60]^", [FEW, ROUGE]),
        ("rougeL ↑ 0.50", []),
        ("lenient_rouge1 0.5 [selection.k=3]", []),
    ],
)
def test_a_table_of_arms_says_which_of_its_intervals_are_off(shown: str, notes: list[str]) -> None:
    assert coverage_notes.of_arms(shown) == notes


def comparison(helped: float, harmed: float, low: float | None = 0.1) -> Any:
    return SimpleNamespace(low=low, helped=helped, harmed=harmed)


def test_arms_that_differ_for_few_users_have_intervals_that_are_too_wide() -> None:
    shown = "rouge1 +0.1 [0.0, 0.2]"
    assert coverage_notes.of_differences(shown, [comparison(0.3, 0.1)]) == []
    some = [comparison(0.3, 0.1), comparison(0.1, 0.05)]
    assert coverage_notes.of_differences(shown, some) == [ALIKE]
    assert coverage_notes.of_differences(shown, [comparison(0.0, 0.0, low=None)]) == []

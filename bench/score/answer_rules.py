"""How LaMP reads an answer: the official rules, for parity with the papers, and lenient ones, which
forgive its form.

An answer is a label's index, a rating in stars, or a text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

UNPARSED = -1
LOWEST, HIGHEST = 1.0, 5.0
QUOTES = " \t\"'`“”‘’„«»"

# A digit 1-5 that is no part of a longer number, of decimals, or of a number grouped by thousands.
_RATING = re.compile(r"(?<!\d)(?<!\d[.,])[1-5](?!\d|,\d{3})")


def official_label(raw: str, labels: Sequence[str]) -> int:
    """Index of the label that equals the stripped text, case and all; -1 otherwise (LaMP,
    `eval/evaluation.py`).
    """
    text = raw.strip()
    return labels.index(text) if text in labels else UNPARSED


def official_rating(raw: str) -> float | None:
    """The text as `float` reads it ('4.0' and '4e0' are 4); None where that is no number from 1 to
    5.

    LaMP's script takes any number as it is and crashes on 'nan' and 'inf'. Then one '1e50' decides
    the table's RMSE: here what lies beyond the scale is no rating, like a word.
    """
    try:
        number = float(raw.strip())
    except ValueError:
        return None
    return number if LOWEST <= number <= HIGHEST else None


def farther_end(gold: float) -> float:
    """The rating LaMP assumes where the answer is none:
    the end of 1..5 farther from gold, 5 on a tie.
    """
    return LOWEST if abs(LOWEST - gold) > abs(HIGHEST - gold) else HIGHEST


def lenient_label(raw: str, labels: Sequence[str]) -> int:
    """Index of the first label found anywhere in the text, -1 if none.

    Case is ignored, a label counts only between word boundaries, and where several begin at the
    same place the longest wins. Brackets around a label are optional, so LaMP-1 reads '1' and '[1'
    as '[1]'.
    """
    found = _label_pattern(tuple(labels)).search(raw)
    return UNPARSED if found is None or found.lastgroup is None else int(found.lastgroup[1:])


@lru_cache(maxsize=64)
def _label_pattern(labels: tuple[str, ...]) -> re.Pattern[str]:
    cores = {index: label.strip("[] ") or label for index, label in enumerate(labels)}
    longest_first = sorted(cores, key=lambda index: -len(cores[index]))
    tags = "|".join(f"(?P<i{index}>{re.escape(cores[index])})" for index in longest_first)
    return re.compile(rf"(?<!\w)(?:{tags})(?!\w)", re.IGNORECASE)


def lenient_rating(raw: str) -> int | None:
    """The first digit 1-5 that is a number of its own, None if there is none.

    '10' and '0.5' hold none; of '4.5' the whole part counts, so it is 4 (officially 4.5); '4/5' is
    4.
    """
    found = _RATING.search(raw)
    return None if found is None else int(found.group())


def lenient_text(raw: str) -> str:
    """The first line that is not blank,
    without the quotes around it (ROUGE itself ignores quotes).
    """
    return next((line for line in map(str.strip, raw.splitlines()) if line), "").strip(QUOTES)

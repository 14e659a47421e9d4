"""How LaMP reads an answer: the official rules, for parity with the papers, and lenient ones, which
forgive its form.

An answer is a label's index, a rating in stars, or a text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

UNPARSED = -1
QUOTES = " \t\"'`“”‘’„«»"


@dataclass(frozen=True, slots=True)
class RatingScale:
    """The lowest and the highest rating. `whole`: all ratings are whole numbers."""

    low: float = 1.0
    high: float = 5.0
    whole: bool = True

    @property
    def span(self) -> float:
        """The largest error."""
        return self.high - self.low


FIVE_STARS = RatingScale()
"""LaMP-3's."""


@lru_cache(maxsize=64)
def scale_of(labels: tuple[str, ...]) -> RatingScale:
    """The scale of a rating task by its labels; five stars if none are given."""
    ratings = [float(label) for label in labels]
    if not ratings:
        return FIVE_STARS
    return RatingScale(min(ratings), max(ratings), all(rating.is_integer() for rating in ratings))


# A digit 1-5 that is no part of a longer number, of decimals, or of a number grouped by thousands.
_RATING = re.compile(r"(?<!\d)(?<!\d[.,])[1-5](?!\d|,\d{3})")
_WHOLE_NUMBER = re.compile(r"(?<!\d)(?<!\d[.,])\d+(?!\d|,\d{3})")
_DECIMAL_NUMBER = re.compile(r"(?<!\d)(?<!\d[.,])\d+(?:\.\d+)?(?!\d|,\d{3})")


def official_label(raw: str, labels: Sequence[str]) -> int:
    """Index of the label that equals the stripped text, case and all; -1 otherwise (LaMP,
    `eval/evaluation.py`).
    """
    text = raw.strip()
    return labels.index(text) if text in labels else UNPARSED


def official_rating(raw: str, scale: RatingScale = FIVE_STARS) -> float | None:
    """The text as `float` reads it ('4.0' and '4e0' are 4); None where that is no number from the
    lowest to the highest rating.

    LaMP's script takes any number as it is and crashes on 'nan' and 'inf'. Then one '1e50' decides
    the table's RMSE: here what lies beyond the scale is no rating, like a word.
    """
    try:
        number = float(raw.strip())
    except ValueError:
        return None
    return number if scale.low <= number <= scale.high else None


def farther_end(gold: float, scale: RatingScale = FIVE_STARS) -> float:
    """The rating LaMP assumes where the answer is none: the end of the scale farther from gold, the
    highest on a tie.
    """
    return scale.low if abs(scale.low - gold) > abs(scale.high - gold) else scale.high


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


def lenient_rating(raw: str, scale: RatingScale = FIVE_STARS) -> float | None:
    """The first number on the scale that is a number of its own, None if there is none. Of five
    stars it is a digit.

    '10' and '0.5' hold none; of '4.5' the whole part counts unless the scale has half points, so it
    is 4 (officially 4.5); '4/5' is 4.
    """
    if scale == FIVE_STARS:
        digit = _RATING.search(raw)
        return None if digit is None else int(digit.group())
    numbers = _WHOLE_NUMBER if scale.whole else _DECIMAL_NUMBER
    for number in numbers.findall(raw):
        if scale.low <= float(number) <= scale.high:
            return float(number)
    return None


def lenient_text(raw: str) -> str:
    """The first line that is not blank,
    without the quotes around it (ROUGE itself ignores quotes).
    """
    return next((line for line in map(str.strip, raw.splitlines()) if line), "").strip(QUOTES)

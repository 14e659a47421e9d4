"""ROUGE as LaMP reports it, and the same over words of any script.

rouge_score reads runs of a-z and 0-9 alone: a gold in Russian or Japanese has no word for it, and a
perfect answer scores 0. That is the official score and stays so; `lenient` reads Unicode words
instead.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

NAMES = ("rouge1", "rougeL")

_OFFICIAL = re.compile(r"[a-z0-9]")
# Han, kana, Thai, Lao, Khmer and Burmese put no blanks between words: each character is a word.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)


class UnicodeWords:
    """The lenient tokenizer: runs of letters, digits and their marks in any script, lower case.

    On ASCII text it finds the words that rouge_score finds. A character of a script without blanks
    is a word.
    """

    def tokenize(self, text: str) -> list[str]:
        """The words of a text, in order."""
        found: list[str] = []
        for kind, run in groupby(unicodedata.normalize("NFC", text.lower()), _kind):
            characters = list(run)
            if kind == "letter":
                found.append("".join(characters))
            elif kind == "unspaced":
                found += characters
        return found


def official(prediction: str, reference: str) -> dict[str, float]:
    """F-measures in [0, 1] by name, by rouge_score's own rules and without a stemmer (LaMP)."""
    return _scores(_scorer(unicode=False), prediction, reference)


def lenient(prediction: str, reference: str) -> dict[str, float]:
    """The same over Unicode words."""
    return _scores(_scorer(unicode=True), prediction, reference)


def has_word(text: str) -> bool:
    """Whether official ROUGE finds a word in the text;
    against a gold without one every answer scores 0.
    """
    return bool(_OFFICIAL.search(text.lower()))


def _scores(scorer: RougeScorer, prediction: str, reference: str) -> dict[str, float]:
    scores = scorer.score(reference, prediction)
    return {name: float(scores[name].fmeasure) for name in NAMES}


@lru_cache(maxsize=2)
def _scorer(*, unicode: bool) -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(
        list(NAMES), use_stemmer=False, tokenizer=UnicodeWords() if unicode else None
    )


def _kind(character: str) -> str:
    if _UNSPACED.match(character):
        return "unspaced"
    letter = character.isalnum() or unicodedata.category(character).startswith("M")
    return "letter" if letter else "break"

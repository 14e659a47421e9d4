"""Texts that stand twice: an answer in the history of the user who is asked, or a tested user's
question among the rows of training users.

Equal and near are what `bench.data.leaks` calls so: the same words, and word sets with a Jaccard
similarity of 0.6.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from bench.data.leaks import NEAR, nearly_same, word_list
from bench.ingest.split_rule import Part
from bench.ingest.spool import Entry

FEWEST_WORDS = 5
"""Different words of a text that only a copy would repeat; many people write "Great app!"."""


@dataclass
class DuplicateCounts:
    """What was found. `in_history`: items like a question of the same user. `between_users`: rows
    of training users like a tested user's question. Each as equal ones and near ones.
    """

    in_history_equal: int = 0
    in_history_near: int = 0
    between_users_equal: int = 0
    between_users_near: int = 0


def without_answers(part: Part, counts: DuplicateCounts) -> Part:
    """The user without history items that are like one of the questions."""
    questions = [word_list(question.input) for question in part.questions]
    sets = [set(words) for words in questions]
    history = []
    for entry in part.history:
        words = word_list(entry.input)
        if words in questions:
            counts.in_history_equal += 1
        elif any(nearly_same(question, words) for question in sets):
            counts.in_history_near += 1
        else:
            history.append(entry)
    return replace(part, history=tuple(history))


@dataclass
class QuestionIndex:
    """The tested users' questions, by some of their words.

    Two texts with a Jaccard similarity of t share t of the words of each. So, in one order of all
    words, they share one of the first (1 - t) n + 1 words of either. With rare words first, few
    questions are found by a word, and those alone are compared.
    """

    texts: list[list[bytes]] = field(default_factory=list)
    _count: Counter[bytes] = field(default_factory=Counter)
    _by_word: dict[bytes, list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, texts: Iterable[str]) -> None:
        """Take the questions of another tested user; short ones are left out."""
        for text in texts:
            words = word_list(text)
            if len(set(words)) >= FEWEST_WORDS:
                self.texts.append(words)
                self._count.update(set(words))

    def close(self) -> None:
        """All questions are in: sort them by their words."""
        for index, words in enumerate(self.texts):
            for word in self._first_words(set(words)):
                self._by_word[word].append(index)

    def without_copies(self, part: Part, counts: DuplicateCounts) -> Part:
        """A training user without the rows that are like a tested user's question."""
        return replace(
            part,
            history=self._originals(part.history, counts),
            questions=self._originals(part.questions, counts),
        )

    def _originals(self, entries: Sequence[Entry], counts: DuplicateCounts) -> tuple[Entry, ...]:
        originals = []
        for entry in entries:
            words = word_list(entry.input)
            likeness = self._likeness(words)
            counts.between_users_equal += likeness == "equal"
            counts.between_users_near += likeness == "near"
            if not likeness:
                originals.append(entry)
        return tuple(originals)

    def _likeness(self, words: list[bytes]) -> str:
        """`equal` or `near` to a question, or nothing."""
        different = set(words)
        if len(different) < FEWEST_WORDS:
            return ""
        likeness = ""
        for word in self._first_words(different):
            for index in self._by_word.get(word, ()):
                if self.texts[index] == words:
                    return "equal"
                if nearly_same(set(self.texts[index]), words):
                    likeness = "near"
        return likeness

    def _first_words(self, words: set[bytes]) -> list[bytes]:
        order = sorted(words, key=lambda word: (self._count[word], word))
        return order[: len(order) - math.ceil(NEAR * len(order)) + 1]

"""Texts that stand twice: an answer in the history of the user who is asked, or a tested user's
question among the rows of training users.

Equal and near are what `bench.data.leaks` calls so: the same words, and word sets with a Jaccard
similarity of 0.6.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from bench.data.leaks import NEAR, nearly_same, word_list
from bench.ingest.split_rule import Part
from bench.ingest.spool import SpooledRow

FEWEST_WORDS = 5
"""Different words of a text that only a copy would repeat; many people write "Great app!"."""
SHARED = 3
"""Of five different words, a near text shares three."""


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
    words, they share three of the first (1 - t) n + 3 words of either. With rare words first, few
    questions have three words of a text in common with it, and those alone are compared.
    """

    texts: list[list[bytes]] = field(default_factory=list)
    _sets: list[set[bytes]] = field(default_factory=list)
    _rank: dict[bytes, int] = field(default_factory=dict)
    _by_word: list[list[int]] = field(default_factory=list)

    def add(self, texts: Iterable[str]) -> None:
        """Take the questions of another tested user; short ones are left out."""
        for text in texts:
            words = word_list(text)
            if len(set(words)) >= FEWEST_WORDS:
                self.texts.append(words)
                self._sets.append(set(words))

    def close(self) -> None:
        """All questions are in: rank their words, the rarest first, and find questions by them."""
        counts = Counter(chain.from_iterable(self._sets))
        for rank, word in enumerate(sorted(counts, key=lambda word: (counts[word], word))):
            self._rank[word] = rank
        self._by_word = [[] for _ in counts]
        for index, words in enumerate(self._sets):
            for rank in self._first_words(words):
                self._by_word[rank].append(index)

    def without_copies(self, part: Part, counts: DuplicateCounts) -> Part:
        """A training user without the rows that are like a tested user's question."""
        return replace(
            part,
            history=self._originals(part.history, counts),
            questions=self._originals(part.questions, counts),
        )

    def _originals(
        self, entries: Sequence[SpooledRow], counts: DuplicateCounts
    ) -> tuple[SpooledRow, ...]:
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
        found = (self._by_word[rank] for rank in self._first_words(different))
        shared = Counter(chain.from_iterable(found))
        likeness = ""
        for index, count in shared.items():
            if count < SHARED:
                continue
            if self.texts[index] == words:
                return "equal"
            if nearly_same(self._sets[index], words):
                likeness = "near"
        return likeness

    def _first_words(self, words: set[bytes]) -> list[int]:
        """The ranks of the first words. Words of no question come before all others, and lead to
        nothing.
        """
        first = len(words) - math.ceil(NEAR * len(words)) + SHARED
        ranks = sorted(self._rank[word] for word in words if word in self._rank)
        return ranks[: max(0, first - (len(words) - len(ranks)))]

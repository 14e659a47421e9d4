"""Does a history hold the answer? Does training hold the test? Count it; drop, flag or refuse it.

Two texts are equal when their words are (runs of letters and digits, lower case). They are near
when the Jaccard similarity of their word sets is at least 0.6: unlike word 5-grams, word sets also
catch a re-ordered or lightly edited short text, and at 0.6 two different texts of more than a few
words do not meet. Golds are never looked at, so a personalization is the same with and without
them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from bench.data import citation
from bench.data.dates import day, later
from bench.data.task import Task
from bench.errors import InputError
from bench.types import Query, User

Policy = Literal["drop", "flag", "error"]

NEAR = 0.6
EXAMPLES = 5
_BREAK_BEYOND_ASCII = re.compile(r"[^\x00-\x7f\w]+")
_ASCII_BREAKS = bytes(
    code if code > 127 or chr(code).isalnum() else ord(" ") for code in range(256)
)


@dataclass(frozen=True)
class LeakReport:
    """What was found, as ids. `"user / item"` in the first three (an item is named in one of them
    only).

    `query_in_history_exact`, `query_in_history_near`: a history item's text is one of the user's
    questions. `items_after_query`: a dated item is later than the user's first dated question; None
    where no question is dated (LaMP's are not), so that nothing could be found.
    `fit_test_overlap_users`: fit users with the id, the group or the history of a test user.
    `fit_test_overlap_texts`: test questions whose text is also a fit user's question.
    `fit_history_holds_query`: test questions whose text is in the history of a fit user, where that
    is learnt from.
    """

    query_in_history_exact: tuple[str, ...] = ()
    query_in_history_near: tuple[str, ...] = ()
    items_after_query: tuple[str, ...] | None = None
    fit_test_overlap_users: tuple[str, ...] = ()
    fit_test_overlap_texts: tuple[str, ...] = ()
    fit_history_holds_query: tuple[str, ...] = ()

    @property
    def items(self) -> frozenset[str]:
        """The history items that should not be there."""
        return frozenset(
            self.query_in_history_exact
            + self.query_in_history_near
            + (self.items_after_query or ())
        )

    def of_histories(self, other: LeakReport) -> LeakReport:
        """This report, with what another one found in the histories."""
        items = ("query_in_history_exact", "query_in_history_near", "items_after_query")
        return replace(self, **{name: getattr(other, name) for name in items})

    def record(self) -> dict[str, Any]:
        """Counts and up to five ids of each kind, for the run's record: no text."""
        counts: dict[str, int | None] = {}
        examples: dict[str, list[str]] = {}
        for kind in fields(self):
            ids = getattr(self, kind.name)
            counts[kind.name] = None if ids is None else len(ids)
            if ids:
                examples[kind.name] = list(ids[:EXAMPLES])
        return counts | {"examples": examples}


def report(
    users: Iterable[User], fit_users: Iterable[User], task: Task, *, learnt_histories: bool = False
) -> LeakReport:
    """Look at every test user's history, and at what test users and fit users share. One pass over
    each.

    `learnt_histories`: the fit users' history items are training examples too (the task-adapted
    base).
    """
    found: dict[str, list[str]] = {field.name: [] for field in fields(LeakReport)}
    tested = _Tested()
    for user in users:
        questions = []
        for query in user.queries:
            words = word_list(_question(task, query))
            if words:
                questions.append(words)
                tested.asked.setdefault(_digest(words), []).append(query.id)
        for kind, item in _in_history(user, questions, task):
            found[kind].append(f"{user.id} / {item}")
        tested.names.update((user.id, user.group or user.id))
        tested.histories.update(_fingerprint(user, task))
        tested.dated = tested.dated or any(query.date for query in user.queries)

    # As keys of a dictionary: each once, in the order of finding.
    shared, learnt = dict[str, None](), dict[str, None]()
    for user in fit_users:
        if tested.has(user, task):
            found["fit_test_overlap_users"].append(user.id)
        for query in user.queries:
            shared.update(dict.fromkeys(tested.asking(_question(task, query))))
        if learnt_histories:
            for own in user.history:
                learnt.update(dict.fromkeys(tested.asking(own.fields[task.source])))
    found["fit_test_overlap_texts"], found["fit_history_holds_query"] = list(shared), list(learnt)

    if not tested.dated:
        del found["items_after_query"]
    return LeakReport(**{kind: tuple(ids) for kind, ids in found.items()})


@dataclass
class _Tested:
    """What is kept of the test users: digests in place of texts, so that it does not grow with what
    they wrote. `asked`: questions' ids by their text.
    """

    names: set[str] = field(default_factory=set)
    histories: set[bytes] = field(default_factory=set)
    asked: dict[bytes, list[str]] = field(default_factory=dict)
    dated: bool = False

    def has(self, user: User, task: Task) -> bool:
        """Whether one of them has this user's id, group or history."""
        named = not self.names.isdisjoint((user.id, user.group))
        return named or not self.histories.isdisjoint(_fingerprint(user, task))

    def asking(self, text: str) -> Sequence[str]:
        """The ids of the test questions with this text."""
        return self.asked.get(_digest(word_list(text)), ())


def apply(users: Sequence[User], report: LeakReport, policy: Policy) -> Sequence[User]:
    """Test users without the offending history items (`drop`),
    as they are (`flag`), or InputError (`error`).
    """
    _refuse(report, policy)
    if policy == "flag" or not report.items:
        return users
    leaks, clean = report.items, []
    for user in users:
        history = [item for item in user.history if f"{user.id} / {item.id}" not in leaks]
        clean.append(replace(user, history=tuple(history)))
    return clean


def apply_fit(fit_users: Sequence[User], report: LeakReport, policy: Policy) -> Sequence[User]:
    """Fit users without those who are test users (`drop`), as they are (`flag`), or InputError
    (`error`).

    Questions that two people share (movies are tagged by many) are reported but never dropped.
    """
    _refuse(report, policy)
    overlap = set(report.fit_test_overlap_users)
    if policy == "flag" or not overlap:
        return fit_users
    return [user for user in fit_users if user.id not in overlap]


def _refuse(report: LeakReport, policy: Policy) -> None:
    if policy not in ("drop", "flag", "error"):
        raise InputError(f"leak={policy}: choose drop, flag or error")
    examples: Mapping[str, list[str]] = report.record()["examples"]
    if policy == "error" and examples:
        kinds = []
        for kind, ids in examples.items():
            kinds.append(f"{len(getattr(report, kind))} {kind}: {', '.join(ids)}")
        raise InputError(
            f"leaks found (leak=drop removes them, leak=flag keeps them): {'; '.join(kinds)}"
        )


def _in_history(
    user: User, questions: Sequence[list[bytes]], task: Task
) -> Iterable[tuple[str, str]]:
    """(kind, item id) of each offending item."""
    sets = [set(words) for words in questions]
    first = min((query.date for query in user.queries if query.date), key=day, default=None)
    for item in user.history:
        words = word_list(item.fields[task.source])
        if words in questions:
            yield "query_in_history_exact", item.id
        elif any(nearly_same(question, words) for question in sets):
            yield "query_in_history_near", item.id
        elif first and item.date and later(item.date, first):
            yield "items_after_query", item.id


def nearly_same(question: set[bytes], words: list[bytes]) -> bool:
    """Whether a question's words, as a set, are near those of another text."""
    common = len(question.intersection(words))
    # The first test alone is enough for nearly all texts, and spares making a set of them.
    if common < NEAR * len(question):
        return False
    return common >= NEAR * (len(question) + len(set(words)) - common)


def _question(task: Task, query: Query) -> str:
    """The text to look for in the history: for LaMP-1 the paper's own title,
    without the candidates.
    """
    return citation.parse(query.input).title if task.cites else query.text


def word_list(text: str) -> list[bytes]:
    """The words by which texts are compared, in UTF-8: runs of letters and digits, lower case."""
    # As bytes: half a million texts are cut into words for a full split, and bytes are translated
    # several times faster.
    if not text.isascii():
        text = _BREAK_BEYOND_ASCII.sub(" ", text.lower())
    return text.encode().lower().translate(_ASCII_BREAKS).split()


def _fingerprint(user: User, task: Task) -> list[bytes]:
    """The history as a hash; none for an empty one, which two strangers may well share."""
    texts = sorted(item.fields[task.source].encode() for item in user.history)
    return [_digest(texts)] if texts else []


def _digest(texts: Sequence[bytes]) -> bytes:
    return hashlib.blake2b(b"\0".join(texts), digest_size=16).digest()

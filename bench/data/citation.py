"""The question of LaMP-1: which of two papers would the author of a third one cite?"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.errors import InputError

_QUESTION = re.compile(
    r'title "(?P<title>.*)", which reference .*?\[1\]: "(?P<first>.*)" \[2\]: "(?P<second>.*)"\s*$',
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Citation:
    """The new paper's `title`, and the titles of the two papers to choose from."""

    title: str
    first: str
    second: str

    def __str__(self) -> str:
        """The three titles on a line each, as CHAMELEON's [QUERY] shows them."""
        return f'"{self.title}"\n[1]: "{self.first}"\n[2]: "{self.second}"'


def parse(text: str) -> Citation:
    """The three titles of a LaMP-1 input, found by the fixed words around them: titles may hold
    quotes.

    Raises InputError for an input of another form.
    """
    match = _QUESTION.search(text)
    if not match:
        raise InputError(
            'not of LaMP-1\'s form: title "...", which reference ... [1]: "..." [2]: "..."'
        )
    return Citation(match["title"], match["first"], match["second"])

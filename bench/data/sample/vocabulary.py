"""The words of the embedded sample (`words/*.yaml`): plain data, a file per kind of text, all
written for Lamplight.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

WORDS = Path(__file__).parent / "words"


class Vocabulary:
    """One file of words, read when its first word is needed:
    `movies.HEROES` is a tuple of phrases.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, key: str) -> Any:
        words = _read(self._name)
        if key not in words:
            raise AttributeError(f"{WORDS / self._name}.yaml has no {key}")
        return words[key]


citations = Vocabulary("citations")
headlines = Vocabulary("headlines")
mails = Vocabulary("mails")
movies = Vocabulary("movies")
news = Vocabulary("news")
reviews = Vocabulary("reviews")
titles = Vocabulary("titles")
tweets = Vocabulary("tweets")


@cache
def _read(name: str) -> dict[str, Any]:
    # libyaml's loader is ten times as fast as the one in Python, where PyYAML was built with it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (WORDS / f"{name}.yaml").read_text(encoding="utf-8")
    return {key: _frozen(value) for key, value in yaml.load(text, loader).items()}


def _frozen(value: Any) -> Any:
    """Lists as tuples, also inside mappings,
    so that nobody changes a vocabulary that others draw from.
    """
    if isinstance(value, list):
        return tuple(_frozen(entry) for entry in value)
    if isinstance(value, dict):
        return {key: _frozen(entry) for key, entry in value.items()}
    return value

"""The words of a sweep's command line, read with Hydra's grammar, and the jobs they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from hydra.core.override_parser.types import Override, Quote, QuotedString, Transformer

from bench.errors import InputError
from bench.sweep.design import Argument, key_of


@dataclass(frozen=True)
class SweepJob:
    """One cell to run: its name in progress and messages, and all its overrides."""

    name: str
    words: tuple[str, ...]


def argument(override: Override) -> Argument:
    """A sweep of the command line is several values, all else is one.

    Raises InputError for a sweep without values, and for one that is no list of them.
    """
    key = override.get_key_element()
    if not override.is_sweep_override():
        return _single(key, override)
    if not override.is_discrete_sweep():
        raise InputError(
            f"{override.input_line}: give the values one by one, as in {key_of(key)}=1,2"
        )

    words = []
    for text in override.sweep_string_iterator():
        words.append(f"{key}={text}")
    if not words:
        raise InputError(
            f"{override.input_line}: no value fits, so there is nothing to run; --help lists them"
        )
    values = []
    for value in override.sweep_iterator():
        values.append(value.text if isinstance(value, QuotedString) else value)
    return Argument(key_of(key), tuple(values), tuple(words))


def _single(key: str, override: Override) -> Argument:
    if override.is_delete():
        return Argument(key_of(key), (None,), (key,))
    word = f"{key}={override.get_value_element_as_str()}"
    return Argument(key_of(key), (override.value(),), (word,))


def combinations(given: Sequence[Argument]) -> list[SweepJob]:
    """The cells of a sweep without an experiment, named by the words that vary.

    Of two arguments for one key, the last counts.
    """
    by_key = {argument.key: argument for argument in given}
    words_by_key = [argument.words for argument in by_key.values()]
    jobs = []
    for words in product(*words_by_key):
        varying = []
        for word, alternatives in zip(words, words_by_key, strict=True):
            if len(alternatives) > 1:
                varying.append(word)
        jobs.append(SweepJob(" ".join(varying or words), words))
    return jobs


def experiment_override(values: Mapping[str, Any]) -> str:
    """`experiment={...}` with the values as Hydra's grammar writes them."""
    return f"experiment={Transformer.str(_quoted(values))}"


def _quoted(value: Any) -> Any:
    """The value with its texts in quotes, as a dictionary on Hydra's command line needs them."""
    if isinstance(value, Mapping):
        return dict(zip(value, map(_quoted, value.values()), strict=True))
    if isinstance(value, list | tuple):
        return list(map(_quoted, value))
    return QuotedString(value, Quote.single) if isinstance(value, str) else value

"""A command line as a person types it: names in any spelling, folders as they stand, hub ids as
models.

Comes before Hydra, whose grammar reads `~`, `=`, `(` and blanks in its own way; see
docs/quickstart.md.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from bench.checks.catalog import alike, groups
from bench.errors import InputError
from bench.sweep.overrides import expanded, parsed_override, quoted

PATHS = {
    "data.root",
    "results.root",
    "adapter.path",
    "model.source",
    "method.code_data",
    "protocol.encoder",
    "selection.embedder",
    "retriever.embedder",
}
"""Settings that may be folders or files of this machine."""

_VALUED = {
    "-c",
    "--cfg",
    "-p",
    "--package",
    "-cn",
    "--config-name",
    "-cp",
    "--config-path",
    "-cd",
    "--config-dir",
    "-i",
    "--info",
}
"""Flags of Hydra with a value behind them."""
_FLAGS = _VALUED | {
    "-m",
    "--multirun",
    "-r",
    "--run",
    "--resolve",
    "--hydra-help",
    "-sc",
    "--shell-completion",
}
"""All flags that Hydra takes."""
_OTHERS = {
    "report": "bench.report",
    "compare": "bench.report compare",
    "page": "bench.report page",
    "export": "bench.export",
    "download": "bench.download",
    "new": "bench.new",
}


def read(arguments: Sequence[str]) -> list[str]:
    """The arguments as Hydra takes them. Raises InputError, which says what to write instead."""
    words, flagged = [], ""
    sweeps = is_sweep(arguments)
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        if flagged in _VALUED or argument.startswith("-"):
            words.append(argument if flagged in _VALUED else _flag(argument, following))
            flagged = "" if flagged in _VALUED else argument
        elif "=" not in argument and not argument.startswith("~"):
            raise InputError(_bare(argument))
        else:
            words.append(_word(argument, sweeps=sweeps))
    if not sweeps:
        return expanded(words)
    if not {"-m", "--multirun"} & set(words):
        words.insert(0, "-m")  # an experiment is a sweep
    return _later(words)


def is_sweep(arguments: Iterable[str]) -> bool:
    """Whether the arguments ask for several cells."""
    return any(word in ("-m", "--multirun") or word.startswith("experiment=") for word in arguments)


def _flag(word: str, following: str) -> str:
    if word.partition("=")[0] in _FLAGS:
        return word
    setting = word.lstrip("-") or "seed"
    if "=" not in setting:
        is_value = following and "=" not in following and not following.startswith("-")
        setting += f"={following if is_value else '...'}"
    raise InputError(
        f"{word}: a setting is key=value without dashes: {setting} (--help shows all there are)"
    )


def _bare(word: str) -> str:
    """What to write in place of a word that is no setting."""
    if word in _OTHERS:
        return f"{word}: this is a command of its own: python -m {_OTHERS[word]} --help"
    fitting = []
    for group, options in groups().items():
        if option := alike(word, options):
            fitting.append(f"{group}={option}")
    if fitting:
        return f"{word}: write {' or '.join(fitting)}"
    if word == "=":
        return "=: no blanks around it: seed=3"
    return f"{word}: a setting is key=value, as in method=rag; --help shows all there are"


def _word(word: str, *, sweeps: bool) -> str:
    """One setting, its value in a spelling that Hydra takes."""
    key, _, value = word.partition("=")
    bare = key.lstrip("+~")
    if word.startswith("~"):
        return word
    if not bare.strip():
        raise InputError(f"{word}: a setting is key=value, as in seed=3")
    if bare in groups():
        return f"{key}={_choice(bare, value)}"
    if bare in PATHS and value.startswith("~"):
        value = _home(bare, value)
    try:
        parsed = parsed_override(f"{key}={value}")
        if bare in PATHS and _is_misread(parsed, value, sweeps=sweeps):
            return f"{key}={quoted(value)}"
    except HydraException:
        if bare in PATHS:
            return f"{key}={quoted(value)}"
        raise InputError(_how_to_quote(key, value)) from None
    return f"{key}={value}"


def _is_misread(parsed: Override, value: str, *, sweeps: bool) -> bool:
    """Whether Hydra takes a folder's name for a number, a dictionary, or several names."""
    if parsed.is_sweep_override():
        return not sweeps
    return value not in ("", "null") and not isinstance(parsed.value(), str)


def _choice(group: str, value: str) -> str:
    """The options of a group by their own names.

    Functions of Hydra (`glob(*)`) and unknown names are left alone.
    """
    if group == "model" and (value.startswith("~") or os.path.isdir(os.path.expanduser(value))):
        return quoted(os.path.expanduser(value))
    try:
        if value in ("", "null") or value.startswith(("[", "{")):
            raise HydraException
        parsed_override(f"{group}={value}")
    except HydraException:
        raise InputError(f"{group}={value}: choose one of {', '.join(groups()[group])}") from None
    if "(" in value:
        return value
    names = []
    for name in value.split(","):
        names.append(alike(name, groups()[group]) or name)
    return ",".join(names)


def _home(key: str, value: str) -> str:
    """A path that begins at a home folder in full."""
    path = os.path.expanduser(value)
    if path.startswith("~"):
        user = path.partition("/")[0]
        raise InputError(
            f"{key}={value}: no user {user[1:]} here; a folder of this name is ./{value}"
        )
    return path


def _how_to_quote(key: str, value: str) -> str:
    good = f"{key}={QuotedString(value, Quote.single).with_quotes()}"
    shell = shlex.quote(good) if set('"$`\\!') & set(good) else f'"{good}"'
    return (
        f"{key}={value}: ~ = ( ) {{ }} [ ] and quotes are read as grammar; as a text it is {shell}"
    )


def _later(words: Sequence[str]) -> list[str]:
    """Settings of groups that a sweep goes over, as sweeps of one value each.

    Hydra composes the sweep itself before its cells, with each group's default, which may not know
    the setting.
    """
    swept = {word.partition("=")[0] for word in words}.intersection(groups())
    if "experiment" in swept:
        swept |= set(groups())

    later = []
    for word in words:
        group = word.lstrip("+").partition(".")[0]
        later.append(_as_sweep(word) if group in swept else word)
    return later


def _as_sweep(word: str) -> str:
    key, _, value = word.partition("=")
    is_sweep_already = parsed_override(word).is_sweep_override()
    return word if not value or is_sweep_already else f"{key}=choice({value})"

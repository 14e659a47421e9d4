"""What Hydra finds wrong with a command line, in one line that says what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from bench import catalog

_NOISE = re.compile(
    r"^(Set the environment|full_key:|object_type=|reference_type=|Config search path|provider=|See"
    r" http)"
)
_MOST = 3
"""Settings that a line proposes."""


def told(error: Exception, words: Sequence[str] = ()) -> str:
    """The error's text in one line; for an unknown name or setting with those that come near it.

    `words`: the command line, which says whose settings are meant.
    """
    text = str(error).removeprefix("error: ")  # as the sweeper says it
    if found := re.search(r"Could not find '((?:hydra/)?\w+)/([^']*)'", text):
        return _no_option(
            found[1], found[2], re.findall(r"^\t(?!provider=)(.+)$", text, re.MULTILINE)
        )
    if found := re.search(r"Could not override '([^']+)'", text):
        return _no_setting(found[1], words)
    if found := re.search(r"Could not append to config. An item is already at '([^']+)'", text):
        return f"+{found[1]}: this setting is there already; write {found[1]}=... without the +"
    if found := re.search(r"Ambiguous value for argument '([^']+)'", text):
        return f"{found[1]}: several values are a sweep: python -m bench -m {found[1]} ..."
    lines = (line.strip() for line in text.splitlines())
    return (
        " ".join(line for line in lines if line and not _NOISE.match(line)) or type(error).__name__
    )


def _no_option(group: str, name: str, options: Sequence[str]) -> str:
    """An option that its group does not have."""
    more = "; a hub id (OWNER/NAME) or a folder is a model too" if group == "model" else ""
    near = catalog.meant(catalog.near(name, options))
    return f"{group}={name}: no such {group}{near}; there are {', '.join(options)}{more}"


def _no_setting(key: str, words: Sequence[str]) -> str:
    """A setting that is not there: of another option, behind a reference, or misspelt."""
    here = catalog.settings(catalog.chosen(words))
    if key in catalog.everywhere():
        group = key.partition(".")[0]
        return (
            f"{key}: only other choices of {group} have this setting ({_owners(key)}); --help shows"
            " yours"
        )
    for at in range(len(key.split(".")) - 1, 0, -1):
        head, tail = (".".join(part) for part in (key.split(".")[:at], key.split(".")[at:]))
        if head in here and here[head].is_reference:
            return f"{key}: {head} is the common one; write {here[head].value[2:-1]}.{tail}=..."
    if near := _near(key, here):
        return f"{key}: no such setting here{catalog.meant(near)}; --help shows all there are"
    elsewhere = [f"{one}, of {_owners(one)}," for one in _named(key, catalog.everywhere())]
    return (
        f"{key}: no such setting here{catalog.meant(elsewhere[:_MOST])}; --help shows all there are"
    )


def _owners(key: str) -> str:
    """`method=oppu, pag, rag`."""
    first, *others = catalog.owners(key)
    return ", ".join([first, *(one.partition("=")[2] for one in others)])


def _near(key: str, known: Iterable[str]) -> list[str]:
    """Of the known settings, those whose last name this is, else those of like spelling."""
    names = list(known)
    if named := _named(key, names):
        return named[:_MOST]
    group, _, last = key.rpartition(".")
    beside = {
        one.rpartition(".")[2]: one for one in names if one.startswith(f"{group}.") or not group
    }
    close = get_close_matches(last, list(beside), n=1)
    return [beside[one] for one in close] or get_close_matches(key, names, n=1)


def _named(key: str, known: Iterable[str]) -> list[str]:
    """Settings with the same last name, those of the same group first."""
    last, group = key.rpartition(".")[2], key.partition(".")[0]
    found = [one for one in known if one.rpartition(".")[2] == last]
    return sorted(
        found,
        key=lambda one: (
            not one.startswith(f"{group}."),
            one.count("."),
            not one.startswith("method."),
        ),
    )

"""What Hydra finds wrong with a command line, in one line that says what to write instead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
)
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from bench.checks import catalog
from bench.checks.yaml_settings import Setting
from bench.cli.spelling import is_sweep
from bench.errors import input_error_in
from bench.sweep.overrides import parsed_override

_MOST = 3
"""Settings that a line proposes."""


def explain(error: BaseException, words: Sequence[str] = ()) -> str:
    """The error in one line; for an unknown name or setting with those that come near it.

    `words`: the command line, which says whose settings are meant.
    """
    cause = error.__cause__
    if (mistake := input_error_in(error)) is not None:
        return " ".join(str(mistake).split())
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return _no_option(group, name, error.options)
    if isinstance(error, ConfigCompositionException):
        if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
            return _no_setting(cause.full_key, words)
        return _refused_word(words) or _first_line(error)
    if isinstance(error, InstantiationException) and cause is not None:
        return explain(cause, words)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _first_line(error)
    return " ".join(str(error).split()) or type(error).__name__


def _first_line(error: BaseException) -> str:
    """What libraries say; advice for their own users stands on the lines below."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _refused_word(words: Iterable[str]) -> str | None:
    """The word of the command line that cannot stand as it is: several values for one cell, or a
    setting that is added although it is there.
    """
    arguments = [word for word in words if "=" in word and not word.startswith("-")]
    here = catalog.settings(catalog.options_of(arguments))
    for word in arguments:
        try:
            override = parsed_override(word)
        except HydraException:
            continue  # a folder as it was typed, which is no grammar
        key = override.key_or_group
        if override.is_sweep_override() and not is_sweep(words):
            return f"{word}: several values are a sweep: python -m bench -m {word} ..."
        if override.is_add() and key in here:
            return f"+{key}: this setting is there already; write {key}=... without the +"
    return None


def _no_option(group: str, name: str, options: Sequence[str]) -> str:
    """An option that its group does not have."""
    more = "; a hub id (OWNER/NAME) or a folder is a model too" if group == "model" else ""
    near = catalog.did_you_mean(catalog.near(name, options))
    return f"{group}={name}: no such {group}{near}; there are {', '.join(options)}{more}"


def _no_setting(key: str, words: Sequence[str]) -> str:
    """A setting that is not there: of another option, behind a reference, or misspelt."""
    here = catalog.settings(catalog.options_of(words))
    everywhere = catalog.everywhere()
    if key in everywhere:
        group = key.partition(".")[0]
        return (
            f"{key}: only other choices of {group} have this setting ({_owners(key)}); --help shows"
            " yours"
        )
    if section := _reference_above(key, here):
        common = here[section].value.strip("${}")
        return f"{key}: {section} is the common one; write {common}{key.removeprefix(section)}=..."

    proposals = _near(key, here)
    if not proposals:
        for other in _same_last_name(key, everywhere)[:_MOST]:
            proposals.append(f"{other}, of {_owners(other)},")
    hint = catalog.did_you_mean(proposals)
    return f"{key}: no such setting here{hint}; --help shows all there are"


def _reference_above(key: str, known: dict[str, Setting]) -> str | None:
    """The section of a key that is another section's value: `method.select` of
    `method.select.n_items`.
    """
    parts = key.split(".")
    for length in range(len(parts) - 1, 0, -1):
        section = ".".join(parts[:length])
        if section in known and known[section].is_reference:
            return section
    return None


def _owners(key: str) -> str:
    """`method=oppu, pag, rag`."""
    first, *others = catalog.owners(key)
    return ", ".join([first, *(owner.partition("=")[2] for owner in others)])


def _near(key: str, known: Iterable[str]) -> list[str]:
    """Of the known settings, those whose last name this is, else one of like spelling."""
    names = list(known)
    if same := _same_last_name(key, names):
        return same[:_MOST]

    group, _, last = key.rpartition(".")
    siblings = {}
    for name in names:
        if not group or name.startswith(f"{group}."):
            siblings[name.rpartition(".")[2]] = name
    close = get_close_matches(last, list(siblings), n=1)
    return [siblings[close[0]]] if close else get_close_matches(key, names, n=1)


def _same_last_name(key: str, known: Iterable[str]) -> list[str]:
    """Settings with the same last name, those of the same group first, then the least nested."""
    last, group = key.rpartition(".")[2], key.partition(".")[0]

    def order(name: str) -> tuple[bool, int, bool]:
        return not name.startswith(f"{group}."), name.count("."), not name.startswith("method.")

    return sorted((name for name in known if name.rpartition(".")[2] == last), key=order)

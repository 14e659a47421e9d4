"""What conf/ offers: groups with their options, and every setting with its default and the comment
beside it.

Read from the YAML files themselves, without Hydra, for the help and for messages about misspelt
settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import cache

from bench.checks import conf_files
from bench.checks.conf_files import CONF
from bench.checks.yaml_settings import Setting, settings_of

OF_WHOLE_CELLS = ("experiment", "scale")
"""Groups whose options change the settings of others."""


@cache
def groups() -> dict[str, list[str]]:
    """The options of every group of the configuration, by name."""
    options_by_group = {}
    for folder in sorted(CONF.iterdir()):
        options = conf_files.names(folder.name)
        if options and folder.name != "hydra":
            options_by_group[folder.name] = options
    return options_by_group


def alike(name: str, options: Iterable[str]) -> str | None:
    """The option that is meant by a name in another spelling:
    `lamp3` by `LaMP-3`, `llm_rec` by `LLM-REC`.
    """
    letters = _letters(name)
    for option in options:
        if letters and _letters(option) == letters:
            return option
    return None


def near(name: str, options: Iterable[str]) -> list[str]:
    """The options that hold a name, at most three, else the one of the nearest spelling."""
    known = list(options)
    holding = [option for option in known if name and _letters(name) in _letters(option)]
    return holding[:3] or get_close_matches(name, known, n=1)


def did_you_mean(names: Sequence[str]) -> str:
    """` (did you mean a or b?)`, or nothing."""
    return f" (did you mean {' or '.join(names)}?)" if names else ""


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def options_of(words: Iterable[str]) -> dict[str, str]:
    """The option of each group: what the words of a command line say, else the default."""
    defaults: dict[str, object] = {}
    for entry in conf_files.config()["defaults"]:
        if isinstance(entry, Mapping):
            defaults.update(entry)

    options = {}
    for group in groups():
        if defaults.get(group) is not None:
            options[group] = str(defaults[group])
    for word in words:
        group, _, option = word.partition("=")
        if option in groups().get(group, ()):
            options[group] = option
    return options


def settings(options: Mapping[str, str]) -> dict[str, Setting]:
    """Every setting of config.yaml and of an option of each group, by key, in the order of the
    files.
    """
    known = settings_of(CONF / "config.yaml", "")
    for group, option in options.items():
        known |= of_option(group, option)

    resolved = {}
    for key, setting in known.items():
        resolved[key] = setting if setting.is_reference else _resolved(setting, known)
    return resolved


def _resolved(setting: Setting, known: Mapping[str, Setting]) -> Setting:
    """A setting whose default depends on another's, as it is with theirs."""
    value = setting.value
    while reference := re.search(r"\$\{([\w.]+)\}", value):
        if reference[1] not in known:
            break
        value = value.replace(reference[0], known[reference[1]].value)
    return replace(setting, value=value)


@cache
def of_option(group: str, option: str) -> dict[str, Setting]:
    """The settings of one option of a group, with those of the options that it starts from."""
    inherited: dict[str, Setting] = {}
    for base in conf_files.option(group, option).get("defaults") or ():
        if isinstance(base, str) and base != "_self_":
            inherited |= of_option(group, base)

    path = CONF / group / f"{option}.yaml"
    is_global = path.read_text(encoding="utf-8").startswith("# @package _global_")
    settings = dict(inherited)
    for key, setting in settings_of(path, "" if is_global else f"{group}.").items():
        if not setting.about and key in inherited:
            comment = inherited[key]
            setting = replace(setting, about=comment.about, is_main=comment.is_main)
        settings[key] = setting
    return settings


@cache
def owners(key: str) -> list[str]:
    """The options, as `method=rag`, that have a setting."""
    having = []
    for group, options in groups().items():
        for option in options:
            if key in of_option(group, option):
                having.append(f"{group}={option}")
    return having


@cache
def everywhere() -> dict[str, Setting]:
    """The settings of all options, by key: of several with one key, the first. Experiments change
    others' settings.
    """
    known: dict[str, Setting] = {}
    for group, options in groups().items():
        if group in OF_WHOLE_CELLS:
            continue
        for option in options:
            known = of_option(group, option) | known
    return settings({}) | known

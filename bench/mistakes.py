"""What Hydra finds wrong with a command line, in one line that says what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

import yaml

CONF = Path(__file__).parents[1] / "conf"
_NOISE = re.compile(r"^(Set the environment|full_key:|object_type=|reference_type=|Config search path|provider=)")


def told(error: Exception) -> str:
    """The error's text in one line; for an unknown name or setting with those that come near it."""
    text = str(error).removeprefix("error: ")  # as the sweeper says it
    if found := re.search(r"Could not find '([\w/]+)/([^']+)'", text):
        group, name = found.groups()
        options = re.findall(r"^\t(.+)$", text, re.MULTILINE)
        return f"{group}={name}: no such {group}{_near(name, options)}; there are {', '.join(options)}"
    if found := re.search(r"Could not override '([^']+)'", text):
        key, known = found[1], _settings(found[1])
        if key in known:
            return f"{key}: only other choices of {key.partition('.')[0]} have this setting; --help shows yours"
        return f"{key}: no such setting here{_near(key, known)}; --help shows all there are"
    if found := re.search(r"Ambiguous value for argument '([^']+)'", text):
        return f"{found[1]}: several values are a sweep: python -m bench -m {found[1]} ..."
    lines = (line.strip() for line in text.splitlines())
    return " ".join(line for line in lines if line and not _NOISE.match(line)) or type(error).__name__


def _near(name: str, names: Iterable[str]) -> str:
    close = get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _settings(key: str) -> set[str]:
    """The settings at the same depth: those of config.yaml and its groups, or of a group's files."""
    group, _, field = key.rpartition(".")
    files = sorted((CONF / group.replace(".", "/")).glob("*.yaml")) if field and group else [CONF / "config.yaml"]
    known: set[str] = set()
    for path in files:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if isinstance(content.get(group), dict):  # a file that sets more than its own group
            content = content[group]
        prefix = f"{group}." if group else ""
        known |= {f"{prefix}{name}" for name in content if name != "defaults"}
        if not group:
            known |= {name for entry in content["defaults"] if isinstance(entry, dict) for name in entry}
    return {name for name in known if " " not in name}

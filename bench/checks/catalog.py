"""What conf/ offers: groups with their options, and every setting with its default and the comment
beside it.

Read from the YAML files themselves, without Hydra, for the help and for messages about misspelt
settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

CONF = Path(__file__).parents[2] / "conf"


@dataclass(frozen=True)
class Setting:
    """`key`: as the command line has it; `value`: its default as YAML writes it; `about`: the
    comment beside it.

    `inner`: inside a mapping that is written on one line, which is a setting too.
    """

    key: str
    value: str
    about: str = ""
    inner: bool = False

    @property
    def is_reference(self) -> bool:
        """Whether it is another setting's value, which is where it is set: `${selection}`."""
        return re.fullmatch(r"\$\{[\w.]+\}", self.value) is not None


@cache
def groups() -> dict[str, list[str]]:
    """The options of every group of the configuration, by name."""
    folders = [one for one in sorted(CONF.iterdir()) if one.is_dir() and one.name != "hydra"]
    found = {one.name: sorted(path.stem for path in one.glob("*.yaml")) for one in folders}
    return {name: options for name, options in found.items() if options}


def alike(name: str, options: Iterable[str]) -> str | None:
    """The option that is meant by a name in another spelling:
    `lamp3` by `LaMP-3`, `llm_rec` by `LLM-REC`.
    """
    bare = _letters(name)
    return next((option for option in options if bare and _letters(option) == bare), None)


def near(name: str, options: Iterable[str]) -> list[str]:
    """The options that hold a name, at most three, else the one of the nearest spelling."""
    known = list(options)
    inside = [option for option in known if name and _letters(name) in _letters(option)]
    return inside[:3] or get_close_matches(name, known, n=1)


def did_you_mean(names: Sequence[str]) -> str:
    """` (did you mean a or b?)`, or nothing."""
    return f" (did you mean {' or '.join(names)}?)" if names else ""


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def options_of(words: Iterable[str]) -> dict[str, str]:
    """The option of each group: what the words say, else the default."""
    listed = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    named = {
        name: option
        for entry in listed
        if isinstance(entry, dict)
        for name, option in entry.items()
    }
    found = {name: str(named[name]) for name in groups() if named.get(name) is not None}
    said = (word.partition("=") for word in words)
    return found | {name: option for name, _, option in said if option in groups().get(name, ())}


def settings(options: Mapping[str, str]) -> dict[str, Setting]:
    """Every setting of the chosen options and of config.yaml, by key, in the order of the files."""
    found = _of_file(CONF / "config.yaml", "")
    for group, option in options.items():
        found |= of_option(group, option)
    return {key: one if one.is_reference else _looked_up(one, found) for key, one in found.items()}


def _looked_up(one: Setting, known: Mapping[str, Setting]) -> Setting:
    """A setting whose default depends on another's, as it is with theirs."""
    value = one.value
    while found := re.search(r"\$\{([\w.]+)\}", value):
        if found[1] not in known:
            break
        value = value.replace(found[0], known[found[1]].value)
    return replace(one, value=value)


@cache
def of_option(group: str, option: str) -> dict[str, Setting]:
    """The settings of one option of a group, with those of the options that it starts from."""
    path = CONF / group / f"{option}.yaml"
    text = path.read_text(encoding="utf-8")
    found: dict[str, Setting] = {}
    for base in (yaml.safe_load(text) or {}).get("defaults") or ():
        if isinstance(base, str) and base != "_self_":
            found |= of_option(group, base)
    own = _of_file(path, "" if text.startswith("# @package _global_") else f"{group}.")
    silent = {
        key: Setting(key, one.value, found[key].about) for key, one in own.items() if key in found
    }
    return found | own | {key: one for key, one in silent.items() if not own[key].about}


@cache
def owners(key: str) -> list[str]:
    """The options, as `method=rag`, that have a setting."""
    pairs = ((group, option) for group, options in groups().items() for option in options)
    return [f"{group}={option}" for group, option in pairs if key in of_option(group, option)]


@cache
def everywhere() -> dict[str, Setting]:
    """The settings of all options, by key: of several with one key, the first. Experiments change
    others' settings.
    """
    found: dict[str, Setting] = {}
    for group, options in groups().items():
        for option in options if group not in ("experiment", "scale") else ():
            found = of_option(group, option) | found
    return settings({}) | found


def _of_file(path: Path, prefix: str) -> dict[str, Setting]:
    text = path.read_text(encoding="utf-8")
    root = yaml.compose(text)
    if not isinstance(root, MappingNode):
        return {}
    found = {one.key: one for one in _walk(root, prefix, text.splitlines())}
    return {
        key: one for key, one in found.items() if key.partition(".")[0] not in ("defaults", "hydra")
    }


def _walk(
    node: MappingNode, prefix: str, lines: list[str], *, inner: bool = False
) -> Iterator[Setting]:
    for name, value in node.value:
        if name.value == "_target_":
            continue
        key = f"{prefix}{name.value}"
        block = isinstance(value, MappingNode) and not value.flow_style
        if not block:
            yield Setting(key, _text(value, lines), _about(value, lines), inner)
        if isinstance(value, MappingNode):
            yield from _walk(value, f"{key}.", lines, inner=inner or not block)


def _text(node: Node, lines: list[str]) -> str:
    """A value in one line."""
    if isinstance(node, ScalarNode):
        return str(node.value)
    start, end = node.start_mark, node.end_mark
    if start.line == end.line:
        return lines[start.line][start.column : end.column]
    if isinstance(node, MappingNode):
        return (
            "{"
            + ", ".join(f"{name.value}: {_text(value, lines)}" for name, value in node.value)
            + "}"
        )
    return "[" + ", ".join(_text(one, lines) for one in node.value) + "]"


def _about(node: Node, lines: list[str]) -> str:
    """The comment behind a value on its line."""
    if node.end_mark.line >= len(lines):
        return ""
    rest = lines[node.end_mark.line][node.end_mark.column :]
    return rest.partition("#")[2].strip() if rest.lstrip().startswith("#") else ""

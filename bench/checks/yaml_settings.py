"""The settings of a YAML file of conf/, each with its default and the comment beside it.

Read from the nodes of the YAML, since comments and the spelling of values are gone once it is
loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

NO_SETTINGS = ("defaults", "hydra")
"""Sections that speak to Hydra."""


@dataclass(frozen=True)
class Setting:
    """`key`: as the command line has it; `value`: its default as YAML writes it; `about`: the
    comment beside it.

    `inner`: inside a mapping that is written on one line, which is a setting too. `is_main`: its
    comment begins with `*`, as the help should explain it before others.
    """

    key: str
    value: str
    about: str = ""
    inner: bool = False
    is_main: bool = False

    @property
    def is_reference(self) -> bool:
        """Whether it is another setting's value, which is where it is set: `${selection}`."""
        return re.fullmatch(r"\$\{[\w.]+\}", self.value) is not None

    @property
    def section(self) -> str:
        """The first part of its key: `method` of `method.ccs.lr`."""
        return self.key.partition(".")[0]


def settings_of(path: Path, prefix: str) -> dict[str, Setting]:
    """The settings of a file by key, in its order. `prefix`: what stands before each key, as
    `method.`.
    """
    text = path.read_text(encoding="utf-8")
    root = yaml.compose(text)
    if not isinstance(root, MappingNode):
        return {}
    settings = {}
    for setting in _walk(root, prefix, text.splitlines()):
        if setting.section not in NO_SETTINGS:
            settings[setting.key] = setting
    return settings


def _walk(
    node: MappingNode, prefix: str, lines: list[str], *, inner: bool = False
) -> Iterator[Setting]:
    for name, value in node.value:
        if name.value == "_target_":
            continue
        key = f"{prefix}{name.value}"
        is_mapping = isinstance(value, MappingNode)
        is_block = is_mapping and not value.flow_style
        if not is_block:
            comment = _comment(value, lines)
            about = comment.removeprefix("*").strip()
            yield Setting(key, _value(value, lines), about, inner, comment.startswith("*"))
        if is_mapping:
            yield from _walk(value, f"{key}.", lines, inner=inner or not is_block)


def _value(node: Node, lines: list[str]) -> str:
    """A value in one line, as the file spells it if it stands on one."""
    if isinstance(node, ScalarNode):
        return str(node.value)
    start, end = node.start_mark, node.end_mark
    if start.line == end.line:
        return lines[start.line][start.column : end.column]

    parts = []
    if isinstance(node, SequenceNode):
        for entry in node.value:
            parts.append(_value(entry, lines))
        return f"[{', '.join(parts)}]"
    for name, value in node.value:
        parts.append(f"{name.value}: {_value(value, lines)}")
    return f"{{{', '.join(parts)}}}"


def _comment(node: Node, lines: list[str]) -> str:
    """The comment behind a value on its line."""
    end = node.end_mark
    if end.line >= len(lines):
        return ""
    rest = lines[end.line][end.column :].lstrip()
    return rest.removeprefix("#").strip() if rest.startswith("#") else ""

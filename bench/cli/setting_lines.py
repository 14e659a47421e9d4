"""Settings as lines of the help: one each with its explanation, or several in short.

A setting is explained on a screen if its comment in conf/ begins with `*`, and others in the order
of the file while there is room.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from bench.checks.yaml_settings import Setting

WIDTH = 100
_COLUMN = 33
"""Where explanations begin."""
_DEEP = ("method", "task")
"""Groups whose sections inside, as `method.ccs`, stand on a line of their own."""


def whole(settings: Sequence[Setting]) -> list[str]:
    """Each setting with all of its explanation, over as many lines as that takes."""
    lines = []
    for setting in settings:
        comment = f"  # {setting.about}" if setting.about else ""
        line = f"  {f'{setting.key}={setting.value}':<{_COLUMN}}{comment}".rstrip()
        lines += textwrap.wrap(line, WIDTH, subsequent_indent=" " * 6)
    return lines


def fitting(settings: Sequence[Setting], room: int) -> list[str]:
    """The settings in at most `room` lines if that can be: as many as possible explained, the main
    ones first, and the others in short.
    """
    single = [setting for setting in settings if _is_single(setting)]
    by_rank = sorted(single, key=lambda setting: not setting.is_main)
    for count in range(len(by_rank), -1, -1):
        lines = _lines(settings, by_rank[:count])
        if len(lines) <= room:
            return lines
    return _lines(settings, by_rank[:0])


def main_ones(settings: Sequence[Setting]) -> list[str]:
    """The main settings explained, and the others in short."""
    return _lines(settings, [setting for setting in settings if setting.is_main])


def in_short(settings: Sequence[Setting]) -> list[str]:
    """`  ccs.* epochs=400, lr=0.003`: a line for each section, the explanations left out."""
    by_section: dict[str, list[str]] = {}
    for setting in settings:
        section = _section(setting)
        name = setting.key.removeprefix(f"{section}.")
        by_section.setdefault(section, []).append(f"{name}={setting.value}")

    lines = []
    for section, words in by_section.items():
        lead = f"  {section}.* " if section else "  "
        lines += textwrap.wrap(
            ", ".join(words), WIDTH, initial_indent=lead, subsequent_indent=" " * 6
        )
    return lines


def hanging(lead: str, text: str) -> list[str]:
    """The text behind `lead`, its lines below each other."""
    return textwrap.wrap(text, WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead))


def _is_single(setting: Setting) -> bool:
    """Whether it stands in no section inside its group."""
    return setting.key.count(".") == (1 if setting.section in _DEEP else 0)


def _section(setting: Setting) -> str:
    """What stands before `.*`: `method.ccs` of `method.ccs.lr`, `method` of `method.mode`, nothing
    of `seed`.
    """
    parts = setting.key.split(".")
    return ".".join(parts[:2] if setting.section in _DEEP and len(parts) > 2 else parts[:-1][:1])


def _lines(settings: Sequence[Setting], explained: Sequence[Setting]) -> list[str]:
    lines = []
    others = []
    for setting in settings:
        if setting in explained:
            lines.append(_explained(setting))
        else:
            others.append(setting)
    return lines + in_short(others)


def _explained(setting: Setting) -> str:
    """One line, cut at the width."""
    word = f"{setting.key}={setting.value}"
    if len(word) > 60:
        word = f"{word[:57]}..."
    if not setting.about:
        return f"  {word}"
    lead = f"  {word:<{_COLUMN}}  "
    return lead + textwrap.shorten(setting.about, WIDTH - len(lead), placeholder=" ...")

"""The source of a chat template, read without rendering it: which settings it asks for, which
strings it writes, and where it asks for today's date.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date
from functools import cache

from jinja2 import Environment, TemplateError, meta, nodes

from bench.errors import InputError

MARKER = re.compile(
    r"<<?/?[^<>\s]{1,48}>>?"  # <|im_start|>, </think>, <start_of_turn>, <<SYS>>
    r"|\[/?[A-Za-z_]{0,20}[A-Z]{3}[A-Za-z_]{0,20}\]"  # [INST], [/TOOL_CALLS], [gMASK]
    r"|\u25c1[^\u25c1\u25b7\s]{1,20}\u25b7"  # Kimi's thoughts
    r"|###? ?\w[\w ]{0,30}:"  # ### Response:
)
"""What stands in a template as a sign, not as a sentence."""

_GENERATION = re.compile(r"\{%[-+]?\s*(?:end)?generation\s*[-+]?%\}")
_CLOCK = re.compile(r"\bstrftime_now\s*\(")
_FORMAT = re.compile(r"\bstrftime_now\s*\(\s*(['\"])(.*?)\1\s*\)")
_DAY_FORMATS = {"date_string": "%d %b %Y", "current_date": "%Y-%m-%d"}
"""Settings by which templates take a day, and the form in which the model has learnt it."""


@cache
def settings(source: str) -> frozenset[str]:
    """The names that a template reads and does not define: what `model.template` may set."""
    return frozenset(meta.find_undeclared_variables(_tree(source)))


def literals(source: str) -> set[str]:
    """The signs among the strings that stand in a template: markers, in a user's text."""
    return {sign for text in _strings(source) for sign in MARKER.findall(text)}


def asks_clock(source: str) -> bool:
    """Whether a template writes the day on which it is rendered."""
    return bool(_CLOCK.search(source))


def without_clock(source: str) -> str:
    """The template as it is where nobody knows the day. Many then write a day of their own."""
    return "{% set strftime_now = no_clock %}\n" + source


def at(source: str, day: date) -> str:
    """The template with this day in place of today.

    A macro takes the clock's name: the library lets no function into a template.
    """
    formats = {match[2] for match in _FORMAT.finditer(source)}
    if len(_FORMAT.findall(source)) != len(_CLOCK.findall(source)):
        raise InputError(
            "the chat template asks for today's date in a way that is not known, so that prompts of"
            " today and of tomorrow would differ"
        )
    days = json.dumps({form: day.strftime(form) for form in sorted(formats)})
    return f"{{% macro strftime_now(form) %}}{{{{ {days}[form] }}}}{{% endmacro %}}\n{source}"


def day_settings(source: str, day: date) -> dict[str, str]:
    """The day, as the settings that this template reads."""
    read = settings(source)
    return {name: day.strftime(form) for name, form in _DAY_FORMATS.items() if name in read}


def _strings(source: str) -> Iterator[str]:
    tree = _tree(source)
    for data in tree.find_all(nodes.TemplateData):
        yield data.data
    for constant in tree.find_all(nodes.Const):
        if isinstance(constant.value, str):
            yield constant.value


def _tree(source: str) -> nodes.Template:
    """The parsed template. Tags that mark an assistant's words say nothing to a reader."""
    environment = Environment(
        extensions=["jinja2.ext.loopcontrols"], trim_blocks=True, lstrip_blocks=True
    )
    try:
        return environment.parse(_GENERATION.sub("", source))
    except TemplateError as error:
        raise InputError(f"the chat template cannot be read: {error}") from error

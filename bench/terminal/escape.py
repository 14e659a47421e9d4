"""Text of others (records, data, file names) made fit for where it is shown: terminal, HTML,
Markdown, CSV, LaTeX.

A results folder may come from anybody. A terminal obeys escape sequences, a browser markup, a
spreadsheet formulas, and every one of them the marks that turn the direction of writing round. None
of these may act: they are shown.
"""

from __future__ import annotations

import html as _html
import re
import sys
import unicodedata
from collections.abc import Mapping
from typing import Any, TextIO

_JOINERS = "\u200c\u200d"
"""Format characters that words need (Persian, emoji) and that move nothing."""
_BREAKS = "\u2028\u2029"
_ASCII = re.compile(r"[\t\n\x20-\x7e]*")
_SPECIAL_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "−": "$-$",
    "―": "---",
}
# What GitHub's Markdown could take for markup inside a line; a bracket only where a link could
# follow it.
_SPECIAL_MARKDOWN = re.compile(r"[\\`*<>|~$]|\](?=[(\[:])|&(?=[#\w])|(?<!\w)_|_(?!\w)")
# and what it could take for a block at the line's beginning
_BLOCK_MARKDOWN = re.compile(r"(?:#|[-+=]|\d+[.)])")
_NUMBER = re.compile(r"[-+]?(\d[\d,]*\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_FORMULA = "=+-@＝＋－＠"
"""Signs with which a spreadsheet's formula begins, the wide ones too."""


def visible(text: str) -> str:
    r"""The text with what acts instead of being seen (control and direction marks, surrogates)
    spelt out: `\x1b`.

    Line breaks and tabs stay.
    """
    return text if _ASCII.fullmatch(text) else "".join(map(_visible, text))


def line(text: str) -> str:
    """The same in one line: each run of white space is one blank."""
    return " ".join(visible(text).split())


def terminal(text: str) -> str:
    """Text that a terminal shows and does not obey. Lines stay lines."""
    return visible(text)


def say(text: str, file: TextIO | None = None) -> None:
    """Print to stdout (or `file`) what may hold words of others;
    what its encoding has not is spelt out too.
    """
    out = file or sys.stdout
    coding = getattr(out, "encoding", None) or "utf-8"
    print(terminal(text).encode(coding, "backslashreplace").decode(coding), file=out)


def html(text: str) -> str:
    """For an element's content or a quoted attribute."""
    return _html.escape(visible(text))


def markdown(text: str) -> str:
    """For a cell, a heading or a line of prose of GitHub's Markdown."""
    return _SPECIAL_MARKDOWN.sub(
        lambda mark: "&amp;" if mark[0] == "&" else "\\" + mark[0], line(text)
    )


def prose(text: str) -> str:
    """For a line of Markdown's prose, which at its beginning could also be a heading,
    a list or a rule.
    """
    shown = markdown(text)
    block = _BLOCK_MARKDOWN.match(shown)
    return shown if block is None else shown[: block.end() - 1] + "\\" + shown[block.end() - 1 :]


def csv(value: Any) -> Any:
    """For a cell of a table that a spreadsheet may open:
    a text that would be a formula begins with an apostrophe.
    """
    if not isinstance(value, str):
        return value
    text = visible(value)
    first = text.lstrip()[:1]
    harmless = (
        not first
        or first not in _FORMULA
        or len(text.strip()) == 1
        or _NUMBER.fullmatch(text.strip())
    )
    return text if harmless else "'" + text


def latex(text: str) -> str:
    """For LaTeX's text mode, in one line."""
    return "".join(_SPECIAL_TEX.get(mark, mark) for mark in line(text))


def tree(value: Any) -> Any:
    """A JSON value with every text in it `visible`, names included."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {visible(str(name)): tree(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [tree(one) for one in value]
    return value


def _visible(mark: str) -> str:
    acts = unicodedata.category(mark) in ("Cc", "Cf", "Cs") or mark in _BREAKS
    if not acts or mark in "\t\n" or mark in _JOINERS:
        return mark
    return mark.encode("unicode_escape").decode()

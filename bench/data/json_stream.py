"""A JSON file read record by record, in memory for one record and a chunk of 8 MB.

Records are parsed by the standard `json` module in a moving window, not by ijson: at the same speed
it keeps what ijson turns into "?" or dies on (lone surrogates), so that a file reads the same
streamed or whole.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from bench.errors import InputError

CHUNK = 8 * 2**20
_BLANK = re.compile(r"[ \t\n\r]*")
_NUMBER_END = re.compile(r"[-+.0-9eE]*")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


@dataclass(frozen=True)
class Source:
    """A file, the name it has in messages (below the data root),
    and the command that fetches it again.
    """

    path: Path
    label: str
    remedy: str


def whole(source: Source, data: bytes) -> Any:
    """The one JSON value of a small file. Raises InputError with the place of the first mistake."""
    window = _Window(source, BytesIO(data))
    window.start_of_json()
    value, _ = window.value("the value")
    if window.peek():
        window.fail("text after the end of the JSON value")
    return value


def records(source: Source, file: BinaryIO) -> Iterator[tuple[Any, str]]:
    """Each entry of a JSON list with its own text, in file order,
    in memory for one entry and a chunk of 8 MB.
    """
    window = _Window(source, file)
    if window.start_of_json() != "[":
        raise InputError(f"{source.label}: not a list (need a list of questions)")
    window.at += 1
    position = 0
    while (mark := window.peek()) != "]" or position:
        if position:
            if not mark:
                window.incomplete(f"after record {position - 1}")
            if mark not in ",]":
                window.fail("expected ',' or ']'")
            window.at += 1
            if mark == "]":
                break
            window.peek()
        yield window.value(f"record {position}")
        position += 1
    else:
        window.at += 1
    if window.peek():
        window.fail("text after the end of the list")


class _Window:
    """The stretch of a file's text that is being parsed: `text[at:]` comes next, `text[0]` is
    character `start`.
    """

    def __init__(self, source: Source, file: BinaryIO) -> None:
        self.source, self.file = source, file
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.text, self.start, self.at, self.bytes = "", 0, 0, 0
        self.ended = False

    def more(self) -> bool:
        """Forget what is parsed and read on: at least as much again as is waiting.

        False at the end of the file.
        """
        if self.ended:
            return False
        waiting = self.text[self.at :]
        data = self.file.read(max(CHUNK, len(waiting)))
        self.ended = not data
        try:
            fresh = self.decoder.decode(data, final=self.ended)
        except UnicodeDecodeError as error:
            place = f"near byte {self.bytes + error.start}"
            raise InputError(
                f"{self.source.label}: not UTF-8 {place}: {self.source.remedy}"
            ) from error
        self.bytes += len(data)
        self.text, self.start, self.at = waiting + fresh, self.start + self.at, 0
        return True

    def peek(self) -> str:
        """The next character that is not white space, `""` at the end of the file."""
        while True:
            blank = _BLANK.match(self.text, self.at)
            self.at = blank.end() if blank else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def start_of_json(self) -> str:
        mark = self.peek()
        if not mark:
            raise InputError(f"{self.source.label}: the file is empty: {self.source.remedy}")
        if mark == "<":
            page = "looks like an HTML page; the download went wrong"
            raise InputError(f"{self.source.label}: {page}: {self.source.remedy}")
        return mark

    def value(self, name: str) -> tuple[Any, str]:
        """The next value and its text.

        A mistake that stays the same with more text is a mistake, not a cut.
        """
        last: tuple[str, int] | None = None
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                problem, cut = (
                    (error.msg, self.start + error.pos),
                    error.msg.startswith("Unterminated string"),
                )
                if (problem == last and not cut) or not self.more():
                    if self.ended and (cut or problem[1] >= self.start + len(self.text.rstrip())):
                        self.incomplete(f"inside {name}")
                    self.at = problem[1] - self.start
                    self.fail(f"{error.msg}, in {name}")
                last = problem
            except RecursionError:
                self.fail(f"lists or objects nested too deeply in {name}")
            except ValueError as error:
                self.fail(f"{str(error).split(';')[0]}, in {name}")
            else:
                if not self._may_go_on(end) or not self.more():
                    text, self.at = self.text[self.at : end], end
                    return value, text

    def _may_go_on(self, end: int) -> bool:
        """Whether the window may end inside a number: `1` stands in it, or `1e` of `1e+308`."""
        tail = _NUMBER_END.match(self.text, end)
        return tail is not None and tail.end() == len(self.text)

    def incomplete(self, place: str) -> NoReturn:
        raise InputError(
            f"{self.source.label}: the file ends {place}, incomplete: {self.source.remedy}"
        )

    def fail(self, problem: str) -> NoReturn:
        raise InputError(
            f"{self.source.label}: not JSON at character {self.start + self.at}: {problem}"
        )

"""One file over HTTP: a broken connection goes on where it stopped,
as long as the server still has the same file.
"""

from __future__ import annotations

import http.client
import re
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data import convert
from bench.data.file_bar import bar

_CHUNK = 2**18
_LONGEST_PAUSE = 30.0


class DownloadError(Exception):
    """A file cannot be had: the message says which, why, and what was tried. Exit code 1."""


@dataclass(frozen=True)
class Fetched:
    """A complete answer: the file that holds it, and the address it came from in the end,
    behind all redirects.
    """

    path: Path
    url: str


class _Interrupted(Exception):
    """A network error: worth another try."""


class _AnotherRange(_Interrupted):
    """The server sent a part that does not follow on what is here."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect within http and https, and never from https down to http."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        before, after = (
            urllib.parse.urlsplit(url).scheme.lower() for url in (req.full_url, newurl)
        )
        if after not in ("http", "https") or (before == "https" and after == "http"):
            raise DownloadError(
                f"{req.full_url}: redirected to {newurl}, from {before} to {after}: not followed"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(url: str, target: Path, *, retries: int, timeout: float, pause: float) -> Fetched:
    """The complete answer of `url` as `{target}.part`, over as many connections as it takes. Raises
    DownloadError.

    `timeout`: seconds without an answer. `pause`: seconds before the second try, doubled each time,
    at most 30.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    state = _state(target)
    if _part(target).exists() and state.get("bytes") == _part(target).stat().st_size:
        # complete, but its partner was not to be had
        return Fetched(_part(target), str(state.get("url", url)))
    for tried in range(retries + 1):
        try:
            return _attempt(url, target, timeout)
        except _Interrupted as error:
            problem = error
        if tried < retries:
            time.sleep(min(pause * 2**tried, _LONGEST_PAUSE))
    kept = _part(target).stat().st_size if _part(target).exists() else 0
    goes_on = f"; {kept:,} bytes are kept, run the command again to go on" if kept else ""
    raise DownloadError(f"{url}: {problem} (tried {retries + 1} times{goes_on})")


def _attempt(url: str, target: Path, timeout: float) -> Fetched:
    part, validator = _part(target), _state(target).get("validator")
    have = part.stat().st_size if part.exists() and validator else 0
    headers = {"User-Agent": "lamplight", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": str(validator)}
    try:
        opener = urllib.request.build_opener(_Redirects)
        with opener.open(urllib.request.Request(url, headers=headers), timeout=timeout) as answer:
            start, total = _extent(answer, have)
            if start == 0:
                _remember(target, validator=_validator(answer))
            elif _validator(answer) not in (None, validator):
                forget(target)
                raise _Interrupted("the file changed on the server")
            size, final = _receive(answer, part, start, total), str(answer.url)
    except _AnotherRange:
        forget(target)
        if not have:
            raise
        return _attempt(url, target, timeout)  # the whole file, as nothing is here now
    except urllib.error.HTTPError as error:
        answer = f"the server answers {error.code} {error.reason}"
        if error.code == 416:  # what we have is longer than the file
            forget(target)
        if error.code in (408, 416, 429) or error.code >= 500:
            raise _Interrupted(answer) from error
        raise DownloadError(f"{url}: {answer}") from error
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        ConnectionError,
        TimeoutError,
        ssl.SSLError,
    ) as error:
        problem = getattr(error, "reason", None) or error or type(error).__name__
        raise _Interrupted(f"network error: {problem}") from error
    except DownloadError:
        forget(target)
        raise
    if total is not None and size != total:
        raise _Interrupted(f"the connection ended at {size:,} of {total:,} bytes")
    _remember(target, validator=_state(target).get("validator"), bytes=size, url=final)
    return Fetched(part, final)


def _state(target: Path) -> dict[str, Any]:
    """What is known of an unfinished download: its `validator`;
    once it is complete, its `bytes` and `url`.
    """
    return convert.load_json(_part(target, ".part.json"))


def _remember(target: Path, **state: Any) -> None:
    convert.save_json(_part(target, ".part.json"), state)


def _extent(answer: Any, have: int) -> tuple[int, int | None]:
    """First byte and full size (None where the server does not say) of what this answer brings."""
    if answer.status == 206:
        match = re.fullmatch(
            r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip()
        )
        if match and int(match[1]) == have:
            return have, None if match[2] == "*" else int(match[2])
        raise _AnotherRange("the server sent another range than asked")
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _validator(answer: Any) -> str | None:
    """What tells one version of the file from the next:
    a strong ETag, else the time of its last change.
    """
    tag: str = answer.headers.get("ETag", "")
    changed: str | None = answer.headers.get("Last-Modified")
    return tag if tag and not tag.startswith("W/") else changed


def _receive(answer: Any, part: Path, start: int, total: int | None) -> int:
    """Append to the part file; its size when the connection ends."""
    size = start
    with (
        part.open("ab" if start else "wb") as file,
        bar(part.stem, total, enabled=sys.stderr.isatty(), unit="bytes") as advance,
    ):
        advance(start)
        while chunk := answer.read(_CHUNK):
            if size == 0 and _is_page(chunk):
                raise DownloadError(
                    f"{answer.url}: an HTML page instead of data; the address is wrong or has moved"
                )
            file.write(chunk)
            size += len(chunk)
            advance(len(chunk))
    return size


def _is_page(start: bytes) -> bool:
    head = start[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    # A review may quote HTML; JSON is told by its first character.
    return not head.startswith((b"[", b"{")) and (head.startswith(b"<") or b"<html" in head)


def _part(target: Path, suffix: str = ".part") -> Path:
    return target.with_name(target.name + suffix)


def forget(target: Path) -> None:
    """Remove what an unfinished download of `target` has left."""
    for suffix in (".part", ".part.json"):
        _part(target, suffix).unlink(missing_ok=True)

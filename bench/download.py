"""Fetch the official LaMP files: resumable, verified, never half there.

    python -m bench.download task=lamp3                          # user-based train, dev and test into data/lamp
    python -m bench.download task=lamp2,lamp4 split=time parts=train,dev
    python -m bench.download task=lamp3 root=/data/lamp base=https://mirror.example.org/LaMP

    task     lamp1 lamp2 (movies) lamp2n (news) lamp3 lamp4 lamp5 lamp6 lamp7; several with commas
    split    user (default): other people in train, dev and test; time: the same people, later questions
    parts    train,dev,test (default: all three); test has no golds, they are not public
    root     where the files go, in LaMP's own layout (default: data/lamp)
    base     where they come from (default: https://ciir.cs.umass.edu/downloads/LaMP)
    retries  how often a file is tried again after a network error (default: 5)
    timeout  seconds without an answer that count as a network error (default: 60)

An interrupted download goes on where it stopped. A file appears under its name only when it is complete and its JSON,
its questions and its golds fit together; {root}/lamplight_download.json says what came from where.
Exit code: 0 done, 1 a file could not be had, 2 a mistake in the command.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bench.data import convert
from bench.types import InputError

BASE = "https://ciir.cs.umass.edu/downloads/LaMP"
FOLDERS = {"lamp1": "LaMP_1", "lamp2": "LaMP_2/new", "lamp2n": "LaMP_2"} | {
    f"lamp{number}": f"LaMP_{number}" for number in range(3, 8)
}
PARTS = ("train", "dev", "test")
MANIFEST = "lamplight_download.json"
_CHUNK = 2**18
_LONGEST_PAUSE = 30.0
_LICENSED = (
    "note: LaMP-6 is made of the Avocado mails (LDC2015T03), which are licensed: these files hold only the mails' names. "
    "Fill the texts in with LaMP's own script before use; see https://lamp-benchmark.github.io/download"
)


class DownloadError(Exception):
    """A file cannot be had: the message says which, why, and what was tried. Exit code 1."""


class _Interrupted(Exception):
    """A network error: worth another try."""


@dataclass(frozen=True)
class Order:
    """What to fetch. `pause`: seconds before the second try, doubled each time, at most 30."""

    tasks: tuple[str, ...]
    split: str = "user"
    parts: tuple[str, ...] = PARTS
    root: Path = Path("data/lamp")
    base: str = BASE
    retries: int = 5
    timeout: float = 60.0
    pause: float = 1.0

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Order:
        """From `key=value` words. Raises InputError."""
        known = {"task": "", "split": "user", "parts": ",".join(PARTS), "root": "data/lamp", "base": BASE}
        known |= {"retries": "5", "timeout": "60"}
        for argument in arguments:
            key, equals, value = argument.partition("=")
            if key not in known or not equals or not value:
                close = get_close_matches(key.lstrip("-"), known, n=1)
                hint = f"did you mean {close[0]}=...?" if close else f"known: {', '.join(f'{key}=' for key in known)}"
                raise InputError(f"{argument!r} is not understood ({hint})")
            known[key] = value
        tasks = _choices("task", known["task"], tuple(FOLDERS))
        (split,) = _choices("split", known["split"], ("user", "time"), one=True)
        if split == "time" and "lamp6" in tasks:
            raise InputError("task=lamp6 has no time-based split (need split=user)")
        if not known["base"].startswith(("http://", "https://")):
            raise InputError(f"base={known['base']} (need an http:// or https:// address)")
        try:
            retries, timeout = int(known["retries"]), float(known["timeout"])
        except ValueError:
            retries, timeout = -1, -1.0
        if retries < 0 or not 0 < timeout < float("inf"):
            raise InputError(f"retries={known['retries']} timeout={known['timeout']} (need a count and seconds)")
        root, base = Path(known["root"]).expanduser(), known["base"].rstrip("/")
        return cls(tasks, split, _choices("parts", known["parts"], PARTS), root, base, retries, timeout)


def _choices(key: str, text: str, known: Sequence[str], *, one: bool = False) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(text.split(",")))
    if not set(chosen) <= set(known) or (one and len(chosen) > 1):
        raise InputError(f"{key}={text} (need {'one' if one else 'one or more, with commas,'} of {', '.join(known)})")
    return chosen


def download(order: Order, say: Callable[[str], None] = print) -> None:
    """Fetch and verify all files of the order. Raises DownloadError."""
    for task in order.tasks:
        if task == "lamp6":
            say(_LICENSED)
        for part in order.parts:
            folder = f"{'time/' if order.split == 'time' else ''}{FOLDERS[task]}/{part}"
            questions = _file(order, task, f"{folder}/{part}_questions.json", say)
            if part != "test":
                golds = _file(order, task, f"{folder}/{part}_outputs.json", say)
                _must_match(f"{folder}/{part}_outputs.json", questions, golds)


def _file(order: Order, task: str, label: str, say: Callable[[str], None]) -> list[str]:
    """One file, fetched unless it is there, verified and entered in the manifest; its ids."""
    target, url = order.root / label, f"{order.base}/{label}"
    what = "questions" if label.endswith("_questions.json") else "golds"
    source = convert.Source(target, label, f"python -m bench.download task={task} split={order.split}")
    if target.is_file():
        ids = _ids(source, target)
        say(f"{label}: already there, {len(ids):,} {what}")
        return ids
    part = fetch(url, target, order)
    try:
        ids = _ids(source, part)
        os.replace(part, target)
    finally:
        _forget(target)
    with target.open("rb") as file:
        sha = hashlib.file_digest(file, "sha256").hexdigest()
    size, now = target.stat().st_size, datetime.now(UTC).isoformat(timespec="seconds")
    _enter(order, label, {"url": url, "bytes": size, "sha256": sha, "count": len(ids), "date": now})
    say(f"{label}: {len(ids):,} {what}, {size / 1e6:,.1f} MB")
    return ids


def fetch(url: str, target: Path, order: Order) -> Path:
    """The complete answer of `url` as `{target}.part`, over as many connections as it takes. Raises DownloadError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for tried in range(order.retries + 1):
        try:
            return _attempt(url, target, order)
        except _Interrupted as error:
            problem = error
        if tried < order.retries:
            time.sleep(min(order.pause * 2**tried, _LONGEST_PAUSE))
    kept = _part(target).stat().st_size if _part(target).exists() else 0
    goes_on = f"; {kept:,} bytes are kept, run the command again to go on" if kept else ""
    raise DownloadError(f"{url}: {problem} (tried {order.retries + 1} times{goes_on})")


def _attempt(url: str, target: Path, order: Order) -> Path:
    part, validator = _part(target), convert.load_json(_part(target, ".part.json")).get("validator")
    have = part.stat().st_size if part.exists() and validator else 0
    headers = {"User-Agent": "lamplight", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": str(validator)}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=order.timeout) as answer:
            start, total = _extent(answer, have)
            if start == 0:
                convert.save_json(_part(target, ".part.json"), {"validator": _validator(answer)})
            elif _validator(answer) not in (None, validator):
                _forget(target)
                raise _Interrupted("the file changed on the server")
            size = _receive(answer, part, start, total)
    except urllib.error.HTTPError as error:
        answer = f"the server answers {error.code} {error.reason}"
        if error.code == 416:  # what we have is longer than the file
            _forget(target)
        if error.code in (408, 416, 429) or error.code >= 500:
            raise _Interrupted(answer) from error
        raise DownloadError(f"{url}: {answer}") from error
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        problem = getattr(error, "reason", None) or error or type(error).__name__
        raise _Interrupted(f"network error: {problem}") from error
    except DownloadError:
        _forget(target)
        raise
    if total is not None and size != total:
        raise _Interrupted(f"the connection ended at {size:,} of {total:,} bytes")
    return part


def _extent(answer: Any, have: int) -> tuple[int, int | None]:
    """First byte and full size (None where the server does not say) of what this answer brings."""
    if answer.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
        if match and int(match[1]) == have:
            return have, None if match[2] == "*" else int(match[2])
        raise _Interrupted("the server sent another range than asked")
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _validator(answer: Any) -> str | None:
    """What tells one version of the file from the next: a strong ETag, else the time of its last change."""
    tag: str = answer.headers.get("ETag", "")
    changed: str | None = answer.headers.get("Last-Modified")
    return tag if tag and not tag.startswith("W/") else changed


def _receive(answer: Any, part: Path, start: int, total: int | None) -> int:
    """Append to the part file; its size when the connection ends."""
    size = start
    with (
        part.open("ab" if start else "wb") as file,
        convert.bar(part.stem, total, enabled=sys.stderr.isatty(), unit="bytes") as advance,
    ):
        advance(start)
        while chunk := answer.read(_CHUNK):
            if size == 0 and _is_page(chunk):
                raise DownloadError(f"{answer.url}: an HTML page instead of data; the address is wrong or has moved")
            file.write(chunk)
            size += len(chunk)
            advance(len(chunk))
    return size


def _is_page(start: bytes) -> bool:
    head = start[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    # A review may quote HTML; JSON is told by its first character.
    return not head.startswith((b"[", b"{")) and (head.startswith(b"<") or b"<html" in head)


def _ids(source: convert.Source, path: Path) -> list[str]:
    """The question ids of a questions or an outputs file, all of it parsed."""
    try:
        if path.name.removesuffix(".part").endswith("_questions.json"):
            with path.open("rb") as file:
                entries = [raw.get("id") if isinstance(raw, dict) else None for raw, _ in convert.records(source, file)]
        else:
            value = convert.whole(source, path.read_bytes())
            golds = value.get("golds") if isinstance(value, dict) else None
            entries = [raw.get("id") if isinstance(raw, dict) else None for raw in golds or ()]
    except InputError as error:
        raise DownloadError(str(error)) from error
    if not entries or None in entries:
        raise DownloadError(f"{source.label}: not a LaMP file (need entries with an 'id'); remove it and run again")
    return [str(entry) for entry in entries]


def _must_match(label: str, questions: Sequence[str], golds: Sequence[str]) -> None:
    odd = sorted(set(questions) ^ set(golds))
    if odd or len(questions) != len(golds):
        which = f", such as {', '.join(name[:40] for name in odd[:5])}" if odd else ""
        problem = f"{len(golds):,} golds for {len(questions):,} questions, {len(odd):,} without a partner{which}"
        raise DownloadError(f"{label}: {problem}; remove both files and run again")


def _part(target: Path, suffix: str = ".part") -> Path:
    return target.with_name(target.name + suffix)


def _forget(target: Path) -> None:
    for suffix in (".part", ".part.json"):
        _part(target, suffix).unlink(missing_ok=True)


def _enter(order: Order, label: str, entry: dict[str, Any]) -> None:
    manifest = order.root / MANIFEST
    fresh = _part(manifest, ".new")
    fresh.write_text(json.dumps(convert.load_json(manifest) | {label: entry}, indent=2, sort_keys=True) + "\n")
    os.replace(fresh, manifest)


def main(arguments: Sequence[str]) -> int:
    if not arguments or {"-h", "--help", "help"} & set(arguments):
        print(__doc__.strip())
        return 0 if arguments else 2
    try:
        download(Order.parse(arguments), say=lambda line: print(line, flush=True))
    except InputError as error:
        return _failed(f"{error}\nHelp: python -m bench.download --help", 2)
    except DownloadError as error:
        return _failed(str(error), 1)
    except OSError as error:
        return _failed(f"cannot write {error.filename or 'the file'}: {error.strerror or error}", 1)
    except KeyboardInterrupt:
        return _failed("stopped; run the same command again to go on", 1)
    return 0


def _failed(problem: str, code: int) -> int:
    print(f"bench.download: {problem}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Fetch the official LaMP files: resumable, verified, never half there.

    python -m bench.download task=lamp3       # user-based train, dev and test into data/lamp
    python -m bench.download task=lamp2,lamp4 split=time parts=train,dev
    python -m bench.download task=lamp3 root=/data/lamp base=https://mirror.example.org/LaMP

    task     lamp1 lamp2 (movies) lamp2n (news) lamp3 lamp4 lamp5 lamp6 lamp7; several with commas
    split    user (default): other people in train, dev and test;
             time: the same people, later questions
    parts    train,dev,test (default: all three); test has no golds, they are not public
    root     where the files go, in LaMP's own layout (default: data/lamp)
    base     where they come from (default: https://ciir.cs.umass.edu/downloads/LaMP)
    retries  how often a file is tried again after a network error (default: 5)
    timeout  seconds without an answer that count as a network error (default: 60)

An interrupted download goes on where it stopped. A file appears under its name only when it is
complete and its JSON, its questions and its golds fit together; {root}/lamplight_download.json says
what came from where. Exit code: 0 done, 1 a file could not be had, 2 a mistake in the command.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bench.checks import conf_files
from bench.checks.catalog import alike
from bench.data import convert, json_stream
from bench.data.fetch import DownloadError, Fetched, fetch, forget
from bench.errors import InputError
from bench.terminal import escape, silence
from bench.terminal.pipe import unpiped

BASE = "https://ciir.cs.umass.edu/downloads/LaMP"
OFFICIAL = "LaMP_"
"""How LaMP's own names of its tasks begin."""
PARTS = ("train", "dev", "test")
MANIFEST = "lamplight_download.json"
_LICENSED = (
    "note: LaMP-6 is made of the Avocado mails (LDC2015T03), which are licensed: these files hold"
    " only the mails' names. Fill the texts in with LaMP's own script before use; see"
    " https://lamp-benchmark.github.io/download"
)


def _folders() -> dict[str, str]:
    """The folder of each task that LaMP's site has, as the task's file says it."""
    folders = {}
    for name in conf_files.names("task"):
        task = conf_files.option("task", name)
        if str(task["official"]).startswith(OFFICIAL):
            folders[name] = str(task["folder"])
    return folders


FOLDERS = _folders()


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
        known = {
            "task": "",
            "split": "user",
            "parts": ",".join(PARTS),
            "root": "data/lamp",
            "base": BASE,
        }
        known |= {"retries": "5", "timeout": "60"}
        for argument in arguments:
            key, equals, value = argument.partition("=")
            if not equals and alike(argument, FOLDERS):
                raise InputError(f"{argument}: write task={alike(argument, FOLDERS)}")
            if key not in known or not equals or not value:
                close = get_close_matches(key.lstrip("-"), known, n=1)
                hint = (
                    f"did you mean {close[0]}=...?"
                    if close
                    else f"known: {', '.join(f'{key}=' for key in known)}"
                )
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
            raise InputError(
                f"retries={known['retries']} timeout={known['timeout']} (need a count and seconds)"
            )
        root, base = Path(known["root"]).expanduser(), known["base"].rstrip("/")
        return cls(
            tasks, split, _choices("parts", known["parts"], PARTS), root, base, retries, timeout
        )


def _choices(key: str, text: str, known: Sequence[str], *, one: bool = False) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(alike(word, known) or word for word in text.split(",")))
    if not set(chosen) <= set(known) or (one and len(chosen) > 1):
        raise InputError(
            f"{key}={text} (need {'one' if one else 'one or more, with commas,'} of"
            f" {', '.join(known)})"
        )
    return chosen


@dataclass(frozen=True)
class _File:
    """One file of the order: `label` below the root, and the ids in it.

    `fetched`: what is not yet under its own name; None for a file that was there.
    """

    label: str
    target: Path
    ids: list[str]
    fetched: Fetched | None

    @property
    def what(self) -> str:
        return "questions" if self.label.endswith("_questions.json") else "golds"


def download(order: Order, say: Callable[[str], None] = print) -> None:
    """Fetch and verify all files of the order. Raises DownloadError.

    Questions and their golds get their names together, once they fit each other.
    """
    for task in order.tasks:
        if task == "lamp6":
            say(_LICENSED)
        for part in order.parts:
            folder = f"{'time/' if order.split == 'time' else ''}{FOLDERS[task]}/{part}"
            files = [_file(order, task, f"{folder}/{part}_questions.json")]
            if part != "test":
                files.append(_file(order, task, f"{folder}/{part}_outputs.json"))
                _must_match(*files)
            for file in files:
                _place(order, file, say)


def _file(order: Order, task: str, label: str) -> _File:
    """One file with its ids: the one that is there, or fetched and parsed."""
    target, url = order.root / label, f"{order.base}/{label}"
    source = json_stream.Source(
        target, label, f"python -m bench.download task={task} split={order.split}"
    )
    if target.is_file():
        return _File(label, target, _ids(source, target), None)
    fetched = fetch(url, target, retries=order.retries, timeout=order.timeout, pause=order.pause)
    try:
        return _File(label, target, _ids(source, fetched.path), fetched)
    except DownloadError:
        forget(target)
        raise


def _place(order: Order, file: _File, say: Callable[[str], None]) -> None:
    """Give a fetched file its own name, and enter it in the manifest."""
    if file.fetched is None:
        say(f"{file.label}: already there, {len(file.ids):,} {file.what}")
        return
    os.replace(file.fetched.path, file.target)
    forget(file.target)
    with file.target.open("rb") as content:
        sha = hashlib.file_digest(content, "sha256").hexdigest()
    size, now = file.target.stat().st_size, datetime.now(UTC).isoformat(timespec="seconds")
    entry = {
        "url": f"{order.base}/{file.label}",
        "bytes": size,
        "sha256": sha,
        "count": len(file.ids),
        "date": now,
    }
    if file.fetched.url != entry["url"]:
        entry["final_url"] = file.fetched.url
    _enter(order, file.label, entry)
    say(f"{file.label}: {len(file.ids):,} {file.what}, {size / 1e6:,.1f} MB")


def _ids(source: json_stream.Source, path: Path) -> list[str]:
    """The question ids of a questions or an outputs file, all of it parsed."""
    try:
        if path.name.removesuffix(".part").endswith("_questions.json"):
            with path.open("rb") as file:
                entries = [
                    raw.get("id") if isinstance(raw, dict) else None
                    for raw, _ in json_stream.records(source, file)
                ]
        else:
            value = json_stream.whole(source, path.read_bytes())
            golds = value.get("golds") if isinstance(value, dict) else None
            entries = [raw.get("id") if isinstance(raw, dict) else None for raw in golds or ()]
    except InputError as error:
        raise DownloadError(str(error)) from error
    if not entries or None in entries:
        raise DownloadError(
            f"{source.label}: not a LaMP file (need entries with an 'id'); remove it and run again"
        )
    return [str(entry) for entry in entries]


def _must_match(questions: _File, golds: _File) -> None:
    """Raises DownloadError unless there is one gold for each question;
    what was fetched now is not kept then.
    """
    odd = sorted(set(questions.ids) ^ set(golds.ids))
    if not odd and len(questions.ids) == len(golds.ids):
        return
    for file in (questions, golds):
        forget(file.target)
    there = [str(file.target) for file in (questions, golds) if file.fetched is None]
    advice = f"remove {' and '.join(there)} and run again" if there else "nothing of both is kept"
    which = f", such as {', '.join(name[:40] for name in odd[:5])}" if odd else ""
    counts = (
        f"{len(golds.ids):,} golds for {len(questions.ids):,} questions, {len(odd):,} without a"
        " partner"
    )
    raise DownloadError(f"{golds.label}: {counts}{which}; {advice}")


def _enter(order: Order, label: str, entry: dict[str, Any]) -> None:
    manifest = order.root / MANIFEST
    fresh = manifest.with_name(manifest.name + ".new")
    fresh.write_text(
        json.dumps(convert.load_json(manifest) | {label: entry}, indent=2, sort_keys=True) + "\n"
    )
    os.replace(fresh, manifest)


def main(arguments: Sequence[str]) -> int:
    if not arguments or {"-h", "--help", "help"} & set(arguments):
        print(__doc__.strip())
        return 0 if arguments else 2
    silence.libraries()
    try:
        download(Order.parse(arguments), say=lambda line: print(line, flush=True))
    except InputError as error:
        return _failed(f"{error}\nHelp: python -m bench.download --help", 2)
    except DownloadError as error:
        return _failed(str(error), 1)
    except OSError as error:
        return _failed(f"cannot write {error.filename or 'the file'}: {error.strerror or error}", 1)
    except KeyboardInterrupt:
        return _failed("stopped; run the same command again to go on", 130)
    return 0


def _failed(problem: str, code: int) -> int:
    escape.say(f"bench.download: {escape.line(problem)}", sys.stderr)
    return code


if __name__ == "__main__":
    unpiped()
    sys.exit(main(sys.argv[1:]))

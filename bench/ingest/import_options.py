"""The words of `python -m bench.ingest`, and the import that they ask for."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from bench.errors import InputError
from bench.ingest.columns import QUESTIONS, ROLES
from bench.ingest.guesses import Wishes
from bench.ingest.import_job import ImportJob
from bench.ingest.split_rule import SplitRule
from bench.ingest.table import TableFile

ABOUT = """\
Make a task of your own data: files that data=folder reads, and task.yaml beside them.

  python -m bench.ingest reviews.csv --out data/mine
  python -m bench.ingest reviews.csv --user reviewer --input text --output stars --date when \\
      --kind rating --out data/mine
  python -m bench data=folder data.root=data/mine method=rag

FILES are CSV, TSV, JSON lines, a JSON list or Parquet, one or many of the same columns. A row is
one thing that a user wrote or saw (--input) and the rating, label or text that goes with it
(--output). What is not given is guessed, and the guess is shown. A user's newest rows become
questions, and the rows before them the history. Some users are tested (dev), the others are for
training (train), and nobody is in both.
"""
FOOT = """\
Exit codes: 0 done, 1 the folder could not be written, 2 bad input. More: docs/your_data.md."""

KINDS = ("classification", "rating", "generation")


class Parser(argparse.ArgumentParser):
    """Mistakes are one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (python -m bench.ingest --help)")


def parser() -> Parser:
    """All options, with their help."""
    options = Parser(
        prog="python -m bench.ingest",
        description=ABOUT,
        epilog=FOOT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = options.add_argument
    add("files", nargs="+", metavar="FILE", type=Path, help="the data")
    add("--out", required=True, type=Path, metavar="FOLDER", help="the new folder")
    add("--name", default="", help="of the task (default: the folder's name)")
    add("--dry-run", action="store_true", help="report, and write nothing")
    add("--replace", action="store_true", help="write over an earlier import")
    _reading(options.add_argument_group("columns (author.id is a field of an object)"))
    _answering(options.add_argument_group("answers"))
    _splitting(options.add_argument_group("who is asked what"))
    return options


def _reading(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    for role in ROLES:
        add(f"--{role}", metavar="NAME", help=QUESTIONS[role])
    add("--no-date", action="store_true", help="rows have no order in time")
    forms = 'as "%%d.%%m.%%Y %%H:%%M", or seconds, milliseconds (default: guessed)'
    add("--date-format", metavar="FORM", help=forms)
    add("--delimiter", default="", metavar="SIGN", help="of CSV (default: guessed)")
    add("--encoding", default="utf-8-sig", help="of CSV (default: UTF-8)")
    add("--skip-bad", action="store_true", help="leave out and count rows that cannot be used")


def _answering(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--kind", help="classification, rating or generation (a text)")
    add("--scale", default="", metavar="LOW:HIGH:STEP", help="of ratings, as 1:10:0.5")
    lists = "of several labels in a row, of which the first counts"
    add("--separator", default="", metavar="SIGN", help=lists)
    add("--ignore-case", action="store_true", help="labels that differ in capitals are one")


def _splitting(group: argparse._ArgumentGroup) -> None:
    rule = SplitRule()

    def number(name: str, default: int | float | None, words: str) -> None:
        is_share = isinstance(default, float)
        known = "" if default is None else f" (default: {default})"
        group.add_argument(
            f"--{name}",
            type=float if is_share else int,
            default=default,
            metavar="SHARE" if is_share else "N",
            help=words + known,
        )

    number("questions", rule.questions, "of a user's rows, the newest, are asked")
    number("most", rule.most, "questions of a user at most")
    number("last", None, "questions of a user, in place of a share")
    number("least", rule.least, "leave out users with less history")
    number("history", rule.history, "items that are kept of a user, the newest")
    number("dev", rule.dev, "of the users are tested")
    number("most-dev", rule.most_dev, "tested users at most")
    number("users", None, "only so many users, drawn at random")
    number("seed", rule.seed, "of every draw")
    group.add_argument(
        "--duplicates",
        choices=("drop", "flag"),
        default="drop",
        help="texts that stand in a history and a question, or in train and dev (default: drop)",
    )


def job_of(arguments: Sequence[str]) -> ImportJob:
    """The import that the arguments ask for. Raises InputError."""
    given = parser().parse_args(arguments)
    _check(given)
    delimiter = given.delimiter.replace("\\t", "\t")
    files = [TableFile(path, given.encoding, delimiter) for path in given.files]
    columns = {role: getattr(given, role) for role in ROLES}
    rule = SplitRule(
        questions=given.questions,
        last=given.last,
        most=given.most,
        least=given.least,
        history=given.history,
        dev=given.dev,
        most_dev=given.most_dev,
        users=given.users,
        seed=given.seed,
    )
    return ImportJob(
        files=tuple(files),
        out=given.out,
        name=_name(given.name, given.out),
        wishes=Wishes(columns, given.kind, given.date_format, given.no_date, given.separator),
        rule=rule,
        scale=given.scale,
        fold=given.ignore_case,
        drop=given.duplicates == "drop",
        skip_bad=given.skip_bad,
        dry=given.dry_run,
        progress=sys.stderr.isatty(),
        replace=given.replace,
    )


def _check(given: argparse.Namespace) -> None:
    if given.kind == "choice":
        raise InputError(
            "--kind choice: questions with options of their own are not read; give the option that"
            " was chosen as --output, with --kind classification or generation"
        )
    if given.kind not in (None, *KINDS):
        raise InputError(f"--kind {given.kind}: choose {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    if len(given.delimiter.replace("\\t", "\t")) > 1:
        raise InputError(f"--delimiter {given.delimiter}: one sign, as ; or \\t")
    lowest = {"most": 1, "last": 1, "least": 1, "history": 1, "most_dev": 1, "users": 2}
    for name, low in lowest.items():
        value = getattr(given, name)
        if value is not None and value < low:
            raise InputError(f"--{name.replace('_', '-')} {value}: a whole number from {low}")
    for name in ("questions", "dev"):
        if not 0 < getattr(given, name) < 1:
            raise InputError(f"--{name} {getattr(given, name):g}: a share between 0 and 1")


def _name(name: str, out: Path) -> str:
    """A name that folders and files may have."""
    clean = re.sub(r"[^A-Za-z0-9_-]+", "_", name or out.absolute().name).strip("_") or "mine"
    if name and clean != name:
        raise InputError(f"--name {name}: letters, digits, '-' and '_'")
    return clean

"""The command line of `python -m bench.report`: what it may ask for, and with which options."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from bench.errors import InputError
from bench.report.render import Format

ROOT = Path("results/runs")
PROGRAM = "python -m bench.report"
USAGE = f"""{PROGRAM} [--results DIR]... [--task TASK] [--format text|md|csv]
       {PROGRAM} NAME [--results DIR]... [--scale SCALE] [--format text|md|csv|tex|html]
                                   [--out DIR] [--user ID]
       {PROGRAM} compare A B [--results DIR]...
       {PROGRAM} power A B --effect SIZE [--results DIR]...
       {PROGRAM} page [FILE] [--results DIR]... [--users N]"""
EXAMPLES = """
examples:
  python -m bench.report                                   everything below results/runs
  python -m bench.report --task lamp3 --format md          one task, as Markdown
  python -m bench.report --results results/runs --results results/published --format csv
  python -m bench.report chameleon_table1 --scale laptop   an experiment beside the paper's numbers
  python -m bench.report chameleon_fig3 --out figures     its tables in every format and its figures
  python -m bench.report compare 3fa9 81c0                 cell 3fa9... minus 81c0..., by query
  python -m bench.report compare results/runs/lamp3/chameleon/3fa9c0d2e4b61a07 81c0
  python -m bench.report power 3fa9 81c0 --effect .02      users that would show a difference of .02
  python -m bench.report oppu_fig5 --user 310              what each arm answered to one user
  python -m bench.report page --out report.html            one page to look around in

Cells with other data, models, kinds of base or protocols stand in tables of their own.
Failed cells are rows with their error.
Exit code: 0 done, 1 the report could not be written, 2 bad input.
"""
FORMATS = get_args(Format)

OPTIONS = ("task", "format", "scale", "out", "users", "effect", "user")
ALLOWED: Mapping[str | None, Sequence[str]] = {
    None: ("task", "format"),
    "compare": (),
    "power": ("effect",),
    "page": ("out", "users"),
}
"""The options that go with each command; None: the table of all cells."""
OF_EXPERIMENT = ("format", "scale", "out", "user")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """`command`: `compare`, `power`, `page`, `help`, an experiment's name, or None. `names`: what
    stands behind it. `roots`: the results folders. Raises InputError for an option that does not
    go with the command.
    """
    options = parser().parse_intermixed_args(arguments)
    options.command, *options.names = options.what or [None]
    options.roots = options.results or [ROOT]
    if options.command == "page" and len(options.names) == 1 and not options.out:
        # page FILE, as one would type it
        options.out = Path(options.names.pop())
    if options.command != "help":
        _check(options)
    return options


def _check(options: argparse.Namespace) -> None:
    allowed = ALLOWED.get(options.command, OF_EXPERIMENT)
    for name in OPTIONS:
        if getattr(options, name) is not None and name not in allowed:
            command = options.command or "the table of all cells"
            raise InputError(f"--{name} is not for {command}; see {PROGRAM} --help")


def parser() -> argparse.ArgumentParser:
    """With the help that `--help` prints."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=USAGE,
        description=(
            "Show finished cells as tables, figures or a page, or compare two. Reads results, loads"
            " no model."
        ),
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = "an experiment's name; compare and two cells (folders, or beginnings of keys); or page"
    parser.add_argument("what", nargs="*", metavar="NAME | compare A B | page", help=what)
    where = f"folder with results; repeat for several (default: {ROOT})"
    parser.add_argument("--results", action="append", type=Path, metavar="DIR", help=where)
    parser.add_argument("--task", help="of the table of all cells, only this task, such as lamp3")
    parser.add_argument("--format", choices=FORMATS, help="default: text")
    parser.add_argument(
        "--scale", help="of an experiment (default: every scale at which it has been run)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="write files into this folder (an experiment) or this file (the page)",
    )
    parser.add_argument(
        "--effect", type=float, metavar="SIZE", help="of power: a difference, such as .02"
    )
    parser.add_argument("--user", metavar="ID", help="of a case (oppu_fig5): whom it shows")
    parser.add_argument(
        "--users",
        type=int,
        metavar="N",
        help="of the page: users with texts per cell (default: 50)",
    )
    return parser

"""`python -m bench.report`: tables of all cells; `python -m bench.report compare A B`: a paired comparison of two."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from bench import store
from bench.report import tables
from bench.types import InputError

ROOT = Path("results/runs")
PROGRAM = "python -m bench.report"
USAGE = f"""{PROGRAM} [--results DIR]... [--task TASK] [--format text|md|csv]
       {PROGRAM} compare A B [--results DIR]..."""
EXAMPLES = """
examples:
  python -m bench.report                                   everything below results/runs
  python -m bench.report --task lamp3 --format md          one task, as Markdown
  python -m bench.report --results results/runs --results results/published --format csv
  python -m bench.report compare 3fa9 81c0                 cell 3fa9... minus cell 81c0..., query by query
  python -m bench.report compare results/runs/lamp3/chameleon/3fa9c0d2e4b61a07 81c0

Cells with other data, models, bases or protocols stand in tables of their own. Failed cells are rows with their error.
Exit code: 0 done, 2 bad input.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table or a comparison. Exit code 0, or 2 with one line that says what was wrong with the input."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "compare":
            if options.task or options.format:
                raise InputError("--task and --format are for tables; compare takes only --results")
            print(_comparison(options.a, options.b, options.results or [ROOT]))
        else:
            print(_table(options.results or [ROOT], options.task, options.format or "text"))
        sys.stdout.flush()
    except InputError as error:
        print(f"bench.report: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` say, has seen enough; nothing may be flushed to it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=USAGE,
        description="Show finished cells as tables, or compare two of them. Reads results only and loads no model.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where: dict[str, Any] = {"action": "append", "type": Path, "metavar": "DIR"}
    where["help"] = f"folder with results; repeat for several (default: {ROOT})"
    parser.add_argument("--results", **where)
    parser.add_argument("--task", help="only this task, such as lamp3")
    parser.add_argument("--format", choices=get_args(tables.Format), help="default: text")
    commands = parser.add_subparsers(dest="command", metavar="compare A B", title="instead of a table", prog=PROGRAM)
    compare = commands.add_parser(
        "compare",
        help="cell A minus cell B on their common queries",
        description="Cell A minus cell B on their common queries: differences with 95 % intervals, p-values by "
        "bootstrap and by permutation, Holm's correction, and how many users are helped or harmed.",
    )
    for name in ("a", "b"):
        compare.add_argument(name, metavar=name.upper(), help="a cell's folder, or the beginning of its key")
    compare.add_argument("--results", default=argparse.SUPPRESS, **where)
    return parser


def _table(roots: Sequence[Path], task: str | None, format: tables.Format) -> str:
    if missing := [root for root in roots if not root.is_dir()]:
        raise InputError(f"{missing[0]}: no such folder; run a cell (python -m bench) or name another with --results")
    found = store.records(*roots)
    older = [(folder, _old(folder)) for folder, record in found.records if record.get("schema") != store.SCHEMA]
    for _, reason in (*found.broken, *older):
        print(f"bench.report: left out: {reason}", file=sys.stderr)
    known = [record for _, record in found.records if record.get("schema") == store.SCHEMA]
    records = {record["key"]: record for record in reversed(known)}  # of copies of a cell, the first root's
    if not records:
        raise InputError(f"no records below {', '.join(map(str, roots))}; run a cell first: python -m bench")
    shown = [record for record in records.values() if task in (None, record["cell"]["task"])]
    if not shown:
        tasks = sorted({record["cell"]["task"] for record in records.values()})
        raise InputError(f"no records of task {task}; there are some of {', '.join(tasks)}")
    return tables.table(shown, format)


def _comparison(a: str, b: str, roots: Sequence[Path]) -> str:
    (record_a, scores_a), (record_b, scores_b) = (_cell(store.resolve(name, roots)) for name in (a, b))
    return tables.compare_text(record_a, scores_a, record_b, scores_b)


def _cell(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    record = store.read_json(folder / "record.json")
    if not isinstance(record, dict) or record.get("schema") != store.SCHEMA:
        raise InputError(_old(folder))
    if not (folder / "scores.json").exists():
        raise InputError(f"{folder}: this cell has no scores to compare: {tables.line(record)}")
    return record, store.read_json(folder / "scores.json")


def _old(folder: Path) -> str:
    return f"{folder / 'record.json'}: not of schema {store.SCHEMA}, which this version reads; run the cell again"


if __name__ == "__main__":
    sys.exit(main())

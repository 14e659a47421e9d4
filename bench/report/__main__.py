"""`python -m bench.report`: all cells as tables; an experiment (`NAME`); two cells (`compare A B`,
`power A B`); a web `page`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from bench.checks import catalog
from bench.disk import store
from bench.errors import InputError
from bench.report import comparison_text, runs, scores, tables
from bench.report.differences import power
from bench.report.inventory import outdated, readable
from bench.report.render import Format
from bench.terminal import escape, silence, stops
from bench.terminal.pipe import unpiped

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write what was asked.

    Exit code 0; 1 (not written) or 2 (bad input) with one line.
    """
    silence.libraries()
    options = _parser().parse_intermixed_args(arguments)
    try:
        escape.say(_answer(options))
        sys.stdout.flush()
    except InputError as error:
        escape.say(f"bench.report: {escape.line(str(error))}", sys.stderr)
        return 2
    except store.StoreError as error:
        escape.say(f"bench.report: {escape.line(str(error))}", sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        return stops.told(stop)
    return 0


def _parser() -> argparse.ArgumentParser:
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


def _answer(options: argparse.Namespace) -> str:
    roots = options.results or [ROOT]
    allowed = {
        "compare": (),
        "power": ("effect",),
        "page": ("out", "users"),
        None: ("task", "format"),
    }
    kind = options.what[0] if options.what else None
    if kind == "help":
        return _parser().format_help()
    if kind == "page" and len(options.what) == 2 and not options.out:
        # page FILE, as one would type it
        options.what, options.out = ["page"], Path(options.what[1])
    for name in ("task", "format", "scale", "out", "users", "effect", "user"):
        if getattr(options, name) is not None and name not in allowed.get(
            kind, ("format", "scale", "out", "user")
        ):
            raise InputError(
                f"--{name} is not for {kind or 'the table of all cells'}; see {PROGRAM} --help"
            )
    if kind is None:
        task = catalog.alike(options.task or "", catalog.groups()["task"]) or options.task
        return _table(roots, task, options.format or "text")
    if kind == "compare":
        if len(options.what) != 3:
            raise InputError(f"compare takes two cells: {PROGRAM} compare A B")
        return _comparison(options.what[1], options.what[2], roots)
    if kind == "power":
        if len(options.what) != 3 or options.effect is None:
            raise InputError(
                f"power takes two cells and an effect: {PROGRAM} power A B --effect .02"
            )
        a, b = (_cell(store.resolve(name, roots)) for name in options.what[1:])
        return power(a, b, options.effect)
    if len(options.what) > 1:
        raise InputError(
            f"{' '.join(options.what)}: one experiment at a time; protocols are never in one table"
        )
    if missing := [root for root in roots if not root.is_dir() and options.results]:
        raise InputError(
            f"{missing[0]}: no such folder; run a cell (python -m bench) or name another with"
            " --results"
        )
    if kind == "page":
        from bench.report import page

        return page.write(
            roots,
            options.out or Path("report.html"),
            users=50 if options.users is None else options.users,
        )
    return _experiment(kind, roots, options)


def _experiment(name: str, roots: Sequence[Path], options: argparse.Namespace) -> str:
    from bench.report import experiments, output

    scales = [options.scale] if options.scale else runs.scales(name, roots) or ["paper"]
    loaded = [experiments.load(name, scale) for scale in scales]
    if options.user and loaded[0].show.kind != "case":
        raise InputError(f"--user is for a case study, as oppu_fig5 is; {name} has no such user")
    shown = [replace(one, show=replace(one.show, user=options.user)) for one in loaded]
    found = [runs.results(one, roots) for one in shown]
    if options.out:
        written = []
        for results in found:
            if options.format:
                written += output.pages(results, options.out, options.format)
            else:
                written += output.files(results, options.out)
        return "\n".join(f"wrote {path}" for path in written)
    return output.text(found, options.format or "text")


def _table(roots: Sequence[Path], task: str | None, format: Format) -> str:
    if format not in ("text", "md", "csv"):
        raise InputError(
            f"--format {format} is for experiments; the table of all cells knows text, md and csv"
        )
    if missing := [root for root in roots if not root.is_dir()]:
        raise InputError(
            f"{missing[0]}: no such folder; run a cell (python -m bench) or name another with"
            " --results"
        )
    records = readable(roots)
    if not records:
        raise InputError(
            f"no records below {', '.join(map(str, roots))}; run a cell first: python -m bench"
        )
    shown = [record for _, record in records if task in (None, record["cell"]["task"])]
    if not shown:
        tasks = sorted({record["cell"]["task"] for _, record in records})
        raise InputError(f"no records of task {task}; there are some of {', '.join(tasks)}")
    return tables.table(shown, format)


def _comparison(a: str, b: str, roots: Sequence[Path]) -> str:
    (record_a, scores_a), (record_b, scores_b) = (
        _cell(store.resolve(name, roots)) for name in (a, b)
    )
    return comparison_text.compare_text(record_a, scores_a, record_b, scores_b)


def _cell(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    record = store.read_record(folder / "record.json")
    if record.get("schema") != store.SCHEMA:
        raise InputError(outdated(folder))
    if not (folder / "scores.json").exists():
        raise InputError(f"{folder}: this cell has no scores to compare: {tables.line(record)}")
    return record, scores.read(folder, record)


if __name__ == "__main__":
    unpiped()
    sys.exit(main())

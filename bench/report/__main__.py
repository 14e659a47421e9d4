"""`python -m bench.report`: all cells as tables; an experiment (`NAME`); two cells (`compare A B`,
`power A B`); a web `page`."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from bench.checks import catalog
from bench.disk import exit_codes, store
from bench.errors import InputError
from bench.report import comparison_text, differences, inventory, options, runs, scores, tables
from bench.report.differences import ScoredCell
from bench.report.options import PROGRAM
from bench.report.render import Format
from bench.terminal import escape, silence, stops
from bench.terminal.pipe import unpiped

USERS = 50
"""Of each cell, on the page, with their texts."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write what was asked.

    Exit code 0; 1 (not written) or 2 (bad input) with one line.
    """
    silence.libraries()
    try:
        escape.say(_answer(options.parse(arguments)))
        sys.stdout.flush()
    except (InputError, store.StoreError) as error:
        return exit_codes.say("bench.report", error)
    except KeyboardInterrupt as stop:
        return stops.say_stopped(stop)
    return 0


def _answer(asked: argparse.Namespace) -> str:
    if asked.command == "help":
        return options.parser().format_help()
    if asked.command is None:
        return _table(asked)
    if asked.command == "compare":
        return _comparison(asked)
    if asked.command == "power":
        return _power(asked)

    if asked.names:
        words = " ".join(asked.what)
        raise InputError(f"{words}: one experiment at a time; protocols are never in one table")
    if asked.results:
        inventory.check_folders(asked.results)
    return _page(asked) if asked.command == "page" else _experiment(asked)


def _table(asked: argparse.Namespace) -> str:
    """All cells."""
    format: Format = asked.format or "text"
    if format not in ("text", "md", "csv"):
        raise InputError(
            f"--format {format} is for experiments; the table of all cells knows text, md and csv"
        )
    inventory.check_folders(asked.roots)

    task = catalog.alike(asked.task or "", catalog.groups()["task"]) or asked.task
    by_task = defaultdict(list)
    for cell in inventory.at_least_one(asked.roots):
        by_task[cell.record["cell"]["task"]].append(cell.record)
    if task is None:
        return tables.table(chain.from_iterable(by_task.values()), format)
    if task not in by_task:
        names = ", ".join(sorted(by_task))
        raise InputError(f"no records of task {task}; there are some of {names}")
    return tables.table(by_task[task], format)


def _comparison(asked: argparse.Namespace) -> str:
    if len(asked.names) != 2:
        raise InputError(f"compare takes two cells: {PROGRAM} compare A B")
    a, b = asked.names
    return comparison_text.compare_text(_cell(a, asked.roots), _cell(b, asked.roots))


def _power(asked: argparse.Namespace) -> str:
    if len(asked.names) != 2 or asked.effect is None:
        raise InputError(f"power takes two cells and an effect: {PROGRAM} power A B --effect .02")
    a, b = asked.names
    return differences.power(_cell(a, asked.roots), _cell(b, asked.roots), asked.effect)


def _cell(name: str, roots: Sequence[Path]) -> ScoredCell:
    """The cell of a folder, or of a key's beginning."""
    folder = store.resolve(name, roots)
    record = store.read_record(folder / "record.json")
    if record.get("schema") != store.SCHEMA:
        raise InputError(inventory.outdated(folder))
    if not (folder / "scores.json").exists():
        raise InputError(f"{folder}: this cell has no scores to compare: {tables.line(record)}")
    return ScoredCell(record, scores.read(folder, record))


def _page(asked: argparse.Namespace) -> str:
    from bench.report import page

    users = USERS if asked.users is None else asked.users
    return page.write(asked.roots, asked.out or Path("report.html"), users=users)


def _experiment(asked: argparse.Namespace) -> str:
    """An experiment at one scale, or at each at which it has been run."""
    from bench.report import experiments, output

    name = asked.command
    scales = [asked.scale] if asked.scale else runs.scales(name, asked.roots) or ["paper"]
    at_scales = []
    for scale in scales:
        experiment = experiments.load(name, scale)
        if asked.user and experiment.show.kind != "case":
            raise InputError(
                f"--user is for a case study, as oppu_fig5 is; {name} has no such user"
            )
        show = replace(experiment.show, user=asked.user)
        at_scales.append(runs.results(replace(experiment, show=show), asked.roots))

    if not asked.out:
        return output.text(at_scales, asked.format or "text")
    paths = []
    for results in at_scales:
        if asked.format:
            paths += output.pages(results, asked.out, asked.format)
        else:
            paths += output.files(results, asked.out)
    return "\n".join(f"wrote {path}" for path in paths)


if __name__ == "__main__":
    unpiped()
    sys.exit(main())

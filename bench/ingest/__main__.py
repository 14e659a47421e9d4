"""`python -m bench.ingest reviews.csv --out data/mine`: a task of your own data."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
import sys
import textwrap
from collections.abc import Sequence

from bench.errors import InputError
from bench.ingest.import_job import Import, ImportJob, run
from bench.ingest.import_options import job_of
from bench.terminal import escape, silence
from bench.terminal.pipe import unpiped

WIDEST = 120
"""Columns of the report, in a terminal that has as many."""
INDENT = " " * 12


def main(arguments: Sequence[str]) -> int:
    silence.libraries()
    try:
        job = job_of(arguments)
        made = run(job)
    except InputError as error:
        return _failed(str(error), 2)
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return _failed(f"cannot write beside --out: {reason}: is the disk full?", 1)
    except KeyboardInterrupt:
        return _failed("stopped; nothing was written", 130)
    for line in _report(job, made):
        escape.say(line)
    return 0


def _report(job: ImportJob, made: Import) -> list[str]:
    width = min(WIDEST, shutil.get_terminal_size().columns)
    lines = []
    for line in made.summary.lines(made.task):
        lines += textwrap.wrap(line, width, subsequent_indent=INDENT)
    lines += ["prompt      of the first example, with its newest items:", ""]
    lines += [made.summary.prompt(made.task), ""]
    if job.dry:
        return [*lines, "dry run: nothing was written"]
    root = shlex.quote(str(job.out))
    return [
        *lines,
        f"wrote {job.out}: look at {job.out / 'task.yaml'}, whose prompts are plain ones, then",
        f"  python -m bench data=folder data.root={root} method=majority",
        f"  python -m bench -m data=folder data.root={root} method=instruct,rag",
    ]


def _failed(problem: str, code: int) -> int:
    escape.say(f"bench.ingest: {escape.line(problem)}", sys.stderr)
    return code


if __name__ == "__main__":
    unpiped()
    sys.exit(main(sys.argv[1:]))

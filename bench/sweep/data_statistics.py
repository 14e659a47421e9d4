"""The statistics of OPPU's data (Table 2), for `bench.report oppu_table2`.

    python -m bench.sweep.data_statistics --data FOLDER

Counts what the protocol `oppu` would use; loads no model and no torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from omegaconf import DictConfig

from bench.checks import conf_files
from bench.data import lamp
from bench.data.parse import Separation
from bench.data.protocol import Protocol
from bench.data.task import Task, load
from bench.disk import manifest, store
from bench.errors import InputError
from bench.terminal import escape, silence
from bench.types import User

NAME = "oppu_table2"
TASKS = ("lamp1", "lamp2n", "lamp2", "lamp3", "lamp4", "lamp5", "lamp7")  # of the paper's table
Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Count and write. Exit code 0, or 2 with one line that says what was wrong with the input."""
    options = _parser().parse_args(arguments)
    silence.libraries()
    try:
        for name in options.task or TASKS:
            row = counted(_task(name), options.data, options.kind, options.n_test)
            path = _keep(options.results, options.scale, name, row | {"data": options.data.name})
    except (InputError, store.StoreError) as error:
        escape.say(f"bench.sweep.data_statistics: {escape.line(str(error))}", sys.stderr)
        return 2
    escape.say(f"wrote {path}; python -m bench.report {NAME} shows it")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.sweep.data_statistics", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="LaMP files in the official layout",
    )
    parser.add_argument(
        "--kind",
        choices=("time", "user"),
        default="time",
        help="which split of LaMP (default: time)",
    )
    parser.add_argument(
        "--task", action="append", choices=TASKS, help="repeat for several (default: all seven)"
    )
    parser.add_argument(
        "--n-test", type=int, default=100, help="users with the longest histories (default: 100)"
    )
    parser.add_argument(
        "--results", type=Path, default=Path("results/runs"), help="default: results/runs"
    )
    parser.add_argument(
        "--scale", default="paper", help="under which name they are kept (default: paper)"
    )
    return parser


def count(config: DictConfig, scale: str) -> None:
    """One task of the experiment, as a configuration has it; kept in its results folder."""
    from bench.cell.plan import data_root
    from bench.cell.settings import section

    data, protocol = section(config, "data"), section(config, "protocol")
    results = store.place("results.root", section(config, "results")["root"])
    task = _task(section(config, "task")["name"])

    row = counted(task, data_root(data), data["kind"], protocol["n_test"])
    path = _keep(results, scale, task.name, row | {"data": data["name"]})
    escape.say(
        f"{task.name}: {row['base_n_q']:,} questions of the base, {row['peft_n_q']:,} of tested"
        f" users: {path}"
    )


def _keep(results: Path, scale: str, task: str, row: Row) -> Path:
    """Beside what was counted of other tasks, each with its data."""
    path = results / manifest.FOLDER / NAME / f"statistics-{scale}.json"
    tasks = store.read_json(path)["tasks"] if path.exists() else {}
    store.write_json(path, {"tasks": tasks | {task: row}})
    return path


def counted(task: Task, root: Path, kind: Separation, n_test: int) -> Row:
    """Questions and their mean lengths in words of the users who adapt the base and of those
    tested, whose mean history size is in items. Train and dev users are pooled (OPPU, table 2).
    """
    train = lamp.read(task, root, split="train", kind=kind, progress=False)
    dev = lamp.read(task, root, split="dev", kind=kind, progress=False)
    protocol = Protocol("oppu", pool=True, choose="longest", n_test=n_test)
    people = protocol.people(train.users, dev.users, seed=0)
    sizes = [len(user.history) for user in people.tested]
    return {
        **_lengths("base", people.fitting),
        **_lengths("peft", people.tested),
        "peft_avg_history": fmean(sizes),
        "peft_users": len(sizes),
        "kind": kind,
    }


def _lengths(group: str, users: Sequence[User]) -> Row:
    inputs = []
    golds = []
    for user in users:
        for query in user.queries:
            inputs.append(len(query.input.split()))
            golds.append(len((query.gold or "").split()))
    return {
        f"{group}_n_q": len(inputs),
        f"{group}_len_in": fmean(inputs),
        f"{group}_len_out": fmean(golds),
    }


def _task(name: str) -> Task:
    values = dict(conf_files.option("task", name))
    values.pop("_target_", None)
    return load(**values)


if __name__ == "__main__":
    sys.exit(main())

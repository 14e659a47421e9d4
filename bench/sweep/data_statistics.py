"""The statistics of OPPU's data (Table 2), for `bench.report oppu_table2`.

    python -m bench.sweep.data_statistics --data FOLDER

Counts what the protocol `oppu` would use; loads no model and no torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from omegaconf import DictConfig

from bench.data import lamp
from bench.data.parse import Kind
from bench.data.protocol import Protocol
from bench.data.task import Task, load
from bench.disk import manifest, store
from bench.errors import InputError
from bench.terminal import escape, silence
from bench.types import User

CONF = Path(__file__).parents[2] / "conf"
NAME = "oppu_table2"
TASKS = ("lamp1", "lamp2n", "lamp2", "lamp3", "lamp4", "lamp5", "lamp7")  # of the paper's table
Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Count and write. Exit code 0, or 2 with one line that says what was wrong with the input."""
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
    options = parser.parse_args(arguments)
    silence.libraries()
    try:
        for name in options.task or TASKS:
            found = counted(_task(name), options.data, options.kind, options.n_test)
            path = _keep(options.results, options.scale, name, found | {"data": options.data.name})
    except (InputError, store.StoreError) as error:
        escape.say(f"bench.sweep.data_statistics: {escape.line(str(error))}", sys.stderr)
        return 2
    escape.say(f"wrote {path}; python -m bench.report {NAME} shows it")
    return 0


def count(config: DictConfig, scale: str) -> None:
    """One task of the experiment, as a configuration has it; kept in its results folder."""
    from bench.cell.plan import data_root
    from bench.cell.settings import section

    data, protocol, results = (section(config, name) for name in ("data", "protocol", "results"))
    task = _task(section(config, "task")["name"])
    found = counted(task, data_root(data), data["kind"], protocol["n_test"])
    path = _keep(
        store.place("results.root", results["root"]),
        scale,
        task.name,
        found | {"data": data["name"]},
    )
    escape.say(
        f"{task.name}: {found['base_n_q']:,} questions of the base, {found['peft_n_q']:,} of tested"
        f" users: {path}"
    )


def _keep(results: Path, scale: str, task: str, found: Row) -> Path:
    """Beside what was counted of other tasks, each with its data."""
    path = results / manifest.FOLDER / NAME / f"statistics-{scale}.json"
    tasks = store.read_json(path)["tasks"] if path.exists() else {}
    store.write_json(path, {"tasks": tasks | {task: found}})
    return path


def counted(task: Task, root: Path, kind: Kind, n_test: int) -> Row:
    """Questions and their mean lengths in words of the users who adapt the base and of those
    tested, whose mean history size is in items. Train and dev users are pooled (OPPU, table 2).
    """
    train, dev = (
        lamp.read(task, root, split=split, kind=kind, progress=False) for split in ("train", "dev")
    )
    protocol = Protocol("oppu", pool=True, choose="longest", n_test=n_test)
    people = protocol.people(train.users, dev.users, seed=0)
    sizes = [len(user.history) for user in people.tested]
    return {
        **{f"base_{name}": value for name, value in _lengths(people.fitting).items()},
        **{f"peft_{name}": value for name, value in _lengths(people.tested).items()},
        "peft_avg_history": fmean(sizes),
        "peft_users": len(sizes),
        "kind": kind,
    }


def _lengths(users: Iterable[User]) -> Row:
    queries = [
        (len(one.input.split()), len((one.gold or "").split()))
        for user in users
        for one in user.queries
    ]
    return {
        "n_q": len(queries),
        "len_in": fmean(one for one, _ in queries),
        "len_out": fmean(one for _, one in queries),
    }


def _task(name: str) -> Task:
    values: Mapping[str, Any] = yaml.safe_load(
        (CONF / "task" / f"{name}.yaml").read_text(encoding="utf-8")
    )
    return load(**{key: value for key, value in values.items() if key != "_target_"})


if __name__ == "__main__":
    sys.exit(main())

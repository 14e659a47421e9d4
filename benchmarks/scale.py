"""A whole cell at 1,000, 10,000 and 100,000 users with a mock model: is memory flat, is time
linear?

    python benchmarks/scale.py [--users 1000 10000 100000] [--results FILE]

Everything is the harness's own: files in LaMP's layout (short generated reviews) are read, checked,
converted and streamed; users are adapted, asked, answered, scored, recorded. Only the model is a
mock, a hash of the prompt that answers with a rating, so that what is measured is the harness. Each
size runs in a process of its own. Files are streamed from the first byte (by default from 64 MB),
so that all sizes go the same way.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[1]
sys.path[:0] = [str(REPO), str(REPO / "tests")]

from mock_backend import MOCK

from bench.disk import env

RESULTS = Path(__file__).parent / "results" / "scale.json"
WORDS = (
    "solid",
    "late",
    "bright",
    "weak",
    "warm",
    "cheap",
    "kind",
    "loud",
    "clean",
    "odd",
    "rich",
    "plain",
)
ITEMS = 4


def write(root: Path, split: str, users: int) -> None:
    """One split of LaMP-3 in LaMP's layout: one question and four short reviews for each user."""
    folder = root / "LaMP_3" / split
    folder.mkdir(parents=True)
    golds = folder / f"{split}_outputs.json"
    with (folder / f"{split}_questions.json").open("w") as questions, golds.open("w") as outputs:
        questions.write("[")
        outputs.write('{"task": "LaMP_3", "golds": [')
        for number in range(users):
            lead = ", " if number else ""
            name = f"{split}{number}"
            profile = [
                {
                    "id": f"{name}-{item}",
                    "text": _review(f"{name}/{item}"),
                    "score": str(1 + (number + item) % 5),
                }
                for item in range(ITEMS)
            ]
            asked = (
                "What is the score of the following review on a scale of 1 to 5? just answer with"
                " 1, 2, 3, 4, or 5 "
            )
            question = {
                "id": name,
                "input": f"{asked}without further explanation. review: {_review(name)}",
            }
            questions.write(lead + json.dumps(question | {"profile": profile}))
            outputs.write(lead + json.dumps({"id": name, "output": str(1 + number % 5)}))
        questions.write("]")
        outputs.write("]}")


def _review(seed: str) -> str:
    digest = hashlib.sha256(seed.encode()).digest()
    return f"{seed}: " + " ".join(WORDS[byte % len(WORDS)] for byte in digest[:16])


def measure(users: int, folder: Path) -> dict[str, Any]:
    """Run one cell in this process, with the mock in the model's place; seconds by step and peak
    memory.
    """
    from bench.data import lamp

    lamp.STREAM_FROM = 0
    root = folder / "lamp"
    write(root, "train", 100)
    write(root, "dev", users)
    os.environ["LAMPLIGHT_CACHE"] = str(folder / "cache")
    words = (
        "method=random_history",
        *MOCK,
        "task=lamp3",
        "data=lamp",
        f"data.root={root}",
        "limit=null",
    )
    sys.argv = ["bench", *words, "progress=false", f"results.root={folder / 'runs'}"]
    before = _resident()
    started = time.monotonic()
    with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(SystemExit):
        runpy.run_module("bench", run_name="__main__", alter_sys=True)
    seconds = time.monotonic() - started
    [path] = (folder / "runs").glob("lamp3/*/*/record.json")
    record = json.loads(path.read_text())
    if record["status"] != "ok" or record["counts"]["samples"] != users:
        raise RuntimeError(f"the cell ended as {record['status']}: {record['error']}")
    phases = {name: round(cost["seconds"], 2) for name, cost in record["cost"].items()}
    phases["data and record"] = round(seconds - sum(phases.values()), 2)
    return {
        "users": users,
        "data_mb": round(sum(one.stat().st_size for one in root.rglob("*.json")) / 1e6, 1),
        "seconds": round(seconds, 2),
        "seconds_by_step": phases,
        "start_mb": round(before / 1e6, 1),
        "peak_mb": round(_peak() / 1e6, 1),
    }


def _resident() -> int:
    return _status("VmRSS:")


def _peak() -> int:
    """The high-water mark of the whole process. Phases reset the kernel's, so theirs count too."""
    return max(_status("VmHWM:"), _PEAKS[0])


_PEAKS = [0]


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _keep_peaks() -> None:
    """Note the mark before a phase starts it again."""
    from bench.cost import budget

    reset = budget._reset_peak

    def kept() -> None:
        _PEAKS[0] = max(_PEAKS[0], _status("VmHWM:"))
        reset()

    budget._reset_peak = kept


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        _keep_peaks()
        print(json.dumps(measure(options.users[0], options.one)))
        return
    sizes = []
    for users in options.users:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--users", str(users), "--one", folder]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        sizes.append(json.loads(done.stdout.splitlines()[-1]))
        _row(sizes[-1])
    described = env.describe()
    record = {
        "date": datetime.date.today().isoformat(),
        "machine": {name: described[name] for name in ("system", "processor", "cores")},
        "versions": described["packages"],
        "sizes": sizes,
        "bytes_per_user": _slope(sizes, "peak_mb") * 1e6,
        "milliseconds_per_user": _slope(sizes, "seconds") * 1e3,
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(record, indent=1) + "\n")


def _slope(sizes: Sequence[dict[str, Any]], name: str) -> float:
    """Between the smallest and the largest size; 0 for one size alone."""
    first, last = sizes[0], sizes[-1]
    users = last["users"] - first["users"]
    return round((last[name] - first[name]) / users, 9) if users else 0.0


def _row(size: dict[str, Any]) -> None:
    steps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in size["seconds_by_step"].items())
    print(
        f"{size['users']:>7,} users  {size['data_mb']:>7.1f} MB of data  peak"
        f" {size['peak_mb']:>6.0f} MB (start {size['start_mb']:.0f})  {size['seconds']:>7.1f} s:"
        f" {steps}",
        flush=True,
    )


if __name__ == "__main__":
    main()

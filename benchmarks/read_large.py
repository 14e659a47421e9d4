"""How fast and in how much memory a LaMP file of full size is read: made, converted, opened again,
iterated.

    python benchmarks/read_large.py                          # 20,000 users x 185 reviews: about 2.5 GB, needs 6 GB of
    disk python benchmarks/read_large.py --users 500 --reviews 50 --results /tmp/small.json

Every stage runs in a process of its own, so that its peak memory is its own. `json.load` is
measured beside it on a smaller file: at full size it would need tens of GB.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))
WORDS_PER_REVIEW = (40, 160)


def make(folder: Path, users: int, reviews: int) -> None:
    """LaMP-3 files of seeded words, one question per user."""
    rng = random.Random(0)
    words = [
        "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 10)))
        for _ in range(20_000)
    ]
    texts = [" ".join(rng.choices(words, k=rng.randint(*WORDS_PER_REVIEW))) for _ in range(20_000)]
    asked = (
        "What is the score of the following review on a scale of 1 to 5? just answer with 1, 2, 3,"
        " 4, or 5. review: "
    )
    split = folder / "LaMP_3" / "train"
    split.mkdir(parents=True)
    with (split / "train_questions.json").open("w") as file:
        for user in range(users):
            profile = [
                {"id": f"{user}{item}", "text": rng.choice(texts), "score": rng.choice("12345")}
                for item in range(reviews)
            ]
            file.write("[" if user == 0 else ", ")
            json.dump(
                {"id": str(user), "input": asked + rng.choice(texts), "profile": profile}, file
            )
        file.write("]")
    golds = [{"id": str(user), "output": rng.choice("12345")} for user in range(users)]
    (split / "train_outputs.json").write_text(json.dumps({"task": "LaMP_3", "golds": golds}))


def first_read(folder: Path) -> None:
    _read(folder)


def open_again(folder: Path) -> None:
    _read(folder)


def iterate(folder: Path) -> None:
    items = sum(len(user.history) for user in _read(folder).users)
    print(f"{items} items", file=sys.stderr)


def random_users(folder: Path) -> None:
    users = _read(folder).users
    for index in random.Random(1).choices(range(len(users)), k=1000):
        assert users[index].history


def json_load(folder: Path) -> None:
    with (folder / "LaMP_3/train/train_questions.json").open() as file:
        json.load(file)


def _read(folder: Path):  # type: ignore[no-untyped-def]
    import yaml

    from bench.data import lamp, task

    lamp.STREAM_FROM = 0
    data = yaml.safe_load((REPO / "conf/task/lamp3.yaml").read_text())
    data.pop("_target_")
    return lamp.read(
        task.load(**data), folder, split="train", cache=folder / "cache", progress=False
    )


STAGES: dict[str, Callable[[Path], None]] = {
    stage.__name__: stage for stage in (first_read, open_again, iterate, random_users, json_load)
}


def measure(stage: str, folder: Path) -> dict[str, float]:
    """Seconds inside the stage (imports left out) and peak memory of its process (MB, imports
    included).
    """
    command = [sys.executable, __file__, "--stage", stage, "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout))


def run_stage(stage: str, folder: Path) -> None:
    import numpy  # noqa: F401
    import yaml  # noqa: F401

    import bench.data.lamp  # noqa: F401

    start = time.perf_counter()
    STAGES[stage](folder)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": round(seconds, 3), "peak_mb": round(peak)}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--reviews", type=int, default=185, help="history items of each user")
    parser.add_argument(
        "--small", type=int, default=1_000, help="users of the file json.load is measured on"
    )
    parser.add_argument(
        "--temp", type=Path, help="where to make the files (default: the system's place)"
    )
    parser.add_argument("--results", type=Path, default=REPO / "benchmarks/results/read_large.json")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stage:
        run_stage(args.stage, args.folder)
        return
    rows = []
    for users, stages in (
        (args.users, ["first_read", "open_again", "iterate", "random_users"]),
        (args.small, ["first_read", "open_again", "iterate", "json_load"]),
    ):
        with tempfile.TemporaryDirectory(dir=args.temp) as name:
            make(Path(name), users, args.reviews)
            megabytes = (Path(name) / "LaMP_3/train/train_questions.json").stat().st_size / 1e6
            for stage in stages:
                rows.append(
                    {
                        "stage": stage,
                        "users": users,
                        "file_mb": round(megabytes),
                        **measure(stage, Path(name)),
                    }
                )
                print(
                    "{stage:14s} {users:7d} users {file_mb:6d} MB {seconds:9.2f} s {peak_mb:7d} MB"
                    " peak".format(**rows[-1])
                )
    record = {
        "what": (
            "reading LaMP-3 files of seeded words; first_read = hash + convert + check every user"
        ),
        "reviews_per_user": args.reviews,
        "rows": rows,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": {"python": platform.python_version(), "numpy": _numpy()},
    }
    args.results.parent.mkdir(parents=True, exist_ok=True)
    args.results.write_text(json.dumps(record, indent=2) + "\n")


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def _numpy() -> str:
    import numpy

    return numpy.__version__


if __name__ == "__main__":
    main()

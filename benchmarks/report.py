"""How long `python -m bench.report` takes on many records, interpreter included.

    python benchmarks/report.py

The ratios are to `--help`, which reads no record: what is left is start-up. Each record has scores
of its own. When a table shows them for the first time, their intervals are computed, and kept;
`first` is that time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from datetime import UTC, datetime
from pathlib import Path

from setting import REPO, machine, written


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1000, help="default 1000")
    parser.add_argument("--repeats", type=int, default=5, help="the fastest counts; default 5")
    parser.add_argument(
        "--record",
        type=Path,
        help="copy this record and the scores beside it (default: the first of results/published)",
    )
    parser.add_argument(
        "--results", type=Path, default=REPO / "benchmarks" / "results" / "report.json"
    )
    args = parser.parse_args()
    source = args.record or min((REPO / "results" / "published").rglob("record.json"))
    seconds = {}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
        os.environ["LAMPLIGHT_CACHE"] = cache
        _fill(Path(folder), source.parent, args.records)
        seconds["--results DIR (first)"] = _timed(["--results", folder])
        for command in (
            ["--help"],
            ["--results", folder],
            ["chameleon_table1", "--results", folder],
        ):
            words = " ".join(command).replace(folder, "DIR")
            seconds[words] = min(_timed(command) for _ in range(args.repeats))
    rows = {
        words: {"seconds": taken, "ratio": taken / seconds["--help"]}
        for words, taken in seconds.items()
    }
    lines = [f"{args.records} records", f"{'s':>6}{'/ help':>8}"]
    for words, row in rows.items():
        lines.append(f"{row['seconds']:6.2f}{row['ratio']:8.2f}  python -m bench.report {words}")
    record = {
        "what": "starting the report on many records",
        "records": args.records,
        "rows": rows,
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    written(record, "\n".join(lines), args.results)


def _fill(root: Path, source: Path, count: int) -> None:
    record, scores = (
        json.loads((source / name).read_text(encoding="utf-8"))
        for name in ("record.json", "scores.json")
    )
    task = record["cell"]["task"]
    for index in range(count):
        key = f"{index:016x}"
        place = root / task / "rag" / key
        place.mkdir(parents=True)
        (place / "record.json").write_text(json.dumps({**record, "key": key}), encoding="utf-8")
        own = [{**row, "id": f"{index}-{row['id']}"} for row in scores]
        (place / "scores.json").write_text(json.dumps(own), encoding="utf-8")


def _timed(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "bench.report", *command], cwd=REPO, check=True, capture_output=True
    )
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

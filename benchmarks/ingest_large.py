"""How long `bench.ingest` takes on a large Parquet file, and in how much memory.

    python benchmarks/ingest_large.py                     # 0.25 and 2 GB: needs 10 GB of disk
    python benchmarks/ingest_large.py --gigabytes 0.1

The command runs in a process of its own, so that its peak memory is its own.
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
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
WORDS_PER_REVIEW = (20, 100)
ROWS_PER_USER = 40
ROWS_AT_ONCE = 20_000


def make(path: Path, size: float) -> int:
    """A Parquet file of so many bytes, or a little more: seeded words that do not compress well.
    How many rows it has.
    """
    import pyarrow
    from pyarrow import parquet

    rows, writer = 0, None
    for batch in _batches():
        table = pyarrow.Table.from_pydict(batch)
        if writer is None:
            writer = parquet.ParquetWriter(
                path, table.schema, compression="none", use_dictionary=False
            )
        writer.write_table(table)
        rows += table.num_rows
        if path.stat().st_size >= size:
            break
    assert writer is not None
    writer.close()
    return rows


def _batches() -> Iterator[dict[str, list[Any]]]:
    """Reviews without end: of a new user every so many rows on average, users mixed."""
    rng = random.Random(0)
    words = []
    for _ in range(20_000):
        words.append("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 10))))
    users = 0
    while True:
        users += ROWS_AT_ONCE // ROWS_PER_USER
        batch: dict[str, list[Any]] = {"user": [], "text": [], "stars": [], "ts": []}
        for _ in range(ROWS_AT_ONCE):
            batch["user"].append(f"user{rng.randrange(users)}")
            batch["text"].append(" ".join(rng.choices(words, k=rng.randint(*WORDS_PER_REVIEW))))
            batch["stars"].append(rng.randint(1, 5))
            batch["ts"].append(1_600_000_000_000 + rng.randrange(10**11))
        yield batch


def measure(folder: Path, gigabytes: float) -> dict[str, Any]:
    """Rows, seconds, and peak memory (MB) of one import."""
    path = folder / "reviews.parquet"
    rows = make(path, gigabytes * 1e9)
    words = [sys.executable, "-m", "bench.ingest", str(path), "--out", str(folder / "mine")]
    start = time.perf_counter()
    process = subprocess.Popen(words, cwd=REPO, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    assert status == 0, status
    made = sum(entry.stat().st_size for entry in (folder / "mine").rglob("*.json"))
    return {
        "gigabytes": round(path.stat().st_size / 1e9, 2),
        "rows": rows,
        "seconds": round(seconds, 1),
        "peak_mb": round(_kilobytes(usage) / 1024),
        "made_gigabytes": round(made / 1e9, 2),
    }


def _kilobytes(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[0.25, 2.0])
    parser.add_argument("--temp", type=Path, help="where to make the files")
    parser.add_argument(
        "--results", type=Path, default=REPO / "benchmarks/results/ingest_large.json"
    )
    options = parser.parse_args(arguments)
    rows = []
    for gigabytes in options.gigabytes:
        with tempfile.TemporaryDirectory(dir=options.temp) as name:
            rows.append(measure(Path(name), gigabytes))
            print(json.dumps(rows[-1]))
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
        },
        "versions": {"python": platform.python_version()},
        "rows": rows,
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

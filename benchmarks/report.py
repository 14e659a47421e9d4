"""How long `python -m bench.report` takes on many records, interpreter included: python benchmarks/report.py."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1000, help="default 1000")
    parser.add_argument("--repeats", type=int, default=5, help="the fastest counts; default 5")
    parser.add_argument("--record", type=Path, help="copy this record (default: the first of results/published)")
    args = parser.parse_args()
    source = args.record or min((REPO / "results" / "published").rglob("record.json"))
    with tempfile.TemporaryDirectory() as folder:
        _fill(Path(folder), json.loads(source.read_text(encoding="utf-8")), args.records)
        for command in (["--help"], ["--results", folder], ["chameleon_table1", "--results", folder]):
            times = [_timed(command) for _ in range(args.repeats)]
            print(f"{min(times):6.2f} s  python -m bench.report {' '.join(command).replace(folder, 'DIR')}")


def _fill(root: Path, record: dict[str, object], count: int) -> None:
    for index in range(count):
        key = f"{index:016x}"
        place = root / "lamp3" / "rag" / key
        place.mkdir(parents=True)
        (place / "record.json").write_text(json.dumps({**record, "key": key}), encoding="utf-8")


def _timed(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "bench.report", *command], cwd=REPO, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

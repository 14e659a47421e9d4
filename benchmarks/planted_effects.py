"""The harness's test of itself: are effects of known size found as often as predicted, and is nothing
found where nothing is?

    python benchmarks/planted_effects.py                          from the published cells
    python -m bench experiment=positive_controls                   or from your own:
    python benchmarks/planted_effects.py --results results/runs

It takes two finished arms of that experiment on the same users: with the own history, and without.
An arm with a planted effect shows the own history to a known share of the users, drawn at random,
so its true gain over the arm without is that share of the whole gain. Samples of users are drawn
from the 100, with replacement, and each goes through `bench.score.stats.paired`. The share of samples with p below
.05 stands beside the power that `bench.score.power` predicts. "Nothing": each user's two answers
change sides at random.
"""

from __future__ import annotations

import math
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from setting import written

from bench.report import experiments, runs
from bench.report.cells import task_of
from bench.report.runs import Results
from bench.report.significance import FinishedCell
from bench.score.metrics import DIRECTION, PRIMARY, Kind, Scored
from bench.score.power import expected_power
from bench.score.stats import Paired, paired

TASKS = ("lamp2", "lamp3", "lamp4")
SIZES = (12, 24, 60)
SHARES = (0.0, 0.25, 0.5, 1.0)
LEVEL = 0.05


@dataclass(frozen=True)
class Arms:
    """What one task's users answered, each user's questions at the same place in both arms."""

    task: str
    kind: Kind
    labels: tuple[str, ...]
    own: list[list[Scored]]
    none: list[list[Scored]]

    @property
    def metric(self) -> str:
        """The first metric of the papers that is a mean over questions."""
        return PRIMARY[self.kind][0]

    @property
    def gains(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """What the own history adds for each user, in the metric; above 0 is better."""
        sign = 1 if DIRECTION[self.metric] else -1
        gains = []
        for own, none in zip(self.own, self.none, strict=True):
            gains.append(sign * (_mean(own, self.metric) - _mean(none, self.metric)))
        return np.array(gains)


@dataclass(frozen=True)
class Row:
    """How often an effect was found. `effect` is the true one, in the task's metric; `sides` is the
    share of the samples in which the difference found had its sign.
    """

    task: str
    metric: str
    planted: str
    effect: float
    users: int
    found: float
    predicted: float
    sides: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Print and write the table. The exit code."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=REPO / "results" / "published")
    parser.add_argument("--samples", type=int, default=200, help="for each number; default 200")
    parser.add_argument("--draws", type=int, default=400, help="of the test; default 400")
    parser.add_argument(
        "--out", type=Path, default=REPO / "benchmarks" / "results" / "planted_effects.json"
    )
    options = parser.parse_args(arguments)

    start, rows = time.perf_counter(), list[Row]()
    results = runs.results(experiments.load("positive_controls"), [options.results])
    for task in TASKS:
        rows += _rows(_arms(results, task), options.samples, options.draws)
    record = {
        "what": "how often planted effects are found, by number of users, and as predicted",
        "asked": {"samples": options.samples, "draws": options.draws},
        "rows": [asdict(row) for row in rows],
        "seconds": round(time.perf_counter() - start, 1),
        "versions": {"python": sys.version.split()[0], "numpy": np.__version__},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    written(record, "\n".join(_lines(rows)), options.out)
    return 0


def _arms(results: Results, task: str) -> Arms:
    scored_as = task_of(task)
    by_user: dict[str, dict[str, list[Scored]]] = {}
    for run in results.runs:
        if run.at["task"] != task or run.arm not in ("own_history", "no_history"):
            continue
        if run.folder is None or run.record is None:
            sys.exit(f"{task}: {run.arm} has not run: python -m bench experiment=positive_controls")
        users = by_user.setdefault(run.arm, {})
        for row in FinishedCell(run.folder, run.record).scored():
            users.setdefault(row.group, []).append(row)
    own, none = by_user["own_history"], by_user["no_history"]
    return Arms(
        task,
        scored_as.kind,
        scored_as.labels,
        [own[user] for user in own],
        [none[user] for user in own],
    )


def _rows(arms: Arms, samples: int, draws: int) -> Iterator[Row]:
    gains = arms.gains
    for planted in ("nothing", *SHARES[1:]):
        share = 0.0 if planted == "nothing" else float(planted)
        effect = share * float(gains.mean())
        # The variance of a user's gain if it is there with this probability, and 0 otherwise.
        spread = math.sqrt(max(share * float((gains**2).mean()) - effect**2, 0.0))
        for users in SIZES:
            ps, right = [], 0
            for sample in range(samples):
                random = np.random.default_rng([sample, users, int(100 * share)])
                difference = _sample(arms, users, share, draws, random)
                ps.append(difference.p_permutation)
                right += (difference.difference > 0) == DIRECTION[arms.metric]
            predicted = LEVEL
            if share:
                predicted = expected_power(effect, spread / math.sqrt(users), users - 1)
            found = float(np.mean(np.array(ps) < LEVEL))
            what = "nothing" if not share else f"{share:.0%} of users"
            yield Row(
                arms.task, arms.metric, what, effect, users, found, predicted, right / samples
            )


def _sample(
    arms: Arms, users: int, share: float, draws: int, random: np.random.Generator
) -> Paired:
    """One sample of users: those of an arm with the planted effect against the arm without."""
    treated, plain = list[Scored](), list[Scored]()
    for place, user in enumerate(random.integers(len(arms.own), size=users)):
        own, none = arms.own[user], arms.none[user]
        if share:
            first, second = (own if random.random() < share else none), none
        else:
            first, second = (own, none) if random.random() < 0.5 else (none, own)
        # A user who is drawn twice is two users.
        treated += [replace(row, id=f"{place}/{row.id}", group=str(place)) for row in first]
        plain += [replace(row, id=f"{place}/{row.id}", group=str(place)) for row in second]
    found = paired(arms.kind, arms.labels, treated, plain, draws=draws)
    return found[arms.metric]


def _mean(rows: Sequence[Scored], metric: str) -> float:
    return sum(row.values[metric] for row in rows) / len(rows)


def _lines(rows: Sequence[Row]) -> list[str]:
    lines = ["task   metric    planted        true effect  users  found  predicted"]
    for row in rows:
        lines.append(
            f"{row.task:<6} {row.metric:<9} {row.planted:<14} {row.effect:>11.3f} {row.users:>6}"
            f" {row.found:>6.3f} {row.predicted:>10.3f}"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())

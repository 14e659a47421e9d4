"""How often the 95 % intervals of `bench.score.stats` hold the truth, and how often its test finds
what is not there.

    python benchmarks/coverage.py

Simulated users, three questions each on average, who differ in skill, in what is asked of them and
in how much one arm helps them. The truth is the value of very many users. Beside ours stands the
percentile bootstrap over users.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from setting import written

from bench.score.metrics import Kind, Scored, value_names
from bench.score.stats import intervals, paired
from bench.score.sums import Floats, Sums, clusters_of, metrics_of, sums_of, whole

SIZES = (12, 24, 60, 200)
STARS = ("1", "2", "3", "4", "5")
ZIPF = 1 / np.arange(1, 16)
MOVIES = np.array([62, 28, 24, 20, 16, 14, 10, 6, 5, 4, 4, 3, 2, 1, 1])
"""Shares of fifteen labels: each half, a third, ... of the first; and as uneven as LaMP-2's tags.
"""


@dataclass(frozen=True)
class World:
    """Users to draw from. `gain`: of arm a over b (log odds, stars or ROUGE). `alike`: share of
    questions to which both arms say the same. `never`: so many of the rarest labels are never
    answered.
    """

    name: str
    kind: Kind
    metrics: tuple[str, ...]
    gain: float
    shares: tuple[float, ...] = ()
    skill: float = 0.0
    alike: float = 0.0
    never: int = 0

    @property
    def labels(self) -> tuple[str, ...]:
        return STARS if self.kind == "rating" else tuple(map(str, range(len(self.shares))))


def _labels(name: str, shares: Any, gain: float, **more: Any) -> World:
    return World(
        name, "classification", ("accuracy", "f1"), gain, tuple(shares / np.sum(shares)), **more
    )


WORLDS = (
    _labels("two labels", np.ones(2), 0.3),
    _labels("15 labels, Zipf", ZIPF, 0.3),
    _labels("15 uneven labels", MOVIES, 1.0),
    _labels("the same, 90 % alike", MOVIES, 0.3, alike=0.9),
    _labels("the same, 5 never answered", MOVIES, 0.3, skill=-2.0, never=5),
    _labels("15 labels, 95 % right", ZIPF, 0.3, skill=3.0),
    World("stars", "rating", ("mae", "rmse"), 0.2),
    World("stars, 90 % alike", "rating", ("mae", "rmse"), 0.2, alike=0.9),
    World("texts", "generation", ("rouge1", "rougeL"), 0.03),
)


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=int, default=400, help="samples for each number; default 400"
    )
    parser.add_argument(
        "--draws", type=int, default=400, help="of the bootstrap and the test; default 400"
    )
    parser.add_argument(
        "--truth", type=int, default=100_000, help="users that stand for all; default 100,000"
    )
    parser.add_argument("--only", help="worlds whose name has this")
    parser.add_argument(
        "--results", type=Path, default=REPO / "benchmarks" / "results" / "coverage.json"
    )
    args = parser.parse_args()
    start, rows = time.perf_counter(), []
    for world in (world for world in WORLDS if (args.only or "") in world.name):
        rows += _rows(world, args.runs, args.draws, args.truth)
        print(*_lines(rows[-len(world.metrics) :]), sep="\n", flush=True)
    record = {
        "what": (
            "coverage of 95 % intervals, and level of the permutation test at .05, by number of"
            " users"
        ),
        "asked": {"runs": args.runs, "draws": args.draws, "truth": args.truth},
        "rows": rows,
        "seconds": round(time.perf_counter() - start, 1),
        "versions": {"python": sys.version.split()[0], "numpy": np.__version__},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    written(record, "\n".join([*_head(args.runs), *_lines(rows)]), args.results)


def _rows(world: World, runs: int, draws: int, truth: int) -> list[dict[str, Any]]:
    """For each metric: the truth, and by number of users how often each interval holds it."""
    arms = drawn(world, truth, np.random.default_rng(1))
    true = [whole(world.kind, [_sums(world, arm)]) for arm in arms]
    rows: dict[str, dict[str, Any]] = {
        metric: {
            "world": world.name,
            "metric": metric,
            "truth": [true[0][metric], true[0][metric] - true[1][metric]],
            **{
                name: {}
                for name in (
                    "arm",
                    "difference",
                    "arm_resampled",
                    "difference_resampled",
                    "level",
                    "width",
                )
            },
        }
        for metric in world.metrics
    }
    null = World(**{**{f: getattr(world, f) for f in world.__dataclass_fields__}, "gain": 0.0})
    for users in SIZES:
        rng = np.random.default_rng(users)
        held: dict[tuple[str, str], list[float]] = {}
        for run in range(runs):
            _one(world, drawn(world, users, rng), true, draws, run, held)
            for metric, p in _null(
                null, drawn(null, users, rng, exchange=True), draws, run
            ).items():
                held.setdefault((metric, "level"), []).append(p <= 0.05)
        for (metric, name), found in held.items():
            rows[metric][name][str(users)] = round(float(np.mean(found)), 4)
    return list(rows.values())


def _one(
    world: World,
    arms: list[list[Scored]],
    true: list[dict[str, float]],
    draws: int,
    run: int,
    held: dict[tuple[str, str], list[float]],
) -> None:
    """One sample: whether each interval holds the truth."""
    alone = intervals(world.kind, world.labels, arms[0])
    apart = paired(world.kind, world.labels, *arms, draws=1)
    resampled = _resampled(world, arms, draws, run)
    for metric in world.metrics:
        one, two, change = true[0][metric], true[1][metric], apart[metric]
        first, second = resampled[0][metric], resampled[1][metric]
        found = {
            "arm": _holds(alone[metric].low, alone[metric].high, one),
            "difference": _holds(change.low, change.high, one - two),
            "arm_resampled": _holds(*np.percentile(first, [2.5, 97.5]), one),
            "difference_resampled": _holds(*np.percentile(first - second, [2.5, 97.5]), one - two),
            "width": (change.high or 0.0) - (change.low or 0.0),
        }
        for name, value in found.items():
            held.setdefault((metric, name), []).append(value)


def _null(world: World, arms: list[list[Scored]], draws: int, run: int) -> dict[str, float]:
    found = paired(world.kind, world.labels, *arms, draws=draws, seed=run)
    return {metric: found[metric].p_permutation for metric in world.metrics}


def _holds(low: float | None, high: float | None, value: float) -> bool:
    return low is not None and high is not None and low - 1e-9 <= value <= high + 1e-9


def _sums(world: World, arm: Sequence[Scored]) -> Sums:
    clusters = clusters_of([arm])
    numbers, names = clusters.numbers[0], value_names(arm)
    return sums_of(world.kind, world.labels, arm, numbers, names, clusters.users)


def _resampled(
    world: World, arms: list[list[Scored]], draws: int, seed: int
) -> list[dict[str, Floats]]:
    """The percentile bootstrap: every metric in draws of whole users with replacement, the same for
    both arms.
    """
    sums = [_sums(world, arm) for arm in arms]
    users = len(sums[0].rows)
    weights = (
        np.random.default_rng(seed)
        .multinomial(users, np.full(users, 1 / users), size=draws)
        .astype(float)
    )
    return [metrics_of(world.kind, one.with_rows(weights @ one.rows)) for one in sums]


def drawn(
    world: World, users: int, rng: np.random.Generator, exchange: bool = False
) -> list[list[Scored]]:
    """Both arms' scored questions of so many users. `exchange`: no user is helped or harmed, only
    by chance.
    """
    counts = 1 + rng.poisson(2, users)
    of_user = np.repeat(np.arange(users), counts)
    helped = world.gain + (0 if exchange else 1) * rng.normal(0, 0.4, users)
    make = {"classification": _answers, "rating": _stars, "generation": _texts}[world.kind]
    return make(world, of_user, users, helped, rng)


def _answers(
    world: World, of_user: NDArray[np.intp], users: int, helped: Floats, rng: np.random.Generator
) -> list[list[Scored]]:
    """Users are asked for labels of their own; rare labels are harder; a wrong answer is a frequent
    label.
    """
    shares, size = np.array(world.shares), len(of_user)
    labels = len(shares)
    taste = rng.dirichlet(5 * shares + 1e-9, size=users)
    gold = (
        (rng.random(size)[:, None] > taste.cumsum(axis=1)[of_user]).sum(axis=1).clip(0, labels - 1)
    )
    can = np.arange(labels) < labels - world.never
    said = np.where(can, shares, 0) / shares[can].sum()
    common = world.skill - 0.2 + rng.normal(0, 0.7, users)[of_user] + rng.normal(0, 1, size)
    common = common + np.linspace(0.6, -0.6, labels)[gold]
    answers = []
    for arm in (0, 1):
        chance = 1 / (1 + np.exp(-common - (helped[of_user] if arm == 0 else 0)))
        right = (rng.random(size) < chance) & can[gold]
        answers.append(np.where(right, gold, rng.choice(labels, size=size, p=said)))
    answers[1] = np.where(rng.random(size) < world.alike, answers[0], answers[1])
    return [
        [_label(*row) for row in zip(of_user, range(size), gold, arm, strict=True)]
        for arm in answers
    ]


def _stars(
    world: World, of_user: NDArray[np.intp], users: int, helped: Floats, rng: np.random.Generator
) -> list[list[Scored]]:
    """Users are strict or kind; an answer lies around the true score, farther off without help."""
    size = len(of_user)
    strict = rng.normal(0, 0.8, users)[of_user]
    gold = np.clip(np.rint(4 + strict + rng.normal(0, 0.8, size)), 1, 5)
    away = rng.gamma(2, 0.45, users)[of_user]
    answers = []
    for arm in (0, 1):
        spread = np.maximum(0.1, away - (helped[of_user] / 2 if arm == 0 else 0))
        answers.append(np.clip(np.rint(gold + spread * rng.normal(0, 1, size)), 1, 5))
    answers[1] = np.where(rng.random(size) < world.alike, answers[0], answers[1])
    return [
        [_rating(*row) for row in zip(of_user, range(size), gold, arm, strict=True)]
        for arm in answers
    ]


def _texts(
    world: World, of_user: NDArray[np.intp], users: int, helped: Floats, rng: np.random.Generator
) -> list[list[Scored]]:
    """ROUGE of short texts: often 0, skewed, and higher for users and questions that are easy."""
    size = len(of_user)
    easy = rng.normal(-1.6, 0.5, users)[of_user] + rng.normal(0, 0.6, size)
    scores = []
    for arm in (0, 1):
        level = (
            easy
            + rng.normal(0, 0.5, size)
            + (world.gain * 8 + (helped[of_user] - world.gain) / 2) * (arm == 0)
        )
        scores.append(np.where(rng.random(size) < 0.3, 0.0, 1 / (1 + np.exp(-level))))
    return [[_text(*row) for row in zip(of_user, range(size), arm, strict=True)] for arm in scores]


def _label(user: int, number: int, gold: int, answer: int) -> Scored:
    right = float(answer == gold)
    values = {"accuracy": right, "lenient_accuracy": right}
    return Scored(str(number), str(user), int(gold), int(answer), int(answer), values)


def _rating(user: int, number: int, gold: float, answer: float) -> Scored:
    error = abs(float(answer) - float(gold))
    values = {"mae": error, "mse": error**2, "lenient_mae": error, "lenient_mse": error**2}
    return Scored(str(number), str(user), float(gold), float(answer), float(answer), values)


def _text(user: int, number: int, score: float) -> Scored:
    names = ("rouge1", "rougeL", "lenient_rouge1", "lenient_rougeL")
    return Scored(str(number), str(user), None, None, None, dict.fromkeys(names, float(score)))


@cache
def _head(runs: int) -> tuple[str, str, str]:
    numbers = "".join(f"{size:>6}" for size in SIZES)
    titles = ("arm", "difference", "arm, bootstrap", "diff., bootstrap", "test at .05, no effect")
    return (
        (
            f"Coverage of 95 % intervals in {runs} samples, and share of p <= .05 without an"
            " effect; by number of users"
        ),
        f"{'':36}" + "".join(f"  {title:<24}" for title in titles),
        f"{'users':<28}{'metric':<8}" + "".join("  " + numbers for _ in titles),
    )


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    names = ("arm", "difference", "arm_resampled", "difference_resampled", "level")
    lines = []
    for row in rows:
        numbers = (
            "  " + "".join(f"{row[name][str(size)]:6.3f}" for size in SIZES) for name in names
        )
        lines.append(f"{row['world']:<28}{row['metric']:<8}" + "".join(numbers))
    return lines


if __name__ == "__main__":
    main()

"""How sure we are: intervals over users, paired tests between two arms, Holm's correction.

Queries of one user depend on each other, so the unit is always the cluster (`Scored.group`). Every
metric, macro-F1 and RMSE included, is a function of sums over clusters: one product makes all swaps
of a permutation test, one difference leaves each user out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import InputError
from bench.score import intervals as bounds
from bench.score import power, rare_labels
from bench.score.answer_rules import scale_of
from bench.score.intervals import jackknife
from bench.score.metrics import DIRECTION, Kind, Scored, value_names
from bench.score.permutation import swapped_differences
from bench.score.sums import Floats, Sums, clusters_of, left_out, sums_of, whole

TIE = 1e-12  # differences below this are rounding
MACRO = {"f1": "", "lenient_f1": "lenient_"}
"""Metrics that a small sample understates, for want of the labels it has not
(`bench.score.rare_labels`).
"""


@dataclass(frozen=True, slots=True)
class Interval:
    """A metric and its 95 % interval over `users` clusters;
    None where one user alone says nothing of others.
    """

    value: float
    low: float | None
    high: float | None
    users: int


@dataclass(frozen=True, slots=True)
class Paired:
    """Arm a minus arm b on their common queries: difference, its 95 % interval, the p of a
    permutation test.

    `low` and `high` are None where there is nothing to tell them from: a single user, or no
    difference at all in a metric without ends. `detectable` is the smallest difference that so many
    users would show (`bench.score.power`; None where no two users differ). `error`: the standard
    error over users. `helped` and `harmed` are the shares of users for whom a is better or worse
    than b (ties are neither): by the metric's own mean, for f1 by accuracy, for rmse by squared
    error. `left_out`: queries that only one arm answered.
    """

    difference: float
    low: float | None
    high: float | None
    p_permutation: float
    detectable: float | None
    error: float
    helped: float
    harmed: float
    users: int
    queries: int
    left_out: int


def intervals(kind: Kind, labels: Sequence[str], scored: Sequence[Scored]) -> dict[str, Interval]:
    """Every metric of `aggregate` with its interval,
    whole clusters being what was drawn from all users.
    """
    return intervals_of_runs(kind, labels, [scored])


def intervals_of_runs(
    kind: Kind, labels: Sequence[str], runs: Sequence[Sequence[Scored]]
) -> dict[str, Interval]:
    """The mean over runs (seeds, or sets of users) of every metric that all have, each run's
    computed alone.

    Runs depend on each other where they share users, so a user is left out of every run at once.
    """
    clusters = clusters_of(runs)
    users, sums = clusters.users, []
    for run, numbers in zip(runs, clusters.numbers, strict=True):
        sums.append(sums_of(kind, labels, run, numbers, value_names(run), users))

    values = whole(kind, sums)
    if users < 2:
        return {name: Interval(value, None, None, users) for name, value in values.items()}
    without = left_out(kind, sums)
    found = {}
    for name, value in values.items():
        plain = jackknife(value, without[name])
        if name in MACRO:
            low, high = bounds.between(plain, rare_labels.of_arm(MACRO[name], sums), users)
        else:
            low, high = bounds.of_metric(name, plain, users, _span(kind, labels))
        found[name] = Interval(value, min(low, value), max(high, value), users)
    return found


def _span(kind: Kind, labels: Sequence[str]) -> float:
    """The largest error that a rating can have."""
    return scale_of(tuple(labels)).span if kind == "rating" else bounds.STARS


def paired(
    kind: Kind,
    labels: Sequence[str],
    a: Sequence[Scored],
    b: Sequence[Scored],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Paired]:
    """Compare two arms on the queries and metrics both have.

    `p_permutation`: share of draws, arms swapped user by user at random, with a difference at least
    as large; two-sided, with one added to both counts. Raises InputError where no query is common,
    an id occurs twice in an arm, or the arms disagree on gold or group.
    """
    return paired_runs(kind, labels, [(a, b)], draws=draws, seed=seed)


def paired_runs(
    kind: Kind,
    labels: Sequence[str],
    runs: Sequence[tuple[Sequence[Scored], Sequence[Scored]]],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Paired]:
    """The same for arms with several runs (a run: both arms on one seed or set of users):
    differences are means over runs, a draw swaps a user in all of them, and a user is helped whom a
    serves better on their mean.
    """
    common = [_common(a, b) for a, b in runs]
    # An arm's runs have the same users in the same order, so one numbering serves both arms.
    clusters = clusters_of([both.a for both in common])
    names, users = _common_names(common), clusters.users
    first, second = [], []
    for both, numbers in zip(common, clusters.numbers, strict=True):
        first.append(sums_of(kind, labels, both.a, numbers, names, users))
        second.append(sums_of(kind, labels, both.b, numbers, names, users))

    values_a, values_b = whole(kind, first), whole(kind, second)
    without_a = left_out(kind, first) if users > 1 else {}
    without_b = left_out(kind, second) if users > 1 else {}
    permuted = swapped_differences(kind, first, second, draws, seed)
    queries = sum(len(both.a) for both in common)
    answered = sum(len(a) + len(b) for a, b in runs)

    result = {}
    for name in values_a:
        difference = values_a[name] - values_b[name]
        without = without_a[name] - without_b[name] if users > 1 else None
        spread = _spread(name, difference, without, first, second, _span(kind, labels))
        gains = _user_gains(name, first, second)
        extreme = int(np.sum(np.abs(permuted[name]) >= abs(difference) - TIE))
        result[name] = Paired(
            difference,
            spread.low,
            spread.high,
            p_permutation=(1 + extreme) / (draws + 1),
            detectable=spread.detectable,
            error=spread.error,
            helped=float(np.mean(gains > TIE)),
            harmed=float(np.mean(gains < -TIE)),
            users=users,
            queries=queries,
            left_out=answered - 2 * queries,
        )
    return result


def holm(pvalues: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjusted p-values (family-wise error), in the order given;
    ValueError outside 0..1.
    """
    if not all(0 <= p <= 1 for p in pvalues.values()):
        raise ValueError(f"p-values must lie in 0..1: {dict(pvalues)}")
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(pvalues, key=lambda name: pvalues[name])):
        largest = max(largest, min(1.0, (len(pvalues) - rank) * pvalues[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in pvalues}


@dataclass(frozen=True, slots=True)
class _Spread:
    """Interval, standard error and smallest effect to be seen of a difference."""

    low: float | None = None
    high: float | None = None
    error: float = 0.0
    detectable: float | None = None


def _spread(
    name: str,
    difference: float,
    without: Floats | None,
    first: list[Sums],
    second: list[Sums],
    span: float,
) -> _Spread:
    """From the differences without each user, [users]; None for a single user. `span`: the largest
    error of a rating.
    """
    if without is None:
        return _Spread()
    plain = estimate = jackknife(difference, without)
    detectable = None
    if plain.error > TIE:
        detectable = power.detectable(plain.error, plain.freedom)
        if name in MACRO:
            estimate = rare_labels.of_difference(MACRO[name], first, second)
    interval = bounds.of_difference(name, difference, estimate, len(without), span)
    low, high = interval or (None, None)
    return _Spread(low, high, plain.error, detectable)


@dataclass(frozen=True, slots=True)
class _Common:
    """The queries that both arms answered, in one order."""

    a: list[Scored]
    b: list[Scored]


def _common(a: Sequence[Scored], b: Sequence[Scored]) -> _Common:
    by_id = _by_id(b)
    common = _Common([], [])
    for query in _by_id(a).values():
        other = by_id.get(query.id)
        if other is None:
            continue
        if (query.gold, query.group) != (other.gold, other.group):
            raise InputError(
                f"query {query.id}: the two arms differ in gold or group, so they ran on different"
                " data"
            )
        common.a.append(query)
        common.b.append(other)
    if not common.a:
        raise InputError(
            f"paired comparison: the arms ({len(a)} and {len(b)} queries) have no query id in"
            " common"
        )
    return common


def _by_id(arm: Sequence[Scored]) -> dict[str, Scored]:
    by_id = {query.id: query for query in arm}
    if len(arm) != len(by_id):
        raise InputError(
            f"paired comparison: {len(arm) - len(by_id)} query ids occur twice in one arm"
        )
    return by_id


def _common_names(runs: Sequence[_Common]) -> list[str]:
    """The additive values that both arms have in all runs."""
    names = list(value_names(runs[0].a))
    for run in runs:
        for arm in (run.a, run.b):
            known = value_names(arm)
            names = [name for name in names if name in known]
    return names


def _user_gains(name: str, a: Sequence[Sums], b: Sequence[Sums]) -> Floats:
    """How much better a is than b for each cluster, by the additive value that stands for the
    metric: [clusters].
    """
    additive = name.removeprefix("user_mean_")
    for part, stand_in in (("f1_present", "accuracy"), ("f1", "accuracy"), ("rmse", "mse")):
        additive = additive.replace(part, stand_in)
    gains = []
    # 0 / 0 of a user whom a run has not: nan, and no part of their mean.
    with np.errstate(invalid="ignore"):
        for of_a, of_b in zip(a, b, strict=True):
            gains.append((of_a[additive] - of_b[additive])[:, 0] / of_a["queries"][:, 0])
    gain: Floats = np.nanmean(gains, axis=0)
    return gain if DIRECTION[name] else -gain

"""Intervals and tests against brute force: metrics recomputed on resampled and swapped data, and
simulated truth.
"""

import importlib.util
import itertools
import random
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from bench.errors import InputError
from bench.score.metrics import PRIMARY, Scored, aggregate, score_one, value_names
from bench.score.stats import holm, intervals, intervals_of_runs, paired, paired_runs
from bench.score.sums import clusters_of, left_out, metrics_of, sums_of

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
LABELS = [f"tag {index}" for index in range(15)]
STARS = ["1", "2", "3", "4", "5"]
WORDS = ["news", "of", "the", "cat", "dog", "2024"]


def arm(kind, *, users=12, seed=0, skill=0.5):
    """One arm's scored queries: users with 1-6 queries each;
    golds depend on the position, answers on the seed.
    """
    rng, golds = random.Random(seed), random.Random(99)
    labels = {"classification": LABELS, "rating": STARS, "generation": []}[kind]
    scored = []
    for user in range(users):
        for query in range(1 + user % 6):
            gold = (
                " ".join(golds.choices(WORDS, k=5))
                if kind == "generation"
                else golds.choice(labels)
            )
            junk = [" ".join(rng.choices(WORDS, k=5)), "4 stars", gold.upper(), *labels]
            raw = gold if rng.random() < skill else rng.choice(junk)
            nll = rng.random()
            scored.append(
                score_one(
                    kind, labels, raw, gold, id=f"{user}-{query}", group=f"u{user}", nll_token=nll
                )
            )
    return labels, scored


def rating(user, query, error):
    """A rating query of the given absolute error."""
    values = {"mae": error, "mse": error**2, "lenient_mae": error, "lenient_mse": error**2}
    return Scored(f"{user}-{query}", str(user), 1.0, 1.0 + error, 1.0 + error, values)


@pytest.fixture
def coverage(monkeypatch):
    """The benchmark of that name, which is a package's name too."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location(
        "benchmark_of_coverage", BENCHMARKS / "coverage.py"
    )
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


KINDS = pytest.mark.parametrize("kind", ["classification", "rating", "generation"])


# --- intervals
# --------------------------------------------------------------------------------------------------


@KINDS
def test_without_each_user_the_metrics_are_those_of_the_others(kind):
    labels, scored = arm(kind)
    clusters = clusters_of([scored])
    names = value_names(scored)
    sums = sums_of(kind, labels, scored, clusters.numbers[0], names, clusters.users)
    found = left_out(kind, [sums])
    for user in range(clusters.users):
        expected = aggregate(kind, labels, [one for one in scored if one.group != f"u{user}"])
        for name, value in expected.items():
            assert found[name][user] == pytest.approx(value, rel=1e-12, abs=1e-12), name


@KINDS
def test_interval_lies_around_the_value_and_is_reproducible(kind):
    labels, scored = arm(kind, users=40)
    found = intervals(kind, labels, scored)
    assert found == intervals(kind, labels, scored)
    values = aggregate(kind, labels, scored)
    assert found.keys() == values.keys()
    for name in values:
        assert found[name].value == pytest.approx(values[name], rel=1e-12)
        assert found[name].users == 40
        assert found[name].low < values[name] < found[name].high


@KINDS
def test_an_interval_of_many_users_is_that_of_scipys_bca_bootstrap(kind):
    labels, scored = arm(kind, users=300)
    clusters = clusters_of([scored])
    names = value_names(scored)
    sums = sums_of(kind, labels, scored, clusters.numbers[0], names, clusters.users)
    found = intervals(kind, labels, scored)
    for name in PRIMARY[kind]:

        def metric(picks, axis, name=name):
            rows = sums.rows[np.atleast_2d(picks)].sum(axis=1)
            return metrics_of(kind, sums.with_rows(rows))[name].reshape(np.shape(picks)[:-1])

        drawn = scipy.stats.bootstrap(
            (np.arange(clusters.users),),
            metric,
            method="BCa",
            n_resamples=1000,
            rng=np.random.default_rng(0),
            vectorized=True,
        )
        expected = drawn.confidence_interval
        width = expected.high - expected.low
        assert abs(found[name].low - expected.low) < 0.12 * width, name
        assert abs(found[name].high - expected.high) < 0.12 * width, name


def test_repeating_the_queries_of_each_user_does_not_narrow_the_interval():
    labels, scored = arm("classification", users=40)
    twice = [replace(one, id=f"{one.id}.{copy}") for one in scored for copy in range(2)]
    once, same = (
        intervals("classification", labels, scored),
        intervals("classification", labels, twice),
    )
    as_if_independent = intervals(
        "classification", labels, [replace(one, group=one.id) for one in twice]
    )
    for name in ("accuracy", "user_mean_accuracy", "f1_present"):
        assert (same[name].low, same[name].high) == pytest.approx(
            (once[name].low, once[name].high), abs=1e-9
        )
    for name in ("accuracy", "f1"):
        independent = as_if_independent[name].high - as_if_independent[name].low
        assert independent < 0.85 * (once[name].high - once[name].low)


@pytest.mark.parametrize("right", [0, 24])
def test_an_interval_at_the_end_of_its_scale_has_a_width(right):
    scored = [
        score_one(
            "classification",
            LABELS[:2],
            LABELS[0] if user < right else "x",
            LABELS[0],
            id=str(user),
            group="",
        )
        for user in range(24)
    ]
    one = intervals("classification", LABELS[:2], scored)["accuracy"]
    exact = scipy.stats.binomtest(right, 24).proportion_ci()
    assert (one.low, one.high) == pytest.approx((exact.low, exact.high), abs=0.015)
    assert one.low == 0 or one.high == 1
    perfect = [rating(user, 0, 0.0) for user in range(24)]
    found = intervals("rating", STARS, perfect)
    assert (
        found["mae"].low == found["rmse"].low == 0
        and 0.3 < found["mae"].high < found["rmse"].high < 4
    )


def test_one_user_says_nothing_of_others():
    alone = [rating(0, query, float(query % 2)) for query in range(5)]
    other = [rating(0, query, 1.0) for query in range(5)]
    found = intervals("rating", STARS, alone)["mae"]
    assert (found.value, found.low, found.high, found.users) == (0.4, None, None, 1)
    result = paired("rating", STARS, alone, other, draws=20)["mae"]
    assert (result.low, result.high, result.detectable) == (
        None,
        None,
        None,
    ) and result.p_permutation == 1


def test_a_label_that_does_not_occur_may_be_as_good_as_the_others():
    """Six labels of fifteen, all answered right: macro-F1 says .4, and of all users it may be
    anything from that on.
    """
    scored = [
        score_one("classification", LABELS, tag, tag, id=f"{tag}{n}", group="")
        for tag in LABELS[:6]
        for n in "abcd"
    ]
    one = intervals("classification", LABELS, scored)["f1"]
    assert one.value == pytest.approx(0.4) and one.low < 0.4 and one.high == 1
    assert intervals("classification", LABELS[:6], scored)["f1"].low > 0.7


def test_intervals_of_macro_f1_cover_the_truth_with_24_users(coverage):
    """Of one arm and of a difference;
    percentiles of resampled users held it in half of the samples or fewer.
    """
    world = next(world for world in coverage.WORLDS if world.name == "15 uneven labels")
    many = coverage.drawn(world, 20_000, np.random.default_rng(1))
    truth = [aggregate(world.kind, world.labels, arm)["f1"] for arm in many]
    rng, runs = np.random.default_rng(24), 150
    held = {"arm": 0, "difference": 0}
    for _ in range(runs):
        a, b = coverage.drawn(world, 24, rng)
        held["arm"] += covers(intervals(world.kind, world.labels, a)["f1"], truth[0])
        held["difference"] += covers(
            paired(world.kind, world.labels, a, b, draws=1)["f1"], truth[0] - truth[1]
        )
    assert all(count >= 0.9 * runs for count in held.values()), held


def test_two_equally_good_arms_seldom_differ_in_macro_f1_where_labels_are_rare():
    rng, runs = np.random.default_rng(7), 120
    small = 0
    for run in range(runs):
        golds = rng.choice(LABELS, size=24)
        a, b = (
            [
                score_one("classification", LABELS, raw, gold, id=str(number), group=str(number))
                for number, (raw, gold) in enumerate(zip(said, golds, strict=True))
            ]
            for said in [
                np.where(rng.random(24) < 0.4, golds, rng.choice(LABELS, size=24)) for _ in range(2)
            ]
        )
        small += (
            paired("classification", LABELS, a, b, draws=400, seed=run)["f1"].p_permutation < 0.05
        )
    assert small <= 0.1 * runs, small


def test_intervals_by_user_cover_the_truth_where_intervals_by_query_do_not():
    rng = np.random.default_rng(5)
    by_user, by_query, runs = 0, 0, 200
    for _ in range(runs):
        level = rng.choice([0.0, 2.0], size=50)  # a user's error; true mean 1
        data = [
            rating(user, query, level[user] + rng.uniform(0, 0.2))
            for user in range(50)
            for query in range(5)
        ]
        alone = [replace(one, group=one.id) for one in data]
        by_user += covers(intervals("rating", STARS, data)["mae"], 1.1)
        by_query += covers(intervals("rating", STARS, alone)["mae"], 1.1)
    assert 0.89 <= by_user / runs <= 0.99  # four standard errors below the nominal .95
    assert by_query / runs < 0.75


def test_the_interval_of_a_mean_is_the_normal_one_for_many_users():
    data = [rating(user, 0, float(user % 2)) for user in range(400)]
    interval = intervals("rating", STARS, data)["mae"]
    half = 1.96 * 0.5 / 400**0.5
    assert (interval.low, interval.high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.1 * half)


def covers(interval, truth):
    return interval.low <= truth <= interval.high


# --- paired
# --------------------------------------------------------------------------------------------------


@KINDS
def test_identical_arms_differ_by_nothing(kind):
    labels, scored = arm(kind)
    for result in paired(kind, labels, scored, scored, draws=200).values():
        assert (result.difference, result.p_permutation, result.detectable) == (0, 1, None)
        assert (result.helped, result.harmed) == (0, 0)


def test_arms_that_never_differ_may_differ_for_users_who_were_not_there():
    """Of 12 users none differs: by chance once in twenty, where 22 % of all users do. NLL has no
    end to reckon with.
    """
    labels, scored = arm("rating")
    found = paired("rating", labels, scored, scored, draws=20)
    hidden = 4 * (1 - 0.05 ** (1 / 12))
    assert (found["mae"].low, found["mae"].high) == pytest.approx((-hidden, hidden))
    assert (found["nll_token"].low, found["nll_token"].high) == (None, None)


@KINDS
def test_the_error_of_a_difference_is_that_of_leaving_each_user_out_of_both_arms(kind):
    (labels, a), (_, b) = arm(kind, seed=1), arm(kind, seed=2)
    groups = dict.fromkeys(one.group for one in a)
    rest = [
        [aggregate(kind, labels, [one for one in arm if one.group != group]) for arm in (a, b)]
        for group in groups
    ]
    for name, result in paired(kind, labels, a, b, draws=1).items():
        values = np.array([one[name] - two[name] for one, two in rest])
        assert result.error == pytest.approx(np.sqrt((len(groups) - 1) * values.var()))
        assert result.low < result.difference < result.high


@KINDS
def test_permutation_p_equals_the_enumeration_of_all_swaps(kind):
    (labels, a), (_, b) = (
        arm(kind, users=6, seed=1, skill=0.9),
        arm(kind, users=6, seed=2, skill=0.2),
    )
    groups = sorted({one.group for one in a})
    differences = []
    for swaps in itertools.product([False, True], repeat=len(groups)):
        swapped = {group for group, swap in zip(groups, swaps, strict=True) if swap}
        left = [y if x.group in swapped else x for x, y in zip(a, b, strict=True)]
        right = [x if x.group in swapped else y for x, y in zip(a, b, strict=True)]
        metrics = aggregate(kind, labels, left), aggregate(kind, labels, right)
        differences.append({name: metrics[0][name] - metrics[1][name] for name in metrics[0]})
    for name, result in paired(kind, labels, a, b, draws=8000).items():
        assert result.difference == pytest.approx(differences[0][name], abs=1e-12)
        exact = np.mean(
            [abs(other[name]) >= abs(result.difference) - 1e-12 for other in differences]
        )
        assert result.p_permutation == pytest.approx(exact, abs=0.03), name


def test_null_p_values_are_rarely_small_and_planted_effects_are_found():
    rng = np.random.default_rng(8)
    small, runs = 0, 200
    for run in range(runs):
        level = rng.uniform(1, 3, size=30)
        a, b = (
            [
                rating(user, query, level[user] + rng.uniform(-1, 1))
                for user in range(30)
                for query in range(3)
            ]
            for _ in range(2)
        )
        result = paired("rating", STARS, a, b, draws=199, seed=run)["mae"]
        small += result.p_permutation <= 0.05
    assert 1 <= small <= 0.12 * runs
    better = [rating(user, query, 1.0) for user in range(30) for query in range(3)]
    worse = [
        rating(user, query, 2.0 if user < 24 else 0.5) for user in range(30) for query in range(3)
    ]
    result = paired("rating", STARS, better, worse)["mae"]
    assert result.difference == pytest.approx(0.8 * -1 + 0.2 * 0.5)
    assert result.high < 0 and result.p_permutation < 0.01


@KINDS
def test_swapping_the_arms_turns_everything_around(kind):
    (labels, a), (_, b) = arm(kind, seed=1, skill=0.9), arm(kind, seed=2, skill=0.2)
    forth, back = paired(kind, labels, a, b, draws=300), paired(kind, labels, b, a, draws=300)
    for name, result in forth.items():
        assert result.difference == pytest.approx(-back[name].difference, abs=1e-12)
        assert (result.low, result.high) == pytest.approx(
            (-back[name].high, -back[name].low), abs=1e-12
        )
        assert (result.helped, result.harmed) == (back[name].harmed, back[name].helped)


def test_helped_means_better_whatever_the_direction_of_the_metric():
    errors_a, errors_b = [0, 0, 2, 1], [1, 1, 1, 1]
    a, b = (
        [rating(user, 0, error) for user, error in enumerate(errors)]
        for errors in (errors_a, errors_b)
    )
    for name in ("mae", "rmse", "user_mean_mae", "lenient_rmse"):
        result = paired("rating", STARS, a, b, draws=10)[name]
        assert (result.helped, result.harmed, result.users) == (0.5, 0.25, 4)
    right, wrong = (
        [
            score_one("classification", LABELS, raw, "tag 1", id=str(i), group=str(i))
            for i in range(4)
        ]
        for raw in ("tag 1", "tag 2")
    )
    result = paired(
        "classification", LABELS, [*right[:3], wrong[3]], [*wrong[:3], right[3]], draws=10
    )
    assert all(
        (result[name].helped, result[name].harmed) == (0.75, 0.25)
        for name in ("accuracy", "f1", "f1_present")
    )


def test_where_one_user_makes_all_the_difference_its_error_is_not_trusted():
    """Of 24 users one differs: as much is known of that spread as of two users,
    so that t is 3.8 and not 2.07.
    """
    a = [rating(user, 0, 1.0 if user == 0 else 0.0) for user in range(24)]
    b = [rating(user, 0, 0.0) for user in range(24)]
    result = paired("rating", STARS, a, b, draws=10)["mae"]
    assert result.error == pytest.approx(1 / 24)
    assert 3.7 < (result.high - result.difference) / result.error < 4
    many = paired(
        "rating", STARS, [rating(user, 0, float(user % 2)) for user in range(24)], b, draws=10
    )["mae"]
    assert (many.high - many.difference) / many.error == pytest.approx(scipy.stats.t.ppf(0.975, 23))


def test_only_common_queries_are_compared_and_the_others_are_counted():
    labels, scored = arm("rating", users=12)
    plain = [
        replace(one, values={k: v for k, v in one.values.items() if k != "nll_token"})
        for one in scored
    ]
    result = paired("rating", labels, scored[3:], list(reversed(plain[:-2])), draws=10)
    assert "nll_token" not in result  # only one arm measured it
    assert (result["mae"].queries, result["mae"].left_out) == (len(scored) - 5, 5)
    assert result["mae"].difference == 0


def test_arms_that_cannot_be_compared_are_errors():
    labels, scored = arm("rating")
    with pytest.raises(InputError, match="no query id in common"):
        paired("rating", labels, scored, [replace(one, id=f"other {one.id}") for one in scored])
    with pytest.raises(InputError, match="query 0-0: the two arms differ in gold or group"):
        paired("rating", labels, scored, [replace(one, group="else") for one in scored])
    with pytest.raises(InputError, match="twice"):
        paired("rating", labels, [*scored, scored[0]], scored)


# --- Holm
# --------------------------------------------------------------------------------------------------


def test_holm_on_a_textbook_example():
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(adjusted) == ["a", "b", "c", "d"]
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}
    with pytest.raises(ValueError, match="0..1"):
        holm({"a": float("nan")})


# --- several runs (seeds)
# --------------------------------------------------------------------------------------------


@KINDS
def test_runs_are_averaged_run_by_run_and_not_pooled(kind):
    labels, one = arm(kind, seed=1)
    _, other = arm(kind, seed=2, skill=0.9)
    other = other[:20]
    found = intervals_of_runs(kind, labels, [one, other])
    each = [aggregate(kind, labels, run) for run in (one, other)]
    for name, interval in found.items():
        assert interval.value == pytest.approx((each[0][name] + each[1][name]) / 2), name


@KINDS
def test_copies_of_a_run_add_no_certainty(kind):
    labels, scored = arm(kind)
    _, other = arm(kind, seed=3)
    same = intervals(kind, labels, scored)
    for name, interval in intervals_of_runs(kind, labels, [scored] * 3).items():
        assert asdict(interval) == pytest.approx(asdict(same[name])), name
    thrice, once = (
        paired_runs(kind, labels, [(scored, other)] * 3, draws=50),
        paired(kind, labels, scored, other, draws=50),
    )
    for name, result in thrice.items():
        assert result.p_permutation == once[name].p_permutation
        assert (result.low, result.high) == pytest.approx((once[name].low, once[name].high))
        assert (result.helped, result.users) == (once[name].helped, once[name].users)


def test_runs_with_other_users_are_taken_together():
    runs = [[rating(user, 0, 1.0) for user in range(start, start + 5)] for start in (0, 5)]
    better = [
        [replace(one, values={name: 0.0 for name in one.values}) for one in run] for run in runs
    ]
    found = paired_runs("rating", STARS, list(zip(better, runs, strict=True)), draws=200)["mae"]
    hidden = 4 * (1 - 0.05 ** (1 / 10))  # no two users differ
    assert (found.users, found.queries, found.difference, found.helped) == (10, 10, -1.0, 1.0)
    assert (found.low, found.high) == pytest.approx((-1 - hidden, -1 + hidden))

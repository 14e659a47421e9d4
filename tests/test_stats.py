"""Intervals and tests against brute force: metrics recomputed on resampled and swapped data, and simulated truth."""

import itertools
import random
from dataclasses import asdict, replace

import numpy as np
import pytest

from bench.score import stats
from bench.score.metrics import Scored, aggregate, score_one
from bench.score.stats import bootstrap, bootstrap_runs, holm, paired, paired_runs
from bench.types import InputError

LABELS = [f"tag {index}" for index in range(15)]
STARS = ["1", "2", "3", "4", "5"]
WORDS = ["news", "of", "the", "cat", "dog", "2024"]


def arm(kind, *, users=12, seed=0, skill=0.5):
    """One arm's scored queries: users with 1-6 queries each; golds depend on the position, answers on the seed."""
    rng, golds = random.Random(seed), random.Random(99)
    labels = {"classification": LABELS, "rating": STARS, "generation": []}[kind]
    scored = []
    for user in range(users):
        for query in range(1 + user % 6):
            gold = " ".join(golds.choices(WORDS, k=5)) if kind == "generation" else golds.choice(labels)
            junk = [" ".join(rng.choices(WORDS, k=5)), "4 stars", gold.upper(), *labels]
            raw = gold if rng.random() < skill else rng.choice(junk)
            nll = rng.random()
            scored.append(score_one(kind, labels, raw, gold, id=f"{user}-{query}", group=f"u{user}", nll_token=nll))
    return labels, scored


def rating(user, query, error):
    """A rating query of the given absolute error."""
    values = {"mae": error, "mse": error**2, "lenient_mae": error, "lenient_mse": error**2}
    return Scored(f"{user}-{query}", str(user), 1.0, 1.0 + error, 1.0 + error, values)


@pytest.fixture
def as_drawn(monkeypatch):
    """Draws as they fall, without the correction of their bias."""
    monkeypatch.setattr(stats, "_unbiased", lambda name, drawn, value: drawn)


KINDS = pytest.mark.parametrize("kind", ["classification", "rating", "generation"])


# --- bootstrap -------------------------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("seed", range(4))
def test_a_draw_equals_the_metrics_of_the_resampled_data(kind, seed, as_drawn):
    labels, scored = arm(kind)
    groups = list(dict.fromkeys(one.group for one in scored))
    picks = np.random.default_rng(seed).integers(len(groups), size=(1, len(groups)))[0]
    resampled = [
        replace(one, group=f"copy {copy}")
        for copy, pick in enumerate(picks)
        for one in scored
        if one.group == groups[pick]
    ]
    expected = aggregate(kind, labels, resampled)
    intervals = bootstrap(kind, labels, scored, draws=1, seed=seed)
    assert intervals.keys() == expected.keys()
    for name, value in expected.items():
        assert intervals[name].low == intervals[name].high == pytest.approx(value, rel=1e-12, abs=1e-12), name


@KINDS
def test_interval_holds_the_value_and_repeats_with_the_seed(kind):
    labels, scored = arm(kind, users=40)
    intervals = bootstrap(kind, labels, scored)
    assert intervals == bootstrap(kind, labels, scored) != bootstrap(kind, labels, scored, seed=1)
    values = aggregate(kind, labels, scored)
    for name in values:
        assert intervals[name].value == values[name]
        assert intervals[name].users == 40
        if "present" not in name:  # the labels that are present change from draw to draw
            assert intervals[name].low < values[name] < intervals[name].high


def test_the_interval_of_macro_f1_lies_around_its_value_where_labels_are_rare(monkeypatch):
    labels = LABELS
    scored = [score_one("classification", labels, tag, tag, id=tag, group=tag) for tag in labels[:12]]
    interval = bootstrap("classification", labels, scored)["f1"]
    assert interval.low < interval.value < interval.high <= 1
    monkeypatch.setattr(stats, "_unbiased", lambda name, drawn, value: drawn)
    as_drawn = bootstrap("classification", labels, scored)["f1"]
    assert as_drawn.high < as_drawn.value  # the plain percentiles leave it out


def test_repeating_the_queries_of_each_user_does_not_narrow_the_interval():
    labels, scored = arm("classification", users=40)
    twice = [replace(one, id=f"{one.id}.{copy}") for one in scored for copy in range(2)]
    once, same = bootstrap("classification", labels, scored), bootstrap("classification", labels, twice)
    as_if_independent = bootstrap("classification", labels, [replace(one, group=one.id) for one in twice])
    for name in once:
        assert (same[name].low, same[name].high) == pytest.approx((once[name].low, once[name].high), abs=1e-12)
    for name in ("accuracy", "f1"):
        independent = as_if_independent[name].high - as_if_independent[name].low
        assert independent < 0.85 * (once[name].high - once[name].low)


def test_two_equally_good_arms_seldom_differ_in_macro_f1_where_labels_are_rare():
    rng, runs = np.random.default_rng(7), 120
    small = {"p_bootstrap": 0, "p_permutation": 0}
    for run in range(runs):
        golds = rng.choice(LABELS, size=24)
        a, b = (
            [
                score_one("classification", LABELS, raw, gold, id=str(number), group=str(number))
                for number, (raw, gold) in enumerate(zip(said, golds, strict=True))
            ]
            for said in [np.where(rng.random(24) < 0.4, golds, rng.choice(LABELS, size=24)) for _ in range(2)]
        )
        result = paired("classification", LABELS, a, b, draws=400, seed=run)["f1"]
        small = {name: count + (getattr(result, name) < 0.05) for name, count in small.items()}
    assert small["p_permutation"] <= 0.1 * runs, small
    assert small["p_bootstrap"] <= 0.15 * runs, small  # few users: the bootstrap's are too small


def test_who_never_answers_right_keeps_a_macro_f1_of_zero_in_every_draw():
    wrong = [score_one("classification", LABELS, "x", LABELS[n], id=str(n), group=str(n)) for n in range(6)]
    one_right = [*wrong[:5], score_one("classification", LABELS, LABELS[5], LABELS[5], id="5", group="5")]
    assert bootstrap("classification", LABELS, wrong)["f1"].high == 0
    result = paired("classification", LABELS, one_right, wrong)["f1"]
    assert result.low == 0 < result.difference and result.p_bootstrap > 0.5 and result.p_permutation == 1


def test_intervals_by_user_cover_the_truth_where_intervals_by_query_do_not():
    rng = np.random.default_rng(5)
    by_user, by_query, runs = 0, 0, 200
    for run in range(runs):
        level = rng.choice([0.0, 2.0], size=50)  # a user's error; true mean 1
        data = [rating(user, query, level[user] + rng.uniform(0, 0.2)) for user in range(50) for query in range(5)]
        alone = [replace(one, group=one.id) for one in data]
        by_user += covers(bootstrap("rating", STARS, data, draws=200, seed=run)["mae"], 1.1)
        by_query += covers(bootstrap("rating", STARS, alone, draws=200, seed=run)["mae"], 1.1)
    assert 0.89 <= by_user / runs <= 0.99  # four standard errors below the nominal .95
    assert by_query / runs < 0.75


def test_the_interval_of_a_mean_is_the_normal_one_for_many_users():
    data = [rating(user, 0, float(user % 2)) for user in range(400)]
    interval = bootstrap("rating", STARS, data, draws=20_000)["mae"]
    half = 1.96 * 0.5 / 400**0.5
    assert (interval.low, interval.high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.05 * half)


def covers(interval, truth):
    return interval.low <= truth <= interval.high


# --- paired ----------------------------------------------------------------------------------------------------------


@KINDS
def test_identical_arms_differ_by_nothing(kind):
    labels, scored = arm(kind)
    for result in paired(kind, labels, scored, scored, draws=200).values():
        assert (result.difference, result.low, result.high) == (0, 0, 0)
        assert (result.p_bootstrap, result.p_permutation) == (1, 1)
        assert (result.helped, result.harmed) == (0, 0)


@KINDS
def test_a_paired_draw_takes_the_same_users_for_both_arms(kind, as_drawn):
    (labels, a), (_, b) = arm(kind, seed=1), arm(kind, seed=2)
    draw_a, draw_b = (bootstrap(kind, labels, one, draws=1, seed=3) for one in (a, b))
    for name, result in paired(kind, labels, a, b, draws=1, seed=3).items():
        assert result.low == result.high == pytest.approx(draw_a[name].low - draw_b[name].low, abs=1e-12)


@KINDS
def test_permutation_p_equals_the_enumeration_of_all_swaps(kind):
    (labels, a), (_, b) = arm(kind, users=6, seed=1, skill=0.9), arm(kind, users=6, seed=2, skill=0.2)
    groups = sorted({one.group for one in a})
    differences = []
    for swaps in itertools.product([False, True], repeat=len(groups)):
        swapped = {group for group, swap in zip(groups, swaps, strict=True) if swap}
        left = [y if x.group in swapped else x for x, y in zip(a, b, strict=True)]
        right = [x if x.group in swapped else y for x, y in zip(a, b, strict=True)]
        metrics = aggregate(kind, labels, left), aggregate(kind, labels, right)
        differences.append({name: metrics[0][name] - metrics[1][name] for name in metrics[0]})
    for name, result in paired(kind, labels, a, b, draws=8000).items():
        assert result.difference == differences[0][name]
        exact = np.mean([abs(other[name]) >= abs(result.difference) - 1e-12 for other in differences])
        assert result.p_permutation == pytest.approx(exact, abs=0.03), name


def test_null_p_values_are_rarely_small_and_planted_effects_are_found():
    rng = np.random.default_rng(8)
    small = {"p_permutation": 0, "p_bootstrap": 0}
    runs = 200
    for run in range(runs):
        level = rng.uniform(1, 3, size=30)
        a, b = (
            [rating(user, query, level[user] + rng.uniform(-1, 1)) for user in range(30) for query in range(3)]
            for _ in range(2)
        )
        result = paired("rating", STARS, a, b, draws=199, seed=run)["mae"]
        for name in small:
            small[name] += getattr(result, name) <= 0.05
    assert all(1 <= count <= 0.12 * runs for count in small.values())
    better = [rating(user, query, 1.0) for user in range(30) for query in range(3)]
    worse = [rating(user, query, 2.0 if user < 24 else 0.5) for user in range(30) for query in range(3)]
    result = paired("rating", STARS, better, worse)["mae"]
    assert result.difference == pytest.approx(0.8 * -1 + 0.2 * 0.5)
    assert result.high < 0 and result.p_permutation < 0.01 and result.p_bootstrap < 0.01


@KINDS
def test_swapping_the_arms_turns_everything_around(kind):
    (labels, a), (_, b) = arm(kind, seed=1, skill=0.9), arm(kind, seed=2, skill=0.2)
    forth, back = paired(kind, labels, a, b, draws=300), paired(kind, labels, b, a, draws=300)
    for name, result in forth.items():
        assert result.difference == -back[name].difference
        assert (result.low, result.high) == pytest.approx((-back[name].high, -back[name].low), abs=1e-12)
        assert (result.helped, result.harmed) == (back[name].harmed, back[name].helped)


def test_helped_means_better_whatever_the_direction_of_the_metric():
    errors_a, errors_b = [0, 0, 2, 1], [1, 1, 1, 1]
    a, b = ([rating(user, 0, error) for user, error in enumerate(errors)] for errors in (errors_a, errors_b))
    for name in ("mae", "rmse", "user_mean_mae", "lenient_rmse"):
        result = paired("rating", STARS, a, b, draws=10)[name]
        assert (result.helped, result.harmed, result.users) == (0.5, 0.25, 4)
    right, wrong = (
        [score_one("classification", LABELS, raw, "tag 1", id=str(i), group=str(i)) for i in range(4)]
        for raw in ("tag 1", "tag 2")
    )
    result = paired("classification", LABELS, [*right[:3], wrong[3]], [*wrong[:3], right[3]], draws=10)
    assert all((result[name].helped, result[name].harmed) == (0.75, 0.25) for name in ("accuracy", "f1", "f1_present"))


def test_only_common_queries_are_compared_and_the_others_are_counted():
    labels, scored = arm("rating", users=12)
    plain = [replace(one, values={k: v for k, v in one.values.items() if k != "nll_token"}) for one in scored]
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


# --- Holm ------------------------------------------------------------------------------------------------------------


def test_holm_on_a_textbook_example():
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(adjusted) == ["a", "b", "c", "d"]
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}
    with pytest.raises(ValueError, match="0..1"):
        holm({"a": float("nan")})


# --- several runs (seeds) --------------------------------------------------------------------------------------------


@KINDS
def test_runs_are_averaged_run_by_run_and_not_pooled(kind):
    labels, one = arm(kind, seed=1)
    _, other = arm(kind, seed=2, skill=0.9)
    other = other[:20]
    found = bootstrap_runs(kind, labels, [one, other], draws=20)
    each = [aggregate(kind, labels, run) for run in (one, other)]
    for name, interval in found.items():
        assert interval.value == pytest.approx((each[0][name] + each[1][name]) / 2), name


@KINDS
def test_copies_of_a_run_add_no_certainty(kind):
    labels, scored = arm(kind)
    _, other = arm(kind, seed=3)
    same = bootstrap(kind, labels, scored, draws=50)
    for name, interval in bootstrap_runs(kind, labels, [scored] * 3, draws=50).items():
        assert asdict(interval) == pytest.approx(asdict(same[name])), name
    thrice, once = (
        paired_runs(kind, labels, [(scored, other)] * 3, draws=50),
        paired(kind, labels, scored, other, draws=50),
    )
    for name, result in thrice.items():
        assert (result.p_bootstrap, result.p_permutation) == (once[name].p_bootstrap, once[name].p_permutation)
        assert (result.low, result.high) == pytest.approx((once[name].low, once[name].high))
        assert (result.helped, result.users) == (once[name].helped, once[name].users)


def test_runs_with_other_users_are_resampled_together():
    runs = [[rating(user, 0, 1.0) for user in range(start, start + 5)] for start in (0, 5)]
    better = [[replace(one, values={name: 0.0 for name in one.values}) for one in run] for run in runs]
    found = paired_runs("rating", STARS, list(zip(better, runs, strict=True)), draws=200)["mae"]
    assert (found.users, found.queries, found.difference, found.helped) == (10, 10, -1.0, 1.0)
    assert (found.low, found.high) == (-1.0, -1.0)

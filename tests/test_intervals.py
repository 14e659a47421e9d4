"""Intervals against their definitions: the jackknife, Wilson's score interval,
an estimate between two ends.
"""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from bench.score import rare_labels
from bench.score.intervals import Estimate, between, jackknife, of_difference, of_metric, quantile


def without_each(values):
    return (values.sum() - values) / (len(values) - 1)


def wilson(share, trials, t):
    """Both shares from which what was seen is just `t` standard errors away."""

    def beyond(truth):
        return abs(share - truth) - t * math.sqrt(truth * (1 - truth) / trials)

    low = 0.0 if share == 0 else scipy.optimize.brentq(beyond, 0, share - 1e-12)
    high = 1.0 if share == 1 else scipy.optimize.brentq(beyond, share + 1e-12, 1)
    return low, high


def t_of(users):
    return scipy.stats.t.ppf(0.975, users - 1)


# The jackknife


def test_the_error_of_a_mean_is_that_of_the_textbook_and_unknown_variance_adds_to_it():
    values = np.random.default_rng(0).normal(3, 2, 40)
    plain, more = (jackknife(values.mean(), without_each(values), prior) for prior in (0.0, 0.5))
    standard = values.std(ddof=1) / math.sqrt(40)
    assert plain.error == pytest.approx(standard)
    assert more.error == pytest.approx(math.sqrt(standard**2 + 0.5))
    assert plain.value == more.value == values.mean()
    silent = jackknife(0.4, np.full(9, 0.4), 0.25)
    assert (silent.value, silent.error, silent.freedom) == (0.4, 0.5, 8)


def test_the_freedom_of_an_error_is_that_of_its_users_at_most_and_less_where_few_make_it():
    even = np.tile([-1.0, 1.0], 12)  # the evenest there is: kurtosis 1
    assert jackknife(0, without_each(even)).freedom == 23
    normal = scipy.stats.norm.ppf((np.arange(2000) + 0.5) / 2000)
    assert jackknife(0, without_each(normal)).freedom == pytest.approx(1999, rel=0.02)
    heavy = np.array([9.0, *np.tile([-1.0, 1.0], 12)])
    centred = heavy - heavy.mean()
    kurtosis = (centred**4).mean() / (centred**2).mean() ** 2
    assert jackknife(0, without_each(heavy)).freedom == pytest.approx(2 * 25 / (kurtosis - 1))
    assert jackknife(0, np.array([1.0, 2.0])).freedom == 1


# One arm


@pytest.mark.parametrize("share", [0.0, 0.03, 0.4, 0.9, 1.0])
def test_a_share_has_wilsons_interval_of_as_many_trials_as_its_error_stands_for(share):
    users, trials = 24, 17.0
    error = math.sqrt(share * (1 - share) / trials)
    found = of_metric("accuracy", Estimate(share, error, 3.0), users)
    expected = wilson(share, trials if 0 < share < 1 else users, t_of(users))
    assert found == pytest.approx(expected, abs=1e-9)


def test_an_error_in_stars_is_a_share_of_four_with_its_own_freedom():
    one = Estimate(1.0, 0.2, 6.0)
    low, high = wilson(0.25, 0.25 * 0.75 / 0.05**2, scipy.stats.t.ppf(0.975, 6))
    assert of_metric("mae", one, 30) == pytest.approx((4 * low, 4 * high))
    silent = of_metric("rmse", Estimate(1.0, 0.0, 23.0), 24)  # that of its square, of sixteen
    low, high = wilson(1 / 16, 24, t_of(24))
    assert silent == pytest.approx((4 * math.sqrt(low), 4 * math.sqrt(high)))


def test_a_loss_has_its_interval_on_the_logarithm_and_stays_above_zero():
    low, high = of_metric("nll_token", Estimate(2.0, 1.5, 9.0), 40)
    assert math.log(high / 2) == pytest.approx(math.log(2 / low))
    assert math.log(high / 2) == pytest.approx(scipy.stats.t.ppf(0.975, 9) * 1.5 / 2)
    assert high > 4  # no scale ends it
    low, high = of_metric("rmse", Estimate(3.0, 1.5, 9.0), 40)
    assert 0 < low < 3 and high == 4
    assert of_metric("nll_label", Estimate(0.0, 0.0, 9.0), 40) == (0.0, 0.0)


def test_an_error_beyond_the_scale_has_a_plain_interval():
    reach = scipy.stats.t.ppf(0.975, 9) * 0.3
    expected = pytest.approx((5 - reach, 5 + reach))
    assert of_metric("mae", Estimate(5.0, 0.3, 9.0), 40) == expected


# Between two estimates


def test_between_two_estimates_that_are_one_lies_their_own_interval():
    one = Estimate(0.4, 0.05, 99.0)
    assert between(one, one, 100) == pytest.approx(of_metric("f1", one, 100), abs=1e-6)


def test_far_apart_the_truth_can_be_beyond_one_end_alone():
    least, most = Estimate(0.2, 0.02, 99.0), Estimate(0.7, 0.03, 99.0)
    one_sided = scipy.stats.t.ppf(0.95, 99)
    low, high = (
        wilson(one.value, one.value * (1 - one.value) / one.error**2, one_sided)
        for one in (least, most)
    )
    assert between(least, most, 100) == pytest.approx((low[0], high[1]), abs=1e-5)
    assert between(most, least, 100) == between(least, most, 100)


# A difference


def test_an_interval_of_a_difference_is_around_its_estimate_and_holds_what_is_printed():
    one = Estimate(0.1, 0.02, 7.0)
    reach = scipy.stats.t.ppf(0.975, 7) * 0.02
    assert of_difference("f1", 0.1, one, 30) == pytest.approx((0.1 - reach, 0.1 + reach))
    assert of_difference("f1", 0.3, one, 30) == pytest.approx((0.1 - reach, 0.3))
    assert of_difference("f1", -0.3, one, 30) == pytest.approx((-0.3, 0.1 + reach))
    assert quantile(0.975, 7) == pytest.approx(scipy.stats.t.ppf(0.975, 7))


# Rare labels


def test_labels_that_are_alike_are_drawn_to_their_mean_and_labels_that_differ_are_not():
    counts = np.array([20.0, 20.0, 20.0, 2.0])
    alike, _ = rare_labels._worth(np.full(4, 0.5), counts, noise=5.0)
    apart, _ = rare_labels._worth(np.array([0.0, 1.0, 0.0, 1.0]), counts, noise=0.01)
    assert (alike, apart) == (rare_labels.MOST, rare_labels.LEAST)
    some = np.array([0.3, 0.5, 0.7, 0.5])
    few, many = (rare_labels._worth(some, counts, noise)[0] for noise in (4.0, 8.0))
    assert rare_labels.LEAST < few < many < rare_labels.MOST


def test_a_label_without_a_question_has_the_mean_of_the_others():
    rates, counts = np.array([[0.2, 0.6, 0.0]]), np.array([[50.0, 50.0, 0.0]])
    assert rare_labels._shrunk(rates, counts, 3.0) == pytest.approx(0.4)
    uneven = np.array([[50.0, 1.0, 0.0]])
    weights = np.array([50 / 53, 1 / 4])
    mean = (weights * [0.2, 0.6]).sum() / weights.sum()
    drawn = [*(weights * [0.2, 0.6] + (1 - weights) * mean), mean]
    assert rare_labels._shrunk(rates, uneven, 3.0) == pytest.approx(np.mean(drawn))


def test_how_much_labels_differ_is_the_variance_between_them_less_that_of_their_questions():
    """Labels of ten questions each: the textbook's one-way analysis of variance."""
    rates, counts, single = np.array([0.2, 0.8, 0.4]), np.full(3, 10.0), 0.3
    worth, unknown = rare_labels._worth(rates, counts, noise=single * (30 - 3))
    between = rates.var(ddof=1) - single / 10
    assert worth == pytest.approx(single / between)
    # so far is each label drawn to the mean, which may be wrong by `between`
    pulled = worth / (10 + worth)
    assert unknown == pytest.approx(pulled**2 * between / 3)

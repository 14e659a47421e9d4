"""Macro-F1 where labels are rare: what it would be if the labels that few questions have were like
the others.

In a small sample some labels never occur, and count as 0. So the value lies below that of all
users, the more so the fewer there are. Here each label's F1 is drawn towards the mean over labels,
as far as its count calls for (empirical Bayes, as Efron and Morris 1975 have it); a label that
never occurs gets that mean. That a label which never occurs is as good as the others is a guess: an
interval holds both this value and the plain one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.score.intervals import Estimate, jackknife
from bench.score.sums import AT_ONCE, Floats, Sums

MOST, LEAST = 8.0, 0.5
"""Bounds of how many occurrences the mean over labels is worth; few labels tell little of how they
differ.
"""

Shrunk = tuple[float, Floats, float]
"""A value, the values without each user [users], and the variance that comes from labels with few
occurrences.
"""


def of_arm(prefix: str, runs: list[Sums]) -> Estimate:
    """Macro-F1 of one arm (`prefix`: "" or "lenient_"), mean over runs."""
    return _joined([_arm(prefix, one) for one in runs])


def of_difference(prefix: str, a: list[Sums], b: list[Sums]) -> Estimate:
    """The same for the difference of two arms, in which a label's two F1 are drawn together.

    No variance is added for labels with few occurrences: two arms differ far less in those than
    each is unknown.
    """
    found = [_difference(prefix, one, two) for one, two in zip(a, b, strict=True)]
    return _joined([(value, left_out, 0.0) for value, left_out, _ in found])


def _joined(runs: list[Shrunk]) -> Estimate:
    """Labels that are rare in one run are so in all, so that the unknown part does not
    average out."""
    values, left_out, variances = zip(*runs, strict=True)
    unknown = float(np.mean(np.sqrt(variances))) ** 2
    return jackknife(float(np.mean(values)), np.mean(left_out, axis=0), unknown)


def _arm(prefix: str, sums: Sums) -> Shrunk:
    right, count = 2 * sums[prefix + "right"], sums["gold"] + sums[prefix + "answered"]
    total_right, total = right.sum(axis=0), count.sum(axis=0)
    f1 = total_right / np.maximum(total, 1)
    noise = float(((right - f1 * count) ** 2).sum())
    worth, variance = _worth(f1, total, noise)

    def value(start: int, stop: int) -> Floats:
        counts = total - count[start:stop]
        return _shrunk((total_right - right[start:stop]) / np.maximum(counts, 1), counts, worth)

    whole = float(_shrunk(f1[None], total[None], worth)[0])
    return whole, _in_parts(len(right), value), variance


def _difference(prefix: str, a: Sums, b: Sums) -> Shrunk:
    # Of label l: change_l = f_al - f_bl, f = 2 hits / n, n = golds + answers; n_l = (n_al + n_bl) /
    # 2. User u's part in the error of n_l change_l: n_l (e_aul / n_al - e_bul / n_bl), e_ul = 2
    # hits_ul - f_l n_ul.
    parts = [(2 * one[prefix + "right"], one["gold"] + one[prefix + "answered"]) for one in (a, b)]
    totals = [(right.sum(axis=0), count.sum(axis=0)) for right, count in parts]
    rates = [right / np.maximum(count, 1) for right, count in totals]
    total = (totals[0][1] + totals[1][1]) / 2
    change = rates[0] - rates[1]
    errors = [
        (right - rate * count) * (total / np.maximum(all_counts, 1))
        for (right, count), (_, all_counts), rate in zip(parts, totals, rates, strict=True)
    ]
    noise = float(((errors[0] - errors[1]) ** 2).sum())
    worth, variance = _worth(change, total, noise)

    def value(start: int, stop: int) -> Floats:
        left = [
            (all_right - right[start:stop], all_counts - count[start:stop])
            for (right, count), (all_right, all_counts) in zip(parts, totals, strict=True)
        ]
        first, second = (right / np.maximum(count, 1) for right, count in left)
        return _shrunk(first - second, (left[0][1] + left[1][1]) / 2, worth)

    whole = float(_shrunk(change[None], total[None], worth)[0])
    return whole, _in_parts(len(parts[0][0]), value), variance


def _worth(rates: Floats, counts: Floats, noise: float) -> tuple[float, float]:
    """How many occurrences the mean over labels is worth (noise of one over the variance between
    labels), and the variance of the mean of the labels that this leaves unknown.
    """
    # s2 = noise / (N - L): the noise of one occurrence, of N = sum n_l of L labels; m = sum n_l r_l
    # / N. t2 = (sum n_l (r_l - m)^2 - (L - 1) s2) / (N - sum n_l^2 / N): the variance between
    # labels. worth w = s2 / t2; the mean of the labels is unknown by sum (w / (n_l + w))^2 (s2 / w)
    # / labels^2.
    labels, total = int((counts > 0).sum()), float(counts.sum())
    single = noise / max(total - labels, 1.0)
    mean = float((counts * rates).sum()) / max(total, 1.0)
    between = float((counts * (rates - mean) ** 2).sum()) - (labels - 1) * single
    between /= max(total - float((counts**2).sum()) / max(total, 1.0), 1e-9)
    worth = MOST if between * MOST <= single else max(LEAST, single / between)
    unknown = float(((worth / (counts + worth)) ** 2).sum()) * single / worth
    return worth, unknown / len(counts) ** 2


def _shrunk(rates: Floats, counts: Floats, worth: float) -> Floats:
    """The mean over labels of each row of rates [rows, labels], drawn towards the row's mean."""
    weight = counts / (counts + worth)
    mean = (weight * rates).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-9)
    drawn: Floats = (weight * rates + (1 - weight) * mean[:, None]).mean(axis=1)
    return drawn


def _in_parts(users: int, value: Callable[[int, int], Floats]) -> Floats:
    return np.concatenate(
        [value(start, min(start + AT_ONCE, users)) for start in range(0, users, AT_ONCE)]
    )

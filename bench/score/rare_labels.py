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
from dataclasses import dataclass, replace

import numpy as np

from bench.score.intervals import Estimate, jackknife
from bench.score.sums import AT_ONCE, Floats, Sums

MOST, LEAST = 8.0, 0.5
"""Bounds of how many occurrences the mean over labels is worth; few labels tell little of how they
differ.
"""


@dataclass(frozen=True, slots=True)
class _Shrunk:
    """A value, the values without each user [users], and the variance that comes from labels with
    few occurrences.
    """

    value: float
    left_out: Floats
    variance: float


@dataclass(frozen=True, slots=True)
class _Counts:
    """Of one arm: twice the hits, and golds plus answers, by user and label `[users, labels]`. F1
    of a label is the one over the other.
    """

    right: Floats
    count: Floats

    @staticmethod
    def of(prefix: str, sums: Sums) -> _Counts:
        return _Counts(2 * sums[prefix + "right"], sums["gold"] + sums[prefix + "answered"])

    @property
    def total(self) -> Floats:
        """Golds plus answers of all users, [labels]."""
        total: Floats = self.count.sum(axis=0)
        return total

    @property
    def f1(self) -> Floats:
        """Of all users, [labels]."""
        f1: Floats = self.right.sum(axis=0) / np.maximum(self.total, 1)
        return f1

    @property
    def errors(self) -> Floats:
        """Each user's part in the error of n_l f_l: 2 hits_ul - f_l n_ul, [users, labels]."""
        return self.right - self.f1 * self.count

    def without(self, start: int, stop: int) -> _Rest:
        """What is left without each of these users."""
        counts = self.total - self.count[start:stop]
        right = self.right.sum(axis=0) - self.right[start:stop]
        return _Rest(right / np.maximum(counts, 1), counts)


@dataclass(frozen=True, slots=True)
class _Rest:
    """F1, and golds plus answers, without each of some users, [users, labels]."""

    f1: Floats
    counts: Floats


def of_arm(prefix: str, runs: list[Sums]) -> Estimate:
    """Macro-F1 of one arm (`prefix`: "" or "lenient_"), mean over runs."""
    return _joined([_arm(prefix, run) for run in runs])


def of_difference(prefix: str, a: list[Sums], b: list[Sums]) -> Estimate:
    """The same for the difference of two arms, in which a label's two F1 are drawn together.

    No variance is added for labels with few occurrences: two arms differ far less in those than
    each is unknown.
    """
    differences = []
    for run_a, run_b in zip(a, b, strict=True):
        differences.append(replace(_difference(prefix, run_a, run_b), variance=0.0))
    return _joined(differences)


def _joined(runs: list[_Shrunk]) -> Estimate:
    """Labels that are rare in one run are so in all,
    so that the unknown part does not average out.
    """
    value = float(np.mean([run.value for run in runs]))
    left_out = np.mean([run.left_out for run in runs], axis=0)
    unknown = float(np.mean(np.sqrt([run.variance for run in runs]))) ** 2
    return jackknife(value, left_out, unknown)


def _arm(prefix: str, sums: Sums) -> _Shrunk:
    arm = _Counts.of(prefix, sums)
    f1, total = arm.f1, arm.total
    noise = float((arm.errors**2).sum())
    worth, variance = _worth(f1, total, noise)

    def without(start: int, stop: int) -> Floats:
        rest = arm.without(start, stop)
        return _shrunk(rest.f1, rest.counts, worth)

    whole = float(_shrunk(f1[None], total[None], worth)[0])
    return _Shrunk(whole, _in_parts(len(arm.right), without), variance)


def _difference(prefix: str, a: Sums, b: Sums) -> _Shrunk:
    # Of label l: change_l = f_al - f_bl, and n_l = (n_al + n_bl) / 2 with n = golds + answers. User
    # u's part in the error of n_l change_l is n_l (e_aul / n_al - e_bul / n_bl), e as in `errors`.
    first, second = _Counts.of(prefix, a), _Counts.of(prefix, b)
    total, change = (first.total + second.total) / 2, first.f1 - second.f1
    errors_a = first.errors * (total / np.maximum(first.total, 1))
    errors_b = second.errors * (total / np.maximum(second.total, 1))
    noise = float(((errors_a - errors_b) ** 2).sum())
    worth, variance = _worth(change, total, noise)

    def without(start: int, stop: int) -> Floats:
        rest_a, rest_b = first.without(start, stop), second.without(start, stop)
        return _shrunk(rest_a.f1 - rest_b.f1, (rest_a.counts + rest_b.counts) / 2, worth)

    whole = float(_shrunk(change[None], total[None], worth)[0])
    return _Shrunk(whole, _in_parts(len(first.right), without), variance)


def _worth(rates: Floats, counts: Floats, noise: float) -> tuple[float, float]:
    """How many occurrences the mean over labels is worth (noise of one over the variance between
    labels), and the variance of the mean of the labels that this leaves unknown.
    """
    # s2 = noise / (N - L): the noise of one occurrence, with N = sum n_l over L labels.
    # m = sum n_l r_l / N.
    # t2 = (sum n_l (r_l - m)^2 - (L - 1) s2) / (N - sum n_l^2 / N): the variance between labels.
    # w = s2 / t2 is the worth. The mean of the labels is unknown by
    # sum (w / (n_l + w))^2 (s2 / w) / labels^2.
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
    parts = []
    for start in range(0, users, AT_ONCE):
        parts.append(value(start, min(start + AT_ONCE, users)))
    return np.concatenate(parts)

"""The LaMP metrics: official rules for parity with the papers, lenient rules that forgive the form
of an answer.

Texts are scored once, query by query (`score_one`); every metric is then a function of the `Scored`
values alone (`aggregate` here, intervals and tests in `bench.score.stats`). All scores are
fractions, errors are in stars, NLL in nats. Names that begin with `lenient_` use the lenient rules;
never print those beside a paper's numbers unlabelled.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from bench.errors import InputError
from bench.score import rouge

Kind = Literal["classification", "rating", "generation"]

PRIMARY: Mapping[str, tuple[str, ...]] = {
    "classification": ("accuracy", "f1"),
    "rating": ("mae", "rmse"),
    "generation": rouge.NAMES,
}
"""The two metrics the papers print, by task kind."""

USER_MEANS: Mapping[str, tuple[str, ...]] = {
    "classification": ("accuracy",),
    "rating": ("mae",),
    "generation": ("rouge1", "rougeL"),
}
"""Primary metrics that are means over queries, and so can be averaged within each user first
(`user_mean_*`).
"""

_HIGHER = {
    "accuracy": True,
    "f1": True,
    "f1_present": True,
    "mae": False,
    "rmse": False,
    "rouge1": True,
    "rougeL": True,
}
DIRECTION: Mapping[str, bool] = {
    **_HIGHER,
    **{f"lenient_{name}": higher for name, higher in _HIGHER.items()},
    **{f"user_mean_{name}": _HIGHER[name] for names in USER_MEANS.values() for name in names},
    "nll_label": False,
    "nll_token": False,
}
"""Every metric that `aggregate` can return -> whether higher is better."""

UNPARSED = -1
LOWEST, HIGHEST = 1.0, 5.0
QUOTES = " \t\"'`“”‘’„«»"

# A digit 1-5 that is no part of a longer number, of decimals, or of a number grouped by thousands.
_RATING = re.compile(r"(?<!\d)(?<!\d[.,])[1-5](?!\d|,\d{3})")


@dataclass(frozen=True, slots=True)
class Scored:
    """One scored query: enough to compute any metric again without its texts.

    `gold`, `official`, `lenient` are label indices (-1: unparsed) or stars; None for generation.
    `values` are additive: their mean over queries is a metric (accuracy, mae, mse, rouge1, rougeL
    and their lenient twins, nll_label, nll_token); `mse` becomes `rmse`. `group` is the cluster, a
    user.
    """

    id: str
    group: str
    gold: float | None
    official: float | None
    lenient: float | None
    values: Mapping[str, float]


def official_label(raw: str, labels: Sequence[str]) -> int:
    """Index of the label that equals the stripped text, case and all; -1 otherwise (LaMP,
    `eval/evaluation.py`).
    """
    text = raw.strip()
    return labels.index(text) if text in labels else UNPARSED


def official_rating(raw: str) -> float | None:
    """The text as `float` reads it ('4.0' and '4e0' are 4); None where that is no number from 1 to
    5.

    LaMP's script takes any number as it is and crashes on 'nan' and 'inf'. Then one '1e50' decides
    the table's RMSE: here what lies beyond the scale is no rating, like a word.
    """
    try:
        number = float(raw.strip())
    except ValueError:
        return None
    return number if LOWEST <= number <= HIGHEST else None


def farther_end(gold: float) -> float:
    """The rating LaMP assumes where the answer is none: the end of 1..5 farther from gold, 5 on a
    tie.
    """
    return LOWEST if abs(LOWEST - gold) > abs(HIGHEST - gold) else HIGHEST


def lenient_label(raw: str, labels: Sequence[str]) -> int:
    """Index of the first label found anywhere in the text, -1 if none.

    Case is ignored, a label counts only between word boundaries, and where several begin at the
    same place the longest wins. Brackets around a label are optional, so LaMP-1 reads '1' and '[1'
    as '[1]'.
    """
    found = _label_pattern(tuple(labels)).search(raw)
    return UNPARSED if found is None or found.lastgroup is None else int(found.lastgroup[1:])


@lru_cache(maxsize=64)
def _label_pattern(labels: tuple[str, ...]) -> re.Pattern[str]:
    cores = {index: label.strip("[] ") or label for index, label in enumerate(labels)}
    longest_first = sorted(cores, key=lambda index: -len(cores[index]))
    tags = "|".join(f"(?P<i{index}>{re.escape(cores[index])})" for index in longest_first)
    return re.compile(rf"(?<!\w)(?:{tags})(?!\w)", re.IGNORECASE)


def lenient_rating(raw: str) -> int | None:
    """The first digit 1-5 that is a number of its own, None if there is none.

    '10' and '0.5' hold none; of '4.5' the whole part counts, so it is 4 (officially 4.5); '4/5' is
    4.
    """
    found = _RATING.search(raw)
    return None if found is None else int(found.group())


def lenient_text(raw: str) -> str:
    """The first line that is not blank, without the quotes around it (ROUGE itself ignores
    quotes)."""
    return next((line for line in map(str.strip, raw.splitlines()) if line), "").strip(QUOTES)


def unparsed(kind: Kind, labels: Sequence[str], raw: str) -> bool:
    """Whether the official rules find no answer in the text: no label, no rating from 1 to 5, or
    nothing at all.
    """
    if kind == "classification":
        return official_label(raw, labels) == UNPARSED
    if kind == "rating":
        return official_rating(raw) is None
    return not raw.strip()


def score_one(
    kind: Kind,
    labels: Sequence[str],
    raw: str,
    gold: str,
    *,
    id: str,
    group: str,
    label_logprobs: Sequence[float] | None = None,
    nll_token: float | None = None,
) -> Scored:
    """Score one answer against its gold. A query without a group is a cluster of its own.

    `label_logprobs`: log-probabilities (nats) of `labels`, in order; they give `nll_label`, the
    gold's negative log-probability after a softmax over the labels. `nll_token`: the gold's NLL per
    token, measured by the caller. Raises InputError where the gold is no answer of this task or a
    log-probability is missing or not finite.
    """
    if kind == "classification":
        scored = _score_label(labels, raw, gold, id)
    elif kind == "rating":
        scored = _score_rating(raw, gold, id)
    elif kind == "generation":
        scored = _score_text(raw, gold, id)
    else:
        raise InputError(f"task kind {kind!r} is unknown (one of {', '.join(PRIMARY)})")
    values = dict(scored.values)
    if label_logprobs is not None:
        values["nll_label"] = _nll_label(kind, labels, scored.gold, label_logprobs, id)
    if nll_token is not None:
        if not math.isfinite(nll_token):
            raise InputError(f"query {id}: nll_token is {nll_token}, not a finite number of nats")
        values["nll_token"] = nll_token
    return replace(scored, group=group or id, values=values)


def _score_label(labels: Sequence[str], raw: str, gold: str, id: str) -> Scored:
    truth = official_label(gold, labels)
    if truth == UNPARSED:
        raise InputError(f"query {id}: gold {gold!r} is not one of the labels {', '.join(labels)}")
    official, lenient = official_label(raw, labels), lenient_label(raw, labels)
    values = {"accuracy": float(official == truth), "lenient_accuracy": float(lenient == truth)}
    return Scored(id, "", truth, official, lenient, values)


def _score_rating(raw: str, gold: str, id: str) -> Scored:
    truth = official_rating(gold)
    if truth is None:
        raise InputError(
            f"query {id}: gold {gold!r} is not a rating from {LOWEST:.0f} to {HIGHEST:.0f}"
        )
    official, lenient = (
        farther_end(truth) if number is None else float(number)
        for number in (official_rating(raw), lenient_rating(raw))
    )
    values = {"mae": abs(official - truth), "mse": (official - truth) ** 2}
    values |= {"lenient_mae": abs(lenient - truth), "lenient_mse": (lenient - truth) ** 2}
    return Scored(id, "", truth, official, lenient, values)


def _score_text(raw: str, gold: str, id: str) -> Scored:
    text, short, reference = raw.strip(), lenient_text(raw), gold.strip()
    official = rouge.official(text, reference)
    same = text == short and (text + reference).isascii()  # then both rules read the same words
    lenient = official if same else rouge.lenient(short, reference)
    values = official | {f"lenient_{name}": value for name, value in lenient.items()}
    return Scored(id, "", None, None, None, values)


def _nll_label(
    kind: Kind, labels: Sequence[str], gold: float | None, logprobs: Sequence[float], id: str
) -> float:
    if kind == "generation" or len(logprobs) != len(labels):
        raise InputError(
            f"query {id}: {len(logprobs)} label_logprobs for {len(labels)} labels of a {kind} task"
        )
    if not all(math.isfinite(value) for value in logprobs):
        raise InputError(f"query {id}: label_logprobs are not all finite: {list(logprobs)}")
    at_gold = [
        value
        for name, value in zip(_gold_names(kind, labels), logprobs, strict=True)
        if name == gold
    ]
    if not at_gold:
        raise InputError(f"query {id}: gold {gold} is not one of the labels {', '.join(labels)}")
    top = max(logprobs)
    return top + math.log(math.fsum(math.exp(value - top) for value in logprobs)) - at_gold[0]


def _gold_names(kind: Kind, labels: Sequence[str]) -> list[float]:
    return [
        float(index if kind == "classification" else label) for index, label in enumerate(labels)
    ]


def value_names(scored: Sequence[Scored]) -> tuple[str, ...]:
    """The names of the additive values, the same for every query; InputError where there is none or
    one differs.
    """
    if not scored:
        raise InputError("no scored queries: nothing to compute a metric from")
    names = tuple(scored[0].values)
    for one in scored:
        if one.values.keys() != scored[0].values.keys():
            odd = ", ".join(sorted(one.values.keys() ^ scored[0].values.keys()))
            raise InputError(f"query {one.id}: {odd} is given for some queries but not for all")
    return names


def aggregate(kind: Kind, labels: Sequence[str], scored: Sequence[Scored]) -> dict[str, float]:
    """Every metric of this task kind over all queries, as metric name -> value.

    `f1` is LaMP's macro-F1 over the full label list, where a label that occurs nowhere counts as 0;
    `f1_present` averages over the labels among the golds only. `user_mean_*` are means of each
    user's own mean.
    """
    metrics = {name: _mean(one.values[name] for one in scored) for name in value_names(scored)}
    for prefix in ("", "lenient_"):
        if kind == "rating":
            metrics[prefix + "rmse"] = math.sqrt(metrics.pop(prefix + "mse"))
        if kind == "classification":
            metrics |= _macro_f1(len(labels), scored, prefix)
    for name in USER_MEANS[kind]:
        metrics[f"user_mean_{name}"] = _mean_over_users(name, scored)
    return metrics


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return math.fsum(values) / len(values)


def _mean_over_users(name: str, scored: Sequence[Scored]) -> float:
    users: dict[str, list[float]] = {}
    for one in scored:
        users.setdefault(one.group, []).append(one.values[name])
    return _mean(_mean(values) for values in users.values())


def _macro_f1(labels: int, scored: Sequence[Scored], prefix: str) -> dict[str, float]:
    from sklearn.metrics import f1_score

    golds = [one.gold for one in scored if one.gold is not None]
    answers = [one.lenient if prefix else one.official for one in scored]
    full, present = (
        float(f1_score(golds, answers, labels=averaged, average="macro", zero_division=0))
        for averaged in (list(range(labels)), sorted(set(golds)))
    )
    return {prefix + "f1": full, prefix + "f1_present": present}

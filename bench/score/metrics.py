"""The LaMP metrics: one answer scored against its gold, and many scores made one number.

Texts are scored once, query by query (`score_one`); every metric is then a function of the `Scored`
values alone (`aggregate` here, intervals and tests in `bench.score.stats`). All scores are
fractions, errors are in stars, NLL in nats. Names that begin with `lenient_` use the lenient rules;
never print those beside a paper's numbers unlabelled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.errors import InputError
from bench.score import rouge
from bench.score.answer_rules import (
    UNPARSED,
    RatingScale,
    farther_end,
    lenient_label,
    lenient_rating,
    lenient_text,
    official_label,
    official_rating,
    scale_of,
)

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


def _directions() -> dict[str, bool]:
    directions = dict(_HIGHER)
    for name, higher in _HIGHER.items():
        directions[f"lenient_{name}"] = higher
    for names in USER_MEANS.values():
        for name in names:
            directions[f"user_mean_{name}"] = _HIGHER[name]
    directions["nll_label"] = directions["nll_token"] = False
    return directions


DIRECTION: Mapping[str, bool] = _directions()
"""Every metric that `aggregate` can return -> whether higher is better."""


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


def unparsed(kind: Kind, labels: Sequence[str], raw: str) -> bool:
    """Whether the official rules find no answer in the text:
    no label, no rating on the scale, or nothing at all.
    """
    if kind == "classification":
        return official_label(raw, labels) == UNPARSED
    if kind == "rating":
        return official_rating(raw, scale_of(tuple(labels))) is None
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
        scored = _score_rating(scale_of(tuple(labels)), raw, gold, id)
    elif kind == "generation":
        scored = _score_text(raw, gold, id)
    else:
        raise InputError(f"task kind {kind!r} is unknown (one of {', '.join(PRIMARY)})")
    values = dict(scored.values)
    if label_logprobs is not None:
        # How likely the gold is among the labels, whatever was written.
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


def _score_rating(scale: RatingScale, raw: str, gold: str, id: str) -> Scored:
    truth = official_rating(gold, scale)
    if truth is None:
        raise InputError(
            f"query {id}: gold {gold!r} is not a rating from {scale.low:g} to {scale.high:g}"
        )
    official = _or_farther(official_rating(raw, scale), truth, scale)
    lenient = _or_farther(lenient_rating(raw, scale), truth, scale)
    values = {"mae": abs(official - truth), "mse": (official - truth) ** 2}
    values |= {"lenient_mae": abs(lenient - truth), "lenient_mse": (lenient - truth) ** 2}
    return Scored(id, "", truth, official, lenient, values)


def _or_farther(rating: float | None, truth: float, scale: RatingScale) -> float:
    return farther_end(truth, scale) if rating is None else float(rating)


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
    # A gold is the index of a label, or the stars that the label says.
    names = list(map(float, labels if kind == "rating" else range(len(labels))))
    if gold not in names:
        raise InputError(f"query {id}: gold {gold} is not one of the labels {', '.join(labels)}")
    # The largest is taken out of the sum first: exp would overflow or vanish.
    top = max(logprobs)
    total = top + math.log(math.fsum(math.exp(value - top) for value in logprobs))
    return total - logprobs[names.index(gold)]


def value_names(scored: Sequence[Scored]) -> tuple[str, ...]:
    """The names of the additive values, the same for every query;
    InputError where there is none or one differs.
    """
    if not scored:
        raise InputError("no scored queries: nothing to compute a metric from")
    names = tuple(scored[0].values)
    for query in scored:
        odd = query.values.keys() ^ scored[0].values.keys()
        if odd:
            raise InputError(
                f"query {query.id}: {', '.join(sorted(odd))} is given for some queries but not for"
                " all"
            )
    return names


def aggregate(kind: Kind, labels: Sequence[str], scored: Sequence[Scored]) -> dict[str, float]:
    """Every metric of this task kind over all queries, as metric name -> value.

    `f1` is LaMP's macro-F1 over the full label list, where a label that occurs nowhere counts as 0;
    `f1_present` averages over the labels among the golds only. `user_mean_*` are means of each
    user's own mean.
    """
    metrics = {}
    for name in value_names(scored):
        metrics[name] = _mean(query.values[name] for query in scored)
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
    for query in scored:
        users.setdefault(query.group, []).append(query.values[name])
    return _mean(_mean(values) for values in users.values())


def _macro_f1(labels: int, scored: Sequence[Scored], prefix: str) -> dict[str, float]:
    from sklearn.metrics import f1_score

    golds = [query.gold for query in scored if query.gold is not None]
    answers = [query.lenient if prefix else query.official for query in scored]

    def over(averaged: Sequence[float]) -> float:
        return float(f1_score(golds, answers, labels=averaged, average="macro", zero_division=0))

    return {
        prefix + "f1": over(list(range(labels))),
        prefix + "f1_present": over(sorted(set(golds))),
    }

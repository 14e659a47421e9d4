"""The metrics against the rules of LaMP's evaluator,
written out again here in plain Python without the harness.
"""

import math
import random
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bench.errors import InputError
from bench.score import rouge
from bench.score.answer_rules import (
    lenient_label,
    lenient_rating,
    lenient_text,
    official_label,
    official_rating,
)
from bench.score.metrics import DIRECTION, PRIMARY, aggregate, score_one, unparsed

CITATION = ["[1]", "[2]"]
MOVIES = [
    "sci-fi",
    "based on a book",
    "comedy",
    "action",
    "twist ending",
    "dystopia",
    "dark comedy",
    "classic",
]
MOVIES += [
    "psychology",
    "fantasy",
    "romance",
    "thought-provoking",
    "social commentary",
    "violence",
    "true story",
]
NEWS = ["food & drink", "sports", "education", "parents", "religion", "travel", "business", "crime"]
NEWS += [
    "science & technology",
    "culture & arts",
    "entertainment",
    "politics",
    "women",
    "style & beauty",
]
NEWS += ["healthy living"]
STARS = ["1", "2", "3", "4", "5"]
ODD = [
    "",
    "nan",
    "inf",
    "-inf",
    "1e1",
    "1e999",
    "1e200",
    "4.0",
    " 4 ",
    "4,5",
    "Comedy",
    "n/a",
    "comedy.",
    "2\n",
    "é漢😀",
    "12",
]
USERS = 300


# --- the rules again, independent of bench
# ---------------------------------------------------------------------------


def plain_label(text, labels):
    for index, label in enumerate(labels):
        if text.strip() == label:
            return index
    return -1


def plain_first_tag(text, labels):
    cores = [label.replace("[", "").replace("]", "").lower() for label in labels]
    text = text.lower()

    def is_word(position):
        return 0 <= position < len(text) and (text[position].isalnum() or text[position] == "_")

    for start in range(len(text)):
        fitting = [
            core
            for core in cores
            if text[start : start + len(core)] == core
            and not is_word(start - 1)
            and not is_word(start + len(core))
        ]
        if fitting:
            return cores.index(max(fitting, key=len))
    return -1


def plain_rating(text, gold):
    try:
        number = float(text.strip())
    except ValueError:
        number = math.nan
    if not 1 <= number <= 5:  # LaMP's script takes it as it is
        return {1: 5.0, 2: 5.0, 3: 5.0, 4: 1.0, 5: 1.0}[gold]
    return number


def plain_first_digit(text, gold):
    for match in re.finditer(r"\d+", text):
        before, after = text[: match.start()], text[match.end() :]
        decimals = len(before) > 1 and before[-1] in ".," and before[-2].isdigit()
        thousands = after[:1] == "," and len(after) > 3 and after[1:4].isdigit()
        if match.group() in STARS and not decimals and not thousands:
            return float(match.group())
    return plain_rating("", gold)


def plain_macro_f1(golds, answers, labels):
    scores = []
    for label in labels:
        right = sum(gold == answer == label for gold, answer in zip(golds, answers, strict=True))
        precision = right / answers.count(label) if label in answers else 0.0
        recall = right / golds.count(label) if label in golds else 0.0
        scores.append(2 * precision * recall / (precision + recall) if right else 0.0)
    return sum(scores) / len(scores)


def plain_rouge(prediction, reference, word=r"[a-z0-9]+"):
    a, b = (re.findall(word, text.lower()) for text in (prediction, reference))
    shared = sum(min(a.count(token), b.count(token)) for token in set(a))
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, left in enumerate(a):
        for j, right in enumerate(b):
            table[i + 1][j + 1] = (
                table[i][j] + 1 if left == right else max(table[i][j + 1], table[i + 1][j])
            )
    return [2 * match / (len(a) + len(b)) if match else 0.0 for match in (shared, table[-1][-1])]


def mean(values):
    return sum(values) / len(values)


def mean_over_users(values):
    # query i belongs to user i mod USERS
    return mean([mean(values[user::USERS]) for user in range(USERS)])


def score_all(kind, labels, predictions, golds):
    return [
        score_one(kind, labels, raw, gold, id=str(i), group=f"u{i % USERS}")
        for i, (raw, gold) in enumerate(zip(predictions, golds, strict=True))
    ]


def assert_same(metrics, expected):
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, rel=1e-12, abs=1e-12), name


# --- parity on 10,000 random predictions a kind
# ----------------------------------------------------------------------


@pytest.mark.parametrize("labels", [CITATION, MOVIES, NEWS], ids=["lamp1", "lamp2", "lamp2n"])
def test_label_metrics_follow_the_official_rules(labels):
    rng = random.Random(1)

    def answer(gold):
        label = rng.choice([gold, rng.choice(labels)])
        return rng.choice(
            [
                label,
                label,
                f" {label}\n",
                label.upper(),
                f"'{label}'",
                f"The tag is {label}, not {rng.choice(labels)}.",
            ]
            + [
                label[:-1],
                label[1:],
                f"x{label}",
                f"{rng.choice(labels)} {label}",
                f"{label}s",
                rng.choice(ODD),
            ]
        )

    # three labels never occur
    golds = [rng.choice(labels[: max(2, len(labels) - 3)]) for _ in range(10_000)]
    answers = [answer(gold) for gold in golds]
    truth = [plain_label(gold, labels) for gold in golds]
    expected = {}
    for prefix, rule in (("", plain_label), ("lenient_", plain_first_tag)):
        found = [rule(text, labels) for text in answers]
        right = [float(a == b) for a, b in zip(found, truth, strict=True)]
        expected[prefix + "accuracy"] = mean(right)
        expected[prefix + "f1"] = plain_macro_f1(truth, found, range(len(labels)))
        expected[prefix + "f1_present"] = plain_macro_f1(truth, found, sorted(set(truth)))
        if not prefix:
            expected["user_mean_accuracy"] = mean_over_users(right)
    assert_same(
        aggregate("classification", labels, score_all("classification", labels, answers, golds)),
        expected,
    )
    assert expected["lenient_accuracy"] > expected["accuracy"] > 0.1


def test_rating_metrics_follow_the_official_rules():
    rng = random.Random(2)

    def answer():
        number = rng.choice([rng.randint(1, 5), rng.randint(-3, 12), round(rng.uniform(0, 6), 1)])
        forms = [
            f"{number}",
            f" {number}\n",
            f"{number} stars",
            f"Rating: {number}/5",
            f"1,00{abs(number)}",
            "four",
        ]
        return rng.choice([*forms, rng.choice(ODD)])

    golds = [rng.randint(1, 5) for _ in range(10_000)]
    answers = [answer() for _ in golds]
    expected = {}
    for prefix, rule in (("", plain_rating), ("lenient_", plain_first_digit)):
        errors = [abs(rule(text, gold) - gold) for text, gold in zip(answers, golds, strict=True)]
        expected[prefix + "mae"] = mean(errors)
        expected[prefix + "rmse"] = math.sqrt(mean([error**2 for error in errors]))
        if not prefix:
            expected["user_mean_mae"] = mean_over_users(errors)
    texts = [rng.choice([f"{gold}", f"{gold}.0"]) for gold in golds]
    assert_same(aggregate("rating", STARS, score_all("rating", STARS, answers, texts)), expected)


def test_text_metrics_follow_the_official_rules():
    rng = random.Random(3)
    words = [
        "The",
        "cat's",
        "news",
        "of",
        "2024",
        "on-line",
        "CAT",
        "naïve",
        "漢字",
        "running",
        "run",
        "x_y",
        "😀",
    ]
    pool = [" ".join(rng.choices(words, k=rng.randint(0, 12))) for _ in range(60)]
    shapes = ["{}", " {}\n", "“{}”", "\n\n{}\nSecond line of news", '"{}" - cat']
    answers = [rng.choice(shapes).format(rng.choice(pool)) for _ in range(10_000)]
    golds = [rng.choice(pool) for _ in answers]
    known = {}

    def rouge(prediction, reference, word):
        key = (prediction, reference, word)
        if key not in known:
            known[key] = plain_rouge(prediction, reference, word)
        return known[key]

    def first_line(text):
        return next((line for line in text.split("\n") if line.strip()), "")

    expected = {}
    any_script = r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+"
    for prefix, rule, word in (("", str, r"[a-z0-9]+"), ("lenient_", first_line, any_script)):
        pairs = [rouge(rule(text), gold, word) for text, gold in zip(answers, golds, strict=True)]
        for name, values in zip(("rouge1", "rougeL"), zip(*pairs, strict=True), strict=True):
            expected[prefix + name] = mean(values)
            if not prefix:
                expected[f"user_mean_{name}"] = mean_over_users(values)
    assert_same(aggregate("generation", [], score_all("generation", [], answers, golds)), expected)


# --- single rules
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gold", "error"), [("1", 4), ("2", 3), ("3", 2), ("4", 3), ("5", 4)])
@pytest.mark.parametrize(
    "raw",
    [
        "n/a",
        "",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "four",
        "4 stars",
        "é漢",
        "1e50",
        "-1e50",
        "10",
        "1e1",
        "5.01",
        "0.99",
        "0",
    ],
)
def test_no_number_on_the_scale_counts_as_the_farther_end(raw, gold, error):
    scored = score_one("rating", STARS, raw, gold, id="q", group="u")
    assert (scored.values["mae"], scored.values["mse"]) == (error, error**2)
    assert unparsed("rating", STARS, raw)


def test_an_unparsed_answer_to_gold_three_counts_as_five():
    assert score_one("rating", STARS, "n/a", "3", id="q", group="u").official == 5.0


@pytest.mark.parametrize(
    ("raw", "value"), [("4.0", 4), (" 4 ", 4), ("4e0", 4), ("1", 1), ("5", 5), ("4.5", 4.5)]
)
def test_numbers_on_the_scale_are_not_rounded(raw, value):
    assert official_rating(raw) == value
    assert not unparsed("rating", STARS, raw)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("10", None),
        ("0.5", None),
        ("4.5", 4),
        ("4/5", 4),
        ("I give 10 of 10, so 5", 5),
        ("1,000", None),
        ("12 3", 3),
    ]
    + [("6", None), ("**4**", 4), ("3.", 3), ("4stars", 4), ("four", None)],
)
def test_lenient_rating_is_the_first_digit_that_stands_alone(raw, value):
    assert lenient_rating(raw) == value


def test_case_and_quotes_are_wrong_officially_and_right_leniently():
    for raw in ("Comedy", "'comedy'", "comedy.", "Tag: COMEDY"):
        scored = score_one("classification", MOVIES, raw, "comedy", id="q", group="u")
        assert scored.official == -1 and unparsed("classification", MOVIES, raw)
        assert (scored.values["accuracy"], scored.values["lenient_accuracy"]) == (0, 1)


def test_dark_comedy_beats_comedy_and_parts_of_words_do_not_count():
    assert MOVIES[lenient_label("A Dark Comedy.", MOVIES)] == "dark comedy"
    assert MOVIES[lenient_label("comedy, maybe dark comedy", MOVIES)] == "comedy"
    assert lenient_label("a true story", ["true", "true story", "story"]) == 1
    assert lenient_label("transaction, romances", MOVIES) == -1


@pytest.mark.parametrize(
    ("raw", "index"), [("1", 0), ("[2", 1), ("2]", 1), ("paper [2].", 1), ("12", -1), ("", -1)]
)
def test_lenient_citation_needs_no_brackets(raw, index):
    assert lenient_label(raw, CITATION) == index


def test_every_label_is_found_by_both_rules():
    for labels in (CITATION, MOVIES, NEWS):
        for index, label in enumerate(labels):
            assert (
                official_label(f" {label}\n", labels)
                == lenient_label(label.upper(), labels)
                == index
            )


@pytest.mark.parametrize(
    "text",
    ["Новости дня", "今日のニュース", "ข่าววันนี้", "أخبار اليوم", "आज की ख़बर", "ниже нуля"],
)
def test_identical_texts_of_another_script_score_leniently_and_not_officially(text):
    values = score_one("generation", [], text, text, id="q", group="u").values
    assert (values["rouge1"], values["rougeL"]) == (0, 0)  # as rouge_score has it
    assert (values["lenient_rouge1"], values["lenient_rougeL"]) == (1, 1)
    assert not rouge.has_word(text) and rouge.has_word(f"{text} 5")


def test_words_of_another_script_are_compared_one_by_one():
    def lenient(prediction, gold):
        return score_one("generation", [], prediction, gold, id="q", group="u").values[
            "lenient_rouge1"
        ]

    assert lenient("Новости недели", "новости дня") == pytest.approx(0.5)
    assert lenient("今日は雨", "今日は晴") == pytest.approx(
        0.75
    )  # no blanks: characters are the words
    assert lenient("cafe\u0301", "caf\u00e9") == 1  # one letter, spelt in two ways
    assert lenient("हिन्दी", "हिन्दी") == 1 and rouge.UnicodeWords().tokenize("हिन्दी बोली") == [
        "हिन्दी",
        "बोली",
    ]


def test_on_ascii_both_rules_find_the_same_words():
    from rouge_score.tokenizers import DefaultTokenizer

    text = "".join(map(chr, range(32, 127))) + " It's x_y A1-b2\tend\n"
    assert rouge.UnicodeWords().tokenize(text) == DefaultTokenizer().tokenize(text)


def test_lenient_text_is_the_first_line_without_quotes():
    assert lenient_text('\n "The news"\nmore') == "The news"
    assert lenient_text(" \n") == ""


def test_macro_f1_counts_labels_that_never_occur_as_zero():
    answers = ["comedy"] * 6 + ["action"] * 2 + ["Comedy"] * 2
    golds = ["comedy"] * 4 + ["action"] * 5 + ["comedy"]
    metrics = aggregate(
        "classification", MOVIES, score_all("classification", MOVIES, answers, golds)
    )
    # "Comedy" is no answer, but its golds still cost recall
    comedy, action = 2 * 4 / (6 + 5), 2 * 2 / (2 + 5)
    assert metrics["f1"] == pytest.approx((comedy + action) / 15)
    assert metrics["f1_present"] == pytest.approx((comedy + action) / 2)


def test_label_nll_is_over_the_label_set_only():
    logprobs = [math.log(0.2), math.log(0.1)]  # the rest of the mass is on texts that are no label
    scored = score_one(
        "classification", CITATION, "[1]", "[2]", id="q", group="u", label_logprobs=logprobs
    )
    assert scored.values["nll_label"] == pytest.approx(-math.log(1 / 3))
    even = score_one(
        "rating", STARS, "5", "5.0", id="q", group="u", label_logprobs=[-9000.0] * 5, nll_token=1.5
    )
    assert even.values["nll_label"] == pytest.approx(math.log(5))
    assert aggregate("rating", STARS, [even])["nll_token"] == 1.5


def test_a_busy_user_counts_once_in_the_user_mean():
    scored = [score_one("rating", STARS, "5", "5", id=str(i), group="busy") for i in range(9)]
    scored.append(score_one("rating", STARS, "1", "5", id="x", group="quiet"))
    metrics = aggregate("rating", STARS, scored)
    assert (metrics["mae"], metrics["user_mean_mae"]) == (pytest.approx(0.4), 2.0)


def test_queries_without_group_are_clusters_of_their_own():
    assert score_one("rating", STARS, "5", "5", id="q7", group="").group == "q7"


def test_every_metric_has_a_direction():
    cases = [
        ("classification", CITATION, "[1]"),
        ("rating", STARS, "4"),
        ("generation", [], "A title"),
    ]
    for kind, labels, text in cases:
        logprobs = [-1.0] * len(labels) or None
        scored = score_one(
            kind, labels, text, text, id="q", group="u", label_logprobs=logprobs, nll_token=1.0
        )
        metrics = aggregate(kind, labels, [scored])
        assert metrics.keys() <= DIRECTION.keys() and set(PRIMARY[kind]) <= metrics.keys()
        for name, value in metrics.items():  # the answer is perfect: no error, or a score above 0
            assert "nll" in name or (value > 0) == DIRECTION[name], name


@pytest.mark.parametrize(
    ("kind", "labels", "gold"),
    [
        ("classification", MOVIES, "Comedy"),
        ("rating", STARS, "6"),
        ("rating", STARS, "good"),
        ("rating", STARS, "nan"),
    ],
)
def test_a_bad_gold_is_an_error_that_names_the_query(kind, labels, gold):
    with pytest.raises(InputError, match=f"query 211: gold '{gold}'"):
        score_one(kind, labels, "4", gold, id="211", group="u")


def test_missing_values_are_errors():
    with pytest.raises(InputError, match="query 7: 1 label_logprobs for 2 labels"):
        score_one(
            "classification", CITATION, "[1]", "[1]", id="7", group="u", label_logprobs=[-1.0]
        )
    with pytest.raises(InputError, match="query 7: label_logprobs are not all finite"):
        score_one(
            "classification",
            CITATION,
            "[1]",
            "[1]",
            id="7",
            group="u",
            label_logprobs=[-1.0, math.nan],
        )
    with pytest.raises(InputError, match="no scored queries"):
        aggregate("rating", STARS, [])
    some = score_one("rating", STARS, "4", "4", id="6", group="u", nll_token=1.0)
    other = score_one("rating", STARS, "4", "4", id="7", group="u")
    with pytest.raises(InputError, match="query 7: nll_token is given for some"):
        aggregate("rating", STARS, [some, other])


def test_metrics_and_stats_import_nothing_heavy():
    heavy = "{'torch', 'sklearn', 'evaluate', 'rouge_score', 'transformers'}"
    code = (
        f"import sys, bench.score.metrics, bench.score.stats; sys.exit(bool({heavy} &"
        " set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False
        ).returncode
        == 0
    )


def test_evaluate_metrics_agree_combine_offline_and_leave_no_files(tmp_path, monkeypatch):
    from bench.score.evaluate_metrics import LampAccuracy, LampF1, LampRating, LampRouge, evaluate

    def refuse(*_):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", str(tmp_path))
    answers, golds = ["comedy", "Comedy", "action", ""], ["comedy", "comedy", "comedy", "action"]
    labels = evaluate.combine([LampAccuracy(MOVIES), LampF1(MOVIES)])
    for _ in range(2):  # a metric can be used again
        result = labels.compute(predictions=answers, references=golds)
        assert result == pytest.approx({"accuracy": 1 / 4, "f1": (2 * 1 / (1 + 3)) / 15})
    rating = LampRating()
    rating.add_batch(predictions=["5", "n/a"], references=["4", "3"])
    assert rating.compute() == pytest.approx({"mae": 1.5, "rmse": math.sqrt(2.5)})
    rouge = LampRouge().compute(predictions=["the cat sat", ""], references=["sat the cat", "x"])
    assert rouge == pytest.approx({"rouge1": 0.5, "rougeL": 1 / 3})
    assert not list(tmp_path.rglob("*"))

"""What can be known on the embedded sample: the best answers from the question alone, from the
history alone, and from both.

    python benchmarks/sample_oracles.py [--version 1] [--dated]

The oracles read texts with the sample's own vocabulary, and never look at the person whom the
generator drew. "Question only" also knows all answers of the training users. What lies between
"question only" and "both" is what personalization can earn; a model can stay below an oracle.
"""

from __future__ import annotations

import json
import re
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from statistics import mean, median, median_low
from typing import Any

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from bench.data.sample import generator
from bench.data.sample.habits import Errand, Event, Habit, Study, Voice
from bench.data.sample.vocabulary import (
    citations,
    headlines,
    mails,
    movies,
    news,
    reviews,
    titles,
    tweets,
)
from bench.disk.env import cache_folder
from bench.score import rouge

Answer = Callable[["Case"], str]
Score = Callable[[str, str], float]

ABOUT = {
    "lamp1": "title",
    "lamp2": "description",
    "lamp2n": "text",
    "lamp3": "text",
    "lamp4": "text",
    "lamp5": "abstract",
    "lamp6": "text",
    "lamp7": "text",
}
"""The field of a history item that a question is like."""
LABEL_FIELDS = {"lamp2": "tag", "lamp2n": "category", "lamp3": "score"}
BEFORE_TEXT = {"lamp2": "description: ", "lamp2n": "article: ", "lamp3": "review: "}


@dataclass(frozen=True)
class Case:
    """A question as the oracles see it. `id` is the question's, `user` the person's."""

    text: str
    input: str
    history: Sequence[Mapping[str, str]]
    gold: str
    user: str
    id: str


@dataclass(frozen=True)
class Oracles:
    """The best answers of a task from three kinds of evidence, and how one answer is scored."""

    metric: str
    score: Score
    question: Answer
    history: Answer
    both: Answer

    def bounds(self, cases: Sequence[Case]) -> Bounds:
        """The mean score of each oracle."""
        oracles = (self.question, self.history, self.both)
        scores = []
        for oracle in oracles:
            scores.append(mean(self.score(oracle(case), case.gold) for case in cases))
        return Bounds(self.metric, *scores)


@dataclass(frozen=True)
class Bounds:
    """What the evidence allows, in the task's own metric."""

    metric: str
    question: float
    history: float
    both: float


@dataclass(frozen=True)
class Files:
    """The two files of a split as JSON has them."""

    questions: list[dict[str, Any]]
    outputs: dict[str, Any]


def read(root: Path, task: str, split: str, *, dated: bool = False) -> Files:
    """The questions and the golds of a split."""
    folder = root / generator.folder(task, dated) / split
    questions = json.loads((folder / f"{split}_questions.json").read_text(encoding="utf-8"))
    outputs = json.loads((folder / f"{split}_outputs.json").read_text(encoding="utf-8"))
    return Files(questions, outputs)


def cases(root: Path, task: str, split: str, *, dated: bool = False) -> list[Case]:
    """Every question of a split with its history and its gold."""
    files = read(root, task, split, dated=dated)
    golds = {gold["id"]: gold["output"] for gold in files.outputs["golds"]}
    found = []
    for record in files.questions:
        case = Case(
            text=query_text(task, record["input"]),
            input=record["input"],
            history=record["profile"],
            gold=golds[record["id"]],
            user=record.get("user_id", record["id"]),
            id=record["id"],
        )
        found.append(case)
    return found


def query_text(task: str, text: str) -> str:
    """What a question is about, without its instruction."""
    if task == "lamp1":
        return text.split('"')[1]
    return text.split(BEFORE_TEXT.get(task, ": "), 1)[1]


def oracles(task: str, train: Sequence[Case]) -> Oracles:
    """The oracles of a task. `train`: the training users, from whom "question only" learns."""
    if task == "lamp1":
        return _citations(train)
    if task in ("lamp2", "lamp2n"):
        return _labels(task, train)
    if task == "lamp3":
        return _ratings(train)
    if task == "lamp7":
        return _tweets(train)
    return _titles(task, train)


# Scores of one answer


def right(answer: str, gold: str) -> float:
    return float(answer == gold)


def distance(answer: str, gold: str) -> float:
    return abs(float(answer) - float(gold))


def rouge1(answer: str, gold: str) -> float:
    return rouge.official(answer, gold)["rouge1"]


def most_common(values: Sequence[str]) -> str:
    return Counter(values).most_common(1)[0][0]


# LaMP-1: which reference?


TOPIC_OF: dict[str, str] = {}
for _area in citations.TOPICS.values():
    for _topic, _terms in _area.items():
        TOPIC_OF |= {term.lower(): _topic for term in _terms}
TERM = re.compile(rf"\b(?:{'|'.join(re.escape(term) for term in TOPIC_OF)})\b")


def topics(text: str) -> set[str]:
    """The topics whose terms a text has."""
    return {TOPIC_OF[term] for term in TERM.findall(text.lower())}


def _citations(train: Sequence[Case]) -> Oracles:
    usual = most_common([case.gold for case in train])

    def choose(case: Case, score: Callable[[str], int]) -> str:
        _, _, _, first, _, second, _ = case.input.split('"')
        return "[1]" if score(first) >= score(second) else "[2]"

    def from_both(case: Case) -> str:
        seen = Counter[str]()
        for item in case.history:
            seen.update(topics(f"{item['title']} {item['abstract']}"))
        return choose(case, lambda reference: sum(seen[topic] for topic in topics(reference)))

    def from_question(case: Case) -> str:
        words = set(case.text.lower().split())
        return choose(case, lambda reference: len(set(reference.lower().split()) & words))

    return Oracles("accuracy", right, from_question, lambda case: usual, from_both)


# LaMP-2 and LaMP-2N: which of the labels that a text suggests?


def cues_of(task: str) -> Mapping[str, Sequence[str]]:
    """The phrases of each label."""
    cues: Mapping[str, Sequence[str]] = movies.CUES if task == "lamp2" else news.CUES
    return cues


def plausible(cues: Mapping[str, Sequence[str]], text: str) -> list[str]:
    """The labels that a text suggests: those with a phrase in it."""
    return [label for label, phrases in cues.items() if any(phrase in text for phrase in phrases)]


def _labels(task: str, train: Sequence[Case]) -> Oracles:
    cues, label, about = cues_of(task), LABEL_FIELDS[task], ABOUT[task]
    prior = Counter(case.gold for case in train)

    def from_both(case: Case) -> str:
        candidates = plausible(cues, case.text)
        chosen, passed, beaten = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
        for item in case.history:
            chosen[item[label]] += 1
            for other in plausible(cues, item[about]):
                if other != item[label]:
                    passed[other] += 1
                    beaten[item[label], other] += 1

        def rank(tag: str) -> tuple[int, int, int]:
            direct = sum(beaten[tag, other] - beaten[other, tag] for other in candidates)
            return (int(chosen[tag] > 0), direct, chosen[tag] - passed[tag])

        return max(candidates, key=rank)

    return Oracles(
        "accuracy",
        right,
        lambda case: max(plausible(cues, case.text), key=lambda tag: prior[tag]),
        lambda case: most_common([item[label] for item in case.history]),
        from_both,
    )


# LaMP-3: how many stars?


def sentiment(text: str) -> int:
    """The grade of a review's adjective, 1 to 5. A closing sentence, if there is one, agrees."""
    grades = set()
    for grade, words in reviews.ADJECTIVES.items():
        for frame in reviews.RATING_FRAMES:
            if any(frame.format(word=word) in text for word in words):
                grades.add(grade)
    closings = {grade for grade, lines in reviews.CLOSINGS.items() if text.endswith(lines)}
    if len(grades) != 1 or closings - grades:
        raise ValueError(f"a review of two grades: {text}")
    return int(grades.pop())


def _ratings(train: Sequence[Case]) -> Oracles:
    by_grade: dict[int, list[int]] = {}
    for case in train:
        by_grade.setdefault(sentiment(case.text), []).append(int(case.gold))

    def from_both(case: Case) -> str:
        grade = sentiment(case.text)
        rated = [(abs(sentiment(item["text"]) - grade), item["score"]) for item in case.history]
        shifts = []
        for item in case.history:
            if item["score"] in ("2", "3", "4"):  # at an end of the scale a shift may be cut
                shifts.append(int(item["score"]) - sentiment(item["text"]))
        nearest, score = min(rated)
        if nearest == 0 or not shifts:
            return score
        return str(min(5, max(1, grade + median_low(shifts))))

    return Oracles(
        "mae",
        distance,
        lambda case: str(median_low(by_grade[sentiment(case.text)])),
        lambda case: str(median(int(item["score"]) for item in case.history)),
        from_both,
    )


# LaMP-4, LaMP-5 and LaMP-6: how does this person title things?


Core = Event | Study | Errand


@cache
def _whole(word: str) -> re.Pattern[str]:
    return re.compile(rf"\b{re.escape(word)}\b")


def _named(words: Sequence[str], text: str) -> str:
    (word,) = [word for word in words if _whole(word).search(text)]
    return word


def event(text: str) -> Event:
    """What an article tells."""
    verb = _named([f"will {do} the" for _, do, _ in headlines.VERBS], text).split()[1]
    does, do, doing = next(forms for forms in headlines.VERBS if forms[1] == verb)
    actor, plan = _named(headlines.ACTORS, text), _named(headlines.OBJECTS, text)
    return Event(actor, does, do, doing, plan)


SYSTEMS = {start + end for start in titles.NAME_STARTS for end in titles.NAME_ENDS}


def study(text: str) -> Study:
    """What an abstract tells."""
    (name,) = SYSTEMS & set(re.findall(r"\w+", text))
    return Study(_named(titles.METHODS, text), _named(titles.PROBLEMS, text), name)


def errand(text: str) -> Errand:
    """What a mail asks for."""
    verb = _named([f"{verb} the" for verb in mails.VERBS], text).split()[0]
    return Errand(verb, _named(mails.OBJECTS, text), _named(mails.DAYS, text))


def _headline_habits() -> list[Habit]:
    habits = []
    for form in headlines.FORMS:
        for case in ("title", "sentence"):
            for prefix in headlines.PREFIXES:
                habits += [Habit(form, case, prefix, number=number) for number in (3, 5, 7)]
    return habits


def _subject_habits() -> list[Habit]:
    habits = []
    for form in mails.FORMS:
        for case in ("title", "sentence", "lower"):
            for prefix in mails.PREFIXES:
                habits += [Habit(form, case, prefix, ending) for ending in mails.ENDINGS]
    return habits


def _title_habits() -> list[Habit]:
    return [Habit(form, case) for form in titles.FORMS for case in ("title", "sentence")]


CORES: dict[str, Callable[[str], Core]] = {"lamp4": event, "lamp5": study, "lamp6": errand}
HABITS = {"lamp4": _headline_habits, "lamp5": _title_habits, "lamp6": _subject_habits}


def _titles(task: str, train: Sequence[Case]) -> Oracles:
    core, habits, about = CORES[task], HABITS[task](), ABOUT[task]
    known = [(core(case.text), case.gold) for case in train[:60]]
    usual = max(
        habits, key=lambda habit: mean(rouge1(told.title(habit), gold) for told, gold in known)
    )

    def from_both(case: Case) -> str:
        shown = [(core(item[about]), item["title"]) for item in case.history[:4]]
        best = max(
            habits, key=lambda habit: sum(told.title(habit) == title for told, title in shown)
        )
        return core(case.text).title(best)

    return Oracles(
        "rouge1",
        rouge1,
        lambda case: core(case.text).title(usual),
        lambda case: case.history[0]["title"],
        from_both,
    )


# LaMP-7: how does this person tweet?


def heard(history: Sequence[str]) -> Voice:
    """The voice of a person's tweets, from the tweets alone."""
    words = set(re.findall(r"\w+", "\n".join(history).lower()))
    bodies, tails = [], []
    for text in history:
        tail = next((tail for tail in tweets.TAILS if tail and text.endswith(tail)), "")
        if text.rsplit(" ", 1)[-1].startswith("#"):
            tail = "#hashtag"
        tails.append(tail)
        bodies.append(text.rsplit(" ", 1)[0] if tail else text)
    longest_first = sorted(tweets.ENDINGS, key=len, reverse=True)
    endings = [next((e for e in longest_first if body.endswith(e)), "") for body in bodies]
    bare = [body.removesuffix(ending) for body, ending in zip(bodies, endings, strict=True)]
    upper, lower = all(body.isupper() for body in bare), all(body.islower() for body in bare)
    short = set()
    for group, forms in tweets.SHORT_FORMS.items():
        if words & {brief.lower() for _, brief in forms}:
            short.add(group)
    return Voice(
        case="upper" if upper else "lower" if lower else "sentence",
        short=frozenset(short),
        stretched=tweets.STRETCHED[1] in words,
        ending=most_common(endings),
        tail=most_common(tails),
    )


def _voices() -> list[Voice]:
    voices = []
    for count in range(6):
        for group in combinations(sorted(tweets.SHORT_FORMS), count):
            voices += [Voice("lower", frozenset(group), long, "!!", "") for long in (False, True)]
    return voices


def _tweets(train: Sequence[Case]) -> Oracles:
    known = train[:60]
    usual = max(
        _voices(),
        key=lambda voice: mean(rouge1(voice.say(case.text), case.gold) for case in known),
    )
    return Oracles(
        "rouge1",
        rouge1,
        lambda case: usual.say(case.text),
        lambda case: case.history[0]["text"],
        lambda case: heard([item["text"] for item in case.history]).say(case.text),
    )


def bounds(root: Path, task: str, *, dated: bool = False) -> Bounds:
    """The bounds of a task over the dev users of a sample."""
    train = cases(root, task, "train", dated=dated)
    return oracles(task, train).bounds(cases(root, task, "dev", dated=dated))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the bounds of every task as Markdown. The exit code."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--version", type=int, choices=(1, 2), default=generator.LATEST)
    parser.add_argument("--dated", action="store_true", help="the time-based sets")
    options = parser.parse_args(arguments)

    root = cache_folder() / "sample" / f"version{options.version}-seed0"
    generator.write(root, version=options.version)
    print("| task | metric | question only | history only | both |")
    print("|---|---|---|---|---|")
    for task in generator.TIME_TASKS if options.dated else generator.TASKS:
        found = bounds(root, task, dated=options.dated)
        numbers = f"{found.question:.3f} | {found.history:.3f} | {found.both:.3f}"
        print(f"| {task} | {found.metric} | {numbers} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

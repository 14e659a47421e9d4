"""How the embedded sample words things: reviews, descriptions, articles, papers, mails, tweets, and
a person's habits.

Each function takes what is to be said and draws the wording from `rng`. The words are in
`words/*.yaml`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeVar

from bench.data.sample.vocabulary import (
    citations,
    movies,
    news,
    reviews,
)

Case = Literal["title", "sentence", "lower", "upper"]
T = TypeVar("T")

_SMALL_WORDS = {"a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "the", "to", "with"}


def fitting(low: int, high: int, make: Callable[[], T], text: Callable[[T], str]) -> T:
    """The first thing `make` gives whose text has `low` to `high` words."""
    while True:
        thing = make()
        if low <= len(text(thing).split()) <= high:
            return thing


def in_case(text: str, case: Case) -> str:
    """The text with the capitals of a habit; capitals that are there stay, except in `lower`."""
    if case == "lower":
        return text.lower()
    if case == "upper":
        return text.upper()
    words = text.split(" ")
    starts = [n == 0 or words[n - 1].endswith((":", "]")) for n in range(len(words))]
    if case == "title":
        starts = [
            start or word not in _SMALL_WORDS for start, word in zip(starts, words, strict=True)
        ]
    return " ".join(
        _capital(word) if start else word for start, word in zip(starts, words, strict=True)
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def review(rng: Random, sentiment: int) -> str:
    """A product review of 14 to 28 words with two cues of one sentiment, 1 (worst) to 5 (best)."""
    return fitting(14, 28, lambda: _review(rng, sentiment), str)


def purchase(rng: Random) -> str:
    """The sentence in which a review says what was bought."""
    opening: str = rng.choice(reviews.OPENINGS)
    return opening.format(
        product=rng.choice(reviews.PRODUCTS),
        who=rng.choice(reviews.WHO),
        when=rng.choice(reviews.WHEN),
        when_ago=rng.choice(reviews.WHEN_AGO),
    )


def _review(rng: Random, sentiment: int) -> str:
    opening = purchase(rng)
    cue = rng.choice(reviews.RATING_FRAMES).format(word=rng.choice(reviews.ADJECTIVES[sentiment]))
    sentences = [opening, rng.choice(reviews.FILLERS), cue, rng.choice(reviews.CLOSINGS[sentiment])]
    return " ".join(sentence for sentence in sentences if sentence)


def _listed(phrases: Sequence[str], rng: Random) -> str:
    if len(phrases) == 2:
        return rng.choice((" and ", " as well as ", " along with ")).join(phrases)
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def description(rng: Random, tags: Sequence[str]) -> str:
    """A movie description of 18 to 30 words with one cue phrase for each tag,
    in the order given.
    """
    return fitting(18, 30, lambda: _description(rng, tags), str)


def _description(rng: Random, tags: Sequence[str]) -> str:
    return movie_text(rng, [rng.choice(movies.CUES[tag]) for tag in tags])


def movie_text(rng: Random, phrases: Sequence[str]) -> str:
    """A plot, and a sentence that names the phrases."""
    cues = _listed(phrases, rng)
    plot = f"{rng.choice(movies.HEROES)} {rng.choice(movies.DEEDS)}."
    return f"{plot} {rng.choice(movies.FRAMES).format(cues=cues)}"


@dataclass(frozen=True, slots=True)
class Article:
    """A news article and its title."""

    text: str
    title: str


def article(rng: Random, categories: Sequence[str], gold: str) -> Article:
    """An article of 18 to 30 words with one cue phrase for each category;
    its title names the gold's cue.
    """
    return fitting(18, 30, lambda: _article(rng, categories, gold), lambda made: made.text)


def _article(rng: Random, categories: Sequence[str], gold: str) -> Article:
    cues = {category: rng.choice(news.CUES[category]) for category in categories}
    return news_article(rng, cues, gold)


def news_article(rng: Random, cues: Mapping[str, str], gold: str) -> Article:
    """An article that names each category's phrase; its title names the gold's."""
    place = rng.choice(news.PLACES)
    lead = rng.choice(news.LEADS).format(place=place, day=rng.choice(news.DAYS))
    body = rng.choice(news.FRAMES).format(cues=_listed(list(cues.values()), rng))
    title = rng.choice(news.TITLES).format(place=place, cue=cues[gold])
    return Article(f"{lead} {body}", in_case(title, "title"))


@dataclass(frozen=True, slots=True)
class Paper:
    """A paper's title and abstract."""

    title: str
    abstract: str


@dataclass(frozen=True)
class Interest:
    """What an author works on again and again: two terms of one topic, in one setting."""

    area: str
    topic: str
    terms: tuple[str, ...]
    setting: str

    @classmethod
    def draw(cls, rng: Random, area: str, but: str = "") -> Interest:
        """Of any topic of the area but one."""
        topic = rng.choice(sorted(set(citations.TOPICS[area]) - {but}))
        return cls(
            area,
            topic,
            tuple(rng.sample(citations.TOPICS[area][topic], 2)),
            rng.choice(citations.SETTINGS),
        )

    def paper(self, rng: Random) -> Paper:
        """A title (5 to 9 words) and an abstract that name terms of no other topic."""
        first, second = rng.sample(self.terms, 2)
        abstract = rng.choice(citations.ABSTRACTS).format(
            term=first.lower(), second=second.lower(), setting=self.setting.lower()
        )
        return Paper(self._title(rng, first), abstract)

    def reference(self, rng: Random) -> str:
        """A paper title of 5 to 9 words."""
        return self._title(rng, rng.choice(self.terms))

    def _title(self, rng: Random, term: str) -> str:
        return str(
            fitting(
                5,
                9,
                lambda: rng.choice(citations.TITLES).format(term=term, setting=self.setting),
                str,
            )
        )


def undecided(rng: Random, area: str, topics: Sequence[str]) -> str:
    """A paper title that suits two topics of an area equally:
    it names the area, or a term of each in order.
    """
    return fitting(5, 9, lambda: _undecided(rng, area, topics), str)


def _undecided(rng: Random, area: str, topics: Sequence[str]) -> str:
    setting = rng.choice(citations.SETTINGS)
    if rng.random() < 0.5:
        return str(
            rng.choice(citations.WIDE_QUERIES).format(
                area=rng.choice(citations.AREAS[area]), setting=setting
            )
        )
    first, second = (rng.choice(citations.TOPICS[area][topic]) for topic in topics)
    return str(
        rng.choice(citations.BRIDGE_QUERIES).format(first=first, second=second, setting=setting)
    )

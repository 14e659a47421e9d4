"""The people of the sample's second version in LaMP-2, LaMP-2N and LaMP-3: each has a hidden map of
their own, which a model can only read off their history.

A person words the same thing the same way again and again: one cue phrase for each favourite label,
one verdict for each level of content. What the phrase is, and what the person answers to it, is
drawn anew for everybody. So a model that reads the history finds the question's own words in it,
with the person's answer beside them; a model that reads the question alone cannot know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from bench.data.sample import phrasing
from bench.data.sample.persons import Fields, SamplePerson, movie_asker, news_asker, review_asker
from bench.data.sample.vocabulary import movies, news, reviews

FAVOURITES = 3
LEVELS = range(1, 6)
STEPS = {1: 0, 2: 0, 3: 1, 4: 2, 5: 2}
"""How far above the lowest score of a person content of this level is rated."""


@dataclass(frozen=True, slots=True)
class Leaning:
    """A person's favourite labels, each with the phrase that stands for it in their texts."""

    phrases: Mapping[str, str]
    others: tuple[str, ...]

    @classmethod
    def draw(cls, rng: Random, cues: Mapping[str, Sequence[str]]) -> Leaning:
        """Three labels of all; each label is as likely as any other."""
        labels = rng.sample(tuple(cues), len(cues))
        phrases = {label: rng.choice(cues[label]) for label in labels[:FAVOURITES]}
        return cls(phrases, tuple(labels[FAVOURITES:]))

    def favourite(self, rng: Random, n: int) -> str:
        """The label of the person's n-th text. The first few texts show each favourite once."""
        favourites = tuple(self.phrases)
        return favourites[n] if n < FAVOURITES else rng.choice(favourites)

    def mentions(
        self, rng: Random, favourite: str, cues: Mapping[str, Sequence[str]]
    ) -> dict[str, str]:
        """The two labels that one text suggests, in random order, each with its phrase. The person
        has only one of them among their favourites, and always chooses that one.
        """
        other = rng.choice(self.others)
        phrases = {favourite: self.phrases[favourite], other: rng.choice(cues[other])}
        order = rng.sample((favourite, other), 2)
        return {label: phrases[label] for label in order}


def movie_fan(rng: Random, turn: int) -> SamplePerson:
    """LaMP-2: which of the two tags that a description suggests?"""
    leaning = Leaning.draw(rng, movies.CUES)

    def write(rng: Random, n: int) -> Fields:
        tag = leaning.favourite(rng, n)
        mentions = leaning.mentions(rng, tag, movies.CUES)
        text = phrasing.fitting(
            12, 30, lambda: phrasing.movie_text(rng, tuple(mentions.values())), str
        )
        return {"description": text, "tag": tag}

    return movie_asker(write)


def news_editor(rng: Random, turn: int) -> SamplePerson:
    """LaMP-2N: which of the two categories that an article suggests?"""
    leaning = Leaning.draw(rng, news.CUES)

    def write(rng: Random, n: int) -> Fields:
        category = leaning.favourite(rng, n)
        mentions = leaning.mentions(rng, category, news.CUES)
        article = phrasing.fitting(
            12,
            30,
            lambda: phrasing.news_article(rng, mentions, category),
            lambda article: article.text,
        )
        return {"text": article.text, "title": article.title, "category": category}

    return news_asker(write)


def reviewer(rng: Random, turn: int) -> SamplePerson:
    """LaMP-3: everybody uses three of the five scores. The harsh give 1 to 3, the fair 2 to 4, the
    lenient 3 to 5.

    A person has one verdict for each level of content.
    """
    lowest = 1 + turn % 3
    verdicts = {level: _verdict(rng, level) for level in LEVELS}
    first = rng.sample(LEVELS, len(LEVELS))

    def write(rng: Random, n: int) -> Fields:
        level = first[n] if n < len(first) else rng.choice(LEVELS)
        text = f"{phrasing.purchase(rng)} {verdicts[level]}"
        return {"text": text, "score": str(lowest + STEPS[level])}

    return review_asker(write)


def _verdict(rng: Random, level: int) -> str:
    frame: str = rng.choice(reviews.RATING_FRAMES)
    return frame.format(word=rng.choice(reviews.ADJECTIVES[level]))


PEOPLE: dict[str, Callable[[Random, int], SamplePerson]] = {
    "lamp2": movie_fan,
    "lamp2n": news_editor,
    "lamp3": reviewer,
}
"""Who differs from the first version's people. On the other tasks those are positive controls
already: a title or a tweet is worded by a habit that only the history shows.
"""

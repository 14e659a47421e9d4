"""The habits of the sample's people: how one of them words a headline, a title, a subject, a tweet.

Each draws the wording from `rng`. The words are in `words/*.yaml`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from bench.data.sample.phrasing import Case, fitting, in_case
from bench.data.sample.vocabulary import (
    headlines,
    mails,
    news,
    titles,
    tweets,
)


@dataclass(frozen=True, slots=True)
class Habit:
    """How a person titles things: sentence form, prefix, capitals,
    ending, and a favourite number for lists.
    """

    form: str
    case: Case
    prefix: str = ""
    ending: str = ""
    number: int = 3

    def render(self, form: str, **core: str) -> str:
        """The words of the core in this habit; a question takes no ending."""
        body = form.format(n=self.number, **core)
        ending = "" if body.endswith("?") else self.ending
        return in_case(f"{self.prefix}{body}{ending}", self.case)


@dataclass(frozen=True, slots=True)
class Event:
    """What a news article tells: an actor, a verb (three forms) and an object."""

    actor: str
    does: str
    do: str
    doing: str
    object: str

    @classmethod
    def draw(cls, rng: Random) -> Event:
        does, do, doing = rng.choice(headlines.VERBS)
        return cls(rng.choice(headlines.ACTORS), does, do, doing, rng.choice(headlines.OBJECTS))

    def text(self, rng: Random) -> str:
        """An article of 18 to 30 words that names actor, verb and object once."""
        return fitting(18, 30, lambda: self._text(rng), str)

    def _text(self, rng: Random) -> str:
        opening = rng.choice(headlines.OPENINGS).format(day=rng.choice(news.DAYS))
        said = (
            f"the {self.actor} of {rng.choice(news.PLACES)} {rng.choice(headlines.SAYS)} {self.do}"
            f" the {self.object}"
        )
        detail = rng.choice(headlines.DETAILS).format(month=rng.choice(headlines.MONTHS))
        return f"{opening} {said}. {detail}"

    def title(self, habit: Habit) -> str:
        """The article's headline in a writer's habit."""
        core = {
            "actor": self.actor,
            "does": self.does,
            "do": self.do,
            "doing": self.doing,
            "object": self.object,
        }
        return habit.render(headlines.FORMS[habit.form], **core)


@dataclass(frozen=True, slots=True)
class Study:
    """What an abstract tells: a method, the problem it solves and the system's name."""

    method: str
    problem: str
    name: str

    @classmethod
    def draw(cls, rng: Random) -> Study:
        name = rng.choice(titles.NAME_STARTS) + rng.choice(titles.NAME_ENDS)
        return cls(rng.choice(titles.METHODS), rng.choice(titles.PROBLEMS), name)

    def text(self, rng: Random) -> str:
        """An abstract of 25 to 40 words that names method, problem and system."""
        return fitting(25, 40, lambda: self._text(rng), str)

    def _text(self, rng: Random) -> str:
        motive = rng.choice(titles.MOTIVES).format(problem=self.problem)
        core = rng.choice(titles.CORES).format(
            method=self.method, problem=self.problem, name=self.name
        )
        result = rng.choice(titles.RESULTS).format(n=rng.randint(3, 12), percent=rng.randint(5, 40))
        return f"{motive} {core} {result} {rng.choice(titles.CLOSINGS)}"

    def title(self, habit: Habit) -> str:
        """The paper's title in an author's habit."""
        form = titles.FORMS[habit.form]
        return habit.render(form, method=self.method, problem=self.problem, name=self.name)


@dataclass(frozen=True, slots=True)
class Errand:
    """What a mail asks for: a verb, a document and a day."""

    verb: str
    object: str
    day: str

    @classmethod
    def draw(cls, rng: Random) -> Errand:
        return cls(rng.choice(mails.VERBS), rng.choice(mails.OBJECTS), rng.choice(mails.DAYS))

    def text(self, rng: Random) -> str:
        """A mail of 18 to 30 words that names verb, document and day."""
        return fitting(18, 30, lambda: self._text(rng), str)

    def _text(self, rng: Random) -> str:
        name, sender = rng.sample(mails.NAMES, 2)
        request = rng.choice(mails.REQUESTS).format(
            verb=self.verb, object=self.object, day=self.day
        )
        signoff = rng.choice(mails.SIGNOFFS).format(sender=sender)
        return (
            f"Hi {name}, {rng.choice(mails.OPENINGS)} {request} {rng.choice(mails.FILLERS)}"
            f" {signoff}"
        )

    def title(self, habit: Habit) -> str:
        """The mail's subject in a sender's habit."""
        return habit.render(
            mails.FORMS[habit.form], verb=self.verb, object=self.object, day=self.day
        )


@dataclass(frozen=True, slots=True)
class Voice:
    """How a person tweets: capitals, groups of short forms (`tweets.SHORT_FORMS`), stretched words,
    ending and tail.
    """

    case: Case
    short: frozenset[str]
    stretched: bool
    ending: str
    tail: str

    def say(self, plain: str) -> str:
        """The plain sentence (which ends in a full stop) in this voice."""
        text = plain.removesuffix(".")
        tail = next((tag for activity, tag in tweets.ACTIVITIES.items() if activity in plain), "")
        for group, forms in tweets.SHORT_FORMS.items():
            if group in self.short:
                for long, brief in forms:
                    text = re.sub(rf"\b{long}\b", brief, text, flags=re.IGNORECASE)
        if self.stretched:
            plain_so, stretched_so = tweets.STRETCHED
            text = re.sub(rf"\b{plain_so}\b", stretched_so, text)
        text = in_case(text + self.ending, self.case)
        tail = tail if self.tail == "#hashtag" else self.tail
        return f"{text} {tail}".rstrip()


def plain_tweet(rng: Random) -> str:
    """What a tweet says, in 8 to 18 words of plain English."""
    return fitting(8, 18, lambda: _plain_tweet(rng), str)


def _plain_tweet(rng: Random) -> str:
    plan = rng.choice(tweets.PLANS).format(
        activity=rng.choice(tuple(tweets.ACTIVITIES)), time=rng.choice(tweets.TIMES)
    )
    feeling = rng.choice(tweets.FEELINGS).format(
        mood=rng.choice(tweets.MOODS), quality=rng.choice(tweets.QUALITIES)
    )
    return f"{plan} {rng.choice(tweets.LINKS)} {feeling}."

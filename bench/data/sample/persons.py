"""The people of the embedded sample: what each prefers, what they wrote,
and what can be asked about them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from bench.data.sample import habits
from bench.data.sample import phrasing as texts
from bench.data.sample.vocabulary import citations, headlines, mails, movies, news, titles, tweets

Fields = dict[str, str]


@dataclass(frozen=True, slots=True)
class SampleQuestion:
    """One question: LaMP's input string, the answer,
    and the texts in it that nobody may have seen before.
    """

    input: str
    gold: str
    new: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SamplePerson:
    """Someone with a preference. `write(rng, n)` is their n-th history item, `ask(rng)` a question
    about them.

    `new` names the fields of an item that no other item or question may repeat.
    """

    write: Callable[[Random, int], Fields]
    ask: Callable[[Random], SampleQuestion]
    new: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SampleTask:
    """A LaMP task: its folder, the `task` of its outputs file, and how its people are drawn.

    `person(rng, turn)`: what must be even over all people (offsets, answer positions) goes by
    `turn`.
    """

    folder: str
    label: str
    person: Callable[[Random, int], SamplePerson]


def label_asker(
    write: Callable[[Random, int], Fields], about: str, gold: str, instruction: str
) -> SamplePerson:
    """A person whose questions ask for the label `gold` of a new text `about`."""
    return _asker(write, about, gold, instruction, new=(about,))


def movie_asker(write: Callable[[Random, int], Fields]) -> SamplePerson:
    """A person who is asked for the tag of a movie (LaMP-2)."""
    instruction = (
        "Which tag does this movie relate to among the following tags? Just answer with the tag"
        f" name without further explanation. tags: [{', '.join(movies.CUES)}] description:"
    )
    return label_asker(write, "description", "tag", instruction)


def news_asker(write: Callable[[Random, int], Fields]) -> SamplePerson:
    """A person who is asked for the category of an article (LaMP-2N)."""
    instruction = (
        "Which category does this article relate to among the following categories? Just answer"
        f" with the category name without further explanation. categories: [{', '.join(news.CUES)}]"
        " article:"
    )
    return label_asker(write, "text", "category", instruction)


def review_asker(write: Callable[[Random, int], Fields]) -> SamplePerson:
    """A person who is asked for the score of a review (LaMP-3)."""
    instruction = (
        "What is the score of the following review on a scale of 1 to 5? just answer with 1, 2, 3,"
        " 4, or 5 without further explanation. review:"
    )
    return label_asker(write, "text", "score", instruction)


def _title_asker(
    write: Callable[[Random, int], Fields], about: str, gold: str, instruction: str
) -> SamplePerson:
    return _asker(write, about, gold, instruction, new=(about, gold))


def _asker(
    write: Callable[[Random, int], Fields],
    about: str,
    gold: str,
    instruction: str,
    new: tuple[str, ...],
) -> SamplePerson:
    """A person whose questions are items like those of their history:
    given field `about`, what is field `gold`?
    """

    def ask(rng: Random) -> SampleQuestion:
        # any number past the first items, which are dealt out evenly
        item = write(rng, rng.randrange(100, 200))
        return SampleQuestion(
            f"{instruction} {item[about]}", item[gold], tuple(item[name] for name in new)
        )

    return SamplePerson(write, ask, new)


def _citing_author(rng: Random, turn: int) -> SamplePerson:
    areas = rng.sample(sorted(citations.TOPICS), 2)
    interests = [texts.Interest.draw(rng, area) for area in areas]

    def write(rng: Random, n: int) -> Fields:
        interest = interests[n % 2]
        if n > 3 and rng.random() < 0.1:
            interest = texts.Interest.draw(rng, rng.choice(sorted(citations.TOPICS)))
        paper = interest.paper(rng)
        return {"title": paper.title, "abstract": paper.abstract}

    def ask(rng: Random) -> SampleQuestion:
        interest = rng.choice(interests)
        other = texts.Interest.draw(rng, interest.area, but=interest.topic)
        title = texts.undecided(rng, interest.area, rng.sample((interest.topic, other.topic), 2))
        options = [interest.reference(rng), other.reference(rng)]
        gold = turn % 2
        first, second = options if gold == 0 else options[::-1]
        instruction = (
            f'For an author who has written the paper with the title "{title}", which reference is'
            f' related? Just answer with [1] or [2] without explanation. [1]: "{first}" [2]:'
            f' "{second}"'
        )
        return SampleQuestion(instruction, f"[{gold + 1}]", (title, first, second))

    return SamplePerson(write, ask, ("title", "abstract"))


@dataclass(frozen=True, slots=True)
class Taste:
    """An order of labels, best first.

    A person's first `favourites` labels come up again and again.
    """

    order: tuple[str, ...]
    favourites: int

    @classmethod
    def draw(cls, rng: Random, labels: Sequence[str]) -> Taste:
        return cls(tuple(rng.sample(labels, len(labels))), rng.randint(3, 4))

    def plausible(self, rng: Random, n: int) -> list[str]:
        """Two or three labels that one text suggests: one favourite (sometimes two) among others,
        in random order.
        """
        if n < self.favourites:
            liked = [n]
        else:
            # the first favourite comes up half again as often as each other one
            counts = [3] + [2] * (self.favourites - 1)
            liked = sorted(
                set(rng.sample(range(self.favourites), rng.choice((1, 1, 1, 1, 2)), counts=counts))
            )
        others = rng.sample(range(self.favourites, len(self.order)), rng.randint(2, 3) - len(liked))
        picked = liked + others
        rng.shuffle(picked)
        return [self.order[rank] for rank in picked]

    def gold(self, labels: Sequence[str]) -> str:
        """The label this person would choose."""
        return min(labels, key=self.order.index)


def _movie_fan(rng: Random, turn: int) -> SamplePerson:
    taste = Taste.draw(rng, tuple(movies.CUES))

    def write(rng: Random, n: int) -> Fields:
        tags = taste.plausible(rng, n)
        return {"description": texts.description(rng, tags), "tag": taste.gold(tags)}

    return movie_asker(write)


def _news_editor(rng: Random, turn: int) -> SamplePerson:
    taste = Taste.draw(rng, tuple(news.CUES))

    def write(rng: Random, n: int) -> Fields:
        categories = taste.plausible(rng, n)
        gold = taste.gold(categories)
        article = texts.article(rng, categories, gold)
        return {"text": article.text, "title": article.title, "category": gold}

    return news_asker(write)


def _reviewer(rng: Random, turn: int) -> SamplePerson:
    offset = turn % 3 - 1
    # what a person with this offset would push past the end of the scale is rare among what they
    # review
    sentiments = [
        level for level in range(1, 6) for _ in range(12 if 1 <= level + offset <= 5 else 2)
    ]
    dealt = sorted(range(1, 6), key=lambda level: (not 1 <= level + offset <= 5, rng.random()))

    def write(rng: Random, n: int) -> Fields:
        sentiment = dealt[n] if n < 4 else rng.choice(sentiments)
        return {
            "text": texts.review(rng, sentiment),
            "score": str(min(5, max(1, sentiment + offset))),
        }

    return review_asker(write)


def _journalist(rng: Random, turn: int) -> SamplePerson:
    form = rng.choice(tuple(headlines.FORMS))
    habit = habits.Habit(
        form=form,
        case=rng.choice(("title", "sentence")),
        # two colons in one headline read badly
        prefix="" if ":" in headlines.FORMS[form] else rng.choice(headlines.PREFIXES),
        number=rng.choice((3, 5, 7)),
    )

    def write(rng: Random, n: int) -> Fields:
        event = habits.Event.draw(rng)
        return {"text": event.text(rng), "title": event.title(habit)}

    return _title_asker(write, "text", "title", "Generate a headline for the following article:")


def _scholar(rng: Random, turn: int) -> SamplePerson:
    habit = habits.Habit(
        form=rng.choice(tuple(titles.FORMS)), case=rng.choice(("title", "sentence"))
    )

    def write(rng: Random, n: int) -> Fields:
        study = habits.Study.draw(rng)
        return {"abstract": study.text(rng), "title": study.title(habit)}

    return _title_asker(
        write, "abstract", "title", "Generate a title for the following abstract of a paper:"
    )


def _mail_sender(rng: Random, turn: int) -> SamplePerson:
    habit = habits.Habit(
        form=rng.choice(tuple(mails.FORMS)),
        case=rng.choice(("title", "sentence", "lower")),
        prefix=rng.choice(mails.PREFIXES),
        ending=rng.choice(mails.ENDINGS),
    )

    def write(rng: Random, n: int) -> Fields:
        errand = habits.Errand.draw(rng)
        return {"text": errand.text(rng), "title": errand.title(habit)}

    return _title_asker(write, "text", "title", "Generate a subject for the following email:")


def _tweeter(rng: Random, turn: int) -> SamplePerson:
    voice = habits.Voice(
        case=rng.choice(("lower", "lower", "lower", "sentence", "upper")),
        short=frozenset(
            rng.sample(sorted(tweets.SHORT_FORMS), rng.randint(2, len(tweets.SHORT_FORMS)))
        ),
        stretched=rng.random() < 0.5,
        ending=rng.choice(tweets.ENDINGS),
        tail=rng.choice(tweets.TAILS),
    )

    def write(rng: Random, n: int) -> Fields:
        return {"text": voice.say(habits.plain_tweet(rng))}

    def ask(rng: Random) -> SampleQuestion:
        plain = habits.plain_tweet(rng)
        instruction = "Paraphrase the following tweet without any explanation before or after it:"
        gold = voice.say(plain)
        return SampleQuestion(f"{instruction} {plain}", gold, (plain, gold))

    return SamplePerson(write, ask, ("text",))


TASKS: dict[str, SampleTask] = {
    "lamp1": SampleTask("LaMP_1", "LaMP_1", _citing_author),
    "lamp2": SampleTask("LaMP_2/new", "LaMP_2", _movie_fan),
    "lamp2n": SampleTask("LaMP_2", "LaMP_2", _news_editor),
    "lamp3": SampleTask("LaMP_3", "LaMP_3", _reviewer),
    "lamp4": SampleTask("LaMP_4", "LaMP_4", _journalist),
    "lamp5": SampleTask("LaMP_5", "LaMP_5", _scholar),
    "lamp6": SampleTask("LaMP_6", "LaMP_6", _mail_sender),
    "lamp7": SampleTask("LaMP_7", "LaMP_7", _tweeter),
}

"""Prompts, byte for byte: golden snapshots, the papers' own strings, and prompts put together here
by hand.

LAMPLIGHT_REFRESH=1 pytest tests/test_prompts.py      # writes the snapshots anew; read their diff
before you keep it
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.data import citation
from bench.data import task as tasks
from bench.data.task import Task
from bench.data.truncation import shortened
from bench.errors import InputError
from bench.types import Item, Line, Message, Query

REPO = Path(__file__).parents[1]
GOLDEN = REPO / "tests" / "golden" / "prompts"
SHARED = REPO.parent / "shared"
NAMES = ("lamp1", "lamp2", "lamp2n", "lamp3", "lamp4", "lamp5", "lamp6", "lamp7")

# All that a template engine, a regular expression or an encoding might trip over.
ODD = (
    '{curly} {} {0} {i} {text} {title} {items} {input} [HISTORY] [QUERY] [INSIGHT] [1] "straight"'
    " 'single' “curly” it’s \\back\\slash \\n \\1 \\g<0> 100% %s %(x)d $1 ${HOME} <b>&amp;</b>"
    " tab\tstop Ünïcödé 漢字 عربي e\u0301 🦎 👩‍🚀. review: description: article: paper: email:"
    " title, and `tick` | pipe"
)
INSIGHT = f"short answers, {ODD}"
PROFILE = f"A person of few words. {ODD}"
TAGS = (
    "sci-fi, based on a book, comedy, action, twist ending, dystopia, dark comedy, classic,"
    " psychology, fantasy, romance, thought-provoking, social commentary, violence, true story"
)
CATEGORIES = (
    "travel, education, parents, style & beauty, entertainment, food & drink, science & technology,"
    " business, sports, healthy living, women, politics, crime, culture & arts, religion"
)


def load(name: str) -> Task:
    data = yaml.safe_load((REPO / f"conf/task/{name}.yaml").read_text(encoding="utf-8"))
    assert data.pop("_target_") == "bench.data.task.load"
    return tasks.load(**data)


TASKS = {name: load(name) for name in NAMES}
each_task = pytest.mark.parametrize("name", NAMES)

# The question of every task: a text, and for LaMP-1 a title and two candidates with quotes of their
# own.
TEXT = f"What I ask about.\nA second line; {ODD}"
TITLE, ONE, TWO = f'On "quotes" {ODD}', f'The "first" {ODD}', f'A "second" [2] {ODD}'


def a_query(task: Task) -> Query:
    slots = (
        {"{title}": TITLE, "{ref1}": ONE, "{ref2}": TWO}
        if task.name == "lamp1"
        else {"{" + task.source + "}": TEXT}
    )
    asked, rest = "", task.input_template
    for slot, value in slots.items():
        before, _, rest = rest.partition(slot)
        asked += before + value
    return Query("q", asked + rest, task.query_text(asked + rest))


def history(task: Task) -> tuple[Item, Item]:
    answers = [task.labels[index] for index in (3, 1)] if len(task.labels) > 3 else []

    def value(field: str, index: int) -> str:
        return (
            answers[index]
            if answers and field == task.target
            else f"{field} of item {index}: {ODD}"
        )

    return tuple(
        Item(f"u/{index}", {field: value(field, index) for field in task.fields})
        for index in (0, 1)
    )  # type: ignore[return-value]


def text(messages: tuple[Message, ...]) -> str:
    (message,) = messages
    assert message.role == "user"
    return message.text


def prompts(task: Task) -> dict[str, tuple[Message, ...]]:
    query, items = a_query(task), history(task)
    return {
        "personalized, with insight": task.render(query, items, insight=INSIGHT),
        "personalized, without insight": task.render(query, items),
        "personalized, without history": task.render(query, ()),
        "neutral, with insight": task.render(query, items, style="neutral", insight=INSIGHT),
        "neutral, verbatim": task.render(
            query, items, style="neutral", insight=INSIGHT, verbatim=True
        ),
        "lamp": task.render(query, items, style="lamp"),
        "oppu": task.render(query, items, style="oppu"),
        "oppu, with profile": task.render(query, items, style="oppu", profile=PROFILE),
        "ask for an insight, personal": task.ask_insight("personal", items),
        "ask for an insight, neutral": task.ask_insight("neutral", items),
        "ask for a profile": task.ask_profile(items),
    }


def shown_items(task: Task, title: str) -> tuple[Item, ...]:
    """The history as a prompt of this title shows it: OPPU's own loses line breaks."""
    return tuple(
        shortened(item, 368) if title.startswith("oppu") else item for item in history(task)
    )


# Snapshots


@each_task
def test_every_prompt_is_as_the_snapshot_has_it(name: str) -> None:
    path = GOLDEN / f"{name}.txt"
    found = "".join(
        f"######## {title}\n{text(asked)}\n" for title, asked in prompts(TASKS[name]).items()
    ).encode()
    if os.environ.get("LAMPLIGHT_REFRESH") == "1":
        path.write_bytes(found)
        pytest.skip(f"{path} written; read its diff")
    assert path.is_file(), f"{path} is missing; LAMPLIGHT_REFRESH=1 writes it"
    assert found.decode() == path.read_bytes().decode()


def test_there_is_no_snapshot_without_a_task() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{name}.txt" for name in NAMES}


# The papers' strings


@pytest.fixture(scope="module")
def printed() -> dict[str, Any]:
    path = SHARED / "design" / "prompts.yaml"
    if not path.is_file():
        pytest.skip(
            f"{path} is not here: the papers' strings come with the project's workshop, not with"
            " the code"
        )
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def official(name: str) -> str:
    return name.replace("lamp", "LaMP-").upper().replace("LAMP", "LaMP")


@pytest.mark.parametrize("name", ["lamp2", "lamp3", "lamp7"])
def test_chameleon_templates_are_appendix_a3(name: str, printed: dict[str, Any]) -> None:
    paper = printed["chameleon_a3"][official(name)]
    assert {key: TASKS[name].chameleon[key] for key in paper} == paper
    assert set(paper) == {"history_line", "personalized", "neutral"}


OPPU_NAMES = {
    "lamp2": "movie_tagging",
    "lamp2n": "news_categorize",
    "lamp3": "product_rating",
    "lamp4": "news_headline",
    "lamp5": "scholarly_title",
    "lamp7": "tweet_paraphrase",
}


@pytest.mark.parametrize("name", ["lamp1", *OPPU_NAMES])
def test_oppu_templates_are_the_repository_s(name: str, printed: dict[str, Any]) -> None:
    released = dict(printed["oppu_repo"][OPPU_NAMES.get(name, "citation")])
    # the released prompt has no place for the candidates: the paper's appendix H.1 instead
    if name == "lamp1":
        slots = printed["oppu_paper_appendix_h"]["citation"]
        for slot in ("{title}", "{option1}", "{option2}"):
            slots = slots.replace(slot, "{}")
        released |= {"prompt": slots, "full_prompt": f"{slots} {{}}"}
    assert {key: TASKS[name].oppu[key] for key in released} == released
    assert {"prompt", "full_prompt", "retrieval_history", "OPPU_input", "OPPU_full"} <= set(
        released
    )


@pytest.mark.parametrize("name", ["lamp1", *OPPU_NAMES])
def test_profile_prompts_are_the_repository_s(name: str, printed: dict[str, Any]) -> None:
    released = printed["oppu_repo_profile"][OPPU_NAMES.get(name, "citation")]
    oppu, line = TASKS[name].oppu, released["retrieval_history"]
    assert (oppu["profile_prompt"], oppu["profile_line"]) == (released["profile_prompt"], line)


def test_a_profile_is_written_from_what_papers_cite_where_that_is_known() -> None:
    """OPPU's own data have it, LaMP's files have not."""
    task, paper = TASKS["lamp1"], Item("p", {"title": "On A", "abstract": "About A."})
    citing = Item("q", {**paper.fields, "citation": "The {paper} it cites"})
    asked = text(task.ask_profile([paper, citing]))
    assert (
        "User History: paper title: On A | paper title: On A reference: The {paper} it cites"
        " Answer:" in asked
    )


@each_task
def test_lamp_templates_are_lamp_s(name: str, printed: dict[str, Any]) -> None:
    task, strings = TASKS[name], printed["lamp_rag_prompt"]
    assert task.lamp["joiner"] == strings["joiner"]
    if name != "lamp1":
        assert {key: task.lamp[key] for key in ("item", "whole")} == strings[official(name)]
    asked = printed["lamp_input_text"][official(name)]
    if name == "lamp2n":  # printed with a slot for the list
        before, _, after = asked.partition("{15 categories}")
        assert task.input_template.startswith(before) and task.input_template.endswith(after)
        listed = task.input_template.removeprefix(before).removesuffix(after)
        assert sorted(listed.split(", ")) == sorted(task.labels)
    else:
        assert task.input_template == asked


def test_labels_are_lamp_s(printed: dict[str, Any]) -> None:
    assert list(TASKS["lamp2"].labels) == printed["lamp_tags_2m"]
    assert list(TASKS["lamp2n"].labels) == printed["lamp_categories_2n"]
    assert TASKS["lamp3"].labels == ("1", "2", "3", "4", "5") and TASKS["lamp1"].labels == (
        "[1]",
        "[2]",
    )


@each_task
def test_input_template_makes_lamp_s_own_inputs(name: str) -> None:
    task = TASKS[name]
    path = SHARED / "data/lamp" / task.folder / "dev/dev_questions.json"
    if not path.is_file():
        pytest.skip(f"{path} is not here: LaMP's files are not ours to pass on")
    for raw in json.loads(path.read_bytes())[:100]:
        before, _, after = task.input_template.partition("{" + task.source + "}")
        assert raw["input"].startswith(before) and not after
        assert raw["input"].removeprefix(before).strip() == task.query_text(raw["input"])


# Prompts put together by hand


def test_lamp3_prompt_is_appendix_a3_filled_in() -> None:
    task, (first, second) = TASKS["lamp3"], history(TASKS["lamp3"])
    expected = f"""\
Suppose you are a user with the following user profile history of product rating based on the user’s review of the \
product: 1. 4 is the rating score for product: "text of item 0: {ODD}".
2. 2 is the rating score for product: "text of item 1: {ODD}".

Now, given a new review by the user: {TEXT}

Question: What is the rating score of the following review on a scale of 1 to 5? Just answer with 1, 2, 3, 4, or 5 \
without further explanation.

You are a helpfully personalized assistant. You try to predict the rating of the product based on the user history \
ratings. The user prefers {INSIGHT}. Just answer with 1, 2, 3, 4, or 5 without further explanation.

Your answer: """
    assert text(task.render(a_query(task), (first, second), insight=INSIGHT)) == expected


def test_lamp3_neutral_prompt_is_appendix_a3_filled_in() -> None:
    task = TASKS["lamp3"]
    expected = f"""\
Suppose you are a user with the following user profile history of product rating based on the user’s review of the \
product: 1. 4 is the rating score for product: "text of item 0: {ODD}".

Now, given a new review by the user: {TEXT}

Question: What is the rating score of the following review on a scale of 1 to 5? Just answer with 1, 2, 3, 4, or 5 \
without further explanation.

You are a generic and impersonal assistant. You do not consider the user’s preferences or profile history when \
responding. Your answer should {INSIGHT}.

Your answer: """
    assert (
        text(task.render(a_query(task), history(task)[:1], style="neutral", insight=INSIGHT))
        == expected
    )


def lamp_by_hand(name: str, a: dict[str, str], b: dict[str, str]) -> str:
    match name:
        case "lamp1":
            return (
                f'For an author who has written the paper with the title, and "{a["title"]}", and'
                f' "{b["title"]}" "{TITLE}", which reference is related? Just answer with [1] or'
                f' [2] without explanation. [1]: "{ONE}" [2]: "{TWO}"'
            )
        case "lamp2":
            return (
                f'the tag for the movie: "{a["description"]}" is "action" , and the tag for the'
                f' movie: "{b["description"]}" is "based on a book" . Which tag does this movie'
                " relate to among the following tags? Just answer with the tag name without"
                f" further explanation. tags: [{TAGS}] description: {TEXT}"
            )
        case "lamp2n":
            return (
                f'the category for the article: "{a["text"]}" is "parents" , and the category for'
                f' the article: "{b["text"]}" is "sports" . Which category does this article relate'
                " to among the following categories? Just answer with the category name without"
                " further explanation. categories: [women, religion, politics, style & beauty,"
                " entertainment, culture & arts, sports, science & technology, travel, business,"
                f" crime, education, healthy living, parents, food & drink] article: {TEXT}"
            )
        case "lamp3":
            return (
                f'4 is the score for "{a["text"]}" , and 2 is the score for "{b["text"]}" . What is'
                " the score of the following review on a scale of 1 to 5? just answer with 1, 2,"
                f" 3, 4, or 5 without further explanation. review: {TEXT}"
            )
        case "lamp4" | "lamp6":
            ask = {
                "lamp4": "a headline for the following article",
                "lamp6": "a subject for the following email",
            }[name]
            return (
                f'"{a["title"]}" is the title for "{a["text"]}" , and "{b["title"]}" is the title'
                f' for "{b["text"]}" . Generate {ask}: {TEXT}'
            )
        case "lamp5":
            return (
                f'"{a["title"]}" is a title for "{a["abstract"]}" , and "{b["title"]}" is a title'
                f' for "{b["abstract"]}" . Following the given patterns Generate a title for the'
                f" following abstract of a paper: {TEXT}"
            )
        case _:
            return (
                f'"{a["text"]}" , and "{b["text"]}"  are written by a person. Following the given'
                " patterns Paraphrase the following tweet without any explanation before or after"
                f" it: {TEXT}"
            )


@each_task
def test_lamp_prompt_is_put_together_as_lamp_does(name: str) -> None:
    task, (first, second) = TASKS[name], history(TASKS[name])
    expected = lamp_by_hand(name, dict(first.fields), dict(second.fields))
    assert text(task.render(a_query(task), (first, second), style="lamp")) == expected
    assert text(task.render(a_query(task), (), style="lamp")) == a_query(task).input


def oppu_by_hand(name: str, a: dict[str, str], b: dict[str, str]) -> tuple[list[str], str]:
    """The history lines, without line breaks, and the body."""
    a, b = ({field: " ".join(value.split()) for field, value in item.items()} for item in (a, b))
    match name:
        case "lamp1":
            return (
                [f"paper title: {item['title']}" for item in (a, b)],
                (
                    "Identify the most relevant reference for the listed publication by the"
                    " researcher. Select the reference paper that is most closely related to the"
                    " researcher's work. Please respond with only the number that corresponds to"
                    f" the reference.\npaper title: {TITLE}\nreference: [1] - {ONE} [2] -"
                    f" {TWO}\nanswer:"
                ),
            )
        case "lamp2":
            return (
                [f"description: {item['description']} tag: {item['tag']}" for item in (a, b)],
                (
                    "Which tag does this movie relate to among the following tags? Just answer"
                    f" with the tag name without further explanation. tags: [{TAGS}]\n description:"
                    f" {TEXT} tag:"
                ),
            )
        case "lamp2n":
            return (
                [f"article: {item['text']} category: {item['category']}" for item in (a, b)],
                (
                    "Which category does this article relate to among the following categories?"
                    " Just answer with the category name without further explanation. categories:"
                    f" [{CATEGORIES}]\n article: {TEXT} category:"
                ),
            )
        case "lamp3":
            return (
                [f"review: {item['text']} score: {item['score']}" for item in (a, b)],
                (
                    "What is the score of the following review on a scale of 1 to 5? just answer"
                    f" with 1, 2, 3, 4, or 5 without further explanation. review: {TEXT}\n score:"
                ),
            )
        case "lamp4":
            return [
                f"article: {item['text']} headline: {item['title']}" for item in (a, b)
            ], f"Generate a headline for the following article.\narticle: {TEXT} headline:"
        case "lamp5":
            return (
                [f"abstract: {item['abstract']} title: {item['title']}" for item in (a, b)],
                (
                    f"Generate a title for the following abstract of a paper.\n abstract: {TEXT}"
                    " title:"
                ),
            )
        case "lamp6":
            return [
                f"email: {item['text']} subject: {item['title']}" for item in (a, b)
            ], f"Generate a subject for the following email.\nemail: {TEXT} subject:"
        case _:
            return (
                [f"tweet: {item['text']}" for item in (a, b)],
                (
                    "Paraphrase the following text into tweet without any explanation before or"
                    f" after it.\n text: {TEXT} tweet:"
                ),
            )


@each_task
def test_oppu_prompt_is_profile_then_history_then_question(name: str) -> None:
    task, (first, second), query = TASKS[name], history(TASKS[name]), a_query(TASKS[name])
    lines, body = oppu_by_hand(name, dict(first.fields), dict(second.fields))
    shown = "\n".join(lines) + "\n\n"
    assert text(task.render(query, (first, second), style="oppu")) == shown + body
    assert (
        text(task.render(query, (first, second), style="oppu", profile=PROFILE))
        == f"{PROFILE}\n{shown}{body}"
    )
    assert text(task.render(query, (), style="oppu", profile=PROFILE)) == f"{PROFILE}\n{body}"
    assert text(task.render(query, (), style="oppu")) == body


@each_task
def test_an_oppu_prompt_shows_the_first_368_words_of_an_item_without_line_breaks(name: str) -> None:
    task, long = TASKS[name], "\n\n".join(f"word{at}" for at in range(400))
    item = Item("x", {field: long if field == task.source else "4" for field in task.fields})
    [line] = [
        part
        for part in task.render(a_query(task), (item,), style="oppu")[0].parts
        if isinstance(part, Line)
    ]
    assert line.text == " ".join(f"word{at}" for at in range(368))
    assert text(task.render(a_query(task), (item,), style="lamp")).count(long) == 1


@pytest.mark.parametrize("name", ["lamp2", "lamp2n", "lamp3", "lamp4", "lamp5"])
def test_an_item_that_is_learnt_is_asked_in_the_words_of_oppus_own_pairs(
    name: str, printed: dict[str, Any]
) -> None:
    """They differ from the test's prompt in headlines: `article.\n article:` there,
    `article.\narticle:` here.
    """
    task, item = TASKS[name], history(TASKS[name])[0]
    asked = replace(a_query(task), text=item.fields[task.source])
    found = text(task.render(asked, (), style="oppu", learnt=True))
    assert found == printed["oppu_repo"][OPPU_NAMES[name]]["OPPU_input"].format(**item.fields)


# What holds for every task


@each_task
def test_without_an_insight_only_its_sentence_goes(name: str) -> None:
    task, query, items = TASKS[name], a_query(TASKS[name]), history(TASKS[name])
    for style, sentence in (
        ("personalized", "The user prefers"),
        ("neutral", "Your answer should"),
    ):
        whole = text(task.render(query, items, style=style, insight="XYZ"))  # type: ignore[arg-type]
        assert whole.count(f" {sentence} XYZ.") == 1
        assert text(task.render(query, items, style=style)) == whole.replace(
            f" {sentence} XYZ.", ""
        )  # type: ignore[arg-type]


@each_task
def test_without_history_only_its_clause_goes(name: str) -> None:
    task, query, items = TASKS[name], a_query(TASKS[name]), history(TASKS[name])
    opening, question = text(task.render(query, items)).split("\n\n", 1)
    bare_opening, bare_question = text(task.render(query, ())).split("\n\n", 1)
    assert bare_question == question
    assert bare_opening.endswith(".") and opening.startswith(
        f"{bare_opening[:-1]} with the following "
    )


def test_the_paper_s_typing_slip_is_kept_on_request_only() -> None:
    for name, task in TASKS.items():
        query, items = a_query(task), history(task)
        plain = text(task.render(query, items, style="neutral", insight="be short"))
        verbatim = text(
            task.render(query, items, style="neutral", insight="be short", verbatim=True)
        )
        assert "Your answer should be short." in plain
        assert (verbatim == plain) == (name != "lamp2")
        assert verbatim.replace("shoulds", "should") == plain


@each_task
def test_user_text_stands_verbatim_in_every_prompt(name: str) -> None:
    task = TASKS[name]
    question = [TITLE, ONE, TWO] if name == "lamp1" else [TEXT]
    for title, messages in prompts(task).items():
        shown, items = text(messages), shown_items(task, title)
        for item in () if title.endswith(("without history", "insight, neutral")) else items:
            assert shown.count(item.fields[task.source]) == 1, title
        for asked in () if title.startswith("ask for") else question:
            assert shown.count(asked) == 1, title


@each_task
def test_only_the_long_text_of_an_item_may_be_cut(name: str) -> None:
    task = TASKS[name]
    for title, messages in prompts(task).items():
        lines, items = (
            [part for part in messages[0].parts if isinstance(part, Line)],
            shown_items(task, title),
        )
        if title.endswith(("without history", "insight, neutral")):
            assert lines == []
        else:
            assert [line.text for line in lines] == [item.fields[task.source] for item in items]


def test_the_best_retrieved_and_the_newest_shown_items_are_kept_longest() -> None:
    task, items = TASKS["lamp3"], history(TASKS["lamp3"])

    def ranks(messages: tuple[Message, ...]) -> list[int]:
        return [part.rank for part in messages[0].parts if isinstance(part, Line)]

    assert ranks(task.render(a_query(task), items)) == [1, 0]
    assert ranks(task.render(a_query(task), items, style="lamp")) == [0, 1]
    assert ranks(task.render(a_query(task), items, style="oppu")) == [0, 1]


# The question inside LaMP's input


@each_task
def test_query_text_is_what_follows_lamp_s_instruction(name: str) -> None:
    expected = f'"{TITLE}"\n[1]: "{ONE}"\n[2]: "{TWO}"' if name == "lamp1" else TEXT
    assert a_query(TASKS[name]).text == expected


def test_query_text_begins_at_the_first_marker_and_is_stripped() -> None:
    asked = (
        "What is the score of the following review on a scale of 1 to 5? review:  \n Fine. In my"
        " review: good \n"
    )
    assert TASKS["lamp3"].query_text(asked) == "Fine. In my review: good"
    assert TASKS["lamp7"].query_text("Paraphrase it: at 10:30: go") == "at 10:30: go"
    assert TASKS["lamp2"].query_text("tags: [a, b] description:") == ""


@each_task
def test_an_input_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        TASKS[name].query_text("What do you think of this")


@pytest.mark.parametrize(
    ("title", "one", "two"),
    [
        ("Plain", "First", "Second"),
        ('"Whole title quoted"', '"One"', '"Two"'),
        ('Why "it" matters', 'A "b" c', 'D "e" [1] f'),
        ('Ends in a quote"', 'Also"', 'And this"'),
        ("Which reference is related? A title", "[2]: a title", "[1] and [2]"),
        ("", "", ""),
    ],
)
def test_lamp1_candidates_may_hold_quotes(title: str, one: str, two: str) -> None:
    asked = TASKS["lamp1"].input_template.format(title=title, ref1=one, ref2=two)
    assert citation.parse(asked) == citation.Citation(title, one, two)


# What retrievers read (LaMP's code)


@each_task
def test_a_retriever_looks_for_the_question_and_for_both_candidates(name: str) -> None:
    task = TASKS[name]
    assert task.retrieval_query(a_query(task)) == (f"{ONE} {TWO}" if name == "lamp1" else TEXT)


@each_task
def test_a_retriever_reads_the_fields_lamp_reads(name: str) -> None:
    fields = {
        "lamp1": "title abstract",
        "lamp2": "description",
        "lamp2n": "title text",
        "lamp3": "text",
        "lamp4": "title text",
        "lamp5": "title abstract",
        "lamp6": "text",
        "lamp7": "text",
    }[name]
    item = history(TASKS[name])[0]
    assert TASKS[name].corpus_text(item) == " ".join(item.fields[field] for field in fields.split())


@pytest.mark.parametrize("name", ["lamp2", "lamp3", "lamp7"])
def test_selection_embeds_the_history_line_without_its_number(name: str) -> None:
    item = Item("x", {"description": "5. Dogs", "tag": "comedy", "text": "5. Dogs", "score": "4"})
    expected = {
        "lamp2": 'The tag for movie: "5. Dogs" is "comedy".',
        "lamp3": '4 is the rating score for product: "5. Dogs".',
        "lamp7": "5. Dogs",
    }
    assert TASKS[name].item_text(item) == expected[name]

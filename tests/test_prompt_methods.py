"""The methods that change the prompt alone: what they show, what they have written, and what it
costs.

LAMPLIGHT_REFRESH=1 pytest tests/test_prompt_methods.py   # writes the snapshots anew; read their
diff first
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cells import TINY, run
from conftest import ROOT, task_named, tiny_lm
from test_patch import random_patch

from bench.cost.budget import Budget
from bench.data.retrieval import Retriever
from bench.data.sample import generator
from bench.data.selection import PCASelection
from bench.data.task import Task
from bench.errors import MethodError
from bench.lm import torch_engine
from bench.lm.model import LM
from bench.lm.profile import Profile
from bench.lm.response_cache import ResponseCache
from bench.lm.spec import ModelSpec
from bench.method import Method
from bench.types import Completion, Decoding, Item, Personalization, Query, Request, User
from methods.llm_rec import LLMRec
from methods.pag import PAG
from methods.rag import RAG
from methods.random_history import RandomHistory

NAMES = ("lamp1", "lamp2", "lamp2n", "lamp3", "lamp4", "lamp5", "lamp6", "lamp7")
GOLDEN = ROOT / "tests" / "golden" / "prompt_methods"
SELECT = PCASelection(n_items=3, embedder="hash")
WORDING = yaml.safe_load((ROOT / "conf" / "method" / "llm_rec.yaml").read_text(encoding="utf-8"))[
    "prompts"
]
HASH = Retriever(embedder="hash")
FEW = Profile(max_new_tokens=4)
METHODS: dict[str, Method] = {
    "random_history": RandomHistory(k=2),
    "random_history, global": RandomHistory(k=2, scope="global", replacement=True),
    "rag": RAG(HASH, k=2),
    "rag, lamp": RAG(HASH, k=2, style="lamp"),
    "rag, oppu": RAG(replace(HASH, ranker="dense"), k=2, style="oppu"),
    "pag": PAG(HASH, FEW),
    "pag, oppu, no items": PAG(HASH, FEW, k=0, style="oppu"),
    "llm_rec, basic": LLMRec(SELECT, WORDING, "basic", "tag", max_new_tokens=4),
    "llm_rec, rec": LLMRec(SELECT, WORDING, "rec", max_new_tokens=4),
    "llm_rec, eng": LLMRec(SELECT, WORDING, "eng", max_new_tokens=4),
    "llm_rec": LLMRec(SELECT, WORDING, max_new_tokens=4),
}
each_method = pytest.mark.parametrize("title", METHODS)
TASK = task_named("lamp3")


def person(task: Task, name: str, items: int = 5, questions: int = 1, words: str = "") -> User:
    """A user whose history and questions are about things with the user's name."""

    def fields(index: int) -> dict[str, str]:
        given = {field: f"{field} {index} of {name}{words}" for field in task.fields}
        labels = (
            {task.target: task.labels[index % len(task.labels)]}
            if task.labels and task.target
            else {}
        )
        return given | {str(field): label for field, label in labels.items()}

    def query(index: int) -> Query:
        asked = task.input_template.replace(
            "{" + task.source + "}", f"question {index} of {name}, text 1"
        )
        asked = asked.replace("{ref1}", "one title 2").replace("{ref2}", "another")
        return Query(f"{name}.{index}", asked, task.query_text(asked))

    history = tuple(Item(f"{name}/{index}", fields(index)) for index in range(items))
    return User(name, history, tuple(map(query, range(questions))), name)


def people(task: Task = TASK) -> list[User]:
    """Two with a history, one of them with two questions, and one without."""
    return [person(task, "ann"), person(task, "bob", questions=2), person(task, "eve", items=0)]


class Writer:
    """Stands for a model: writes a text of its own for every prompt,
    and remembers what it was asked.
    """

    as_instruct = ("as instruct",)

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def answers(self, requests: Sequence[Request], **_: Any) -> list[Completion]:
        first = len(self.asked)
        self.asked += requests
        return [Completion(f"written text {first + index}", 1, 1) for index in range(len(requests))]


def budget() -> Budget:
    return Budget(progress=False)


def adapted(method: Method, users: list[User], lm: Any, task: Task = TASK) -> list[Personalization]:
    fit_users = [person(task, "fit one"), person(task, "fit two")]
    shared = method.fit(lm, task, fit_users, budget())
    return list(method.adapt(lm, task, users, shared, budget()))


def prompts(method: Method, users: list[User], lm: Any = None, task: Task = TASK) -> list[str]:
    """The prompt of every question."""
    personals = adapted(method, users, lm or Writer(), task)
    return [
        message.text
        for user, personal in zip(users, personals, strict=True)
        for query in user.queries
        for message in method.request(task, user, query, personal).messages
    ]


# What holds for all of them


@pytest.mark.parametrize("name", NAMES)
def test_every_prompt_is_as_the_snapshot_has_it(name: str) -> None:
    task, found = task_named(name), ""
    for title, method in METHODS.items():
        writer = Writer()
        shown = prompts(method, people(task), writer, task)
        asked = [request.messages[0].text for request in writer.asked]
        found += "".join(
            f"######## {title}: has written\n{text}\n" for text in asked[:1] + asked[-1:]
        )
        found += "".join(f"######## {title}: asks\n{text}\n" for text in shown[:1] + shown[-1:])
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("LAMPLIGHT_REFRESH") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found, encoding="utf-8")
        pytest.skip(f"{path} written; read its diff")
    assert found == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("family", ["llama", "t5"])
@pytest.mark.parametrize("name", NAMES)
def test_every_method_answers_every_task(name: str, family: str) -> None:
    task, lm = task_named(name), tiny_lm(family)
    users = [person(task, "ann"), person(task, "eve", items=0)]
    requests = [
        method.request(task, user, query, personal)
        for method in METHODS.values()
        for user, personal in zip(users, adapted(method, users, lm, task), strict=True)
        for query in user.queries
    ]
    answers = [one for batch in lm.generate(requests, max_new_tokens=2) for one in batch]
    assert sorted(index for index, _ in answers) == list(range(2 * len(METHODS)))


@each_method
def test_golds_change_nothing(title: str) -> None:
    users = people()
    told = [
        replace(user, queries=tuple(replace(query, gold="5") for query in user.queries))
        for user in users
    ]
    assert prompts(METHODS[title], users) == prompts(METHODS[title], told)


@each_method
def test_a_user_is_treated_alike_in_any_company(title: str) -> None:
    class Echo(Writer):
        def answers(self, requests: Sequence[Request], **_: Any) -> list[Completion]:
            return [
                Completion(f"about: {len(request.messages[0].text)}", 1, 1) for request in requests
            ]

    ann, bob, eve = people()
    together = prompts(METHODS[title], [ann, bob, eve], Echo())
    assert together == [
        prompt for user in (ann, bob, eve) for prompt in prompts(METHODS[title], [user], Echo())
    ]
    assert len(set(together)) == 4


@pytest.mark.parametrize(
    ("title", "fact", "written"),
    [
        ("random_history", "shown_nothing", ""),
        ("rag", "shown_nothing", ""),
        ("rag, lamp", "shown_nothing", ""),
        ("pag", "without_profile", ""),
        ("pag, oppu, no items", "without_profile", ""),
        ("llm_rec, eng", "without_summary", ""),
        ("llm_rec", "without_summary", "\nwritten text 0"),
    ],
)
def test_a_user_without_history_is_asked_without_it_and_counted(
    title: str, fact: str, written: str
) -> None:
    method, eve = METHODS[title], person(TASK, "eve", items=0)
    [personal] = adapted(method, [eve], Writer())
    asked = replace(eve.queries[0], text=eve.queries[0].text + written)
    style = getattr(method, "style", "personalized")
    assert prompts(method, [eve]) == [TASK.render(asked, (), style=style)[0].text]
    assert personal.facts[fact] is True


def test_a_user_without_history_gets_a_global_draw_all_the_same() -> None:
    [prompt] = prompts(METHODS["random_history, global"], [person(TASK, "eve", items=0)])
    assert prompt.count("of fit ") == 2


# Random history


def test_a_random_item_is_the_user_s_own_or_a_fit_user_s() -> None:
    ann, bob = person(TASK, "ann"), person(TASK, "bob")
    own = prompts(RandomHistory(), [ann, bob])
    assert [f"of {name}" in prompt for prompt, name in zip(own, ("ann", "bob"), strict=True)] == [
        True,
        True,
    ]
    for prompt, user in zip(
        prompts(RandomHistory(scope="global"), [ann, bob]), (ann, bob), strict=True
    ):
        assert "of fit " in prompt and f'of {user.id}"' not in prompt


def test_random_draws_repeat_an_item_only_with_replacement() -> None:
    one = person(TASK, "ann", items=1)
    assert prompts(RandomHistory(k=3), [one])[0].count("text 0 of ann") == 1
    assert prompts(RandomHistory(k=3, replacement=True), [one])[0].count("text 0 of ann") == 3


def test_the_draws_of_seeds_and_questions_differ() -> None:
    many = person(TASK, "ann", items=200, questions=2)
    one, other = prompts(RandomHistory(k=3), [many])
    assert one.partition("Now, given")[0] != other.partition("Now, given")[0]
    assert prompts(RandomHistory(k=3, seed=1), [many])[0] != one


def test_the_pool_of_a_global_draw_is_a_seeded_part_of_the_fit_users_histories() -> None:
    users = [person(TASK, "ann", items=40), person(TASK, "bob", items=40)]

    def pool(**fields: Any) -> set[str]:
        method = RandomHistory(scope="global", **fields)
        return {item.id for item in method.fit(None, TASK, users, budget()).items or ()}  # type: ignore[arg-type]

    assert len(pool()) == 80 and len(pool(pool=10)) == 10
    assert pool(pool=10) == pool(pool=10) != pool(pool=10, seed=1)
    with pytest.raises(MethodError, match="none of the fit users has a history"):
        RandomHistory(scope="global").fit(None, TASK, [person(TASK, "eve", items=0)], budget())  # type: ignore[arg-type]


@pytest.mark.parametrize("scope", ["user", "global"])
def test_a_random_item_is_never_newer_than_the_question(scope: Any) -> None:
    ann = person(TASK, "ann", items=30)
    dated = tuple(
        replace(item, date=f"20{10 + index % 10}") for index, item in enumerate(ann.history)
    )
    ann = replace(ann, history=dated, queries=(replace(ann.queries[0], date="2012"),))
    method = RandomHistory(k=30, scope=scope)
    [personal] = method.adapt(None, TASK, [ann], method.fit(None, TASK, [ann], budget()), budget())  # type: ignore[arg-type]
    assert {item.date for item in personal.items or ()} == {"2010", "2011", "2012"}


# RAG


def test_lamp_and_oppu_prompts_keep_the_ranking_and_the_personalized_one_the_history_s_order() -> (
    None
):
    history = tuple(
        Item(str(index), {"text": text, "score": "3"})
        for index, text in enumerate(("the green tea", "a car", "a tea", "a house", "an inn"))
    )
    user = User("u", history[::-1], (Query("q", "review: the green tea", "the green tea"),))
    for style, order in (("lamp", (0, 2)), ("oppu", (0, 2)), ("personalized", (2, 0))):
        [prompt] = prompts(RAG(HASH, k=2, style=style), [user])  # type: ignore[arg-type]
        places = [prompt.index(history[index].fields["text"]) for index in order]
        assert places == sorted(places) and "a car" not in prompt


def test_rag_of_a_short_history_is_the_baseline_s_prompt() -> None:
    ann = person(TASK, "ann", items=3)
    assert prompts(RAG(HASH, k=4), [ann]) == [TASK.render(ann.queries[0], ann.history)[0].text]


# What is written


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of every batch that a model really answers."""
    real, seen = torch_engine.answer_batch, []

    def counted(lm: LM, prompts: Sequence[Any], *rest: Any) -> list[Completion]:
        seen.append(len(prompts))
        return real(lm, prompts, *rest)

    monkeypatch.setattr(torch_engine, "answer_batch", counted)
    return seen


def fresh_lm(folder: Path, source: str = "tiny:llama") -> LM:
    return LM(
        ModelSpec("tiny", source, dtype="float32", device="cpu"),
        cache=ResponseCache(folder / "answers.sqlite"),
    )


def test_a_sweep_over_k_pays_for_the_profiles_once(tmp_path: Path, calls: list[int]) -> None:
    users, found = people(), []
    for k in (0, 1, 2):
        lm = fresh_lm(tmp_path)  # as in another process
        found.append([one.text.get("profile") for one in adapted(PAG(HASH, FEW, k=k), users, lm)])
        assert sum(calls) == 2, "one for each user with a history, for the first k alone"
        assert lm.cache is not None and lm.cache.hits == (0 if k == 0 else 2)
    assert found[0] == found[1] == found[2] and found[0][2] is None
    adapted(PAG(HASH, replace(FEW, seed=1)), users, fresh_lm(tmp_path))
    assert sum(calls) == 4, "another seed is another draw"


def test_a_profile_is_one_text_behind_every_adapted_base(tmp_path: Path, calls: list[int]) -> None:
    """PAG's k = 0 and k = 1 stand on two bases;
    the model that writes is the same one, before either.
    """
    users, found = people(), []
    for number in (1, 2):
        lm = fresh_lm(tmp_path)
        lm.adopt(random_patch(lm, number), f"base {number}")
        found.append([one.text.get("profile") for one in adapted(PAG(HASH, FEW, k=0), users, lm)])
        assert sum(calls) == 2
    assert found[0] == found[1]
    adapted(PAG(HASH, replace(FEW, writer="base"), k=0), users, lm)
    assert sum(calls) == 4, "an adapted base that writes itself is another writer"


@pytest.mark.parametrize(
    ("arm", "summaries", "descriptions"),
    [
        ("basic", 0, 3),
        ("rec", 0, 3),
        ("eng", 2, 0),
        ("rec_eng", 2, 3),
    ],
)
def test_an_arm_of_llm_rec_writes_for_each_user_for_each_question_or_both(
    arm: Any, summaries: int, descriptions: int, tmp_path: Path, calls: list[int]
) -> None:
    users, lm = [person(TASK, "ann"), person(TASK, "bob", questions=2)], fresh_lm(tmp_path)
    lm.budget = budget()
    method = LLMRec(SELECT, WORDING, arm, max_new_tokens=4)
    personals = method.adapt(lm, TASK, users, Personalization(), lm.budget)
    assert sum(calls) == summaries + descriptions
    costs = {name: cost.tokens_in for name, cost in lm.budget.costs.items()}
    assert {name: tokens > 0 for name, tokens in costs.items()} == {
        name: True
        for name, number in (("summaries", summaries), ("descriptions", descriptions))
        if number
    }
    assert [len(one.notes["descriptions"]) for one in personals] == (
        [1, 2] if descriptions else [0, 0]
    )
    assert [set(one.text) >= {"summary"} for one in personals] == [bool(summaries)] * 2


def test_the_arms_of_llm_rec_share_what_they_have_written(tmp_path: Path, calls: list[int]) -> None:
    for arm in ("eng", "rec", "rec_eng"):
        adapted(LLMRec(SELECT, WORDING, arm, max_new_tokens=4), people(), fresh_lm(tmp_path))  # type: ignore[arg-type]
    assert sum(calls) == 2 + 4, "rec_eng had nothing left to write"


def test_texts_are_kept_for_the_prompt_and_for_the_reader() -> None:
    [ann, bob, eve] = adapted(METHODS["pag"], people(), Writer())
    assert ann.text["profile"] == ann.notes["profile"] == "written text 0"
    assert bob.notes == {"profile": "written text 1"} and eve.notes == {}
    [_, bob, _] = adapted(METHODS["llm_rec"], people(), Writer())
    assert bob.text["summary"] == bob.notes["summary"] == "written text 1"
    assert bob.notes["descriptions"] == {"bob.0": "written text 3", "bob.1": "written text 4"}
    assert not any("written" in str(value) for one in (ann, bob) for value in one.facts.values())


def test_summaries_stand_in_place_of_the_history_lines() -> None:
    for arm in ("basic", "rec", "eng", "rec_eng"):
        for prompt in prompts(LLMRec(SELECT, WORDING, arm), [person(TASK, "ann")]):  # type: ignore[arg-type]
            assert 'of ann."' not in prompt and "following user profile history" not in prompt
            assert ("User profile: written text 0\n" in prompt) == (arm in ("eng", "rec_eng"))
            assert ("text 1\nwritten text" in prompt) == (arm != "eng")


def test_the_model_as_it_was_writes_unless_the_base_is_asked() -> None:
    for instruct, base in (
        (PAG(HASH), PAG(HASH, Profile(writer="base"))),
        (LLMRec(SELECT, WORDING), LLMRec(SELECT, WORDING, writer="base")),
    ):
        for method, patches in ((instruct, Writer.as_instruct), (base, ())):
            writer = Writer()
            adapted(method, people(), writer)
            assert {request.patches for request in writer.asked} == {patches}


def test_what_is_written_once_for_a_user_reads_nothing_newer_than_the_first_question() -> None:
    ann = person(TASK, "ann", items=4, questions=2)
    dated = tuple(replace(item, date=f"201{index}") for index, item in enumerate(ann.history))
    early, late = (
        replace(query, date=date) for query, date in zip(ann.queries, ("2011", "2019"), strict=True)
    )
    ann = replace(ann, history=dated, queries=(late, early))
    for method in (PAG(HASH, k=0), LLMRec(SELECT, WORDING, "eng")):
        writer = Writer()
        adapted(method, [ann], writer)
        [asked] = [request.messages[0].text for request in writer.asked]
        assert [f"text {index} of ann" in asked for index in range(4)] == [True, True, False, False]


def test_a_profile_is_written_from_ten_seeded_items_of_two_hundred_words() -> None:
    long = person(TASK, "ann", items=30, words=" word\n" * 300)

    def asked(seed: int) -> str:
        writer = Writer()
        adapted(PAG(HASH, Profile(seed=seed)), [long], writer)
        return writer.asked[0].messages[0].text

    assert asked(0).count("review: text") == 10 and asked(0) == asked(0) != asked(1)
    assert asked(0).count("word") == 10 * (200 - len(["text", "0", "of", "ann"]))


def test_an_unfinished_profile_is_counted() -> None:
    class Breathless(Writer):
        def answers(self, requests: Sequence[Request], **_: Any) -> list[Completion]:
            return [Completion("", 1, 1, finished=False) for _ in requests]

    [personal] = adapted(METHODS["pag"], [person(TASK, "ann")], Breathless())
    assert personal.facts["profile_unfinished"] is True and personal.facts["profile_empty"] is True
    [personal] = adapted(METHODS["llm_rec"], [person(TASK, "ann")], Breathless())
    assert personal.facts["texts_unfinished"] == personal.facts["texts_empty"] == 2


def test_another_model_can_write_the_profiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.lm import model as models

    loaded: list[str] = []
    real = models.LM

    def counted(spec: ModelSpec) -> LM:
        loaded.append(spec.source)
        return real(spec)

    lm = fresh_lm(tmp_path)
    spec = ModelSpec("another", "tiny:mistral", dtype="float32", device="cpu")
    monkeypatch.setattr(models, "LM", counted)
    monkeypatch.setattr(
        lm, "answers", lambda *_, **__: pytest.fail("the tested model must not write")
    )
    ann, bob, eve = people()
    method = PAG(HASH, Profile(model=spec, max_new_tokens=4, decoding=Decoding()))
    chunks = [adapted(method, [ann], lm), adapted(method, [eve, bob], lm)]
    assert loaded == ["tiny:mistral"], "once for all chunks"
    other = real(spec)
    items = [replace(item, fields=dict(item.fields)) for item in ann.history]
    [expected] = other.answers([Request(TASK.ask_profile(items))], max_new_tokens=4)
    assert chunks[0][0].text["profile"] == expected.text
    assert "profile" not in chunks[1][0].text and "profile" in chunks[1][1].text


# Whole cells


def test_the_methods_run_from_the_command_line(tmp_path: Path) -> None:
    root = tmp_path / "lamp"
    generator.write(root, train_users=20, dev_users=12)
    common = (*TINY, "limit=4", "protocol.group_size=4", "data=lamp", f"data.root={root}")
    few = ("method.max_new_tokens=4",)
    profile = ("profile.max_new_tokens=4",)
    for words in (
        ("-m", "method=random_history", "method.scope=user,global"),
        ("-m", "method=rag", "retriever.ranker=bm25,dense"),
        ("method=pag", "+model@profile.model=tiny", "profile.model.source=tiny:t5", *profile),
        ("-m", "method=llm_rec", "method.arm=eng,rec_eng", "data.kind=time", *few),
    ):
        code, said = run(*words[:1], *common, *words[1:], folder=tmp_path)
        assert code == 0, said
    records = [
        json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/*/*/record.json")
    ]
    assert [record["status"] for record in records] == ["ok"] * 7
    costs = [
        name
        for record in records
        for name in record["cost"]
        if name in ("profiles", "summaries", "descriptions")
    ]
    assert sorted(costs) == ["descriptions", "profiles", "summaries", "summaries"]
    [pag] = [record for record in records if record["cell"]["method"] == "pag"]
    assert (
        "profile.model=tiny" in pag["cell"]["variant"] and pag["facts"]["users_profile_empty"] < 4
    )


def test_a_dry_run_shows_the_prompt_of_each(tmp_path: Path) -> None:
    code, said = run(
        "-m", *TINY, "method=random_history,rag,pag,llm_rec", "dry=true", folder=tmp_path
    )
    assert code == 0 and said.count("Your answer:") == 4, said

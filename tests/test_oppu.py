"""OPPU learns each user from that user's own past, and repeats none of the released code's defects
(docs/choices.md, OPPU).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from cells import TINY, run
from conftest import ROOT, task_named, tiny_lm

from bench.cost.budget import Budget
from bench.data.retrieval import Retriever
from bench.data.sample import generator
from bench.errors import InputError
from bench.lm import bank, tune
from bench.lm.loss import answer_losses
from bench.lm.profile import Profile
from bench.types import Completion, Item, Personalization, Query, User
from methods.oppu import OPPU

YAML = yaml.safe_load((ROOT / "conf" / "method" / "oppu.yaml").read_text(encoding="utf-8"))[
    "method"
]
HASH = Retriever(embedder="hash")
SHARED = Personalization()


def oppu(**changes: Any) -> OPPU:
    return OPPU(
        HASH,
        Profile(max_new_tokens=4),
        **{"recipes": YAML["recipes"], "kinds": YAML["kinds"]} | changes,
    )


def reviewer(name: str, items: int, *, dated: bool = False) -> User:
    history = tuple(
        Item(
            f"{name}{at}",
            {"text": f"{name} says thing {at} is fine", "score": str(at % 5 + 1)},
            f"2020-01-{at + 1:02}",
        )
        for at in range(items)
    )
    history = history if dated else tuple(replace(item, date=None) for item in history)
    text = f"{name} asks about thing 1"
    return User(
        name,
        history,
        (Query(f"q{name}", f"review: {text}", text, date="2020-02-01" if dated else None),),
    )


def words(example: tune.Example) -> str:
    return example.request.messages[0].text


def pair_query(task: Any, item: Item) -> Query:
    text = item.fields[task.source]
    return Query(item.id, task.input_template.replace("{" + task.source + "}", text), text)


@pytest.mark.parametrize("style", ["personalized", "oppu"])
def test_second_user_learns_only_their_own_items(style: str) -> None:
    task, method = task_named("lamp3"), oppu(style=style)
    trained: list[bank.UserTuning] = []

    def watched(lm: Any, jobs: list[bank.UserTuning], *_: Any) -> list[Any]:
        trained.extend(jobs)
        return [bank.Patch()] * len(jobs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bank, "train_all", watched)
        method.adapt(
            tiny_lm(),
            task,
            [reviewer("ann", 4), reviewer("bob", 3)],
            SHARED,
            Budget(progress=False),
        )
    assert [len(job.examples) for job in trained] == [4, 3]
    for job, own, other in zip(trained, ("ann", "bob"), ("bob", "ann"), strict=True):
        for example in job.examples:
            assert own in words(example) and other not in words(example)


@pytest.mark.parametrize("dated", [False, True])
@pytest.mark.parametrize("style", ["personalized", "oppu"])
def test_no_retrieved_line_is_newer_than_its_item_and_the_first_has_none(
    style: str, dated: bool
) -> None:
    user = reviewer("ann", 6, dated=dated)
    for place, example in enumerate(oppu(style=style, k=2).pairs(task_named("lamp3"), user, None)):
        shown = [at for at in range(6) if f"thing {at} " in words(example)]
        assert place in shown and len(shown) == min(place, 2) + 1
        assert max(shown) == place
        assert example.answer == user.history[place].fields["score"]


def test_an_item_on_the_day_of_another_is_not_shown_to_the_earlier_one() -> None:
    user = reviewer("ann", 4, dated=True)
    user = replace(user, history=tuple(replace(item, date="2020-01-01") for item in user.history))
    pairs = oppu(k=4).pairs(task_named("lamp3"), user, None)
    assert [sum(f"thing {at} " in words(pair) for at in range(4)) for pair in pairs] == [1, 2, 3, 4]


def test_the_answer_of_an_item_is_not_in_its_own_prompt() -> None:
    task = task_named("lamp4")
    items = tuple(
        Item(str(at), {"text": f"article {at}", "title": f"HEADLINE-{at}"}, None) for at in range(4)
    )
    for place, example in enumerate(oppu(k=4).pairs(task, User("u", items, ()), None)):
        assert f"HEADLINE-{place}" not in words(example) and example.answer == f"HEADLINE-{place}"


def test_citations_learn_the_cited_paper_and_tweets_the_tweet() -> None:
    paper = Item(
        "p", {"title": "On A", "abstract": "About A.", "citation": "The Paper It Cites"}, None
    )
    [pair] = oppu().pairs(task_named("lamp1"), User("u", (paper,), ()), None)
    assert (words(pair), pair.answer) == ("paper title: On A reference:", "The Paper It Cites")
    # LaMP's files have no citation
    lamps = replace(paper, fields={"title": "On A", "abstract": "About A."})
    [pair] = oppu().pairs(task_named("lamp1"), User("u", (lamps,), ()), None)
    assert (words(pair), pair.answer) == ("paper title:", "On A")
    [pair] = oppu().pairs(
        task_named("lamp7"), User("u", (Item("t", {"text": "so tired lol"}, None),), ()), None
    )
    assert (words(pair), pair.answer) == ("tweet:", "so tired lol")


@pytest.mark.parametrize(
    "name", [f"lamp{name}" for name in ("1", "2", "2n", "3", "4", "5", "6", "7")]
)
@pytest.mark.parametrize("form", ["plain", "rag", "pag"])
def test_every_task_has_pairs_in_the_form_of_its_test_prompt(
    name: str, form: str, tmp_path: Path
) -> None:
    from bench.data import lamp

    task, method = task_named(name), oppu(form=form, k=0 if form == "plain" else 2)
    generator.write(tmp_path, train_users=20, dev_users=12)
    user = next(iter(lamp.read(task, tmp_path, split="dev", kind="user").users)).hidden()
    profile = "likes short words" if form == "pag" else None
    pairs = method.pairs(task, user, profile)
    assert len(pairs) == len(user.history)
    if task.has_answers:
        assert all((profile is not None) == ("likes short words" in words(pair)) for pair in pairs)
        first = replace(user, history=(), queries=(pair_query(task, user.history[0]),))
        tested = method.request(
            task, first, first.queries[0], Personalization({"profile": profile} if profile else {})
        )
        assert words(pairs[0]) == tested.messages[0].text


ODD_TEXT = (
    "First line.\n\nSecond  line,\tand " + " ".join(f"word{at}" for at in range(800)) + " end."
)


def odd_history(task: Any) -> tuple[Item, ...]:
    return tuple(
        Item(
            str(at),
            {task.source: f"{at} {ODD_TEXT}", str(task.target): f"Head  line {at}\nbelow"},
            None,
        )
        for at in (0, 1)
    )


def test_the_baselines_prompt_shows_an_item_in_training_as_at_test() -> None:
    """White space, length and all: what is learnt from is what will be asked."""
    task, method, items = task_named("lamp4"), oppu(k=2), odd_history(task_named("lamp4"))
    pair = method.pairs(task, User("u", items, ()), None)[1]
    query = Query("q", "", f"1 {ODD_TEXT}")
    tested = method.request(
        task, User("u", items, (query,)), query, Personalization(items=items[:1])
    )
    assert words(pair) == tested.messages[0].text
    assert words(pair).count(ODD_TEXT) == 2 and pair.answer == "Head  line 1\nbelow"


def test_oppus_own_prompt_cuts_as_its_code_does() -> None:
    """768 words of the item that is learnt, 368 of those that are shown, in training and at test,
    blanks for breaks.
    """
    task, method = task_named("lamp4"), oppu(k=2, style="oppu")
    items = odd_history(task)
    pair = method.pairs(task, User("u", items, ()), None)[1]
    flat = [" ".join(item.fields[task.source].split()) for item in items]
    line = f"article: {' '.join(flat[0].split()[:368])} headline: Head line 0 below\n\n"
    asked = (
        "Generate a headline for the following article.\n article:"
        f" {' '.join(flat[1].split()[:768])} headline:"
    )
    assert (words(pair), pair.answer) == (line + asked, "Head line 1 below")
    query = Query("q", "", ODD_TEXT)
    tested = method.request(
        task, User("u", items, (query,)), query, Personalization(items=items[:1])
    )
    assert (
        tested.messages[0].text
        == line + f"Generate a headline for the following article.\narticle: {ODD_TEXT} headline:"
    )


def test_a_cut_by_hand_leaves_white_space_where_the_prompt_does() -> None:
    task, user = task_named("lamp4"), User("u", odd_history(task_named("lamp4")), ())
    assert "article: 0 First line.\n\nSecond\n" in words(
        oppu(k=0, item_words=4).pairs(task, user, None)[0]
    )
    own = oppu(k=0, item_words=4, style="oppu").pairs(task, user, None)[0]
    assert words(own).endswith("article: 0 First line. Second headline:")


def test_a_tweet_is_learnt_as_its_prompt_shows_it() -> None:
    user = User("u", (Item("t", {"text": " so\n\ntired  lol "}, None),), ())
    assert [pair.answer for pair in oppu().pairs(task_named("lamp7"), user, None)] == [
        "so\n\ntired  lol"
    ]
    assert [pair.answer for pair in oppu(style="oppu").pairs(task_named("lamp7"), user, None)] == [
        "so tired lol"
    ]


def test_the_loss_begins_at_the_first_token_of_the_answer() -> None:
    lm = tiny_lm()
    [pair] = oppu(k=0).pairs(task_named("lamp3"), reviewer("ann", 1), None)
    prompt, answer = lm.network.encode(pair.request).ids, lm.network.answer_ids(pair.answer)
    logits = lm.network.model(torch.tensor([[*prompt, *answer]])).logits[0].log_softmax(-1)
    expected = -sum(logits[len(prompt) - 1 + at, token] for at, token in enumerate(answer))
    assert torch.allclose(answer_losses(lm.network, [(prompt, answer)])[0], expected, rtol=1e-5)


def test_users_with_one_item_or_none_have_a_defined_end() -> None:
    lm, task = tiny_lm(), task_named("lamp3")
    users = [reviewer("none", 0), reviewer("one", 1), reviewer("two", 2)]
    personals = oppu().adapt(lm, task, users, SHARED, Budget(progress=False))
    assert [len(one.patches) for one in personals] == [0, 1, 1]
    assert [one.facts["items_learnt"] for one in personals] == [0, 1, 2]
    assert [one.facts["without_patch"] for one in personals] == [True, False, False]
    assert not oppu().request(task, users[0], users[0].queries[0], personals[0]).patches


def test_an_item_longer_than_the_model_reads_is_left_out_and_counted() -> None:
    lm, task, user = (
        tiny_lm("llama", max_prompt_tokens=900),
        task_named("lamp3"),
        reviewer("ann", 3),
    )
    long = replace(user.history[1], fields={"text": "long " * 400, "score": "3"})
    user = replace(user, history=(user.history[0], long, user.history[2]))
    [personal] = oppu(k=0).adapt(lm, task, [user], SHARED, Budget(progress=False))
    assert (personal.facts["items_learnt"], personal.facts["items_too_long"]) == (2, 1)


def test_an_item_that_fits_only_without_the_soft_prompt_is_left_out_and_counted() -> None:
    task, user = task_named("lamp3"), reviewer("ann", 3)
    lengths = [
        len(tiny_lm().network.encode(pair.request).ids)
        for pair in oppu(k=0).pairs(task, user, None)
    ]
    long = replace(user.history[1], fields={"text": "long " * 40, "score": "3"})
    user = replace(user, history=(user.history[0], long, user.history[2]))
    longest = max(
        len(tiny_lm().network.encode(pair.request).ids)
        for pair in oppu(k=0).pairs(task, user, None)
    )
    lm = tiny_lm("llama", max_prompt_tokens=longest)
    assert longest > max(lengths) + 20
    for peft, left_out in (("lora", 0), ("prompt_tuning", 1)):
        [personal] = oppu(k=0, peft=peft).adapt(lm, task, [user], SHARED, Budget(progress=False))
        assert (personal.facts["items_learnt"], personal.facts["items_too_long"]) == (
            3 - left_out,
            left_out,
        )


def test_nothing_newer_than_the_question_is_learnt() -> None:
    user = reviewer("ann", 6, dated=True)
    asked = replace(user, queries=(replace(user.queries[0], date="2020-01-03"),))
    [personal] = oppu().adapt(
        tiny_lm(), task_named("lamp3"), [asked], SHARED, Budget(progress=False)
    )
    assert personal.facts["items_learnt"] == 3


def test_everyone_has_the_profile_that_is_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The released code joins profiles by their place in a list; here one has no
    history, so none.
    """
    task, users, trained = (
        task_named("lamp3"),
        [reviewer("ann", 3), reviewer("none", 0), reviewer("bob", 2)],
        [],
    )
    written = {name: Completion(f"profile of {name}", 1, 1, True) for name in ("bob", "ann")}
    monkeypatch.setattr(Profile, "write", lambda *_args, **_named: written)

    def watched(lm: Any, jobs: list[bank.UserTuning], *_: Any) -> list[Any]:
        trained.extend(jobs)
        return [bank.Patch()] * len(jobs)

    monkeypatch.setattr(bank, "train_all", watched)
    method = oppu(form="pag", k=1)
    ann, none, bob = method.adapt(tiny_lm(), task, users, SHARED, Budget(progress=False))
    for job, own, other in zip(trained, ("ann", "bob"), ("bob", "ann"), strict=True):
        assert all(
            f"profile of {own}" in words(one) and f"of {other}" not in words(one)
            for one in job.examples
        )
    for user, personal in zip(users, (ann, none, bob), strict=True):
        asked = method.request(task, user, user.queries[0], personal).messages[0].text
        assert [name for name in written if f"profile of {name}" in asked] == [user.id] * (
            user.id in written
        )
    assert ann.facts["profile_empty"] is False and none.facts["without_profile"] is True
    [plain] = oppu(k=1).adapt(tiny_lm(), task, users[:1], SHARED, Budget(progress=False))
    assert not any(name.startswith(("profile", "without_profile")) for name in plain.facts)


def test_epochs_and_batches_are_the_papers_or_the_codes() -> None:
    """A22: the paper's table by task, and the code's defaults for every task."""
    printed = {
        "1": (3, 16),
        "2n": (3, 16),
        "2": (3, 4),
        "3": (3, 3),
        "4": (2, 8),
        "5": (2, 4),
        "7": (2, 8),
    }

    def used(recipe: str, task: str) -> tuple[int, int]:
        tuning = oppu(recipe=recipe)._adapter(tiny_lm(), task_named(f"lamp{task}")).tuning
        return tuning.epochs, tuning.batch

    assert {task: used("paper", task) for task in printed} == printed
    assert {used("code", task) for task in printed} == {(2, 16)}


def test_a_fresh_adapter_is_zero_before_and_not_after() -> None:
    lm, task, user = tiny_lm(), task_named("lamp3"), reviewer("ann", 3)
    for low in tune.fresh(lm.network, tune.Tuning()).values():
        assert not low.b.detach().any()
    [personal] = oppu().adapt(lm, task, [user], SHARED, Budget(progress=False))
    assert all(low.b.any() for low in personal.patches[0].weights.values())


def test_training_another_user_changes_nothing_for_the_first() -> None:
    lm, task, users = tiny_lm(), task_named("lamp3"), [reviewer("ann", 3), reviewer("bob", 5)]
    method = oppu()
    [ann] = method.adapt(lm, task, users[:1], SHARED, Budget(progress=False))
    request = method.request(task, users[0], users[0].queries[0], ann)
    before = dict(lm.likelihood([request], [["5"]]))
    method.adapt(lm, task, users[1:], SHARED, Budget(progress=False))
    assert dict(lm.likelihood([request], [["5"]])) == before


def test_a_start_of_their_own_differs_between_users_and_a_shared_one_does_not() -> None:
    lm, task = tiny_lm(), task_named("lamp3")
    twins = [replace(reviewer("ann", 3), id=name) for name in ("one", "two")]
    shared, own = (
        [
            p.patches[0]
            for p in oppu(shared_start=kept).adapt(lm, task, twins, SHARED, Budget(progress=False))
        ]
        for kept in (True, False)
    )
    assert torch.equal(shared[0].tensors[0], shared[1].tensors[0])
    assert not torch.allclose(own[0].tensors[0], own[1].tensors[0], atol=1e-3)


def test_unknown_choices_are_refused() -> None:
    with pytest.raises(InputError, match="method.recipe=mine: choose paper or code"):
        oppu(recipe="mine")
    with pytest.raises(InputError, match="method.peft=dora: choose lora, ia3 or prompt_tuning"):
        oppu(peft="dora")


@pytest.mark.parametrize(
    ("family", "extra", "cells"),
    [
        ("llama", ("method.form=plain,rag,pag", "profile.max_new_tokens=4"), 3),
        ("llama", ("method.peft=ia3,prompt_tuning", "method.style=oppu"), 2),
        (
            "t5",
            ("method.form=pag", "profile.max_new_tokens=4", "method.peft=lora,prompt_tuning"),
            2,
        ),
    ],
)
def test_every_form_and_adapter_runs_as_a_cell(
    family: str, extra: tuple[str, ...], cells: int, tmp_path: Path
) -> None:
    root = tmp_path / "lamp"
    generator.write(root, train_users=20, dev_users=12)
    common = (
        *TINY,
        f"model.source=tiny:{family}",
        "limit=2",
        "data=lamp",
        f"data.root={root}",
        "method=oppu",
    )
    few = ("method.recipe=code", "method.k=1", "base.max_examples.rating=6")
    short = ("model.history_tokens=100", "method.item_words=8")
    code, said = run("-m", *common, *few, *short, *extra, folder=tmp_path)
    assert code == 0, said
    records = [
        json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/*/*/record.json")
    ]
    assert len(records) == cells
    forms = {"plain": "plain", "rag": "history", "pag": "profile"}
    assert all(
        record["config"]["base"]["form"] == forms[record["config"]["method"]["form"]]
        for record in records
    )
    assert all(record["counts"]["patches"] == 2 for record in records)
    assert all(record["model"]["base"] not in ("instruct", "not there") for record in records)


# What is learnt, and from which recipe


def reviews(*texts: str, score: str = "4") -> User:
    items = tuple(Item(f"i{at}", {"text": text, "score": score}) for at, text in enumerate(texts))
    return User("u", items, ())


def test_an_item_without_a_question_or_an_answer_is_not_learnt() -> None:
    task = task_named("lamp3")
    assert len(oppu(k=0).pairs(task, reviews("good", "bad"), None)) == 2
    assert len(oppu(k=0).pairs(task, reviews("good", " "), None)) == 1
    assert oppu(k=0).pairs(task, reviews("good", "bad", score=""), None) == []


def test_an_item_that_lost_a_side_is_learnt_as_text_behind_its_name() -> None:
    left = {"no_input": "score", "no_output": "text"}
    for side in left.values():
        history = tuple(Item(str(at), {side: f"{at + 1}"}) for at in range(2))
        learnt = oppu(k=2).pairs(task_named("lamp3"), User("u", history, ()), None)
        assert [pair.answer for pair in learnt] == ["1", "2"]
        assert all("1" not in words(pair) and "2" not in words(pair) for pair in learnt)


def test_the_baselines_prompt_shows_items_by_age_and_oppus_by_rank() -> None:
    task, user = task_named("lamp3"), reviews("something else", "alpha beta", "alpha beta")
    for style, expected in (
        ("personalized", ["something", "alpha"]),
        ("oppu", ["alpha", "something"]),
    ):
        asked = words(oppu(style=style, k=2).pairs(task, user, None)[2])
        assert sorted(expected, key=asked.index) == expected, style


def test_what_is_told_of_a_user_are_the_newest_twenty_items() -> None:
    from methods.oppu import _summary

    told = _summary(
        task_named("lamp3"), reviews(*(f"number {at} " + "w " * 99 for at in range(25))).history
    )
    assert len(told) == 20 and "number 5 " in told[0] and "number 24 " in told[-1]
    assert told[0].count(" w") == 58  # sixty words of the review


def test_a_recipe_is_that_of_the_task_or_of_all_others_or_of_its_kind() -> None:
    def used(values: dict[str, int]) -> int:
        recipes = {"own": {"epochs": values, "batch": {"other": 2}}}
        method = oppu(recipe="own", recipes=recipes)
        adapter = method._adapter(tiny_lm(), task_named("lamp3"))
        assert adapter.virtual_tokens == 0 and adapter.tuning.batch == 2
        return adapter.tuning.epochs

    assert (used({"lamp3": 7}), used({"other": 5}), used({"lamp3": 7, "other": 5})) == (7, 5, 7)
    assert used({"lamp2": 1}) == 3  # a rating's


def test_a_users_own_start_is_that_of_the_published_records() -> None:
    from methods.oppu import _own_seed

    assert _own_seed(0, "u1") == 1691130169
    assert len({_own_seed(seed, user) for seed in (0, 1) for user in ("u1", "u2")}) == 4

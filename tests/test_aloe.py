"""ALOE learns conversations as it will read them; packed samples do not see each other;
code joins by its rule.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cells
import pytest
import torch
from conftest import tiny_lm
from trained import SMALL, TASK, budget, fields, gold_loss, people, weights

from bench.errors import InputError, MethodError
from bench.lm.patch import Patch
from bench.lm.trainer import Training, undisturbed
from bench.types import Message
from methods.aloe import dialogues, sft
from methods.aloe.aloe import Aloe, prefixes
from methods.aloe.sft import Row, SFTTuning

QUESTION, ANSWER = Message("user", ("What is 1 + 1?",)), Message("assistant", ("2",))


def aloe(**changes: Any) -> Aloe:
    return Aloe(**fields("aloe", **{"training": SMALL, "code_rule": "none"} | changes))


def training(**changes: Any) -> Training:
    return Training.of(fields("aloe", training=SMALL | changes)["training"], seed=0)


def rows(count: int = 6) -> list[Row]:
    lm = tiny_lm()
    return [
        Row(
            lm.network.tokenizer(f"question {n}")["input_ids"],
            lm.network.answer_ids(str(n) * (n + 1)),
        )
        for n in range(count)
    ]


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_it_learns_and_the_model_stays(family: str) -> None:
    lm, users = tiny_lm(family), people(4)
    before = weights(lm)
    method = aloe(completion_only=True, training=SMALL | {"epochs": 4, "learning_rate": 0.02})
    shared = method.fit(lm, TASK, users, budget())
    assert weights(lm) == before
    personals = method.adapt(lm, TASK, users, shared, budget())
    requests = [
        method.request(TASK, user, user.queries[0], personal)
        for user, personal in zip(users, personals, strict=True)
    ]
    golds = [str(user.queries[0].gold) for user in users]
    bare = [type(request)(request.messages) for request in requests]
    assert gold_loss(lm, requests, golds) < 0.8 * gold_loss(lm, bare, golds)


def test_a_sample_is_the_tests_prompt_then_the_gold() -> None:
    lm, method = tiny_lm(), aloe()
    [user] = people(1)
    [query] = user.queries
    asked = TASK.render(query, user.history)
    row = method._row(lm, "one", (*asked, Message("assistant", ("4",))))
    [personal] = method.adapt(lm, TASK, [user], method.fit(lm, TASK, [user], budget()), budget())
    shown = method.request(TASK, user, query, personal)
    assert row.answer == lm.network.answer_ids("4")
    assert row.prompt == lm.network.encode(type(shown)(asked)).ids
    assert (
        lm.network.text(shown.messages).endswith("<assistant>") and len(personal.items or ()) == 2
    )


def test_the_loss_is_on_all_tokens_or_on_the_answers_alone(tmp_path: Path) -> None:
    found = {}
    for only in (False, True):
        how = SFTTuning(completion_only=only, packing=False, max_length=512, full=False)
        with undisturbed():
            trainer = sft._causal(
                tiny_lm(), sft.shared_copy(tiny_lm()), rows(2), how, training(), str(tmp_path)
            )
        found[only] = [list(row["labels"]) for row in trainer.train_dataset]
    for row, every, answers in zip(rows(2), found[False], found[True], strict=True):
        assert every == [*row.prompt, *row.answer]
        assert answers == [-100] * len(row.prompt) + list(row.answer)


def test_every_answer_of_a_dialogue_ends_one_prefix() -> None:
    dialogue = (QUESTION, ANSWER, QUESTION, ANSWER)
    assert prefixes(dialogue) == [dialogue[:2], dialogue]
    counts = {
        only: (
            aloe(code_rule="equal_fraction", completion_only=only)._code(tiny_lm(), 1, budget())[1]
        )
        for only in (0, 1)
    }
    assert (
        counts[False]["code_samples"]
        == counts[False]["code_dialogues"]
        < counts[True]["code_samples"]
    )


@pytest.mark.parametrize(
    ("rule", "expected"), [("equal_fraction", dialogues.SIZE // 4), ("equal_rows", 7)]
)
def test_code_joins_by_its_rule_and_is_labelled(rule: str, expected: int) -> None:
    found, facts = aloe(code_rule=rule, fraction=0.25)._code(tiny_lm(), 7, budget())
    assert len(found) == facts["code_dialogues"] == expected
    assert facts["code_source"] == "built-in (generated)"


def test_generated_code_prints_what_the_dialogue_says(capsys: pytest.CaptureFixture[str]) -> None:
    ran = 0
    for dialogue in dialogues.generated():
        code = re.search(r"<execute>\n(.*)\n</execute>", dialogue[1].text, re.DOTALL)
        if code:
            exec(code[1], {})
            assert f"Execution output:\n{capsys.readouterr().out.strip()}" == dialogue[2].text
            ran += 1
    assert ran > 80
    assert dialogues.generated() == dialogues.generated() != dialogues.generated(seed=1)


def test_a_file_of_dialogues_is_read_and_its_errors_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "?"},
    ]
    path.write_text(
        json.dumps({"conversations": turns}) + "\n\n" + json.dumps({"messages": turns}) + "\n"
    )
    found = dialogues.read(str(path), "train")
    assert found.source == "own.jsonl" and len(found.dialogues) == 2
    assert [turn.text for turn in found.dialogues[0]] == [
        "hi",
        "yes",
    ], "what nobody answers is left out"
    for line, message in (
        ("{", "line 1: not JSON"),
        ("{}", "line 1: no list 'messages'"),
        (json.dumps({"messages": [{"role": "tool", "content": "x"}]}), "turn 0: 'role' is 'tool'"),
        (json.dumps({"messages": turns[1:]}), "no turn of the assistant that answers"),
    ):
        path.write_text(line + "\n")
        with pytest.raises(InputError, match=message):
            dialogues.read(str(path), "train")
    with pytest.raises(InputError, match=r"gone\.jsonl: cannot be read"):
        dialogues.read(str(tmp_path / "gone.jsonl"), "train")


def test_a_question_that_would_lose_its_answer_is_refused_and_code_is_counted() -> None:
    with pytest.raises(
        MethodError, match=r"lamp3 question q\d: prompt and answer have \d+ tokens, more than"
    ):
        aloe(max_length=300).fit(tiny_lm(), TASK, people(2), budget())
    facts = aloe(code_rule="equal_rows", max_length=200)._code(tiny_lm(), 20, budget())[1]
    assert facts["code_too_long"] > 0 and facts["code_too_long"] + facts["code_samples"] == 20


# Packing


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2"])
def test_a_packed_sample_learns_as_if_it_were_alone(family: str) -> None:
    """The same gradient steps packed into one row and as rows of their own."""
    lm, ids = tiny_lm(family), []
    for packing in (False, True):
        how = SFTTuning(completion_only=True, packing=packing, max_length=400, full=False)
        batch = {"batch": 1, "micro_batch": 1} if packing else {"batch": 6, "micro_batch": 6}
        tuned = sft.train(lm, rows(), how, training(**batch, dropout=0.0), budget())
        patch, spent = tuned.patch, tuned.spent
        assert (spent.steps, spent.examples) == (1, 6)
        ids.append(patch)
    plain, packed = ids
    for name, low in plain.weights.items():
        assert torch.allclose(low.b, packed.weights[name].b, atol=1e-4), name


def test_packing_is_refused_where_samples_see_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_lm()
    forward = lm.network.model.forward
    monkeypatch.setattr(
        lm.network.model, "forward", lambda position_ids=None, **rest: forward(**rest)
    )
    with pytest.raises(
        MethodError, match=r"packing=true: with the attention 'sdpa' of tiny a sample sees the one"
    ):
        aloe(packing=True).fit(lm, TASK, people(2), budget())
    with pytest.raises(MethodError, match="an encoder-decoder model reads one sample a row"):
        aloe(packing=True).fit(tiny_lm("t5"), TASK, people(2), budget())


# the tiny T5's queries are large
@pytest.mark.parametrize(("family", "rounding"), [("llama", 1e-5), ("t5", 0.05)])
def test_checkpointing_changes_no_patch(family: str, rounding: float) -> None:
    lm, found = tiny_lm(family), []
    for checkpointing in (False, True):
        how = SFTTuning(completion_only=True, packing=False, max_length=400, full=False)
        found.append(
            sft.train(
                lm, rows(), how, training(dropout=0.0, checkpointing=checkpointing), budget()
            ).patch
        )
    plain, saved = found
    for name, low in plain.weights.items():
        assert (low.b - saved.weights[name].b).norm() < rounding * low.b.norm(), name


# Full fine-tuning, budget, seeds


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_full_finetuning_is_a_patch_of_full_rank_and_says_so(family: str) -> None:
    lm = tiny_lm(family)
    before = weights(lm)
    shared = aloe(full_finetune=True, full_learning_rate=1e-2).fit(lm, TASK, people(3), budget())
    assert weights(lm) == before and shared.facts["trained"] == "linear layers (full rank)"
    [patch] = shared.patches
    ranks = [int(torch.linalg.matrix_rank(low.b @ low.a)) for low in patch.weights.values()]
    assert max(ranks) > SMALL["rank"] and not any("lm_head" in name for name in patch.weights)


def test_a_full_rank_patch_is_the_weights_change() -> None:
    old = torch.nn.ModuleDict({"tall": torch.nn.Linear(3, 5), "wide": torch.nn.Linear(5, 3)})
    new = torch.nn.ModuleDict({"tall": torch.nn.Linear(3, 5), "wide": torch.nn.Linear(5, 3)})
    patch = sft._weight_change(old, new, ["tall", "wide"])
    Patch(patch.weights).merge(old)
    assert all(
        torch.allclose(old[name].weight, new[name].weight, atol=1e-6) for name in ("tall", "wide")
    )
    assert all(len(low.a) == 3 for low in patch.weights.values())


def test_past_the_budget_it_keeps_what_it_has_learnt() -> None:
    shared = aloe().fit(tiny_lm(), TASK, people(8), budget(minutes=1e-6))
    assert (
        shared.facts["steps"],
        shared.facts["steps_planned"],
        shared.facts["examples_used"],
    ) == (1, 2, 4)
    assert shared.facts["stopped_by_budget"] is True and shared.patches[0].changes


def test_same_seed_same_patch_whatever_was_drawn_before() -> None:
    lm, ids = tiny_lm(), []
    for seed in (0, 0, 1):
        torch.rand(7)
        state = torch.get_rng_state()
        ids.append(aloe(seed=seed).fit(lm, TASK, people(4), budget()).patches[0].id)
        assert torch.equal(state, torch.get_rng_state())
    assert ids[0] == ids[1] != ids[2]


def test_a_micro_batch_must_divide_the_batch() -> None:
    with pytest.raises(
        InputError, match=r"training.micro_batch=3 does not divide method.training.batch=4"
    ):
        training(micro_batch=3)


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_a_cell_from_the_command_line(family: str, tmp_path: Path) -> None:
    code, output = cells.run(
        *cells.TINY,
        "method=aloe",
        f"model.source=tiny:{family}",
        "limit=2",
        "protocol.group_size=2",
        "method.code_rule=equal_rows",
        "method.training.rank=4",
        folder=tmp_path,
    )
    assert code == 0, output
    [path] = tmp_path.glob("runs/lamp3/aloe/*/record.json")
    record = json.loads(path.read_text())
    assert record["status"] == "ok" and record["counts"]["patches"] == 1
    assert (
        record["facts"]["code_source"] == "built-in (generated)"
        and record["facts"]["trained"] == "LoRA"
    )

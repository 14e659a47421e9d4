"""Batching, stopping and scoring change no answer:
all is compared with one request alone or plain transformers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from conftest import tiny_lm

from bench.errors import InputError
from bench.lm import batches, kv_cache, memory, prefill, torch_engine
from bench.lm.model import LM
from bench.lm.prefix import Family, alone
from bench.types import Decoding, Line, Message, Request

LABELS = ("comedy", "dark comedy", "action")


def ask(text: str) -> Request:
    return Request((Message("user", (text,)),), name="question 7")


REQUESTS = [ask("What is it? " + "so " * count) for count in (3, 50, 11, 200, 1, 77)]


def together(lm, requests, **options):  # type: ignore[no-untyped-def]
    return dict(pair for batch in lm.generate(requests, **options) for pair in batch)


@pytest.mark.parametrize(
    "decoding", [Decoding(), Decoding("sample", temperature=0.8, top_p=0.9, top_k=20, seed=3)]
)
def test_a_batch_answers_as_each_request_alone(any_lm, decoding) -> None:  # type: ignore[no-untyped-def]
    mixed = together(any_lm, REQUESTS, max_new_tokens=12, decoding=decoding, labels=LABELS)
    for index, request in enumerate(REQUESTS):
        alone = together(any_lm, [request], max_new_tokens=12, decoding=decoding, labels=LABELS)[0]
        assert mixed[index].text == alone.text
        assert mixed[index].label_logprobs == pytest.approx(alone.label_logprobs, abs=1e-3)


def test_greedy_answers_equal_plain_transformers(any_lm) -> None:  # type: ignore[no-untyped-def]
    mixed = together(any_lm, REQUESTS, max_new_tokens=8)
    for index, request in enumerate(REQUESTS):
        ids = torch.tensor([any_lm.network.encode(request).ids])
        out = any_lm.network.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False
        )
        new = out[0, 1:] if any_lm.network.seq2seq else out[0, ids.shape[1] :]
        text = any_lm.network.tokenizer.decode(new, skip_special_tokens=True)
        assert mixed[index].text == text.strip().split("\n", 1)[0].strip()


def test_label_scores_equal_a_plain_forward_pass(any_lm) -> None:  # type: ignore[no-untyped-def]
    mixed = together(any_lm, REQUESTS[:3], max_new_tokens=1, labels=LABELS)
    for index, request in enumerate(REQUESTS[:3]):
        prompt = list(any_lm.network.encode(request).ids)
        for label, score in zip(LABELS, mixed[index].label_logprobs, strict=True):
            answer = any_lm.network.answer_ids(label)
            if any_lm.network.seq2seq:
                logits = any_lm.network.model(
                    input_ids=torch.tensor([prompt]), labels=torch.tensor([answer])
                ).logits[0]
            else:
                logits = any_lm.network.model(torch.tensor([prompt + answer])).logits[
                    0, len(prompt) - 1 : -1
                ]
            expected = logits.log_softmax(-1)[torch.arange(len(answer)), torch.tensor(answer)].sum()
            assert score == pytest.approx(float(expected), abs=2e-3)


def test_likelihood_decoding_gives_the_best_label(any_lm) -> None:  # type: ignore[no-untyped-def]
    mixed = together(
        any_lm, REQUESTS, max_new_tokens=4, labels=LABELS, decoding=Decoding("likelihood")
    )
    for answer in mixed.values():
        assert answer.text == LABELS[answer.label_logprobs.index(max(answer.label_logprobs))]


def test_likelihood_of_given_answers_equals_label_scores(any_lm) -> None:  # type: ignore[no-untyped-def]
    mixed = together(any_lm, REQUESTS, max_new_tokens=1, labels=LABELS)
    scores = dict(any_lm.likelihood(REQUESTS, [LABELS] * len(REQUESTS)))
    for index in range(len(REQUESTS)):
        assert [total for total, _ in scores[index]] == pytest.approx(
            list(mixed[index].label_logprobs), abs=1e-3
        )


def test_batches_depend_on_the_prompts_alone() -> None:
    lm = tiny_lm()
    encoded = [lm.network.encode(request) for request in REQUESTS]
    shuffled = encoded[:]
    random.Random(1).shuffle(shuffled)

    def texts(batches, rows):  # type: ignore[no-untyped-def]
        return [[rows[index].text for index in batch] for batch in batches]

    plan = batches.plan(encoded, 800)
    assert len(plan) > 1
    assert texts(plan, encoded) == texts(batches.plan(shuffled, 800), shuffled)
    assert texts(plan, encoded) != texts(batches.plan(encoded, 800, salt="noise floor"), encoded)
    for batch in plan:
        assert (
            len(batch) == 1 or len(batch) * max(len(encoded[index].ids) for index in batch) <= 800
        )


@pytest.mark.parametrize(
    "decoding", [Decoding(), Decoding("sample", seed=3), Decoding("likelihood")]
)
def test_prompts_of_several_passes_are_answered_together_as_alone(
    any_lm, monkeypatch, decoding
) -> None:  # type: ignore[no-untyped-def]
    how = {"max_new_tokens": 8, "decoding": decoding, "labels": LABELS}
    alone = [together(any_lm, [request], **how)[0] for request in REQUESTS]
    longest = max(len(any_lm.network.encode(request).ids) for request in REQUESTS)
    monkeypatch.setattr(any_lm.network, "spec", replace(any_lm.spec, batch_tokens=2 * longest))
    # so that passes are of like length in these few tokens too
    monkeypatch.setattr(batches, "ENOUGH", 1)
    monkeypatch.setattr(prefill, "ROOM", 2)
    monkeypatch.setattr(kv_cache, "ROOM", 2)
    read, passes, steps = torch_engine.answer_batch, [], []

    def watched(lm, prompts, patches, parts, *rest):  # type: ignore[no-untyped-def]
        passes.append([len(part) for part in parts])
        return read(lm, prompts, patches, parts, *rest)

    def counted(lm, prefix, tokens):  # type: ignore[no-untyped-def]
        steps.append(len(tokens))
        return prefill.step(lm, prefix, tokens)

    monkeypatch.setattr(torch_engine, "answer_batch", watched)
    monkeypatch.setattr("bench.lm.decode.step", counted)
    found = together(any_lm, REQUESTS, **how)
    assert len(passes) == 1 and len(passes[0]) > 1 and sum(passes[0]) == len(REQUESTS)
    assert len(steps) <= 7, "one step a token for all passes"
    floor = list(any_lm.generate(REQUESTS, salt="noise floor", **how))
    assert len(floor) > 1, "the noise floor has other neighbours, when answers are written too"
    for index, one in enumerate(alone):
        assert (found[index].text, found[index].tokens_out) == (one.text, one.tokens_out)
        assert found[index].label_logprobs == pytest.approx(one.label_logprobs, abs=2e-3)


def test_a_batch_is_read_in_passes_that_fit() -> None:
    lm = tiny_lm()
    encoded = [lm.network.encode(request) for request in REQUESTS]
    for share in (True, False):
        for batch in batches.plan(encoded, 500, held=3, share=share):
            prompts = [encoded[index] for index in batch]
            passes = batches.passes(prompts, 500, share=share)
            assert [row for part in passes for row in part] == list(range(len(prompts)))
            for part in passes:
                longest = max(len(prompts[row].ids) for row in part)
                assert len(part) == 1 or len(part) * longest <= 500
    short = [lm.network.encode(ask(str(number))) for number in range(200)]
    assert [len(batch) for batch in batches.plan(short, 10**6, held=3)] == [192, 8]
    assert [len(part) for part in batches.passes(short, 10**6)] == [64, 64, 64, 8]


def test_a_pass_ends_where_prompts_are_shorter_by_an_eighth() -> None:
    lengths = [1400, 1300, 1200, 900, 880, 700, 300, 200, 100]
    members = alone(["x" * length for length in lengths])  # type: ignore[list-item]

    def rows(filled: list[list[Family]]) -> list[list[int]]:
        return [[row for family in batch for row in family.rows] for batch in filled]

    apart = rows(batches.packed(members, 16000, 64))
    assert apart == [[0, 1], [2, 3], [4, 5, 6], [7, 8]]
    assert rows(batches.packed(members, 16000, 64, even=False)) == [list(range(9))]
    wide = [Family((0, 1), 900, 800), Family((2, 3), 890, 790), Family((4, 5), 880, 450)]
    assert rows(batches.packed(wide, 16000, 64)) == [[0, 1, 2, 3, 4, 5]]
    many = [Family(tuple(range(20)), 900, 800), Family(tuple(range(20, 40)), 890, 450)]
    assert [len(batch) for batch in batches.packed(many, 10**6, 64)] == [1, 1], (
        "what follows a short beginning would be padding for those with a long one"
    )


def test_new_tokens_are_written_into_the_cache() -> None:
    """Past its room the cache grows; what stands in it is what transformers' own would hold."""
    from transformers.cache_utils import DynamicLayer

    from bench.lm.kv_cache import ROOM, GrowingLayer

    keys, values = torch.randn(3, 2, 5, 4), torch.randn(3, 2, 5, 4)
    ours, theirs = GrowingLayer(keys, values, 4), DynamicLayer()
    theirs.update(keys[:, :, :4], values[:, :, :4])
    for number in range(2 * ROOM + 3):
        if number == 7:
            ours.batch_select_indices(torch.tensor([0, 2]))
            theirs.batch_select_indices(torch.tensor([0, 2]))
        new = (
            torch.randn(3 if number < 7 else 2, 2, 1, 4),
            torch.randn(3 if number < 7 else 2, 2, 1, 4),
        )
        for mine, other in zip(ours.update(*new), theirs.update(*new), strict=True):
            assert torch.equal(mine, other)
        assert ours.get_seq_length() == theirs.get_seq_length()


def test_out_of_memory_halves_the_batch() -> None:
    tried: list[int] = []

    def work(rows: list[int]) -> list[int]:
        tried.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return [row * 10 for row in rows]

    assert memory.halving(work, [1, 2, 3, 4, 5], [""] * 5) == [10, 20, 30, 40, 50]
    assert tried[0] == 5 and max(tried[1:]) < 5
    with pytest.raises(MemoryError, match="question 7"):
        memory.halving(
            lambda rows: (_ for _ in ()).throw(torch.OutOfMemoryError()), [1], ["question 7"]
        )
    with pytest.raises(RuntimeError, match="a bug"):
        memory.halving(lambda rows: (_ for _ in ()).throw(RuntimeError("a bug")), [1], [""])


def test_an_answer_stops_at_the_end_of_its_first_line() -> None:
    from bench.lm.answer_text import first_line, stops

    assert stops("\n4 stars\n", ()) and not stops("\n 4", ())
    assert first_line("\n 4 stars \nbecause") == "4 stars"
    assert stops(" comedy", LABELS) and not stops("dark", LABELS)
    assert not stops("1", ("1", "10")) and stops("10", ("1", "10"))


def test_every_prompt_has_exactly_one_beginning(any_lm) -> None:  # type: ignore[no-untyped-def]
    ids = any_lm.network.encode(REQUESTS[0]).ids
    expected = 0 if any_lm.network.seq2seq else 1
    assert list(ids).count(any_lm.network.tokenizer.bos_token_id) == expected
    plain = tiny_lm("llama", chat=False).network.encode(REQUESTS[0]).ids
    assert list(plain).count(1) == 1 and plain[0] == 1


def history(count: int) -> tuple[Line, ...]:
    return tuple(
        Line(f"{index}. <", f"text {index} " * 30, "> ok\n", rank=count - index)
        for index in range(count)
    )


def test_history_is_shortened_and_the_question_never() -> None:
    question = "Now the question {x} [HISTORY] " + "q" * 50
    for limit in (2000, 600, 300, 120):
        lm = tiny_lm("llama", max_prompt_tokens=limit, history_tokens=400)
        prompt = lm.network.encode(
            Request((Message("user", ("Start ", *history(5), question)),), name="question 7")
        )
        assert len(prompt.ids) <= limit
        assert question in prompt.text and prompt.text.startswith("<s><user>Start ")
        assert prompt.cut > 0
        texts = [line for line in prompt.text.splitlines() if line.endswith("> ok")]
        assert sum(len(line.split("<")[-1]) - 4 for line in texts) <= 400
    assert "4. <" in prompt.text and "0. <" not in prompt.text, "the newest line is the last to go"


def test_shares_of_the_room_roll_over() -> None:
    lm = tiny_lm("llama", max_prompt_tokens=2000, history_tokens=100)
    lines = (Line("<", "a" * 10, ">"), Line("<", "b" * 500, ">"))
    text = lm.network.encode(Request((Message("user", lines),))).text
    assert text.count("a") - "<assistant>".count("a") == 10 and text.count("b") == 90


def test_a_question_that_is_too_long_is_an_error() -> None:
    lm = tiny_lm("llama", max_prompt_tokens=100)
    with pytest.raises(
        InputError, match=r"question 7: the prompt without any history has \d+ tokens"
    ):
        lm.network.encode(Request((Message("user", (*history(3), "q" * 200)),), name="question 7"))


def test_answers_come_from_the_cache_the_second_time(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from bench.lm.response_cache import ResponseCache

    lm = tiny_lm("llama", batch_tokens=1000)
    lm.cache = ResponseCache(tmp_path / "answers.sqlite")
    try:
        first = lm.answers(REQUESTS, max_new_tokens=6)
        assert lm.cache.hits == 0
        again = lm.answers(REQUESTS, max_new_tokens=6)
        assert again == first and lm.cache.hits == len(REQUESTS)
        sampled = Decoding("sample", seed=1)
        lm.answers(REQUESTS, max_new_tokens=6, decoding=sampled)
        assert lm.cache.hits == len(REQUESTS), "another decoding is another question"
    finally:
        lm.cache = None


def test_markers_in_a_users_text_are_words(any_lm: LM) -> None:
    marks = sorted(any_lm.network.tokenizer.all_special_tokens)
    said = " ".join(["a review", *marks, "with markers"])
    request = Request((Message("user", (said, Line("1. ", f"{marks[0]}old", ""))),))
    plain = Request((Message("user", ("a review with markers", Line("1. ", "old", ""))),))
    special = set(any_lm.network.tokenizer.all_special_ids)

    def counted(ids: Sequence[int]) -> list[int]:
        return [one for one in ids if one in special]

    assert counted(any_lm.network.encode(request).ids) == counted(any_lm.network.encode(plain).ids)
    assert counted(any_lm.network.answer_ids(said)) == counted(
        any_lm.network.answer_ids("a review")
    )

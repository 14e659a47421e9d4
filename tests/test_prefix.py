"""What prompts begin with alike is read once, and changes no answer and no likelihood."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from conftest import tiny_lm

from bench.lm import batches, prefill, prefix, torch_engine
from bench.lm.patch import LowRank, Patch
from bench.lm.prefix import Family, families
from bench.types import Completion, Line, Message, Request

LABELS = ("comedy", "dark comedy", "action")
WROTE = "what this user wrote before, at some length, so that reading it once is worth the while. "


def family(start: str, *ends: str, patches: tuple[Patch, ...] = ()) -> list[Request]:
    return [Request((Message("user", (start + WROTE + end,)),), patches) for end in ends]


def answered(lm: Any, requests: Sequence[Request], **how: Any) -> list[Completion]:
    found: dict[int, Completion] = {}
    for batch in lm.generate(requests, max_new_tokens=8, **how):
        found |= dict(batch)
    return [found[index] for index in range(len(requests))]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows were read from their first token on, pass by pass."""
    rows: list[int] = []
    plain = prefill._plain

    def counted(lm: Any, bodies: Any, patches: Any) -> Any:
        rows.append(len(bodies))
        return plain(lm, bodies, patches)

    monkeypatch.setattr(prefill, "_plain", counted)
    return rows


def apart(lm: Any, requests: Sequence[Request], **how: Any) -> list[Completion]:
    """Each prompt read from its first token on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix, "MIN_SHARED", 10**9)
        return answered(lm, requests, **how)


def check_equal(together: Sequence[Completion], one_by_one: Sequence[Completion]) -> None:
    for one, other in zip(together, one_by_one, strict=True):
        assert (one.text, one.tokens_in, one.tokens_out, one.cut, one.finished) == (
            other.text,
            other.tokens_in,
            other.tokens_out,
            other.cut,
            other.finished,
        )
        if other.label_logprobs is not None:
            assert one.label_logprobs == pytest.approx(other.label_logprobs, rel=1e-6, abs=1e-5)
        if other.gold_nll is not None:
            assert one.gold_nll == pytest.approx(other.gold_nll, abs=1e-5)


def test_a_mixed_batch_reads_each_beginning_once_and_changes_nothing(  # type: ignore[no-untyped-def]
    any_lm, read: list[int]
) -> None:
    requests = family("0 ", "tersely", "at length, and kindly") + family("1 " * 90, "x", "y", "z")
    requests += [Request((Message("user", (text,)),)) for text in ("nothing", "alike")]
    random.Random(3).shuffle(requests)
    golds = [f"a title, number {number}" for number in range(len(requests))]
    one_by_one = apart(any_lm, requests, labels=LABELS, golds=golds)
    assert sum(read) == (0 if any_lm.network.seq2seq else len(requests))
    read.clear()
    check_equal(answered(any_lm, requests, labels=LABELS, golds=golds), one_by_one)
    assert sum(read) == (0 if any_lm.network.seq2seq else 4), "an encoder reads what follows, too"


def test_questions_behind_one_history_are_read_behind_it_also_where_a_limit_cuts_it(
    read: list[int],
) -> None:
    lm = tiny_lm("llama", max_prompt_tokens=700, history_tokens=300)
    requests = []
    for user in range(3):
        lines = [Line(f"{at}. <", f"{user} wrote {at} " * 12, ">\n", rank=at) for at in range(5)]
        for question in range(10):
            parts = (*lines, f"Question {question}: " + "why? " * (question % 4))
            requests.append(Request((Message("user", parts),)))
    golds = [f"title {number}" for number in range(len(requests))]
    one_by_one = apart(lm, requests, golds=golds)
    assert all(answer.cut > 0 for answer in one_by_one)
    read.clear()
    check_equal(answered(lm, requests, golds=golds), one_by_one)
    assert sum(read) == 3


def test_likelihoods_alone_are_read_from_their_beginning_once_too(read: list[int]) -> None:
    lm = tiny_lm("llama")
    requests = family("0 ", "a", "b", "c")
    alone = [next(lm.likelihood([one], [["comedy"]]))[1][0][0] for one in requests]
    read.clear()
    scored = dict(lm.likelihood(requests, [["comedy"]] * 3))
    assert [scored[row][0][0] for row in range(3)] == pytest.approx(alone, abs=1e-5)
    assert read == [1]


def patch(size: float, **where: Any) -> Patch:
    generator = torch.Generator().manual_seed(int(size * 100))
    a = torch.randn(2, 64, generator=generator) * 0.1 * size
    b = torch.randn(32, 2, generator=generator) * 0.1
    return Patch({"model.layers.1.mlp.down_proj": LowRank(a, b)}, **where)


@pytest.mark.parametrize("positions", ["all", "last", "generated"])
def test_prompts_with_different_patches_share_nothing(positions: str, read: list[int]) -> None:
    lm = tiny_lm("llama")
    ends = ("tersely", "at length", "kindly", "in a word")
    requests = []
    for number, request in enumerate(family("0 ", *ends)):
        patches = (patch(1 + number // 2, positions=positions),)
        requests.append(Request(request.messages, patches))
    golds = ["a title"] * 4
    alone = [answered(lm, [one], golds=["a title"])[0] for one in requests]
    read.clear()
    check_equal(answered(lm, requests, golds=golds), alone)
    assert read == [2], "two of them, and the two others"


def test_a_family_has_its_patch_and_is_halved_where_memory_is_scarce(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm = tiny_lm("llama")
    requests = []
    for index in range(1, 5):
        requests += family(f"{index} ", "a", "b or c", "d", patches=(patch(index),))
    alone = [answered(lm, [one])[0].text for one in requests]
    assert len(set(alone)) > 2
    answer = torch_engine.answer_batch

    def scarce(lm: Any, prompts: Any, *rest: Any) -> list[Completion]:
        if len(prompts) > 2:
            raise torch.OutOfMemoryError
        return answer(lm, prompts, *rest)

    monkeypatch.setattr(torch_engine, "answer_batch", scarce)
    assert [one.text for one in answered(lm, requests)] == alone


def test_a_family_with_a_soft_prompt_has_it_once(read: list[int]) -> None:
    lm = tiny_lm("llama")
    soft = Patch({}, prompt=torch.randn(6, 32))
    requests = family("0 ", "tersely", "at length, and kindly", patches=(soft,))
    one_by_one = apart(lm, requests, labels=LABELS)
    bare = answered(lm, [Request(one.messages) for one in requests], labels=LABELS)
    read.clear()
    together = answered(lm, requests, labels=LABELS)
    check_equal(together, one_by_one)
    assert read == [1]
    for one, other in zip(together, bare, strict=True):
        assert one.label_logprobs != pytest.approx(other.label_logprobs, abs=1e-2)


def test_a_sliding_window_that_padding_could_fill_is_read_plainly(
    read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = tiny_lm("mistral")
    requests = family("0 ", "tersely", "kindly")
    answered(lm, requests)
    assert read == [1]
    read.clear()
    longest = max(len(lm.network.encode(one).ids) for one in requests)
    monkeypatch.setattr(lm.network.model.config, "sliding_window", 2 * longest - 1)
    answered(lm, requests)
    assert read == [2]


# the families alone


def test_families_are_of_neighbours_that_begin_alike_for_half_of_their_length() -> None:
    long, other = [1] * 100, [2] * 100
    prompts = [[*long, 5, 6], [*long, 6, 6], [*other, 5, 6], [*long, 7, 7], [*long, *range(200)]]
    assert families(prompts, range(5)) == [
        Family((0, 1), 102, 100),
        Family((2,), 102),
        Family((3,), 102),
        Family((4,), 300),
    ]
    assert families(prompts, [0, 3, 1, 2, 4])[0] == Family((0, 3, 1), 102, 100)
    assert families(prompts, [0, 1, 3], most_rows=2)[0].rows == (0, 1)
    assert families(prompts, [0, 1, 3], most_tokens=300)[0].rows == (0, 1)
    assert [one.rows for one in families(prompts, [0, 1, 3], kinds="aaabb")] == [(0, 1), (3,)]


def test_equal_prompts_are_a_family_that_leaves_two_tokens_of_each() -> None:
    assert families([[1] * 80, [1] * 80], range(2)) == [Family((0, 1), 80, 78)]


def test_batches_are_planned_without_a_look_at_patches() -> None:
    lm = tiny_lm("llama")
    with_patches = family("0 ", "a", "b", patches=(patch(1),)) + family("0 ", "c")
    without = family("0 ", "a", "b", "c")
    plans = []
    for requests in (with_patches, without):
        plans.append(batches.plan([lm.network.encode(one) for one in requests], 4000))
    assert plans[0] == plans[1]

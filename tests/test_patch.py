"""A patch does the same however it is applied: as rows of a batch, merged, mixed with others, as
CHAMELEON's edit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from conftest import tiny_lm
from trained import with_own_weights

from bench.cell.artifacts import load_personalizations, save_personalizations
from bench.cost.budget import Budget
from bench.errors import InputError
from bench.lm.batched_patches import applied
from bench.lm.batches import plan
from bench.lm.branches import score_batch
from bench.lm.patch import LowRank, Patch, Scale
from bench.lm.tune import Example, Tuning, tune
from bench.types import Item, Line, Message, Personalization, Request
from methods.chameleon import edit, vectors

WORDS = ["a red film", "one more about the sea and its ships", "x"]


def prompts(patches=()):  # type: ignore[no-untyped-def]
    return [Request((Message("user", (text,)),), patches) for text in WORDS]


def random_patch(lm, seed: int, rank: int = 2, positions: str = "all") -> Patch:  # type: ignore[no-untyped-def]
    stream = torch.Generator().manual_seed(seed)
    modules = dict(lm.network.model.named_modules())
    names = [name for name in lm.network.mlp_outputs() if not name.startswith("encoder")][1:3]
    return Patch(
        {
            name: LowRank(
                torch.randn(rank, modules[name].in_features, generator=stream) * 0.3,
                torch.randn(modules[name].out_features, rank, generator=stream) * 0.3,
            )
            for name in names
        },
        positions,  # type: ignore[arg-type]
    )


def random_scales(lm, seed: int, positions: str = "all") -> Patch:  # type: ignore[no-untyped-def]
    """As IA3 has them: on what attention's keys and values say,
    and on what the MLP's last layer reads.
    """
    stream = torch.Generator().manual_seed(seed)
    modules = dict(lm.network.model.named_modules())
    outputs = [
        name for name in modules if name.rsplit(".", 1)[-1] in ("k_proj", "v_proj", "k", "v")
    ]
    scales = {
        name: Scale(1 + torch.randn(modules[name].out_features, generator=stream), "out")
        for name in outputs
    }
    for name in lm.network.mlp_outputs()[1:3]:
        scales[name] = Scale(1 + torch.randn(modules[name].in_features, generator=stream), "in")
    return Patch(positions=positions, scales=scales)  # type: ignore[arg-type]


def random_prompt(lm, seed: int, tokens: int) -> Patch:  # type: ignore[no-untyped-def]
    return Patch(prompt=torch.randn(tokens, 32, generator=torch.Generator().manual_seed(seed)))


def kinds(lm) -> list[tuple[Patch, ...]]:  # type: ignore[no-untyped-def]
    """Every kind of patch, and mixtures of them."""
    return [
        (),
        (random_patch(lm, 1),),
        (random_scales(lm, 2),),
        (random_prompt(lm, 3, 7),),
        (random_prompt(lm, 4, 30), random_patch(lm, 5, rank=3)),
        (
            random_prompt(lm, 6, 2),
            random_scales(lm, 7),
            random_scales(lm, 8),
            random_prompt(lm, 9, 1),
        ),
    ]


def mixed_requests(lm) -> list[Request]:  # type: ignore[no-untyped-def]
    words = [*WORDS, "y", "a much longer question about a film that nobody has seen", "z"]
    pairs = zip(words, kinds(lm), strict=True)
    return [Request((Message("user", (text,)),), patches) for text, patches in pairs]


def scores(lm, requests):  # type: ignore[no-untyped-def]
    found = dict(lm.likelihood(requests, [["comedy", "dark comedy"]] * len(requests)))
    return torch.tensor([[total for total, _ in found[index]] for index in range(len(requests))])


def merged(lm, *patches: Patch):  # type: ignore[no-untyped-def]
    other = with_own_weights(lm)
    for patch in patches:
        patch.merge(other.network.model)
    return other


def test_patched_rows_equal_merged_weights(any_lm) -> None:  # type: ignore[no-untyped-def]
    patch = random_patch(any_lm, 1)
    plain, patched = scores(any_lm, prompts()), scores(any_lm, prompts((patch,)))
    assert (plain - patched).abs().max() > 1e-2, "the patch must change something"
    assert torch.allclose(patched, scores(merged(any_lm, patch), prompts()), atol=2e-3)


def test_a_batch_of_differently_patched_users_equals_each_alone(any_lm) -> None:  # type: ignore[no-untyped-def]
    sets = [
        (),
        (random_patch(any_lm, 1),),
        (random_patch(any_lm, 2, rank=3), random_patch(any_lm, 3)),
    ]
    mixed = [
        Request(request.messages, patches) for request, patches in zip(prompts(), sets, strict=True)
    ]
    together = scores(any_lm, mixed)
    for index, request in enumerate(mixed):
        assert torch.allclose(together[index], scores(any_lm, [request])[0], atol=2e-3)
        assert torch.allclose(
            together[index], scores(merged(any_lm, *sets[index]), prompts())[index], atol=2e-3
        )


def test_generation_keeps_each_rows_patch_while_rows_finish(any_lm) -> None:  # type: ignore[no-untyped-def]
    sets = [(), (random_patch(any_lm, 1),), (random_patch(any_lm, 2),)]
    mixed = [
        Request(request.messages, patches) for request, patches in zip(prompts(), sets, strict=True)
    ]
    together = {
        index: answer.text
        for batch in any_lm.generate(mixed, max_new_tokens=16)
        for index, answer in batch
    }
    for index, request in enumerate(mixed):
        [[(_, alone)]] = any_lm.generate([request], max_new_tokens=16)
        assert together[index] == alone.text


def test_a_batch_of_every_kind_of_patch_equals_each_alone(any_lm) -> None:  # type: ignore[no-untyped-def]
    mixed = mixed_requests(any_lm)
    together, plain = (
        scores(any_lm, mixed),
        scores(any_lm, [Request(one.messages) for one in mixed]),
    )
    assert len(plan([any_lm.network.encode(one) for one in mixed], any_lm.spec.batch_tokens)) == 1
    assert torch.allclose(together[0], plain[0], atol=2e-3)
    assert ((together - plain).abs().amax(1)[1:] > 1e-2).all(), "every patch must change something"
    for index, request in enumerate(mixed):
        assert torch.allclose(together[index], scores(any_lm, [request])[0], atol=2e-3)


@pytest.mark.parametrize("passes", [1, 3])
def test_a_batch_of_every_kind_of_patch_writes_what_each_writes_alone(
    any_lm, monkeypatch, passes
) -> None:  # type: ignore[no-untyped-def]
    mixed = mixed_requests(any_lm)
    sizes = [len(any_lm.network.encode(one).ids) for one in mixed]
    monkeypatch.setattr(
        any_lm.network,
        "spec",
        replace(any_lm.spec, batch_tokens=-(-max(sizes) * len(sizes) // passes)),
    )
    assert (
        len(
            plan(
                [any_lm.network.encode(one) for one in mixed],
                any_lm.network.spec.batch_tokens,
                held=3,
            )
        )
        == 1
    )
    together = {
        index: answer
        for batch in any_lm.generate(mixed, max_new_tokens=12)
        for index, answer in batch
    }
    for index, request in enumerate(mixed):
        [[(_, alone)]] = any_lm.generate([request], max_new_tokens=12)
        assert together[index].text == alone.text


def test_scaled_rows_equal_merged_weights(any_lm) -> None:  # type: ignore[no-untyped-def]
    both = Patch(random_patch(any_lm, 1).weights, scales=random_scales(any_lm, 2).scales)
    assert both.weights.keys() & both.scales.keys()
    for patch in (random_scales(any_lm, 2), both):
        patched = scores(any_lm, prompts((patch,)))
        assert torch.allclose(patched, scores(merged(any_lm, patch), prompts()), atol=2e-3)


def test_the_negative_takes_a_patch_back(any_lm) -> None:  # type: ignore[no-untyped-def]
    plain = scores(any_lm, prompts())
    low, scales = random_patch(any_lm, 1), random_scales(any_lm, 2)
    outwards = {
        name: Scale(torch.linspace(0.5, 2, len(one.b)), "out") for name, one in low.weights.items()
    }
    for patch in (
        low,
        scales,
        Patch(low.weights, scales=scales.scales),
        Patch(low.weights, scales=outwards),
    ):
        there_and_back = scores(merged(any_lm, patch, patch.negative()), prompts())
        assert torch.allclose(there_and_back, plain, atol=5e-3)
        assert torch.allclose(
            scores(merged(any_lm, patch), prompts((patch.negative(),))), plain, atol=5e-3
        )


def test_a_soft_prompt_is_read_as_vectors_before_the_prompt(any_lm) -> None:  # type: ignore[no-untyped-def]
    """The oracle: the vectors laid before the embedded prompt,
    and the whole answer read in one pass.
    """
    patch = random_prompt(any_lm, 3, 5)
    [(_, [(found, _)])] = any_lm.likelihood([prompts((patch,))[1]], [["comedy"]])
    ids, answer = any_lm.network.encode(prompts()[1]).ids, any_lm.network.answer_ids("comedy")
    vectors = any_lm.network.model.get_input_embeddings()(torch.tensor([ids]))
    vectors = torch.cat([patch.prompt[None], vectors], dim=1)  # type: ignore[index]
    if any_lm.network.seq2seq:
        logits = any_lm.network.model(inputs_embeds=vectors, labels=torch.tensor([answer])).logits[
            0
        ]
    else:
        behind = any_lm.network.model.get_input_embeddings()(torch.tensor([answer]))
        logits = any_lm.network.model(inputs_embeds=torch.cat([vectors, behind], dim=1)).logits[
            0, vectors.shape[1] - 1 : -1
        ]
    expected = logits.log_softmax(-1)[torch.arange(len(answer)), torch.tensor(answer)].sum()
    assert found == pytest.approx(float(expected), abs=2e-3)


def test_a_soft_prompt_takes_room_from_the_history_and_changes_no_batch() -> None:
    lm = tiny_lm(max_prompt_tokens=200)
    lines = tuple(
        Line(f"{index}. ", "a film about ships " * 3, "\n", rank=index) for index in range(3)
    )
    plain = Request((Message("user", (*lines, "which one?")),))
    patched = Request(plain.messages, (random_prompt(lm, 1, 40),))
    assert len(lm.network.encode(plain).ids) <= 200 and len(lm.network.encode(patched).ids) <= 200
    assert lm.network.encode(patched).cut == pytest.approx(lm.network.encode(plain).cut + 40, abs=3)
    assert (
        lm.network.encode(patched).ids[:40] == (lm.network.pad,) * 40
        and lm.network.encode(patched).virtual == 40
    )
    many = [Request((Message("user", ("x" * size,)),)) for size in range(1, 60, 3)]
    soft = [
        Request(one.messages, (random_prompt(lm, 1, size % 3),)) for size, one in enumerate(many)
    ]
    assert plan([lm.network.encode(one) for one in many], 200) == plan(
        [lm.network.encode(one) for one in soft], 200
    )


def test_what_a_soft_prompt_cannot_do_is_said() -> None:
    lm = tiny_lm()
    soft = random_prompt(lm, 1, 4)
    with pytest.raises(InputError, match="soft prompt cannot be merged"):
        soft.merge(lm.network.model)
    with pytest.raises(InputError, match="no patch takes it back"):
        soft.negative()
    with pytest.raises(InputError, match="positions=last"):
        Patch(positions="last", prompt=torch.zeros(1, 32))
    with pytest.raises(InputError, match="33 numbers, the model's have 32"):
        scores(lm, prompts((Patch(prompt=torch.zeros(4, 33)),)))


def test_activations_are_read_without_patches() -> None:
    lm = tiny_lm()
    request = prompts((random_prompt(lm, 1, 4), random_patch(lm, 1)))[0]
    assert torch.equal(lm.activations([request], ["a"]), lm.activations([prompts()[0]], ["a"]))


def test_folded_edit_equals_patch_equals_hook(any_lm) -> None:  # type: ignore[no-untyped-def]
    """Acceptance check 4: the edit of the MLP's output,
    its fold into the weights, and the patch are one.
    """
    names = any_lm.network.mlp_outputs()
    modules = dict(any_lm.network.model.named_modules())
    width = modules[names[0]].out_features
    theta_p, theta_n = vectors.random_unit(4, width, 1), vectors.random_unit(4, width, 2)
    weights = {}
    for layer in (1, 3):
        factors = edit.edit_matrix_factors(
            theta_p[layer], theta_n[layer], modules[names[layer]].weight, 1.0, 1.0
        )
        weights[names[layer]] = LowRank(factors.A, factors.B)
    patch = Patch(weights)
    as_patch, as_fold = scores(any_lm, prompts((patch,))), scores(merged(any_lm, patch), prompts())
    mlps = dict(any_lm.network.mlps())
    handles = []
    for layer in (1, 3):
        module = mlps[names[layer].rsplit(".", 1)[0]]

        def hook(_module, _args, output, layer=layer):  # type: ignore[no-untyped-def]
            return edit.edit(output, theta_p[layer], theta_n[layer], 1.0, 1.0)

        handles.append(module.register_forward_hook(hook))
    try:
        as_hook = scores(any_lm, prompts())
    finally:
        for handle in handles:
            handle.remove()
    assert (as_hook - scores(any_lm, prompts())).abs().max() > 1e-2, (
        "the edit must change something"
    )
    scale = as_hook.abs().max()
    assert (as_patch - as_hook).abs().max() / scale < 1e-5
    assert (as_fold - as_hook).abs().max() / scale < 1e-5


def test_an_adopted_base_can_be_taken_back_for_a_request() -> None:
    lm = with_own_weights(tiny_lm())
    before = scores(lm, prompts())
    lm.adopt(random_patch(lm, 4), "fingerprint")
    assert (scores(lm, prompts()) - before).abs().max() > 1e-2
    assert torch.allclose(scores(lm, prompts(lm.as_instruct)), before, atol=2e-3)


def test_training_one_users_patch_leaves_anothers_answers_as_they_were(any_lm) -> None:  # type: ignore[no-untyped-def]
    """Acceptance check 10: one base, many patches; none of them is ever written into it."""
    mine = prompts((random_patch(any_lm, 1),))
    before = scores(any_lm, mine)
    targets = ("q", "v") if any_lm.network.seq2seq else ("q_proj", "v_proj")
    recipe = Tuning(targets=targets, epochs=2)
    theirs = tune(any_lm, [Example(prompts()[0], "comedy")], recipe, Budget(progress=False))
    assert theirs.changes and torch.equal(scores(any_lm, mine), before)


def test_hooks_never_outlive_their_block(any_lm) -> None:  # type: ignore[no-untyped-def]
    plain = scores(any_lm, prompts())
    with (
        pytest.raises(ZeroDivisionError),
        applied(any_lm.network.model, [(random_patch(any_lm, 1),)]),
    ):
        _ = 1 / 0
    assert torch.equal(plain, scores(any_lm, prompts()))


def test_positions_limit_where_the_patch_acts() -> None:
    lm = tiny_lm()
    request = prompts()[1]
    answers = [["a"]]
    plain = lm.likelihood([request], answers)
    generated = lm.likelihood(
        [Request(request.messages, (random_patch(lm, 1, positions="generated"),))], answers
    )
    first = lm.network.answer_ids("a")[:1]
    assert len(first) == 1
    [(_, [(base, _)])], [(_, [(changed, _)])] = list(plain), list(generated)
    assert base != changed, "the end token is scored behind an edited one"
    everywhere = scores(lm, [Request(request.messages, (random_patch(lm, 1),))])
    last = scores(lm, [Request(request.messages, (random_patch(lm, 1, positions="last"),))])
    assert not torch.allclose(everywhere, last)
    with pytest.raises(InputError, match="cannot be merged"):
        random_patch(lm, 1, positions="last").merge(lm.network.model)


@pytest.mark.parametrize("made", ["low rank", "scale"])
def test_the_start_token_of_a_decoder_is_no_new_token(made: str) -> None:
    """With positions=generated an answer is as likely as by hooks
    that leave the start token as it is.
    """
    lm = tiny_lm("t5")
    patch = (random_patch if made == "low rank" else random_scales)(lm, 1, positions="generated")
    own = {
        name: one
        for name, one in patch.scales.items()
        if "decoder" in name and "EncDec" not in name
    }
    patch = replace(patch, scales=own)  # of the decoder's own tokens: all else is the prompt's
    prompt, tokens = lm.network.encode(prompts()[1]), lm.network.answer_ids("sea", end=False)[:2]
    with applied(lm.network.model, [(patch,)]) as rows, torch.inference_mode():
        [[total]] = score_batch(lm.network, [prompt], rows, [[tokens]])
    ids = torch.tensor([[lm.network.model.config.decoder_start_token_id, *tokens]])
    with by_hand(lm, patch, new=1), torch.inference_mode():
        logits = (
            lm.network.model(torch.tensor([prompt.ids]), decoder_input_ids=ids)
            .logits[0]
            .log_softmax(-1)
        )
    assert total == pytest.approx(
        float(sum(logits[at, token] for at, token in enumerate(tokens))), abs=1e-5
    )


@contextmanager
def by_hand(lm, patch: Patch, *, new: int) -> Iterator[None]:  # type: ignore[no-untyped-def]
    """The patch by hooks of our own, from the token `new` on."""

    def added(low: LowRank):  # type: ignore[no-untyped-def]
        def hook(_module, args, output):  # type: ignore[no-untyped-def]
            output[:, new:] += args[0][:, new:] @ low.a.T @ low.b.T

        return hook

    def scaled(x: torch.Tensor, scale: Scale) -> torch.Tensor:
        return torch.cat([x[:, :new], x[:, new:] * scale.vector], dim=1)

    modules, handles = dict(lm.network.model.named_modules()), []
    for name, low in patch.weights.items():
        handles.append(modules[name].register_forward_hook(added(low)))
    for name, one in patch.scales.items():
        if one.side == "out":
            hook = modules[name].register_forward_hook(
                lambda _module, _args, x, one=one: scaled(x, one)
            )
        else:
            hook = modules[name].register_forward_pre_hook(
                lambda _module, args, one=one: (scaled(args[0], one),)
            )
        handles.append(hook)
    yield
    for handle in handles:
        handle.remove()


def test_positions_limit_where_a_scale_acts(any_lm) -> None:  # type: ignore[no-untyped-def]
    lm = any_lm
    plain = dict(lm.likelihood([prompts()[1]], [["a"]]))[0]
    found = {}
    for positions in ("all", "last", "generated"):
        request = prompts((random_scales(lm, 1, positions=positions),))[1]
        found[positions] = dict(lm.likelihood([request], [["a"]]))[0]
        [[(_, one)]] = lm.generate([request], max_new_tokens=1, labels=["a"])
        assert one.label_logprobs == pytest.approx([found[positions][0][0]], abs=1e-3)
    assert len({round(total, 3) for [(total, _)] in (plain, *found.values())}) >= (
        3 if lm.network.seq2seq else 4
    )


def test_an_unknown_module_is_named() -> None:
    lm = tiny_lm()
    patch = Patch({"model.layers.99.mlp.down_proj": LowRank(torch.ones(1, 64), torch.ones(32, 1))})
    with pytest.raises(InputError, match=r"model\.layers\.99\.mlp\.down_proj"):
        scores(lm, prompts((patch,)))
    norm = Patch(scales={"model.norm": Scale(torch.ones(32), "out")})
    with pytest.raises(InputError, match=r"model\.norm.*not as a linear layer"):
        scores(lm, prompts((norm,)))


@pytest.mark.parametrize("side", ["in", "out"])
def test_a_wrong_width_is_named(side: str) -> None:
    lm = tiny_lm()
    name = lm.network.mlp_outputs()[0]
    low = LowRank(
        torch.ones(1, 65 if side == "in" else 64), torch.ones(33 if side == "out" else 32, 1)
    )
    wrong = 65 if side == "in" else 33
    for patch in (Patch({name: low}), Patch(scales={name: Scale(torch.ones(wrong), side)})):  # type: ignore[arg-type]
        with pytest.raises(InputError, match=f"{name} with {side}put width {wrong}"):
            scores(lm, prompts((patch,)))


def test_a_patch_knows_whether_it_changes_anything() -> None:
    low = LowRank(torch.ones(1, 4), torch.zeros(4, 1))
    assert not Patch({"x": low}, scales={"y": Scale(torch.ones(3), "in")}).changes
    assert Patch({"x": LowRank(low.a, low.b + 1)}).changes
    assert Patch(scales={"y": Scale(torch.tensor([1, 1.1]), "in")}).changes
    assert Patch(prompt=torch.zeros(1, 4)).changes


def test_a_patch_comes_back_from_its_file_as_it_was(tmp_path) -> None:  # type: ignore[no-untyped-def]
    lm = tiny_lm()
    patches = [
        random_patch(lm, 1, positions="last"),
        random_scales(lm, 2, positions="generated"),
        random_prompt(lm, 3, 5),
        Patch(random_patch(lm, 1).weights, "all", random_scales(lm, 2).scales, torch.ones(2, 32)),
    ]
    for number, patch in enumerate(patches):
        patch.save(tmp_path / f"{number}.safetensors")
        back = Patch.load(tmp_path / f"{number}.safetensors")
        assert (back.id, back.positions, back.bytes) == (patch.id, patch.positions, patch.bytes)
        assert (
            back.scales.keys() == patch.scales.keys()
            and back.weights.keys() == patch.weights.keys()
        )
    assert patches[2].bytes == 2 * 5 * 32


def test_the_id_tells_all_patches_apart() -> None:
    one, two = torch.ones(4), torch.full((4,), 2.0)
    different = [
        Patch(),
        Patch(scales={"x": Scale(one, "in")}),
        Patch(scales={"x": Scale(one, "out")}),
        Patch(scales={"x": Scale(two, "out")}),
        Patch(scales={"y": Scale(one, "in")}),
        Patch(prompt=torch.ones(2, 2)),
        Patch(prompt=torch.ones(1, 4)),
        Patch({"x": LowRank(one[:, None], one[None])}),
    ]
    assert len({patch.id for patch in different}) == len(different)


def test_personalizations_come_back_as_they_were(tmp_path) -> None:  # type: ignore[no-untyped-def]
    patch = random_patch(tiny_lm(), 5)
    item = Item("1", {"text": "naïve \U0001f600 {x}"}, "2020-01-02")
    given = [
        Personalization(
            {"insight": "x"}, (item,), (patch,), {"pairs": 3}, shown={"q": (0, 0)}, data={"a": [1]}
        ),
        Personalization(patches=(patch,)),
    ]
    save_personalizations(given, tmp_path, "fit")
    back = load_personalizations(tmp_path, "fit")
    assert back is not None and back[0].items == (item,) and back[1].items is None
    assert back[0].shown == {"q": (0, 0)} and back[0].data == {"a": [1]} and not back[1].shown
    assert [one.patches[0].id for one in back] == [patch.id, patch.id]
    assert len(list((tmp_path / "patches").iterdir())) == 1
    assert load_personalizations(tmp_path, "adapt") is None

"""A patch, however applied, changes the weights by B A: as hook rows, merged, mixed in a batch, as CHAMELEON's edit."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import tiny_lm

from bench.lm import directions
from bench.lm.patch import LowRank, Patch, load_personalizations, save_personalizations
from bench.lm.rows import applied
from bench.types import InputError, Item, Message, Personalization, Request

WORDS = ["a red film", "one more about the sea and its ships", "x"]


def prompts(patches=()):  # type: ignore[no-untyped-def]
    return [Request((Message("user", (text,)),), patches) for text in WORDS]


def random_patch(lm, seed: int, rank: int = 2, positions: str = "all") -> Patch:  # type: ignore[no-untyped-def]
    stream = torch.Generator().manual_seed(seed)
    modules = dict(lm.model.named_modules())
    names = [name for name in lm.mlp_outputs() if not name.startswith("encoder")][1:3]
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


def scores(lm, requests):  # type: ignore[no-untyped-def]
    found = dict(lm.likelihood(requests, [["comedy", "dark comedy"]] * len(requests)))
    return torch.tensor([[total for total, _ in found[index]] for index in range(len(requests))])


def merged(lm, *patches: Patch):  # type: ignore[no-untyped-def]
    other = copy.copy(lm)
    other.model = copy.deepcopy(lm.model)
    for patch in patches:
        patch.merge(other.model)
    return other


def test_patched_rows_equal_merged_weights(any_lm) -> None:  # type: ignore[no-untyped-def]
    patch = random_patch(any_lm, 1)
    plain, patched = scores(any_lm, prompts()), scores(any_lm, prompts((patch,)))
    assert (plain - patched).abs().max() > 1e-2, "the patch must change something"
    assert torch.allclose(patched, scores(merged(any_lm, patch), prompts()), atol=2e-3)


def test_a_batch_of_differently_patched_users_equals_each_alone(any_lm) -> None:  # type: ignore[no-untyped-def]
    sets = [(), (random_patch(any_lm, 1),), (random_patch(any_lm, 2, rank=3), random_patch(any_lm, 3))]
    mixed = [Request(request.messages, patches) for request, patches in zip(prompts(), sets, strict=True)]
    together = scores(any_lm, mixed)
    for index, request in enumerate(mixed):
        assert torch.allclose(together[index], scores(any_lm, [request])[0], atol=2e-3)
        assert torch.allclose(together[index], scores(merged(any_lm, *sets[index]), prompts())[index], atol=2e-3)


def test_generation_keeps_each_rows_patch_while_rows_finish(any_lm) -> None:  # type: ignore[no-untyped-def]
    sets = [(), (random_patch(any_lm, 1),), (random_patch(any_lm, 2),)]
    mixed = [Request(request.messages, patches) for request, patches in zip(prompts(), sets, strict=True)]
    together = {index: answer.text for batch in any_lm.generate(mixed, max_new_tokens=16) for index, answer in batch}
    for index, request in enumerate(mixed):
        [[(_, alone)]] = any_lm.generate([request], max_new_tokens=16)
        assert together[index] == alone.text


def test_folded_edit_equals_patch_equals_hook(any_lm) -> None:  # type: ignore[no-untyped-def]
    """Acceptance check 4: the edit of the MLP's output, its fold into the weights, and the patch are one."""
    names = any_lm.mlp_outputs()
    modules = dict(any_lm.model.named_modules())
    width = modules[names[0]].out_features
    theta_p, theta_n = directions.random_unit(4, width, 1), directions.random_unit(4, width, 2)
    weights = {}
    for layer in (1, 3):
        factors = directions.edit_matrix_factors(theta_p[layer], theta_n[layer], modules[names[layer]].weight, 1.0, 1.0)
        weights[names[layer]] = LowRank(factors.A, factors.B)
    patch = Patch(weights)
    as_patch, as_fold = scores(any_lm, prompts((patch,))), scores(merged(any_lm, patch), prompts())
    mlps = dict(any_lm.mlps())
    handles = []
    for layer in (1, 3):
        module = mlps[names[layer].rsplit(".", 1)[0]]

        def hook(_module, _args, output, layer=layer):  # type: ignore[no-untyped-def]
            return directions.edit(output, theta_p[layer], theta_n[layer], 1.0, 1.0)

        handles.append(module.register_forward_hook(hook))
    try:
        as_hook = scores(any_lm, prompts())
    finally:
        for handle in handles:
            handle.remove()
    assert (as_hook - scores(any_lm, prompts())).abs().max() > 1e-2, "the edit must change something"
    scale = as_hook.abs().max()
    assert (as_patch - as_hook).abs().max() / scale < 1e-5
    assert (as_fold - as_hook).abs().max() / scale < 1e-5


def test_an_adopted_base_can_be_taken_back_for_a_request() -> None:
    lm = copy.copy(tiny_lm())
    before = scores(lm, prompts())
    lm.model = copy.deepcopy(lm.model)
    lm.adopt(random_patch(lm, 4), "fingerprint")
    assert (scores(lm, prompts()) - before).abs().max() > 1e-2
    assert torch.allclose(scores(lm, prompts(lm.as_instruct)), before, atol=2e-3)


def test_hooks_never_outlive_their_block(any_lm) -> None:  # type: ignore[no-untyped-def]
    plain = scores(any_lm, prompts())
    with pytest.raises(ZeroDivisionError), applied(any_lm.model, [(random_patch(any_lm, 1),)]):
        _ = 1 / 0
    assert torch.equal(plain, scores(any_lm, prompts()))


def test_positions_limit_where_the_patch_acts() -> None:
    lm = tiny_lm()
    request = prompts()[1]
    answers = [["a"]]
    plain = lm.likelihood([request], answers)
    generated = lm.likelihood([Request(request.messages, (random_patch(lm, 1, positions="generated"),))], answers)
    first = lm.answer_ids("a")[:1]
    assert len(first) == 1
    [(_, [(base, _)])], [(_, [(changed, _)])] = list(plain), list(generated)
    assert base != changed, "the end token is scored behind an edited one"
    everywhere = scores(lm, [Request(request.messages, (random_patch(lm, 1),))])
    last = scores(lm, [Request(request.messages, (random_patch(lm, 1, positions="last"),))])
    assert not torch.allclose(everywhere, last)
    with pytest.raises(InputError, match="cannot be merged"):
        random_patch(lm, 1, positions="last").merge(lm.model)


def test_an_unknown_module_is_named() -> None:
    lm = tiny_lm()
    patch = Patch({"model.layers.99.mlp.down_proj": LowRank(torch.ones(1, 64), torch.ones(32, 1))})
    with pytest.raises(InputError, match=r"model\.layers\.99\.mlp\.down_proj"):
        scores(lm, prompts((patch,)))


def test_personalizations_come_back_as_they_were(tmp_path) -> None:  # type: ignore[no-untyped-def]
    patch = random_patch(tiny_lm(), 5)
    item = Item("1", {"text": "naïve \U0001f600 {x}"}, "2020-01-02")
    given = [Personalization({"insight": "x"}, (item,), (patch,), {"pairs": 3}), Personalization(patches=(patch,))]
    save_personalizations(given, tmp_path, "fit")
    back = load_personalizations(tmp_path, "fit")
    assert back is not None and back[0].items == (item,) and back[1].items is None
    assert [one.patches[0].id for one in back] == [patch.id, patch.id]
    assert len(list((tmp_path / "patches").iterdir())) == 1
    assert load_personalizations(tmp_path, "adapt") is None

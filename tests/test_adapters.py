"""PEFT in and out: peft and the harness see the same logits of one adapter; what no patch can
express is refused.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from cells import TINY, run
from conftest import tiny_lm
from test_patch import prompts, random_patch, random_prompt, random_scales
from torch import Tensor
from trained import with_own_weights

from bench.data.sample import generator
from bench.errors import InputError
from bench.lm import branches, prefill
from bench.lm.batched_patches import applied
from bench.lm.load import tiny
from bench.lm.patch import LowRank, Patch, Scale
from bench.lm.peft_export import joined, to_peft
from bench.lm.peft_folders import from_peft
from methods.chameleon import edit, vectors

KINDS = ("lora", "mixed ranks", "edit", "ia3", "prompt")
ANSWER = "comedy"


def task_type(lm: Any) -> Any:
    return "SEQ_2_SEQ_LM" if lm.network.seq2seq else "CAUSAL_LM"


def patch_of(lm: Any, kind: str) -> Patch:
    if kind == "ia3":
        return random_scales(lm, 1)
    if kind == "prompt":
        return random_prompt(lm, 1, 6)
    if kind == "edit":
        return chameleon_edit(lm)
    low = random_patch(lm, 1, rank=3)
    if kind == "lora":
        return low
    first, *others = low.weights
    other = random_patch(lm, 2, rank=1).weights
    return Patch({first: low.weights[first], **{name: other[name] for name in others}})


def chameleon_edit(lm: Any) -> Patch:
    """CHAMELEON's edit of two layers, as its method makes it:
    rank 2, on the last layer of the MLP.
    """
    names = lm.network.mlp_outputs()
    modules = dict(lm.network.model.named_modules())
    width = modules[names[0]].out_features
    theta_p, theta_n = vectors.random_unit(4, width, 1), vectors.random_unit(4, width, 2)
    weights = {}
    for layer in (1, 2):
        factors = edit.edit_matrix_factors(
            theta_p[layer], theta_n[layer], modules[names[layer]].weight, 1.0, 1.0
        )
        weights[names[layer]] = LowRank(factors.A, factors.B)
    return Patch(weights)


def ours(lm: Any, patch: Patch | None) -> Tensor:
    """Logits [answer + 1, vocabulary] as the harness sees them: at the prompt's end and at each
    token of an answer.
    """
    request = prompts(() if patch is None else (patch,))[1]
    with applied(lm.network.model, [request.patches]) as rows, torch.inference_mode():
        prefix = prefill.read(lm.network, [lm.network.encode(request)], rows)
        first = prefix.logits
        return torch.cat(
            [first, branches.branches(lm.network, prefix, [[lm.network.answer_ids(ANSWER)]])[0]]
        )


def plainly(lm: Any, model: Any) -> Tensor:
    """The same from a plain model of transformers (or peft), in one pass."""
    ids, answer = list(lm.network.encode(prompts()[1]).ids), lm.network.answer_ids(ANSWER)
    with torch.inference_mode():
        if lm.network.seq2seq:
            mask = torch.ones(1, len(ids), dtype=torch.long)
            decoder = torch.tensor([[0, *answer]])
            return model(
                input_ids=torch.tensor([ids]), attention_mask=mask, decoder_input_ids=decoder
            ).logits[0]
        return model(input_ids=torch.tensor([[*ids, *answer]])).logits[0, -len(answer) - 1 :]


def same(one: Tensor, other: Tensor) -> bool:
    return float((one - other).abs().max() / other.abs().max()) < 1e-5


def fresh(family: str) -> Any:
    """The tiny model as transformers makes it; T5's queries small, as a trained T5 has them.

    Its attention divides by nothing, so that large random queries make rounding errors grow a
    thousandfold.
    """
    model = tiny(family)[0].eval()
    for name, module in model.named_modules():
        if name.endswith("Attention.q"):
            module.weight.data *= 0.1
    return model


def harness(family: str) -> Any:
    """The same model in the harness."""
    lm = with_own_weights(tiny_lm(family))
    lm.network.model = fresh(family)
    return lm


@pytest.mark.parametrize("family", ["llama", "qwen2", "t5"])
@pytest.mark.parametrize("kind", KINDS)
def test_peft_loads_a_patch_and_gives_the_harness_logits(
    family: str, kind: str, tmp_path: Path
) -> None:
    from peft import PeftModel

    lm = harness(family)
    patch = patch_of(lm, kind)
    to_peft(patch, tmp_path, model="some/base", task_type=task_type(lm))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert (
        json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"]
        == "some/base"
    )
    found = plainly(lm, PeftModel.from_pretrained(fresh(family), str(tmp_path)).eval())
    assert not torch.allclose(found, plainly(lm, fresh(family)), atol=1e-2), (
        "the adapter must change something"
    )
    assert same(found, ours(lm, patch))
    assert from_peft(tmp_path).id == patch.id


def trained(family: str, config: Any) -> Any:
    """A PEFT model of that configuration with random numbers in place of training."""
    from peft import get_peft_model

    torch.manual_seed(0)
    model = get_peft_model(fresh(family), config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data + 0.05 * torch.randn_like(parameter)
    return model.eval()


def configs(family: str) -> dict[str, Any]:
    from peft import IA3Config, LoraConfig, PromptTuningConfig

    t5 = family == "t5"
    q, v, wo = ("q", "v", "wo") if t5 else ("q_proj", "v_proj", "down_proj")
    common: Any = {"task_type": "SEQ_2_SEQ_LM" if t5 else "CAUSAL_LM"}
    pattern = "block.1.layer.0.SelfAttention.q" if t5 else "layers.1.self_attn.q_proj"
    patterns: Any = {"rank_pattern": {pattern: 2, v: 3}, "alpha_pattern": {v: 1, pattern: 7}}
    return {
        "lora": LoraConfig(**common, r=4, lora_alpha=6, target_modules=[q, v], lora_dropout=0.1),
        "patterns": LoraConfig(**common, r=4, lora_alpha=6, target_modules=[q, v, wo], **patterns),
        "rslora": LoraConfig(
            **common, r=4, lora_alpha=6, target_modules=[q, v], use_rslora=True, **patterns
        ),
        "ia3": IA3Config(**common, target_modules=[q, v, wo], feedforward_modules=[wo]),
        "prompt": PromptTuningConfig(**common, num_virtual_tokens=5),
    }


@pytest.mark.parametrize("family", ["llama", "qwen2", "t5"])
@pytest.mark.parametrize("kind", ["lora", "patterns", "rslora", "ia3", "prompt"])
def test_an_adapter_made_by_peft_does_the_same_in_the_harness(
    family: str, kind: str, tmp_path: Path
) -> None:
    lm, model = harness(family), trained(family, configs(family)[kind])
    model.save_pretrained(str(tmp_path))
    from_folder, from_model = from_peft(tmp_path), from_peft(model)
    assert from_folder.id == from_model.id and from_folder.changes
    from_folder.check(lm.network.model)
    expected = plainly(lm, model)
    assert not torch.allclose(expected, plainly(lm, fresh(family)), atol=1e-2)
    assert same(ours(lm, from_folder), expected)


def test_joined_patches_do_what_they_do_side_by_side() -> None:
    lm = tiny_lm()
    sets = [
        (random_patch(lm, 1), random_patch(lm, 2, rank=3)),
        (random_scales(lm, 1), random_scales(lm, 2)),
        (random_prompt(lm, 1, 3), random_prompt(lm, 2, 4), random_patch(lm, 3)),
    ]
    for patches in sets:
        request = prompts(patches)[1]
        with applied(lm.network.model, [patches]) as rows, torch.inference_mode():
            side_by_side = prefill.read(lm.network, [lm.network.encode(request)], rows).logits
        assert same(ours(lm, joined(patches))[:1], side_by_side)
    with pytest.raises(InputError, match="different positions"):
        joined([random_patch(lm, 1), random_patch(lm, 1, positions="last")])


def test_what_is_no_peft_adapter_is_not_written(tmp_path: Path) -> None:
    lm = tiny_lm()
    wrong = {
        "positions=last is no PEFT adapter": random_patch(lm, 1, positions="last"),
        "mixes LoRA and IA3": Patch(
            random_patch(lm, 1).weights, scales=random_scales(lm, 2).scales
        ),
        "mixes IA3 and prompt tuning": Patch(
            scales={"x": Scale(torch.ones(2), "in")}, prompt=torch.ones(1, 32)
        ),
        "changes nothing": Patch(),
    }
    for reason, patch in wrong.items():
        with pytest.raises(InputError, match=reason):
            to_peft(patch, tmp_path / "out", model="m", task_type="CAUSAL_LM")
    assert not (tmp_path / "out").exists()


def test_adapters_that_no_patch_can_express_are_refused(tmp_path: Path) -> None:
    from peft import LoraConfig, PrefixTuningConfig

    common: Any = {"task_type": "CAUSAL_LM", "target_modules": ["q_proj"], "r": 2}
    refused = {
        "use_dora=True": LoraConfig(**common, use_dora=True),
        "bias=lora_only": LoraConfig(**common, bias="lora_only"),
        "lora_bias=True": LoraConfig(**common, lora_bias=True),
        "modules_to_save=.*lm_head": LoraConfig(**common, modules_to_save=["lm_head"]),
        "init_lora_weights=pissa changes the base": LoraConfig(**common, init_lora_weights="pissa"),
        "such as .*embed_tokens": LoraConfig(
            **common | {"target_modules": ["embed_tokens", "q_proj"]}
        ),
        "peft_type=PREFIX_TUNING": PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    }
    for number, (reason, config) in enumerate(refused.items()):
        trained("llama", config).save_pretrained(str(tmp_path / str(number)))
        with pytest.raises(InputError, match=reason):
            from_peft(tmp_path / str(number))


def test_several_active_adapters_are_refused() -> None:
    model = trained("llama", configs("llama")["lora"])
    model.add_adapter("second", configs("llama")["lora"])
    assert from_peft(model).changes
    model.base_model.set_adapter(["default", "second"])
    with pytest.raises(InputError, match=r"2 active adapters \(default, second\)"):
        from_peft(model)


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    good = tmp_path / "good"
    to_peft(patch_of(tiny_lm(), "lora"), good, model="m", task_type="CAUSAL_LM")
    config, weights = (
        good / "adapter_config.json",
        (good / "adapter_model.safetensors").read_bytes(),
    )

    def damaged(name: str, settings: Any, tensors: bytes | None) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "adapter_config.json").write_text(
            settings if isinstance(settings, str) else json.dumps(settings)
        )
        if tensors is not None:
            (folder / "adapter_model.safetensors").write_bytes(tensors)
        return folder

    settings = json.loads(config.read_text())
    for folder, reason in {
        tmp_path / "nowhere": "nowhere: no adapter_config.json",
        damaged("bare", settings, None): "bare: no adapter_model.safetensors",
        damaged("half", "{", weights): "adapter_config.json: broken JSON",
        damaged("list", [], weights): "not an object of settings",
        damaged("cut", settings, weights[:-7]): "adapter_model.safetensors: not a safetensors file",
        damaged("other", {"peft_type": "IA3"}, weights): "no IA3 adapter's",
        damaged(
            "unknown", settings | {"use_new_thing": True}, weights
        ): "use_new_thing=True is not supported",
    }.items():
        with pytest.raises(InputError, match=reason):
            from_peft(folder)
    (tmp_path / "bare" / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match="safe_serialization=True"):
        from_peft(tmp_path / "bare")


# method=adapter


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    root = tmp_path_factory.mktemp("data") / "lamp"
    generator.write(root, train_users=40, dev_users=20)
    return (*TINY, "data=lamp", f"data.root={root}", "limit=6")


def cells(folder: Path, method: str) -> list[Any]:
    paths = sorted(
        (folder / "runs").glob(f"*/{method}/*/record.json"), key=lambda path: path.stat().st_mtime
    )
    return [json.loads(path.read_text()) for path in paths]


def written(folder: Path, patch: Patch) -> Path:
    to_peft(patch, folder, model="m", task_type="CAUSAL_LM")
    return folder


@pytest.mark.parametrize("kind", ["lora", "ia3", "prompt"])
def test_an_adapter_folder_is_a_method(kind: str, words: tuple[str, ...], tmp_path: Path) -> None:
    adapter = written(tmp_path / "adapter", patch_of(tiny_lm(), kind))
    code, said = run(*words, "method=adapter", f"adapter.path={adapter}", folder=tmp_path)
    assert code == 0, said
    code, said = run(*words, "method=instruct", folder=tmp_path)
    assert code == 0, said
    [own], [plain] = cells(tmp_path, "adapter"), cells(tmp_path, "instruct")
    assert (
        own["counts"]["patches"] == 1
        and own["metrics"]["nll_label"] != plain["metrics"]["nll_label"]
    )
    asked = [
        {
            json.loads(line)["id"]: json.loads(line)["prompt"]
            for line in path.read_text().splitlines()
        }
        for path in (tmp_path / "runs").glob("*/*/*/samples.jsonl")
    ]
    assert len(asked) == 2 and asked[0] == asked[1], "the same history as instruct shows"


def test_an_adapter_is_known_by_its_bytes_and_not_by_its_place(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    one = written(tmp_path / "one", patch_of(tiny_lm(), "lora"))
    shutil.copytree(one, tmp_path / "copy")
    other = written(tmp_path / "other", patch_of(tiny_lm(), "edit"))
    for folder in (one, tmp_path / "copy", other):
        code, said = run(*words, "method=adapter", f"adapter.path={folder}", folder=tmp_path)
        assert code == 0, said
        assert ("was done" in said) == (folder.name == "copy")
    first, second = cells(tmp_path, "adapter")
    assert first["key"] != second["key"]
    assert [one["cell"]["variant"].split()[-1] for one in (first, second)] == [
        "adapter.path=one",
        "adapter.path=other",
    ]
    assert str(tmp_path) not in json.dumps([first, second])


def test_an_adapter_that_cannot_be_used_ends_with_one_clear_line(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    name = "model.layers.1.mlp.down_proj"
    low = patch_of(tiny_lm(), "lora").weights[name]
    wrong = {
        "needs adapter.path=FOLDER": "null",
        "no adapter_config.json, so this is no PEFT adapter folder": tmp_path / "nowhere",
        "model.layers.9.mlp.down_proj, which this model does not have": Patch(
            {name.replace("1", "9"): low}
        ),
        f"{name} with input width 63, but this model's is 64": Patch(
            {name: LowRank(low.a[:, 1:], low.b)}
        ),
        "the adapter changes nothing": Patch({name: LowRank(low.a, low.b * 0)}),
        "vectors of 31 numbers, the model's have 32": Patch(prompt=torch.ones(2, 31)),
    }
    for number, (reason, given) in enumerate(wrong.items()):
        folder = written(tmp_path / str(number), given) if isinstance(given, Patch) else given
        (tmp_path / f"run{number}").mkdir()
        code, said = run(
            *words, "method=adapter", f"adapter.path={folder}", folder=tmp_path / f"run{number}"
        )
        assert code == 2, said
        assert said.strip().splitlines()[-1].startswith("error: ") and reason in said, said
        assert "Traceback" not in said

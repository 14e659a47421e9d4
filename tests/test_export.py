"""Export: what `python -m bench.export` writes does,
in plain transformers and peft, what the harness does.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cells import BASE, CHAMELEON, TINY, run
from conftest import ROOT, task_named, tiny_lm
from test_adapters import KINDS, fresh, harness, ours, patch_of, plainly, same
from test_house import HEAVY, loaded

from bench.cell.artifacts import load_users, save_personalizations
from bench.data.sample import generator
from bench.data.selection import PCASelection
from bench.disk.env import cache_folder
from bench.export.model_card import _copy, example
from bench.export.source_cell import Base, SourceCell
from bench.export.writer import main
from bench.lm import base as bases
from bench.lm.patch import Patch
from bench.lm.peft_export import joined
from bench.lm.spec import ModelSpec
from bench.types import Decoding, Item, Message, Personalization, Request
from methods.instruct import Instruct


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    root = tmp_path_factory.mktemp("data") / "lamp"
    generator.write(root, train_users=120, dev_users=20)
    return (*TINY, "data=lamp", f"data.root={root}")


def made(folder: Path, *words: str) -> Path:
    """The folder of a cell that has run."""
    folder.mkdir(parents=True, exist_ok=True)
    code, said = run(*words, folder=folder)
    assert code == 0, said
    [record] = (folder / "runs").glob("*/*/*/record.json")
    return record.parent


@pytest.fixture(scope="module")
def edited(words: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CHAMELEON cell on a task-adapted base."""
    return made(tmp_path_factory.mktemp("edited"), *words, *CHAMELEON, *BASE)


@pytest.fixture(scope="module")
def plain(words: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cell of instruct, whose patches the tests put there themselves."""
    return made(tmp_path_factory.mktemp("plain"), *words, "method=instruct")


def patched(cell: Path, patches: list[tuple[Patch, ...]]) -> list[str]:
    """The cell as if its method had given its first users these patches, in turn.

    The users' ids.
    """
    found = load_users(cell / "artifacts")
    personals = [replace(one, patches=()) for one in found.values()]
    for index, given in enumerate(patches):
        personals[index] = replace(personals[index], patches=given)
    save_personalizations(personals, cell / "artifacts", "adapt-00000", users=list(found))
    return list(found)


def exported(cell: Path, out: Path, *more: str) -> dict[str, Any]:
    assert main([str(cell), str(out), *more]) == 0
    users = json.loads((out / "users.json").read_text())
    assert isinstance(users, dict)
    return users


def adapted(cell: Path) -> Patch:
    """The cell's task-adapted base."""
    mark = json.loads((cell / "record.json").read_text())["model"]["base"]
    paths = (cache_folder() / "bases").glob("*.safetensors")
    return Patch.load(next(path for path in paths if bases.fingerprint(path) == mark))


def test_chameleons_edit_on_an_adapted_base_is_a_rank_two_lora_on_top_of_a_lora(
    edited: Path, tmp_path: Path
) -> None:
    from peft import PeftModel

    users = exported(edited, tmp_path / "out")
    [adapter] = set(users.values())
    assert len(users) == 10 and [
        path.name for path in (tmp_path / "out" / "adapters").iterdir()
    ] == [adapter]
    config = json.loads(
        (tmp_path / "out" / "adapters" / adapter / "adapter_config.json").read_text()
    )
    assert config["r"] == config["lora_alpha"] == 2 and config["peft_type"] == "LORA"
    assert config["target_modules"] and all(
        name.endswith("mlp.down_proj") for name in config["target_modules"]
    )
    lm = harness("llama")
    lm.adopt(adapted(edited), "base")
    [edit] = next(iter(load_users(edited / "artifacts").values())).patches
    model: Any = PeftModel.from_pretrained(
        fresh("llama"), str(tmp_path / "out" / "base")
    ).merge_and_unload()
    on_base = plainly(lm, model)
    assert same(on_base, ours(lm, None)) and not torch.allclose(
        on_base, plainly(lm, fresh("llama")), atol=1e-2
    )
    found = plainly(
        lm, PeftModel.from_pretrained(model, str(tmp_path / "out" / "adapters" / adapter)).eval()
    )
    assert same(found, ours(lm, edit)) and not torch.allclose(found, on_base, atol=1e-3)


def test_the_readme_shows_the_prompt_without_any_users_text(edited: Path, tmp_path: Path) -> None:
    exported(edited, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert (
        '1. <score 1> is the rating score for product: "<text 1>".' in text and "<s><user>" in text
    )
    assert "review by the user: <text>" in text and "<assistant>" in text
    assert (
        'from_pretrained(model, "base").merge_and_unload()' in text
        and "AutoModelForCausalLM" in text
    )
    assert "at most 8 new tokens" in text and "greedy" in text
    for line in (edited / "samples.jsonl").read_text().splitlines():
        asked = json.loads(line)["prompt"].split("review by the user: ")[1].split("\n")[0]
        assert len(asked) > 10 and asked[:30] not in text


@pytest.mark.parametrize("kind", KINDS)
def test_every_user_gets_the_adapter_that_is_theirs(kind: str, plain: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    lm = harness("llama")
    one = patch_of(lm, kind)
    two = (one, patch_of(lm, "lora") if one.weights else one)
    names = patched(plain, [(one,), (), two, (one,)])
    users = exported(plain, tmp_path / "all")
    assert users[names[0]] == users[names[3]] != users[names[2]]
    assert users[names[1]] is None and list(users) == names
    assert (
        len(list((tmp_path / "all" / "adapters").iterdir())) == 2
        and not (tmp_path / "all" / "base").exists()
    )
    assert exported(plain, tmp_path / "one", "--user", names[2]) == {names[2]: users[names[2]]}
    folder = tmp_path / "one" / "adapters" / users[names[2]]
    found = plainly(lm, PeftModel.from_pretrained(fresh("llama"), str(folder)).eval())
    assert not torch.allclose(found, ours(lm, None), atol=1e-2)
    assert same(found, ours(lm, joined(two)))


def test_a_t5_cell_is_exported_for_an_encoder_decoder(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    from peft import PeftModel

    cell = made(tmp_path / "cell", *words, "method=instruct", "model.source=tiny:t5")
    patch = patch_of(harness("t5"), "prompt")
    [adapter] = (
        set(exported(cell, tmp_path / "out").values()) if patched(cell, [(patch,)] * 10) else [""]
    )
    text = (tmp_path / "out" / "README.md").read_text()
    assert (
        "AutoModelForSeq2SeqLM" in text
        and "Plain text without trailing space" in text
        and "<user>" not in text
    )
    model = PeftModel.from_pretrained(
        fresh("t5"), str(tmp_path / "out" / "adapters" / adapter)
    ).eval()
    assert model.peft_config["default"].task_type == "SEQ_2_SEQ_LM"
    assert same(plainly(harness("t5"), model), ours(harness("t5"), patch))


def test_the_readmes_example_is_of_a_user_whose_adapter_is_exported(
    plain: Path, tmp_path: Path
) -> None:
    """The first user may have neither adapter nor history:
    then the prompt of the others is shown.
    """
    names = patched(plain, [(), (patch_of(tiny_lm(), "lora"),)])
    found = load_users(plain / "artifacts")
    bare = [replace(found[names[0]], items=()), *list(found.values())[1:]]
    save_personalizations(bare, plain / "artifacts", "adapt-00000", users=names)
    exported(plain, tmp_path / "out")
    assert (
        '1. <score 1> is the rating score for product: "<text 1>".'
        in (tmp_path / "out" / "README.md").read_text()
    )


def test_the_rendered_example_is_what_the_model_reads(plain: Path, tmp_path: Path) -> None:
    """The template of the README is the harness's own:
    with the names put in, the same text comes out.
    """
    patched(plain, [(patch_of(tiny_lm(), "lora"),)])
    exported(plain, tmp_path / "out")
    shown = (tmp_path / "out" / "README.md").read_text().split("```\n")[2].strip("\n")
    turn = shown.removeprefix("<s><user>").removesuffix("</s><assistant>")
    assert tiny_lm().network.encode(Request((Message("user", (turn,)),))).text == shown


@pytest.mark.parametrize("kind", ["lora", "ia3", "prompt_tuning"])
def test_what_oppu_trained_for_each_user_leaves_the_harness_as_it_is(
    kind: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    from peft import PeftModel

    oppu = ("method=oppu", "method.form=plain", f"method.peft={kind}", "limit=2")
    cell = made(tmp_path / "cell", *words, *BASE, *oppu)
    users = exported(cell, tmp_path / "out")
    assert len(set(users.values())) == 2
    lm = harness("llama")
    lm.adopt(adapted(cell), "base")
    for user, personal in load_users(cell / "artifacts").items():
        [patch] = personal.patches
        assert patch.changes
        base: Any = PeftModel.from_pretrained(
            fresh("llama"), str(tmp_path / "out" / "base")
        ).merge_and_unload()
        own = PeftModel.from_pretrained(
            base, str(tmp_path / "out" / "adapters" / users[user])
        ).eval()
        assert same(plainly(lm, own), ours(lm, patch))


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (ROOT / "conf" / "task").glob("lamp*.yaml"))
)
def test_every_task_has_an_example(name: str) -> None:
    task = task_named(name)
    method = Instruct(PCASelection(n_items=4))
    base = Base(tiny_lm().spec, tiny_lm().network.tokenizer, False, None)
    for history, shown in {"own": 1, "none": 0}.items():
        cell = SourceCell(Path(), {}, history, tiny_lm().spec, task, method, Decoding())
        text = example(cell, base, Personalization(items=(Item("1", {}),) * 7))
        assert text.count(f"<{task.source} 1>") == text.count(f"<{task.source} 2>") == shown
        assert f"<{task.source}>" in text


def test_a_quantized_copy_is_told() -> None:
    spec = ModelSpec("small", "package:some_package", hub="some/model")
    assert "quantized copy" in _copy(
        spec, "some_package==1.0"
    ) and "unpacked('some_package')" in _copy(spec, "x==1")
    assert (
        _copy(spec, "hub:some/model@main")
        == _copy(ModelSpec("large", "some/model"), "hub:some/model@main")
        == ""
    )


def test_what_cannot_be_exported_is_said_in_one_line(
    plain: Path, tmp_path: Path, capsys: Any
) -> None:
    lm = tiny_lm()
    out = tmp_path / "out"

    def refused(*arguments: str) -> str:
        assert main(arguments) == 2
        said = str(capsys.readouterr().err)
        assert said.startswith("bench.export: ") and said.count("\n") == 1
        assert not out.exists()
        return said

    names = patched(plain, [])
    assert "changed no weights): nothing to export" in refused(str(plain), str(out))
    assert "no record.json, so this is no cell's folder" in refused(
        str(tmp_path / "nowhere"), str(out)
    )
    patched(plain, [(), (patch_of(lm, "lora"),)])
    assert f"no user 'nobody'; it has 10 users ({names[0]}, {names[1]}" in refused(
        str(plain), str(out), "--user", "nobody"
    )
    assert f"user {names[0]} has no patch" in refused(str(plain), str(out), "--user", names[0])
    patched(plain, [(replace(patch_of(lm, "lora"), positions="last"),)])
    assert "positions=last" in refused(str(plain), str(out))
    patched(plain, [(patch_of(lm, "lora"), patch_of(lm, "ia3"))])
    assert "mixes LoRA and IA3" in refused(str(plain), str(out))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    assert "not empty" in refused(str(plain), str(tmp_path / "full"))


def test_help_is_quick_and_a_missing_word_is_bad_input(capsys: Any) -> None:
    assert not loaded("-m", "bench.export", "--help") & HEAVY
    assert main([]) == 2
    with pytest.raises(SystemExit) as stop:
        main(["somewhere"])
    assert stop.value.code == 2

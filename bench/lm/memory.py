"""How much memory there is, and how much training takes:
measured, so that no batch size has to be guessed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

S = TypeVar("S")
T = TypeVar("T")

_SIGNS = ("out of memory", "not enough memory", "can't allocate memory")


def free_bytes(device: torch.device) -> int:
    """Memory that could be taken now: the device's (with what torch holds in reserve),
    or this machine's.
    """
    if device.type == "cuda":
        # What torch has taken from the device and does not use counts as free.
        reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + reserve)
    return int(min(_machine(), _container()))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out, whichever library says it."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    # The CPU's allocator raises a plain RuntimeError, which only its words tell apart.
    message = str(error).lower()
    return any(sign in message for sign in _SIGNS)


def _machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        [available] = [line for line in lines if line.startswith("MemAvailable:")]
        return int(available.split()[1]) * 1024
    except (OSError, ValueError):
        # Not Linux: half of what the machine has.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _container() -> float:
    """What a container's limit leaves; without a limit, no bound."""
    group = Path("/sys/fs/cgroup")
    try:
        return int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return float("inf")


def kept_bytes(forward: Callable[[], Tensor], known: Iterable[Tensor]) -> int:
    """Bytes that a forward pass keeps for its gradient,
    without those of the `known` tensors (the weights).
    """
    # By storage: the many views that a pass saves of one tensor take its memory once.
    seen = {tensor.untyped_storage().data_ptr() for tensor in known}
    total = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal total
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            total += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    return total


def halving(work: Callable[[list[S]], list[T]], batch: list[S], names: Sequence[str]) -> list[T]:
    """Do a batch; when memory runs out, each half on its own.

    One request alone that does not fit is an error.
    """
    try:
        return work(batch)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        if len(batch) == 1:
            raise MemoryError(
                f"{names[0] or 'request'}: one prompt alone does not fit into memory"
            ) from error
    # Outside of the except clause: the error's frames held the tensors that did not fit.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(batch) // 2
    first = halving(work, batch[:middle], names[:middle])
    return first + halving(work, batch[middle:], names[middle:])

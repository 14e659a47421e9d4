"""Where a model computes, and in which numbers. Imports torch only if it has to be asked."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from bench.checks.bounds import Form
from bench.errors import InputError

DEVICE = Form(
    r"auto|spread|cpu|mps|cuda(:\d{1,3})?", "choose auto, spread, cpu, mps, cuda or cuda:NUMBER"
)
SPREAD = "spread"
"""Layers on all cards, and in the machine's memory what does not fit (accelerate's device map).
"""

_BFLOAT16_SINCE = 8
"""Compute capability of the first NVIDIA cards that multiply bfloat16 (Ampere)."""


def check_device(device: str) -> None:
    """Raises InputError for an accelerator that this machine does not show."""
    if device in ("auto", SPREAD, "cpu"):
        return
    import torch

    if device == "mps":
        count = 0
        there = torch.backends.mps.is_available()
    else:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        number = device.partition(":")[2] or "0"
        there = number.isdigit() and int(number) < count
    if there:
        return
    has = "no MPS device" if device == "mps" else "no CUDA device"
    if count:
        has = f"{count} CUDA devices"
    raise InputError(
        f"model.device={device}: this machine shows {has}; model.device=auto takes what is there"
    )


def fast_dtype(device: str) -> str:
    """What this machine multiplies in hardware: `bfloat16`, on NVIDIA cards before Ampere
    `float16`, else `float32`.
    """
    if device.startswith("cuda"):
        return _of_card(device)
    if device in ("auto", SPREAD) and Path("/proc/driver/nvidia/version").exists():
        return _of_card("cuda")
    try:
        processor = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "float32"
    # The line `flags : fpu vme ...` of the first core.
    flags = processor.split("flags", 1)[-1].split("\n", 1)[0].split()
    return "bfloat16" if {"avx512_bf16", "amx_bf16"} & set(flags) else "float32"


@cache
def _of_card(device: str) -> str:
    import torch

    # Without the card, as where a sweep is planned, it is taken for one of today's.
    if not torch.cuda.is_available():
        return "bfloat16"
    major, _ = torch.cuda.get_device_capability(device)
    return "bfloat16" if major >= _BFLOAT16_SINCE else "float16"

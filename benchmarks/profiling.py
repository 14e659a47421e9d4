"""Where the time of training goes, by groups of operators (torch.profiler)."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import torch
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from bench.lm import adamw

OPTIMIZER = "the bank's optimizer"
GROUPS = {
    "optimizer": (OPTIMIZER,),
    "attention": ("scaled_dot_product", "ScaledDotProduct"),
    "loss": ("cross_entropy", "log_softmax", "LogSoftmax", "nll_loss", "NllLoss"),
    "adapter": ("aten::bmm", "BmmBackward"),
    "matmul": ("aten::linear", "aten::matmul", "aten::mm", "aten::addmm", " MmBackward"),
    "casts and copies": (
        "aten::to",
        "aten::_to_copy",
        "aten::copy_",
        "aten::clone",
        "ToCopyBackward",
    ),
}
"""A group's operators by parts of their names; the outermost that is known decides, and the rest is
`other`. The bank's adapters are the only users of `bmm` by itself."""


def shares(train: Callable[[], object]) -> dict[str, float]:
    """The share of each group in the time of all operators: the device's time where there is
    one."""
    step = adamw.UserAdamW.step

    def named(self: adamw.UserAdamW, rates: list[float]) -> None:
        with record_function(OPTIMIZER):
            step(self, rates)

    cuda = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with mock.patch.object(adamw.UserAdamW, "step", named), profile(activities=activities) as found:
        train()
    spent = dict.fromkeys([*GROUPS, "other"], 0.0)
    for event in found.events() or ():
        if event.device_type == DeviceType.CPU:
            spent[group(event)] += (
                event.self_device_time_total if cuda else event.self_cpu_time_total
            )
    total = sum(spent.values())
    return {name: one / total for name, one in sorted(spent.items(), key=lambda pair: -pair[1])}


def group(event: FunctionEvent) -> str:
    chain: list[str] = []
    here: FunctionEvent | None = event
    while here is not None:
        chain.append(here.name)
        here = here.cpu_parent
    for name in reversed(chain):
        for known, parts in GROUPS.items():
            if any(part in name for part in parts):
                return known
    return "other"

"""Adapters of many users, stacked: their start, how rows of a batch meet their own, and each as a
patch.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from bench.errors import InputError
from bench.lm.patch import LowRank, Patch, Scale, embedding
from bench.lm.tune import Tuning, fresh

if TYPE_CHECKING:
    from bench.lm.model import LM

Peft = Literal["lora", "ia3", "prompt_tuning"]


@dataclass(frozen=True)
class StackedAdapters:
    """What each user trains. `feedforward`: the targets of IA3 whose input is scaled, not their
    output (PEFT's convention). `virtual_tokens`: length of a soft prompt.
    """

    peft: Peft = "lora"
    tuning: Tuning = field(default_factory=Tuning)
    feedforward: tuple[str, ...] = ("down_proj", "wo")
    virtual_tokens: int = 20


def start(lm: LM, adapter: StackedAdapters, seeds: Sequence[int]) -> dict[str, Tensor]:
    """Every user's adapter before training, stacked [users, ...] float32: LoRA's B zero, IA3's
    scales one, a soft prompt of random words of the vocabulary.
    """
    found: dict[str, Tensor] = {}
    if adapter.peft == "lora":
        drawn = [fresh(lm, replace(adapter.tuning, seed=seed)) for seed in seeds]
        for name in drawn[0]:
            found[f"{name}.a"] = torch.stack([one[name].a.detach() for one in drawn])
            found[f"{name}.b"] = torch.stack([one[name].b.detach() for one in drawn])
    elif adapter.peft == "ia3":
        for name, module in sorted(lm.model.named_modules()):
            end = name.rsplit(".", 1)[-1]
            if isinstance(module, nn.Linear) and end in adapter.tuning.targets:
                width = module.in_features if end in adapter.feedforward else module.out_features
                side = "in" if end in adapter.feedforward else "out"
                found[f"{name}.{side}"] = torch.ones(len(seeds), width, device=lm.device)
        if not found:
            raise InputError(
                f"{lm.spec.name}: no module named {' or '.join(adapter.tuning.targets)} to tune"
            )
    else:
        table = embedding(lm.model).weight
        words = [
            random.Random(f"soft prompt/{seed}").choices(
                range(len(table)), k=adapter.virtual_tokens
            )
            for seed in seeds
        ]
        found["prompt"] = torch.stack([table[own].detach().float() for own in words])
    return {name: tensor.requires_grad_() for name, tensor in found.items()}


def as_patch(own: Mapping[str, Tensor], adapter: StackedAdapters) -> Patch:
    """One user's tensors as a patch."""
    names = sorted({name.rpartition(".")[0] for name in own if name != "prompt"})
    if adapter.peft == "prompt_tuning":
        return Patch(prompt=own["prompt"])
    if adapter.peft == "lora":
        scale = adapter.tuning.alpha / adapter.tuning.rank
        return Patch({name: LowRank(own[f"{name}.a"], own[f"{name}.b"] * scale) for name in names})
    sides: tuple[Literal["in", "out"], ...] = ("in", "out")
    found = {
        name: Scale(own[f"{name}.{side}"], side)
        for name in names
        for side in sides
        if f"{name}.{side}" in own
    }
    return Patch(scales=found)


@contextmanager
def meeting(
    lm: LM, weights: Mapping[str, Tensor], users: Tensor, adapter: StackedAdapters
) -> Iterator[None]:
    """Inside, row i of what the model reads meets the adapter of `users[i]`; gradients reach the
    stacked weights.
    """
    modules = dict(lm.model.named_modules())
    scale = adapter.tuning.alpha / adapter.tuning.rank

    def low_rank(name: str) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
        a, b = weights[f"{name}.a"][users], weights[f"{name}.b"][users]

        def change(_module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            low = torch.bmm(torch.bmm(args[0].float(), a.mT), b.mT)
            return output + (scale * low).to(output.dtype)

        return change

    def scaled(key: str, x: Tensor) -> Tensor:
        return (x.float() * weights[key][users][:, None, :]).to(x.dtype)

    def begun(_module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        prompts = weights["prompt"][users].to(output.dtype)
        return torch.cat([prompts, output[:, prompts.shape[1] :]], dim=1)

    handles = []
    for key in weights:
        name, _, what = key.rpartition(".")
        if what == "b":
            handles.append(modules[name].register_forward_hook(low_rank(name)))
        elif what == "out":
            handles.append(
                modules[name].register_forward_hook(
                    lambda _m, _a, output, key=key: scaled(key, output)
                )
            )
        elif what == "in":
            handles.append(
                modules[name].register_forward_pre_hook(
                    lambda _m, args, key=key: (scaled(key, args[0]),)
                )
            )
        elif key == "prompt":
            handles.append(embedding(lm.model).register_forward_hook(begun))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

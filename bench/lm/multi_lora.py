"""Adapters of many users, stacked: their start, how rows of a batch meet their own,
and each as a patch.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bench.lm.layers import Side, embedding
from bench.lm.patch import LowRank, Patch, Scale
from bench.lm.tune import Tuning, fresh

if TYPE_CHECKING:
    from bench.lm.network import Network

Peft = Literal["lora", "ia3", "prompt_tuning"]
OutputHook = Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]
InputHook = Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]


@dataclass(frozen=True)
class StackedAdapters:
    """What each user trains. `feedforward`: the targets of IA3 whose input is scaled, not their
    output (PEFT's convention). `virtual_tokens`: length of a soft prompt.
    """

    peft: Peft = "lora"
    tuning: Tuning = field(default_factory=Tuning)
    feedforward: tuple[str, ...] = ("down_proj", "wo")
    virtual_tokens: int = 20


def start(network: Network, adapter: StackedAdapters, seeds: Sequence[int]) -> dict[str, Tensor]:
    """Every user's adapter before training, stacked [users, ...] float32: LoRA's B zero, IA3's
    scales one, a soft prompt of random words of the vocabulary.

    Keys are a module's name with `.a` or `.b` (LoRA), with `.in` or `.out` (IA3), or `prompt`.
    Raises InputError if the model has none of the target modules.
    """
    if adapter.peft == "lora":
        weights = _factors(network, adapter, seeds)
    elif adapter.peft == "ia3":
        weights = _scales(network, adapter, len(seeds))
    else:
        weights = {"prompt": _soft_prompts(network, adapter.virtual_tokens, seeds)}
    return {name: tensor.requires_grad_() for name, tensor in weights.items()}


def _factors(network: Network, adapter: StackedAdapters, seeds: Sequence[int]) -> dict[str, Tensor]:
    drawn = [fresh(network, replace(adapter.tuning, seed=seed)) for seed in seeds]
    weights = {}
    for name in drawn[0]:
        weights[f"{name}.a"] = torch.stack([factors[name].a.detach() for factors in drawn])
        weights[f"{name}.b"] = torch.stack([factors[name].b.detach() for factors in drawn])
    return weights


def _scales(network: Network, adapter: StackedAdapters, users: int) -> dict[str, Tensor]:
    weights = {}
    for name, module in network.linears_named(adapter.tuning.targets).items():
        side, width = "out", module.out_features
        if name.rpartition(".")[2] in adapter.feedforward:
            side, width = "in", module.in_features
        weights[f"{name}.{side}"] = torch.ones(users, width, device=network.device)
    return weights


def _soft_prompts(network: Network, tokens: int, seeds: Sequence[int]) -> Tensor:
    # Vectors of real words: random numbers lie far from all that the model has learnt to read.
    table = embedding(network.model).weight
    prompts = []
    for seed in seeds:
        words = random.Random(f"soft prompt/{seed}").choices(range(len(table)), k=tokens)
        prompts.append(table[words].detach().float())
    return torch.stack(prompts)


def as_patch(weights: Mapping[str, Tensor], adapter: StackedAdapters) -> Patch:
    """One user's tensors, with the keys of `start`, as a patch."""
    if adapter.peft == "prompt_tuning":
        return Patch(prompt=weights["prompt"])
    names = sorted({key.rpartition(".")[0] for key in weights})
    if adapter.peft == "lora":
        # alpha / rank goes into B once, so that whoever applies the patch need not know it.
        scale = adapter.tuning.alpha / adapter.tuning.rank
        factors = {}
        for name in names:
            factors[name] = LowRank(weights[f"{name}.a"], weights[f"{name}.b"] * scale)
        return Patch(factors)
    scales = {}
    for name in names:
        side: Side = "in" if f"{name}.in" in weights else "out"
        scales[name] = Scale(weights[f"{name}.{side}"], side)
    return Patch(scales=scales)


@contextmanager
def meeting(
    network: Network, weights: Mapping[str, Tensor], users: Tensor, adapter: StackedAdapters
) -> Iterator[None]:
    """Inside, row i of what the model reads meets the adapter of `users[i]`; gradients reach the
    stacked weights.
    """
    modules = dict(network.model.named_modules())
    alpha_by_rank = adapter.tuning.alpha / adapter.tuning.rank
    handles: list[RemovableHandle] = []
    for key, tensor in weights.items():
        name, _, part = key.rpartition(".")
        match part:
            case "b":
                hook = _low_rank_hook(weights[f"{name}.a"], tensor, users, alpha_by_rank)
                handles.append(modules[name].register_forward_hook(hook))
            case "out":
                handles.append(modules[name].register_forward_hook(_output_hook(tensor, users)))
            case "in":
                handles.append(modules[name].register_forward_pre_hook(_input_hook(tensor, users)))
            case "prompt":
                hook = _soft_prompt_hook(tensor, users)
                handles.append(embedding(network.model).register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _low_rank_hook(a: Tensor, b: Tensor, users: Tensor, scale: float) -> OutputHook:
    """Adds a LoRA's change, from factors stacked over users, to what a layer says."""
    # Indexing gathers a row's own factors. Its gradient adds up where a user has several rows.
    a, b = a[users], b[users]

    def change(_module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        # [rows, tokens, in] by [rows, in, rank] by [rows, rank, out]: each row its own product.
        # In float32: in bfloat16 a small step of training would be rounded away.
        low = torch.bmm(torch.bmm(args[0].float(), a.mT), b.mT)
        return output + (scale * low).to(output.dtype)

    return change


def _output_hook(scales: Tensor, users: Tensor) -> OutputHook:
    """Multiplies what a layer says by IA3's scales [users, width]."""
    return lambda _module, _args, output: _scaled(output, scales, users)


def _input_hook(scales: Tensor, users: Tensor) -> InputHook:
    """Multiplies what a layer reads by IA3's scales [users, width]."""
    return lambda _module, args: (_scaled(args[0], scales, users),)


def _scaled(x: Tensor, scales: Tensor, users: Tensor) -> Tensor:
    # A row's scales are the same at each of its tokens.
    return (x.float() * scales[users][:, None, :]).to(x.dtype)


def _soft_prompt_hook(prompts: Tensor, users: Tensor) -> OutputHook:
    """Puts each row's soft prompt in the place of its first embedded tokens."""

    def begin(_module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        # Placeholders were read in its place, so that lengths and positions are already right.
        of_rows = prompts[users].to(output.dtype)
        return torch.cat([of_rows, output[:, of_rows.shape[1] :]], dim=1)

    return begin

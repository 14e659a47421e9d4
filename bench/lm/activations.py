"""What the model's layers say at an answer: MLP outputs or residual stream, pooled over the
answer's tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from bench.lm.backend import Prompt
from bench.lm.batches import plan
from bench.lm.branches import branches
from bench.lm.memory import halving
from bench.lm.prefill import Prefix, padded, read
from bench.lm.prefix import can_share

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.network import Network, Side

Space = Literal["mlp", "resid"]
Pool = Literal["last", "mean_answer", "last_eos"]


def run(
    network: Network,
    prompts: Sequence[Prompt],
    answers: Sequence[str],
    space: Space,
    pool: Pool,
    side: Side,
    budget: Budget,
) -> Tensor:
    """Activations at each answer: [layers, n, width] float32 (CHAMELEON section 3.2; options A6,
    A7, A16).

    Prompts that are equal are read once, their answers as branches. `last`: at the answer's last
    token; `last_eos`: at an end token put behind it; `mean_answer`: mean over the answer's tokens.
    """
    tokens = [
        network.answer_ids(answer, end=pool == "last_eos") or [network.end] for answer in answers
    ]
    if network.seq2seq and side == "encoder":
        return _encoder(network, prompts, tokens, space, pool, budget)
    if network.padding != "any":
        return _unshared(network, prompts, tokens, space, pool, budget)
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault(prompt.ids, []).append(index)
    members = list(groups.values())
    leaders = [prompts[group[0]] for group in members]
    by_index: dict[int, Tensor] = {}

    def work(rows: list[int]) -> list[None]:
        answers_of = [[tokens[index] for index in members[row]] for row in rows]
        with torch.inference_mode():
            prefix = read(network, [leaders[row] for row in rows])
            for row, states in zip(
                rows, _branches(network, prefix, answers_of, space), strict=True
            ):
                at = 0
                for index in members[row]:
                    size = len(tokens[index])
                    by_index[index] = _pool(states[:, at : at + size], pool)
                    at += size
        return [None] * len(rows)

    behind = max(sum(len(tokens[index]) for index in group) for group in members)
    share = can_share(network, max(len(prompt.ids) for prompt in leaders))
    _in_batches(network, leaders, work, budget, behind=behind, share=share)
    return _in_order(by_index)


def _in_batches(
    network: Network,
    prompts: Sequence[Prompt],
    work: Callable[[list[int]], list[None]],
    budget: Budget,
    *,
    behind: int,
    share: bool,
) -> None:
    """Do the work on batches of prompts, by their indices. `behind`: tokens that are read behind
    each prompt, at the most.
    """
    for batch in plan(prompts, network.spec.batch_tokens, extra=behind, share=share):
        budget.check()
        halving(work, batch, [prompts[index].text[:80] for index in batch])
        budget.count(tokens_in=sum(len(prompts[index].ids) for index in batch))


def _in_order(by_index: Mapping[int, Tensor]) -> Tensor:
    """The pooled states of all answers: [layers, n, width]."""
    return torch.stack([by_index[index] for index in range(len(by_index))], dim=1)


def _branches(
    network: Network, prefix: Prefix, answers: list[list[list[int]]], space: Space
) -> Iterator[Tensor]:
    """For each row the states [layers, nodes, width] at its answers' tokens, laid end to end."""
    if not network.seq2seq:
        # Layers that read the keys of others skip the tokens whose logits nobody wants.
        shares = getattr(network.model.config.get_text_config(), "num_kv_shared_layers", 0)
        with _recorded(network, space, "decoder", len(answers)) as states:
            branches(network, prefix, answers, last=0 if shares else 1)
        # To the CPU layer by layer: in float32 all of them together may not fit on the device.
        yield from torch.stack([state.float().cpu() for state in states]).transpose(0, 1)
        return
    # T5's positions are relative: its answers cannot lie end to end, and stand in rows of their
    # own behind copies of the encoder's states.
    for row, wanted in enumerate(answers):
        ids = padded(
            [[network.start, *answer] for answer in wanted], network.pad, network.device, left=False
        ).ids
        hidden = prefix.encoder.last_hidden_state[row : row + 1].expand(len(wanted), -1, -1)
        mask = prefix.mask[row : row + 1].expand(len(wanted), -1)
        with _recorded(network, space, "decoder", len(wanted)) as states:
            network.model(
                encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
                attention_mask=mask,
                decoder_input_ids=ids,
                use_cache=False,
            )
        every = torch.stack([state.float().cpu() for state in states])
        # The first state is the start token's.
        parts = [every[:, index, 1 : 1 + len(answer)] for index, answer in enumerate(wanted)]
        yield torch.cat(parts, dim=1)


def _unshared(
    network: Network,
    prompts: Sequence[Prompt],
    tokens: list[list[int]],
    space: Space,
    pool: Pool,
    budget: Budget,
) -> Tensor:
    """The states of a decoder that bears no tree of answers: it reads each prompt with its answer.

    Padding stands behind the answers, where causality alone hides it, whatever the layers are.
    """
    by_index: dict[int, Tensor] = {}

    def work(batch: list[int]) -> list[None]:
        rows = [[*prompts[index].ids, *tokens[index]] for index in batch]
        ids = padded(rows, network.pad, network.device, left=False).ids
        with torch.inference_mode(), _recorded(network, space, "decoder", len(batch)) as states:
            network.decoder(input_ids=ids, use_cache=False)
        for row, index in enumerate(batch):
            start = len(prompts[index].ids)
            end = start + len(tokens[index])
            answer = torch.stack([state[row, start:end].float().cpu() for state in states])
            by_index[index] = _pool(answer, pool)
        return [None] * len(batch)

    _in_batches(network, prompts, work, budget, behind=max(map(len, tokens)), share=False)
    return _in_order(by_index)


def _encoder(
    network: Network,
    prompts: Sequence[Prompt],
    tokens: list[list[int]],
    space: Space,
    pool: Pool,
    budget: Budget,
) -> Tensor:
    """The encoder's states with the answer read behind the prompt (A16, encoder side)."""
    pooled = []
    for prompt, answer in zip(prompts, tokens, strict=True):
        budget.check()
        # The end token of the prompt goes behind the answer, which would else follow an end.
        body = prompt.ids[:-1] if prompt.ids[-1] == network.end else prompt.ids
        ids, mask = padded([[*body, *answer, network.end]], network.pad, network.device, left=False)
        with torch.inference_mode(), _recorded(network, space, "encoder", 1) as states:
            network.model.get_encoder()(input_ids=ids, attention_mask=mask)
        every = torch.stack([state[0].float().cpu() for state in states])
        pooled.append(_pool(every[:, len(body) : len(body) + len(answer)], pool))
    return torch.stack(pooled, dim=1)


def _pool(states: Tensor, pool: Pool) -> Tensor:
    return states.mean(1) if pool == "mean_answer" else states[:, -1]


@contextmanager
def _recorded(network: Network, space: Space, side: Side, rows: int) -> Iterator[list[Tensor]]:
    """Inside, the list holds each layer's output [rows, tokens, width] of the last forward pass,
    first layer first.
    """
    modules = dict(network.model.named_modules())
    layers: list[nn.Module] = []
    for name, mlp in network.mlps(side):
        if space == "resid":
            # The residual stream is the output of the layer that holds the MLP: its parent, or T5's
            # block, which is two modules further up (`block.3.layer.2.DenseReluDense`).
            name = name.rsplit(".", 3 if name.endswith("DenseReluDense") else 1)[0]
            layers.append(modules[name])
        else:
            layers.append(mlp)
    states: list[Tensor] = [torch.empty(0)] * len(layers)

    def hook(index: int) -> Callable[[nn.Module, Any, Any], None]:
        def keep(_module: nn.Module, _args: Any, output: Any) -> None:
            output = output[0] if isinstance(output, tuple) else output
            # Some blocks of experts give all rows' tokens end to end.
            states[index] = output.view(rows, -1, output.shape[-1])

        return keep

    handles = [module.register_forward_hook(hook(index)) for index, module in enumerate(layers)]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()

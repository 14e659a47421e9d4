"""What is true of a model that our engine runs rightly: it gives what the model's own plain forward
gives for each prompt alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.lm.loss import answer_losses, total_loss
from bench.lm.model import LM
from bench.lm.network import Network
from bench.lm.patch import LowRank, Patch
from bench.types import Completion, Message, Request

NEAR = 3e-3
"""Nats, in float32, by which a batch may differ from a prompt alone."""

LABELS = ("comedy", "dark comedy", "a", "action")
NEW_TOKENS = 6
BEGINNING = "They wrote before: a slow film, a good one, the worst of the year, two good ones. "
TEXTS = (
    "Which?",
    BEGINNING + "And now?",
    BEGINNING + "And now, on a long and rainy afternoon?",
    "What is it, then, on the shortest day?",
    "What is it, then, on the longest days?",
    BEGINNING + "And then?",
)
GOLDS = ("action", "comedy", "western", "dark", "a", "drama")


def requests(patches: Sequence[tuple[Patch, ...]] = ()) -> list[Request]:
    """Uneven prompts, two of one length, some of which begin alike; row i with `patches[i]`."""
    asked = []
    for row, text in enumerate(TEXTS):
        own = patches[row] if patches else ()
        asked.append(Request((Message("user", (text,)),), patches=own))
    return asked


def answered(lm: LM, asked: Sequence[Request], **wanted: Any) -> list[Completion]:
    """What the engine says of all requests as one call."""
    completions: dict[int, Completion] = {}
    for batch in lm.generate(asked, max_new_tokens=NEW_TOKENS, **wanted):
        completions |= dict(batch)
    return [completions[row] for row in range(len(asked))]


def plain_logprob(network: Network, model: Any, prompt: Sequence[int], answer: list[int]) -> float:
    """Nats of an answer behind a prompt, by one plain forward of both."""
    with torch.inference_mode():
        if network.seq2seq:
            start = [network.start, *answer[:-1]]
            out = model(
                input_ids=torch.tensor([list(prompt)]), decoder_input_ids=torch.tensor([start])
            )
            behind = out.logits[0]
        else:
            out = model(input_ids=torch.tensor([[*prompt, *answer]]), use_cache=False)
            behind = out.logits[0, len(prompt) - 1 : -1]
        scores = behind.float().log_softmax(-1)
    return float(scores[torch.arange(len(answer)), torch.tensor(answer)].sum())


def labels_and_golds_are_those_of_a_plain_forward(lm: LM) -> None:
    network = lm.network
    completions = answered(lm, requests(), labels=LABELS, golds=GOLDS)
    for request, gold, completion in zip(requests(), GOLDS, completions, strict=True):
        _same_labels(network, network.model, request, completion)
        answer = network.answer_ids(gold)
        expected = -plain_logprob(network, network.model, network.encode(request).ids, answer)
        assert completion.gold_nll == pytest.approx(expected / len(answer), abs=NEAR)


def greedy_answers_are_those_of_generate(lm: LM) -> None:
    network = lm.network
    for request, completion in zip(requests(), answered(lm, requests()), strict=True):
        ids = torch.tensor([list(network.encode(request).ids)])
        out = network.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW_TOKENS
        )
        new = out[0, 1:] if network.seq2seq else out[0, ids.shape[1] :]
        text = network.tokenizer.decode(new, skip_special_tokens=True)
        assert completion.text == text.strip().split("\n", 1)[0].strip()


def a_rank_2_edit_changes_its_own_rows_as_merged_weights_would(lm: LM) -> None:
    _patched_rows_are_as_merged(lm, edit_patch(lm.network))


def a_lora_changes_its_own_rows_as_merged_weights_would(lm: LM) -> None:
    _patched_rows_are_as_merged(lm, lora_patch(lm.network))


def the_training_loss_is_that_of_a_plain_forward(lm: LM) -> None:
    network = lm.network
    rows = []
    expected = []
    for request, gold in zip(requests()[1:3], GOLDS[1:3], strict=True):
        ids, answer = network.encode(request).ids, network.answer_ids(gold)
        rows.append((ids, answer))
        expected.append(-plain_logprob(network, network.model, ids, answer))
    with torch.no_grad():
        assert answer_losses(network, rows).tolist() == pytest.approx(expected, abs=NEAR)
        assert float(total_loss(network, rows)) == pytest.approx(sum(expected), abs=2 * NEAR)


def activations_are_those_of_a_plain_forward(lm: LM) -> None:
    network = lm.network
    got = lm.activations(requests(), GOLDS, pool="mean_answer")
    for row, (request, gold) in enumerate(zip(requests(), GOLDS, strict=True)):
        prompt, answer = network.encode(request).ids, network.answer_ids(gold, end=False)
        states = _block_outputs(network, prompt, answer)
        for layer, expected in enumerate(states):
            assert torch.allclose(got[layer, row], expected, atol=NEAR, rtol=1e-3)


PROOFS: tuple[Callable[[LM], None], ...] = (
    labels_and_golds_are_those_of_a_plain_forward,
    greedy_answers_are_those_of_generate,
    a_rank_2_edit_changes_its_own_rows_as_merged_weights_would,
    a_lora_changes_its_own_rows_as_merged_weights_would,
    the_training_loss_is_that_of_a_plain_forward,
    activations_are_those_of_a_plain_forward,
)


def edit_patch(network: Network) -> Patch:
    """A change of rank 2 at the last MLP, as CHAMELEON makes it."""
    from methods.chameleon.edit import edit_of_outputs

    stream = torch.Generator().manual_seed(3)
    width = network.model.config.get_text_config().hidden_size
    thetas = torch.randn(2, width, generator=stream)
    return edit_of_outputs(network, {len(network.mlps()) - 1: (thetas[0], thetas[1])}, 1.0, 1.0)


def lora_patch(network: Network) -> Patch:
    """A LoRA of rank 2 on two projections of the decoder's first layers."""
    endings = ("q_proj", "v_proj", "qkv_proj", "q_a_proj", "in_proj", ".q", ".v")
    stream = torch.Generator().manual_seed(4)
    inside = set(network.decoder.modules())
    weights: dict[str, LowRank] = {}
    for name, module in network.model.named_modules():
        fits = isinstance(module, nn.Linear) and name.endswith(endings) and module in inside
        if fits and len(weights) < 2:
            a = torch.randn(2, module.in_features, generator=stream) * 0.3
            b = torch.randn(module.out_features, 2, generator=stream) * 0.3
            weights[name] = LowRank(a, b)
    assert weights
    return Patch(weights)


def _patched_rows_are_as_merged(lm: LM, patch: Patch) -> None:
    """Rows with the patch answer as a model with it merged, the others as if there were none."""
    network = lm.network
    patches = [(patch,) if row % 2 == 0 else () for row in range(len(TEXTS))]
    asked = requests(patches)
    merged = copy.deepcopy(network.model)
    if patch.outputs:
        _change_outputs(merged, patch)
    else:
        patch.merge(merged)
    changed = 0
    for request, completion in zip(asked, answered(lm, asked, labels=LABELS), strict=True):
        model = merged if request.patches else network.model
        _same_labels(network, model, request, completion)
        if request.patches:
            ids, answer = network.encode(request).ids, network.answer_ids(LABELS[0])
            before = plain_logprob(network, network.model, ids, answer)
            changed += abs(plain_logprob(network, merged, ids, answer) - before) > 10 * NEAR
    assert changed, "a patch that changes nothing proves nothing"


def _change_outputs(model: Any, patch: Patch) -> None:
    modules = dict(model.named_modules())
    for name, low in patch.outputs.items():

        def change(_module: nn.Module, _args: Any, output: Any, low: LowRank = low) -> Any:
            states = output[0] if isinstance(output, tuple) else output
            states = states + states @ low.a.T @ low.b.T
            return (states, *output[1:]) if isinstance(output, tuple) else states

        modules[name].register_forward_hook(change)


def _same_labels(network: Network, model: Any, request: Request, completion: Completion) -> None:
    ids = network.encode(request).ids
    expected = [plain_logprob(network, model, ids, network.answer_ids(label)) for label in LABELS]
    assert completion.label_logprobs == pytest.approx(expected, abs=NEAR)


def _block_outputs(network: Network, prompt: Sequence[int], answer: list[int]) -> list[Tensor]:
    """Of each layer, the mean of its MLP's output over the answer's tokens, by a plain forward."""
    kept: list[Tensor] = []
    handles = []
    for _, block in network.mlps():
        handles.append(
            block.register_forward_hook(
                lambda _module, _args, out: kept.append(out[0] if isinstance(out, tuple) else out)
            )
        )
    with torch.inference_mode():
        if network.seq2seq:
            start = torch.tensor([[network.start, *answer]])
            network.model(input_ids=torch.tensor([list(prompt)]), decoder_input_ids=start)
            skipped = 1
        else:
            network.model(input_ids=torch.tensor([[*prompt, *answer]]), use_cache=False)
            skipped = len(prompt)
    for handle in handles:
        handle.remove()
    width = kept[0].shape[-1]
    return [states.reshape(-1, width)[skipped:].mean(0) for states in kept]

"""Direct preference optimization on token ids that the harness made: TRL's DPOTrainer around a
frozen base.

The reference policy is the base with the adapter off. That is checked: the first loss must be ln 2,
and the reference must say after training what it said before.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from datasets import Dataset
from torch import Tensor
from transformers import TrainerCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from bench.cost.budget import Budget
from bench.errors import MethodError
from bench.lm.library_tokens import library_tokenizer, refuse_other_tokens
from bench.lm.patch import Patch
from bench.lm.peft_folders import from_peft
from bench.lm.trainer import (
    QuantizedModel,
    Training,
    nf4_copy,
    refuse_untrained,
    run,
    shared_copy,
    undisturbed,
)

if TYPE_CHECKING:
    from bench.lm.model import LM

LN2 = math.log(2)
PROBE_PAIRS = 2
"""Pairs by which the reference policy is compared before and after."""
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 2e-2}
"""Of the first loss and of the reference's log-probabilities a token: the two passes use different
kernels.
"""


@dataclass(frozen=True, slots=True)
class Preference:
    """A prompt, the answer to prefer, the answer to avoid:
    token ids, answers with their end token.
    """

    prompt: Sequence[int]
    chosen: Sequence[int]
    rejected: Sequence[int]

    def __len__(self) -> int:
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


@dataclass(frozen=True, slots=True)
class DPOTuning:
    """`beta`: weight of staying near the reference. `disable_dropout`: TRL's default, which sets
    the adapter's dropout to zero too. `quantize`: the frozen base in `nf4` (QLoRA) or as it is.
    """

    beta: float
    disable_dropout: bool
    quantize: Literal["nf4", "none"]
    max_length: int


class TokenDPOTrainer(DPOTrainer):
    """TRL's trainer, fed with token ids:
    its own tokenizing would render and shorten prompts in another way.
    """

    def _prepare_dataset(self, dataset: Any, *_args: Any) -> Any:
        return dataset


class _FirstLoss(TrainerCallback):
    """Ends the training with an error where it did not start at ln 2: then policy and reference
    were not the same.
    """

    def __init__(self, tolerance: float) -> None:
        self.loss: float | None = None
        self.tolerance = tolerance

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if self.loss is None and logs and "loss" in logs:
            self.loss = float(logs["loss"])
            if not abs(self.loss - LN2) <= self.tolerance:
                raise MethodError(
                    f"DPO began with a loss of {self.loss:.4f} instead of ln 2 = {LN2:.4f}: the"
                    " policy did not start at the reference"
                )


@dataclass(frozen=True, slots=True)
class Preferred:
    """The trained patch, and facts for the record."""

    patch: Patch
    facts: dict[str, Any]


def train(
    lm: LM, pairs: Sequence[Preference], dpo: DPOTuning, training: Training, budget: Budget
) -> Preferred:
    """Train one adapter on the pairs; the model's own weights never change.

    Raises MethodError where the reference policy is not the base, and where nothing was learnt.
    """
    data = []
    for pair in pairs:
        prompt, chosen, rejected = list(pair.prompt), list(pair.chosen), list(pair.rejected)
        data.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
    with undisturbed(), tempfile.TemporaryDirectory() as folder:
        with budget.phase("load"):
            nf4 = dpo.quantize == "nf4"
            base = nf4_copy(lm) if nf4 else QuantizedModel(shared_copy(lm), 0)
        how = DPOConfig(
            **training.arguments(lm, folder, len(pairs)),
            beta=dpo.beta,
            loss_type=["sigmoid"],
            disable_dropout=dpo.disable_dropout,
            max_length=dpo.max_length,
            router_aux_loss_coef=0.0,  # DPO's loss alone: none that spreads work over experts
        )
        trainer = TokenDPOTrainer(
            model=base.model,
            args=how,
            train_dataset=Dataset.from_list(data),
            peft_config=training.lora(lm),
            processing_class=library_tokenizer(lm.network),
        )
        refuse_other_tokens(trainer, _samples(pairs))
        tolerance = TOLERANCE[lm.network.model.dtype]
        first = _FirstLoss(tolerance)
        trainer.add_callback(first)
        before = _reference(trainer, data[:PROBE_PAIRS])
        spent = run(trainer, training, len(pairs), budget)
        drift = float((_reference(trainer, data[:PROBE_PAIRS]) - before).abs().max())
        patch = from_peft(trainer.model)
    longest = max(len(pair.chosen) + len(pair.rejected) for pair in pairs[:PROBE_PAIRS])
    if not drift <= tolerance * longest:
        raise MethodError(
            f"the reference policy moved by {drift:.3g} nats while DPO trained: it must be the base"
            " with the adapter off"
        )
    refuse_untrained(patch, spent)
    facts = {"step0_loss": first.loss, "reference_drift": drift, "nf4_layers": base.layers}
    return Preferred(patch, facts | _course(trainer.state.log_history) | spent.facts())


def _samples(pairs: Sequence[Preference]) -> Iterator[Sequence[int]]:
    """Each prompt with each of its two answers."""
    for pair in pairs:
        yield (*pair.prompt, *pair.chosen)
        yield (*pair.prompt, *pair.rejected)


def _reference(trainer: Any, rows: Sequence[dict[str, Any]]) -> Tensor:
    """Log-probabilities (nats) of the answers under the reference policy.

    In training mode: in evaluation mode bitsandbytes would repack its weights for the CPU, for
    good.
    """
    trainer.model.train()
    batch = {
        name: value.to(trainer.args.device)
        for name, value in trainer.data_collator(list(rows)).items()
    }
    return torch.cat(trainer.compute_ref_log_probs(trainer.model, batch)).float().cpu()


def _course(history: Sequence[dict[str, Any]]) -> dict[str, float]:
    """First and last of what TRL logs: margins (in rewards) should rise from zero."""
    logs = [entry for entry in history if "rewards/margins" in entry]
    return {
        "margin_first": float(logs[0]["rewards/margins"]),
        "margin_last": float(logs[-1]["rewards/margins"]),
        "accuracy_last": float(logs[-1]["rewards/accuracies"]),
        "loss_last": float(logs[-1]["loss"]),
    }

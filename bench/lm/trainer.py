"""What methods share that train with a library's trainer (TRL, PEFT): hyper-parameters, copies of
the frozen model, and a training that stops at its budget.

The harness's model is never changed: an adapter goes around a copy that shares the frozen weights,
or around a copy in four bits.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PrinterCallback, TrainerCallback

from bench.cost.budget import Budget, Spent
from bench.errors import InputError, MethodError
from bench.lm.architecture import is_in_mlp
from bench.lm.recipes import TrainingFields
from bench.lm.tune import module_names
from bench.terminal.progress import Progress
from bench.terminal.silence import libraries

if TYPE_CHECKING:
    from bench.lm.model import LM
    from bench.lm.patch import Patch

NF4_BLOCK = 64
"""Weights that share one scale in NF4. On the CPU bitsandbytes 0.50 misreads rows that are no
multiple of it.
"""


@dataclass(frozen=True)
class Training(TrainingFields):
    """One training with a library's trainer: its hyper-parameters,
    as PEFT and the trainers are told them.
    """

    @staticmethod
    def of(values: Mapping[str, Any], seed: int) -> Training:
        """From a configuration."""
        targets = values["targets"]
        if not isinstance(targets, str):
            targets = tuple(targets)
        return Training(**{**values, "targets": targets, "seed": seed})

    def steps(self, rows: int) -> int:
        """Optimizer steps over all epochs."""
        return self.epochs * math.ceil(rows / self.batch)

    def lora(self, lm: LM) -> Any:
        """PEFT's configuration of the adapter."""
        from peft import LoraConfig

        targets: Any = self.targets
        if not isinstance(targets, str):
            targets = list(module_names(lm, targets))
        if lm.network.sees_or_hears or lm.network.has_experts:
            # PEFT would find the names in the vision tower as well: each module is named in full.
            named = lm.network.linears()
            if not isinstance(targets, str):
                named = lm.network.linears_named(targets)
            head = lm.network.model.get_output_embeddings()
            targets = [name for name, module in named.items() if module is not head]
        if lm.network.has_experts:
            # PEFT takes the name of a dense MLP's layer for that of the experts, whose change no
            # patch expresses: what is no MLP learns.
            targets = [name for name in targets if not is_in_mlp(name)]
        return LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            target_modules=targets,
            bias="none",
            task_type="SEQ_2_SEQ_LM" if lm.network.seq2seq else "CAUSAL_LM",
        )

    def arguments(self, lm: LM, folder: str, rows: int) -> dict[str, Any]:
        """What every Hugging Face trainer is told. Its own defaults are not ours: each that matters
        is written out.

        Warm-up steps are rounded down, not up: a warm-up begins at rate zero, and a single step at
        it learns nothing.
        """
        return {
            "output_dir": folder,
            "per_device_train_batch_size": self.micro_batch,
            "gradient_accumulation_steps": self.batch // self.micro_batch,
            "num_train_epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "lr_scheduler_type": self.scheduler,
            "warmup_steps": int(self.warmup * self.steps(rows)),
            "max_grad_norm": self.max_grad_norm,
            "optim": "adamw_torch",
            "bf16": lm.network.model.dtype == torch.bfloat16,
            "activation_checkpointing": self.checkpointing,
            "use_cpu": lm.network.device.type == "cpu",
            "dataloader_pin_memory": False,
            "include_num_input_tokens_seen": "non_padding",
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "seed": self.seed,
            "data_seed": self.seed,
        }


class BudgetStop(TrainerCallback):
    """Ends a training at the first step past the budget; what was learnt until then is kept."""

    def __init__(self, budget: Budget, progress: Progress) -> None:
        self.budget, self.progress = budget, progress

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress.advance()
        if self.budget.over():
            control.should_training_stop = True


def run(trainer: Any, training: Training, examples: int, budget: Budget) -> Spent:
    """Train until the rows or the budget end. `examples`: how many the trainer's rows hold (packed:
    more than rows).
    """
    rows = len(trainer.train_dataset)
    planned = training.steps(rows)
    trainer.remove_callback(PrinterCallback)
    started = time.monotonic()
    with budget.phase("training", total=planned) as progress:
        trainer.add_callback(BudgetStop(budget, progress))
        trainer.train()
        budget.count(tokens_in=int(trainer.state.num_input_tokens_seen))
    steps = int(trainer.state.global_step)
    # The last step of an epoch may hold fewer rows than the others.
    whole_epochs, rest = divmod(steps, planned // training.epochs)
    seen = whole_epochs * rows + min(rest * training.batch, rows)
    return Spent(steps, planned, round(seen * examples / rows), time.monotonic() - started)


def refuse_untrained(patch: Patch, spent: Spent) -> None:
    """Raises MethodError if the training diverged, or left the weights as they were."""
    if not patch.finite:
        raise MethodError(
            "training diverged: the adapter has numbers that are not finite; lower the learning"
            " rate"
        )
    if not patch.changes:
        raise MethodError(
            f"training changed nothing in {spent.steps} of {spent.planned} steps: give it more time"
        )


def shared_copy(lm: LM) -> Any:
    """The model again, with modules of its own around the same frozen weights:
    an adapter may be put into it.
    """
    # deepcopy's memo of what is copied already: each weight stands for its own copy.
    weights: dict[int, Any] = {id(weight): weight for weight in lm.network.model.parameters()}
    return copy.deepcopy(lm.network.model, weights)


@dataclass(frozen=True)
class QuantizedModel:
    """A model, and how many of its linear layers are in four bits."""

    model: Any
    layers: int


def nf4_copy(lm: LM) -> QuantizedModel:
    """The model again with its linear layers in NF4 (QLoRA).

    The output layer stays as it is, and so do layers whose input width is no multiple of 64.
    """
    from transformers import BitsAndBytesConfig

    # As transformers does by default: the output layer stays out of the four bits.
    head = lm.network.model.get_output_embeddings()
    in_four_bits = 0
    as_they_are: list[str] = []
    for name, module in lm.network.model.named_modules():
        if isinstance(module, nn.Linear):
            if module is head or module.in_features % NF4_BLOCK:
                as_they_are.append(name)
            else:
                in_four_bits += 1
    if not in_four_bits:
        raise InputError(
            f"{lm.spec.name}: no linear layer's input width is a multiple of {NF4_BLOCK}: use"
            " quantize=none"
        )
    configure: Any = BitsAndBytesConfig
    how = configure(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=lm.network.model.dtype,
        llm_int8_skip_modules=as_they_are,
    )
    model = type(lm.network.model).from_pretrained(
        None,
        config=copy.deepcopy(lm.network.model.config),
        state_dict=lm.network.model.state_dict(),
        quantization_config=how,
        dtype=lm.network.model.dtype,
        device_map={"": str(lm.network.device)},
    )
    return QuantizedModel(model, in_four_bits)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, a trainer may seed torch's global generators:
    nothing else in the harness may depend on them.
    """
    libraries()
    with torch.random.fork_rng():
        yield

"""How long it takes to train an OPPU adapter for each of many users: all at once, or one user after
the other.

    python benchmarks/many_users.py --users 8                                       # the embedded sample
    python benchmarks/many_users.py --data FOLDER --task lamp4 --users 20 --profile 4
    python benchmarks/many_users.py --data FOLDER --model llama7b-shape --ranker recency --checkpointing    # a GPU
    python benchmarks/many_users.py --model tiny --users 3 --epochs 1 --results /tmp/small.json             # seconds

Three arms learn the same examples from the same start, in as many steps of the same sizes, with the
same AdamW, rates and clipping:
  ours          `bench.lm.bank.train_all`
  peft_float32  `get_peft_model` and transformers' Trainer for one user after the other: float32 weights, shuffled
                batches padded to the longest, logits of all tokens with labels of -100 on the prompt. On a GPU under
                bfloat16 autocast, as OPPU's released code.
  peft_sorted   the same with bfloat16 weights and batches of similar length (the very batches of `ours`)
Each arm has a process of its own; loading the model and a warm-up are left out of its seconds and
its peak. The loss of every arm's adapters, on what they learnt, is then measured by one and the
same model.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from setting import (
    configured,
    count_option,
    frame,
    load,
    named_task,
    option_parser,
    read_users,
    retriever,
    synchronize,
    written,
)

from bench.cost.budget import Budget
from bench.lm import bank
from bench.lm.bank import UserTuning
from bench.lm.model import LM
from bench.lm.multi_lora import StackedAdapters
from bench.lm.patch import Patch
from bench.lm.peft_folders import from_peft
from bench.lm.tune import Tuning, fresh, planned, schedule
from bench.types import User
from methods.oppu import OPPU

ARMS = {"ours": None, "peft_float32": "float32", "peft_sorted": "bfloat16"}
"""The arms, and the weights' dtype where it is not that of --dtype."""
IGNORED = -100


def work(
    args: Namespace, lm: LM, users: Sequence[User]
) -> tuple[list[UserTuning], StackedAdapters]:
    """What all arms train: OPPU's pairs of each user, and the recipe of the paper with LoRA."""
    values = configured("method", "oppu")["method"]
    method = OPPU(retriever(args), k=args.k, recipes=values["recipes"], kinds=values["kinds"])
    task = named_task(args.task)
    jobs = []
    for user in users:
        pairs = method.pairs(task, user, None)
        if pairs:
            jobs.append(UserTuning(f"user {user.id}", pairs))

    paper = values["recipes"]["paper"]
    epochs = args.epochs or paper["epochs"][task.name]
    recipe = {"epochs": epochs, "batch": paper["batch"][task.name]}
    return jobs, StackedAdapters(
        "lora", Tuning(**values["kinds"]["lora"] | {"targets": ("q_proj", "v_proj")}, **recipe)
    )


def rows_of(lm: LM, job: UserTuning) -> list[bank.Row]:
    return [
        (lm.network.encode(one.request).ids, lm.network.answer_ids(one.answer))
        for one in job.examples
    ]


def steps_of(rows: Sequence[bank.Row], tuning: Tuning) -> list[list[int]]:
    """Which examples make a step, in the bank's order."""
    plan = planned([""] * len(rows), [len(prompt) for prompt, _ in rows], tuning)
    return [[index for batch in step for index in batch] for step in plan]


def shuffled(steps: Sequence[Sequence[int]], examples: int) -> list[list[int]]:
    """Steps of the same sizes that take the examples of each epoch in random order."""
    stream = random.Random(0)
    order: list[int] = []
    for _ in range(sum(map(len, steps)) // examples):
        order += stream.sample(range(examples), examples)

    taken = []
    begin = 0
    for step in steps:
        taken.append(order[begin : begin + len(step)])
        begin += len(step)
    return taken


def together(
    lm: LM, jobs: Sequence[UserTuning], adapter: StackedAdapters, budget: Budget
) -> tuple[list[Patch], int]:
    """Ours: the patches and the number of steps of all users."""
    steps = sum(len(steps_of(rows_of(lm, job), adapter.tuning)) for job in jobs)
    return bank.train_all(lm, jobs, adapter, budget), steps


def one_by_one(
    lm: LM, jobs: Sequence[UserTuning], adapter: StackedAdapters, args: Namespace, arm: str
) -> tuple[list[Patch], int]:
    """PEFT and Trainer: the patches and the number of steps of all users."""
    patches, steps = [], 0
    for job in jobs:
        rows = rows_of(lm, job)
        batches = steps_of(rows, adapter.tuning)
        if arm == "peft_float32":
            batches = shuffled(batches, len(rows))
        patch, done = alone(lm, rows, batches, adapter.tuning, checkpointing=args.checkpointing)
        patches.append(patch)
        steps += done
    return patches, steps


def alone(
    lm: LM,
    rows: Sequence[bank.Row],
    batches: list[list[int]],
    tuning: Tuning,
    *,
    checkpointing: bool,
) -> tuple[Patch, int]:
    """One user's adapter by `get_peft_model` and Trainer, from the start that the bank has; the
    number of steps.
    """
    from peft import LoraConfig, get_peft_model
    from torch.utils.data import DataLoader
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    class Given(Trainer):
        """A Trainer whose batches are given."""

        def get_train_dataloader(self) -> Any:
            return DataLoader(
                self.train_dataset, batch_sampler=batches, collate_fn=self.data_collator
            )  # type: ignore[arg-type]

    data = [
        {"input_ids": [*prompt, *answer], "labels": [IGNORED] * len(prompt) + list(answer)}
        for prompt, answer in rows
    ]
    start = fresh(lm.network, tuning)
    config = LoraConfig(
        r=tuning.rank,
        lora_alpha=tuning.alpha,
        target_modules=list(tuning.targets),
        task_type="CAUSAL_LM",  # type: ignore[arg-type]
    )
    model = get_peft_model(lm.network.model, config)
    for name, low in start.items():
        model.get_submodule(f"base_model.model.{name}").lora_A["default"].weight.data.copy_(
            low.a.detach()
        )  # type: ignore[union-attr,index,operator]
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        weights, lr=tuning.learning_rate, weight_decay=tuning.weight_decay, fused=True
    )
    pace = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule(len(batches), tuning.warmup))
    with tempfile.TemporaryDirectory() as folder:
        training = TrainingArguments(
            folder,
            num_train_epochs=1,  # the batches are those of all epochs
            per_device_train_batch_size=tuning.batch,
            max_grad_norm=tuning.max_grad_norm,
            gradient_checkpointing=checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False} if checkpointing else None,
            bf16=lm.network.device.type == "cuda",
            use_cpu=lm.network.device.type == "cpu",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        collate = DataCollatorForSeq2Seq(
            lm.network.tokenizer, pad_to_multiple_of=8, label_pad_token_id=IGNORED
        )
        trainer = Given(
            model,
            training,
            data_collator=collate,
            train_dataset=data,
            optimizers=(optimizer, pace),  # type: ignore[arg-type]
        )
        trainer.train()
    patch = from_peft(model)
    model.unload()  # type: ignore[operator]
    lm.network.model.eval()
    return patch, int(trainer.state.global_step)


def run_arm(args: Namespace, arm: str, out: Path) -> None:
    """Train one arm in this process; its patches and `arm.json` go to `out`."""
    users = read_users(args)
    lm = load(args.model, ARMS[arm] or args.dtype, users)
    jobs, adapter = work(args, lm, users)
    budget = Budget(progress=False)

    def train(some: Sequence[UserTuning], how: StackedAdapters) -> tuple[list[Patch], int]:
        return (
            together(lm, some, how, budget)
            if arm == "ours"
            else one_by_one(lm, some, how, args, arm)
        )

    train(
        [replace(jobs[0], examples=jobs[0].examples[:2])],
        replace(adapter, tuning=replace(adapter.tuning, epochs=1)),
    )
    synchronize()
    budget.costs.clear()
    begin = time.perf_counter()
    with budget.phase("training"):
        patches, steps = train(jobs, adapter)
        synchronize()
    seconds = time.perf_counter() - begin
    for index, patch in enumerate(patches):
        patch.save(out / f"{index}.safetensors")
    tokens = sum(len(prompt) + len(answer) for job in jobs for prompt, answer in rows_of(lm, job))
    record = {
        "seconds": seconds,
        "seconds_per_user": seconds / len(jobs),
        "tokens_per_second": tokens * adapter.tuning.epochs / seconds,
        "peak_memory_mb": budget.costs["training"].peak_memory / 2**20,
        "weights": str(next(lm.network.model.parameters()).dtype).removeprefix("torch."),
        "steps": steps,
        "users": len(jobs),
        "examples": sum(len(job.examples) for job in jobs),
        "tokens": tokens,
        "epochs": adapter.tuning.epochs,
        "batch": adapter.tuning.batch,
    }
    if arm == "ours" and args.profile:
        from profiling import shares

        once = replace(adapter, tuning=replace(adapter.tuning, epochs=1))
        record["profile"] = shares(lambda: bank.train_all(lm, jobs[: args.profile], once, budget))
    (out / "arm.json").write_text(json.dumps(record))


def mean_loss(lm: LM, jobs: Sequence[UserTuning], patches: Sequence[Patch | None]) -> float:
    """Nats for each answer token of all examples, each read with its user's patch."""
    pairs = [(one, patch) for job, patch in zip(jobs, patches, strict=True) for one in job.examples]
    asked = [replace(one.request, patches=(patch,) if patch else ()) for one, patch in pairs]
    scored = [pair for _, [pair] in lm.likelihood(asked, [[one.answer] for one, _ in pairs])]
    return -sum(total for total, _ in scored) / sum(size for _, size in scored)


def main(words: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__, "many_users")
    count_option(parser, "users", 8, "the first so many of the split")
    parser.add_argument("--epochs", type=int, help="default: the paper's for the task")
    count_option(parser, "profile", 0, "profile ours on so many users, one epoch")
    parser.add_argument(
        "--checkpointing", action="store_true", help="gradient checkpointing in the PEFT arms"
    )
    parser.add_argument(
        "--arms", nargs="+", choices=ARMS, default=list(ARMS), help="default all; `ours` is needed"
    )
    args = parser.parse_args(words)
    if "ours" not in args.arms:
        parser.error("--arms: the ratios are to `ours`, which is missing")
    record = measured(args)
    written(record, table(record), args.results)
    if len({arm["steps"] for arm in record["arms"].values()}) > 1:
        sys.exit("the arms took different numbers of steps: they cannot be compared")


def measured(args: Namespace) -> dict[str, Any]:
    arms: dict[str, Any] = {}
    fork = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as name:
        for arm in args.arms:
            out = Path(name) / arm
            out.mkdir()
            process = fork.Process(target=run_arm, args=(args, arm, out))
            process.start()
            process.join()
            if process.exitcode:
                sys.exit(f"{arm}: ended with exit code {process.exitcode}")
            arms[arm] = json.loads((out / "arm.json").read_text())
        users = read_users(args)
        lm = load(args.model, args.dtype, users)
        jobs, _ = work(args, lm, users)
        untrained = mean_loss(lm, jobs, [None] * len(jobs))
        for arm in args.arms:
            patches = [
                Patch.load(Path(name) / arm / f"{index}.safetensors") for index in range(len(jobs))
            ]
            arms[arm]["final_mean_loss"] = mean_loss(lm, jobs, patches)
    profile = arms["ours"].pop("profile", None)
    for arm in arms.values():
        arm["ratio"] = arm["seconds"] / arms["ours"]["seconds"]
    return {
        "what": (
            "OPPU adapters of many users: trained together against PEFT and Trainer one after the"
            " other"
        ),
        "loss_before": untrained,
        "arms": arms,
        **({"profile_of_ours": profile} if profile else {}),
        **frame(args, users=len(jobs), checkpointing=args.checkpointing),
    }


def table(record: dict[str, Any]) -> str:
    ours, machine = record["arms"]["ours"], record["machine"]
    lines = [
        "{users} users, {examples} examples, {tokens} tokens, {epochs} epochs, batch {batch}".format(
            **ours
        ),
        f"{record['asked']['model']} on {machine.get('device') or machine['processor']}",
        (
            f"{'arm':<14}{'weights':<10}{'s/user':>9}{'tokens/s':>10}{'peak MB':>9}{'steps':>7}{'loss':>8}{'/ ours':>8}"
        ),
        f"{'untrained':<14}{'':<45}{record['loss_before']:>8.4f}",
    ]
    lines += [
        f"{name:<14}{arm['weights']:<10}{arm['seconds_per_user']:>9.2f}{arm['tokens_per_second']:>10.0f}"
        f"{arm['peak_memory_mb']:>9.0f}{arm['steps']:>7}{arm['final_mean_loss']:>8.4f}{arm['ratio']:>8.2f}"
        for name, arm in record["arms"].items()
    ]
    lines += [
        f"ours: {share:6.1%} {group}" for group, share in record.get("profile_of_ours", {}).items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

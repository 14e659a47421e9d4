"""ALOE's supervised fine-tuning on the fit users' questions, mixed with code dialogues (Wu et al.
2024), as CHAMELEON's tables compare it (docs/choices.md, A18).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from bench.checks.bounds import ABOVE, COUNT, PLACE, SEED, SOME, Fields
from bench.data.selection import PCASelection
from bench.data.task import Task
from bench.errors import InputError, MethodError
from bench.lm.recipes import TrainingFields
from bench.method import BaselinePrompt, questions_with_items
from bench.types import Message, Personalization, Request, User
from methods.aloe import dialogues
from methods.aloe.dialogues import Dialogue

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.backend import Capability
    from bench.lm.model import LM
    from methods.aloe.sft import Row


@dataclass(frozen=True)
class Aloe(BaselinePrompt):
    """One patch from conversations: the baseline's prompt with history as the user's turn, the gold
    as the assistant's.

    A question of LaMP is a conversation of one exchange. A code dialogue has several: with the loss
    on all tokens it is one sample; with `completion_only` each prefix that ends in an answer is
    one, so that every answer is learnt once.

    `fraction`: share of the questions. `code_rule`: how many code dialogues join them, the same
    share of their set (`equal_fraction`), as many as questions (`equal_rows`) or `none`.
    `code_data`: a `.jsonl` file or hub data set; None takes the small generated one.
    `full_finetune`: the linear layers themselves instead of a LoRA; the patch then has full rank,
    as large as two copies of the layers, and its rate is `full_learning_rate`. `training`: see
    `bench.lm.trainer.Training`.
    """

    ONLY_WITH: ClassVar = {
        **{
            f"code_{name}": ("code_rule", ("equal_fraction", "equal_rows"))
            for name in ("data", "split", "revision")
        },
        "full_learning_rate": ("full_finetune", (True,)),
    }

    select: PCASelection
    fraction: Annotated[float, SOME] = 1.0
    code_rule: Literal["equal_fraction", "equal_rows", "none"] = "equal_fraction"
    code_data: Annotated[str, PLACE] | None = None
    code_split: Annotated[str, PLACE] = "codeact"
    code_revision: Annotated[str, PLACE] | None = None
    completion_only: bool = False
    packing: bool = False
    full_finetune: bool = False
    full_learning_rate: Annotated[float, ABOVE] = 1e-5
    max_length: Annotated[int, COUNT] = 8192
    training: Annotated[Mapping[str, Any], Fields(TrainingFields, ("seed",))] = field(
        default_factory=dict
    )
    seed: Annotated[int, SEED] = 0

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset({"training", "patches"})

    def fit(self, lm: LM, task: Task, users: Sequence[User], budget: Budget) -> Personalization:
        with budget.phase("load"):
            from bench.lm.trainer import Training
            from bench.lm.tune import share
            from methods.aloe import sft

        asked = [
            (user, query) for user in users for query in user.queries if query.gold is not None
        ]
        random.Random(f"aloe/{self.seed}").shuffle(asked)
        if not asked:
            raise MethodError(
                f"aloe: none of the {len(users)} fit users of {task.name} has a question with an"
                " answer"
            )
        chosen = share(asked, self.fraction)
        rows = []
        for query, items in questions_with_items(self.select, task, users, chosen, budget):
            budget.check()
            dialogue = (*task.render(query, items), Message("assistant", (str(query.gold),)))
            rows.append(self._row(lm, f"{task.name} question {query.id}", dialogue))
        code, facts = self._code(lm, len(chosen), budget)
        how = sft.SFTTuning(self.completion_only, self.packing, self.max_length, self.full_finetune)
        training = Training.of(self.training, self.seed)
        if self.full_finetune:
            training = replace(training, learning_rate=self.full_learning_rate)
        tuned = sft.train(lm, rows + code, how, training, budget)
        facts = {
            "fraction": self.fraction,
            "questions": len(asked),
            "questions_chosen": len(chosen),
            "trained": "linear layers (full rank)" if self.full_finetune else "LoRA",
            "loss_on": "answers" if self.completion_only or lm.network.seq2seq else "all tokens",
        } | facts
        return Personalization(patches=(tuned.patch,), facts=facts | tuned.spent.facts())

    def _row(self, lm: LM, name: str, dialogue: Dialogue) -> Row:
        """A question and its answer as the model reads them. One that is too long would lose its
        answer: refused.
        """
        from methods.aloe.sft import Row

        *before, answer = dialogue
        row = Row(
            lm.network.encode(Request(tuple(before), name=name)).ids,
            lm.network.answer_ids(answer.text),
        )
        if len(row) > self.max_length:
            raise MethodError(
                f"{name}: prompt and answer have {len(row)} tokens, more than"
                f" method.max_length={self.max_length}, and would lose the answer: lower"
                " model.history_tokens or raise method.max_length"
            )
        return row

    def _code(self, lm: LM, questions: int, budget: Budget) -> tuple[list[Row], dict[str, Any]]:
        """The code share as samples, and what the record says of it. Samples that are too long are
        counted, not cut.
        """
        if self.code_rule == "none":
            return [], {"code_source": None, "code_dialogues": 0}
        with budget.phase("load"):
            data = dialogues.read(self.code_data, self.code_split, self.code_revision)
        order = list(data.dialogues)
        random.Random(f"aloe/{self.seed}/code").shuffle(order)
        count = (
            max(1, round(self.fraction * len(order)))
            if self.code_rule == "equal_fraction"
            else questions
        )
        rows, too_long = [], 0
        for dialogue in order[:count]:
            budget.check()
            for sample in (
                prefixes(dialogue) if self.completion_only or lm.network.seq2seq else [dialogue]
            ):
                try:
                    rows.append(self._row(lm, "code dialogue", sample))
                except (InputError, MethodError):
                    too_long += 1
        return rows, {
            "code_source": data.source,
            "code_hash": data.hash,
            "code_dialogues": len(order[:count]),
            "code_samples": len(rows),
            "code_too_long": too_long,
        }


def prefixes(dialogue: Dialogue) -> list[Dialogue]:
    """The conversation up to each answer of the assistant."""
    return [
        dialogue[: place + 1]
        for place, turn in enumerate(dialogue)
        if place and turn.role == "assistant"
    ]

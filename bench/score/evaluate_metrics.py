"""The LaMP metrics as Hugging Face `evaluate` metrics that need no network and leave no cache
files.

    metrics = evaluate.combine([LampAccuracy(labels), LampF1(labels)])
    metrics.compute(predictions=texts, references=golds)

Importing this takes seconds; the harness itself uses `bench.score.metrics`, whose official numbers
these are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any, ClassVar

import datasets
import evaluate

from bench.score.metrics import Kind, aggregate, score_one


class _LampMetric(evaluate.Metric):  # type: ignore[misc]
    kind: ClassVar[Kind]
    names: ClassVar[tuple[str, ...]]

    def __init__(self, labels: Sequence[str] = ()) -> None:
        self.labels = tuple(labels)
        # evaluate makes its folder even where it writes nothing
        with tempfile.TemporaryDirectory() as folder:
            super().__init__(keep_in_memory=True, cache_dir=folder)

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=f"LaMP, official rules: {', '.join(self.names)}.",
            citation=(
                "Salemi et al., LaMP: When Large Language Models Meet Personalization (ACL 2024)"
            ),
            inputs_description=(
                "predictions, references: lists of str, the model's texts and LaMP's outputs."
            ),
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(
        self, predictions: Sequence[str], references: Sequence[str], **_: Any
    ) -> dict[str, float]:
        rows = enumerate(zip(predictions, references, strict=True))
        scored = [
            score_one(self.kind, self.labels, raw, gold, id=str(row), group="")
            for row, (raw, gold) in rows
        ]
        metrics = aggregate(self.kind, self.labels, scored)
        return {name: metrics[name] for name in self.names}


class LampAccuracy(_LampMetric):
    """Accuracy of label tasks (LaMP-1, 2, 2N): exact match after stripping.

    Give the task's full label list.
    """

    kind = "classification"
    names = ("accuracy",)


class LampF1(_LampMetric):
    """Macro-F1 of label tasks over the full label list; labels that never occur count as 0."""

    kind = "classification"
    names = ("f1",)


class LampRating(_LampMetric):
    """MAE and RMSE of LaMP-3; an answer that is no finite number counts
    as the end of 1..5 farther from the gold.
    """

    kind = "rating"
    names = ("mae", "rmse")


class LampRouge(_LampMetric):
    """Mean ROUGE-1 and ROUGE-L f-measures of LaMP-4 to 7, as fractions, without stemming."""

    kind = "generation"
    names = ("rouge1", "rougeL")

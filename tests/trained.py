"""What the tests of trained methods share: people to learn from, small methods from their YAML,
models compared.
"""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import yaml
from conftest import ROOT, task_named

from bench.cost.budget import Budget
from bench.data.selection import PCASelection
from bench.lm.model import LM
from bench.types import Item, Query, Request, User

SELECT = PCASelection(n_items=2, embedder="hash")
TASK = task_named("lamp3")
SMALL = {"rank": 4, "batch": 4, "micro_batch": 2, "learning_rate": 3e-3}


def people(count: int = 8) -> list[User]:
    return [
        User(
            f"u{n}",
            tuple(
                Item(f"{n}-{i}", {"text": f"thing {n}-{i}", "score": str(1 + (n + i) % 5)})
                for i in range(3)
            ),
            (Query(f"q{n}", f"review: asked {n}", f"asked {n}", str(1 + n % 5)),),
            f"u{n}",
        )
        for n in range(count)
    ]


def fields(name: str, **changes: Any) -> dict[str, Any]:
    """The method's YAML as its fields; `training` and `tuning` are merged into the YAML's."""
    values = yaml.safe_load((ROOT / "conf" / "method" / f"{name}.yaml").read_text(encoding="utf-8"))
    for group in ("training", "tuning"):
        if group in changes:
            changes[group] = values[group] | changes[group]
    return (
        {key: value for key, value in values.items() if key != "_target_"}
        | {"select": SELECT, "seed": 0}
        | changes
    )


def budget(minutes: float | None = None) -> Budget:
    return Budget(minutes, progress=False)


def weights(lm: LM) -> str:
    """A hash of everything in the model that could be changed:
    weights, names, whether they learn.
    """
    digest = hashlib.sha256()
    for name, value in lm.network.model.named_parameters():
        digest.update(f"{name} {value.requires_grad} {value.grad is None}".encode())
        digest.update(value.detach().contiguous().view(-1).numpy().tobytes())
    digest.update(repr(sorted(name for name, _ in lm.network.model.named_modules())).encode())
    return digest.hexdigest()


def with_own_weights(lm: LM) -> LM:
    """The same model with weights that may be changed."""
    other = copy.copy(lm)
    other.backend = copy.copy(lm.backend)
    other.backend.network = copy.copy(lm.network)  # type: ignore[attr-defined]
    other.network.model = copy.deepcopy(lm.network.model)
    return other


def gold_loss(lm: LM, requests: list[Request], golds: list[str]) -> float:
    """Total negative log-likelihood of the golds (nats)."""
    return -sum(scored[0][0] for _, scored in lm.likelihood(requests, [[gold] for gold in golds]))

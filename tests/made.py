"""Made-up experiments on disk for the report's tests: a configuration,
manifests, records, scores and answers.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from conftest import task_named

from bench.score.metrics import score_one
from bench.score.stats import intervals
from bench.types import Sample

WORDS = [
    "rain",
    "on",
    "the",
    "market",
    "street",
    "again",
    "as",
    "prices",
    "fall",
    "before",
    "a",
    "long",
    "winter",
]


def conf(folder: Path, name: str = "made_table", **changes: Any) -> Path:
    """A conf folder with this one experiment,
    and the scale `small` with two of its seeds beside `paper`.
    """
    experiment = {
        "name": name,
        "title": "A made-up table",
        "family": "zero_shot",
        "paper": "chameleon.table1_users_with_history",
        "common": [],
        "axes": {"task": ["lamp2", "lamp3"], "model": ["mistral"], "seed": [0, 1, 2]},
        "arms": {"instruct": ["method=instruct"], "chameleon": ["method=chameleon"]},
        "rules": True,
        "show": {"kind": "table", "baseline": "instruct", "x": None},
    } | changes
    for path, content in (
        (folder / "experiment" / f"{name}.yaml", {"experiment": experiment}),
        (
            folder / "config.yaml",
            {"rules": {"classification": ["user"], "rating": ["user"], "generation": ["query"]}},
        ),
        (folder / "scale" / "paper.yaml", {"name": "paper"}),
        (
            folder / "scale" / "small.yaml",
            {"name": "small", "axes": {"model": ["smollm2"], "seed": [0, 1]}},
        ),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


def answered(
    task: str, skill: float, *, seed: int = 0, users: int = 20
) -> list[tuple[Sample, str]]:
    """Answers of users with one to three questions, and the golds;
    right with the given probability.
    """
    kind, labels = (lambda one: (one.kind, list(one.labels)))(task_named(task))
    rng, golds, found = random.Random(f"{seed}{skill}"), random.Random(9), []
    for user in range(users):
        for query in range(1 + user % 3):
            gold = golds.choice(labels) if labels else " ".join(golds.choices(WORDS, k=6))
            wrong = rng.choice(labels) if labels else " ".join(rng.choices(WORDS, k=6))
            raw = gold if rng.random() < skill else wrong
            prompt = f"{user}'s history and {query}\nWhat now?"
            found.append(
                (Sample(f"{user}-{query}", f"u{user}", f"u{user}", raw, 90, 3, prompt=prompt), gold)
            )
    assert kind in ("classification", "rating", "generation")
    return found


def cell(
    root: Path,
    task: str,
    method: str,
    *,
    skill: float = 0.5,
    seed: int = 0,
    users: int = 20,
    texts: bool = False,
    model: str = "smollm2-135m",
    base: str = "instruct",
    status: str = "ok",
    variant: str = "",
    **changes: Any,
) -> Path:
    """A cell on disk; its folder. `changes` replace whole fields of the record."""
    data = task_named(task)
    pairs = answered(task, skill, seed=seed, users=users)
    scored = [
        score_one(data.kind, data.labels, one.raw, gold, id=one.id, group=one.group)
        for one, gold in pairs
    ]
    names = {
        "task": task,
        "method": method,
        "model": model,
        "base": base,
        "protocol": "seen",
        "decoding": "greedy",
    }
    names |= {"seed": seed, "variant": variant}
    key = hashlib.sha256(json.dumps([names, skill, status]).encode()).hexdigest()[:16]
    measured = intervals(data.kind, data.labels, scored) if status == "ok" else {}
    phase = {"tokens_in": 900, "tokens_out": 30, "peak_memory": 2**30, "joules": None}
    record = {
        "schema": 1,
        "key": key,
        "status": status,
        "error": None if status == "ok" else "it broke",
        "cell": names,
        "config": {"method": {"name": method}, "seed": seed},
        "model": {"name": model, "dtype": "bfloat16"},
        "data": {
            "name": "lamp",
            "split": "dev",
            "kind": "user",
            "hash": "d1" * 8,
            "users": users,
            "queries": len(pairs),
        },
        "leaks": {},
        "metrics": {name: asdict(one) for name, one in measured.items()},
        "unscored": None,
        "counts": {"samples": len(pairs), "patch_bytes": 400 * users},
        "facts": {"layers": [1, 2]},
        "cost": {
            "load": phase | {"seconds": 99.0},
            "fit": phase | {"seconds": 4.0 + 10 * skill},
            "generate": phase | {"seconds": 6.0},
        },
        "environment": {},
        "started": "2026-01-01T00:00:00+00:00",
        "finished": f"2026-01-01T00:00:0{seed % 10}+00:00",
    } | changes
    folder = root / task / method / key
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(record))
    if status == "ok":
        (folder / "scores.json").write_text(json.dumps([asdict(one) for one in scored]))
    if texts:
        (folder / "samples.jsonl").write_text(
            "".join(json.dumps(asdict(one)) + "\n" for one, _ in pairs)
        )
        (folder / "golds.json").write_text(json.dumps({one.id: gold for one, gold in pairs}))
    return folder


def manifest(
    root: Path,
    name: str,
    arm: str,
    at: Mapping[str, Any],
    folder: Path | None,
    *,
    scale: str = "small",
    overrides: Sequence[str] = (),
    extra: Sequence[str] = (),
) -> None:
    """What a job leaves before it runs; for no folder, of a cell that has not begun."""
    place = folder.relative_to(root).as_posix() if folder else "lamp2/none/0000000000000000"
    content = {
        "experiment": name,
        "scale": scale,
        "arm": arm,
        "at": at,
        "overrides": list(overrides),
        "cell": place,
    }
    content["extra"] = list(extra)
    code = hashlib.sha256(json.dumps([arm, at, overrides]).encode()).hexdigest()[:8]
    path = root / "experiments" / name / scale / f"{arm.replace('/', '_')}-{code}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def experiment(
    root: Path, name: str = "made_table", *, texts: bool = False, base: str = "task_adapted"
) -> Path:
    """Two tasks, two seeds: a rule, the baseline and a method that is better;
    its last seed of lamp3 failed.
    """
    for task in ("lamp2", "lamp3"):
        for seed in (0, 1):
            for arm, method, skill in (
                ("majority_user", "majority", 0.35),
                ("instruct", "instruct", 0.5),
                ("chameleon", "chameleon", 0.85),
            ):
                status = "oom" if (task, seed, arm) == ("lamp3", 1, "chameleon") else "ok"
                at = {"task": task, "model": "smollm2", "seed": seed}
                folder = cell(
                    root,
                    task,
                    method,
                    skill=skill,
                    seed=seed,
                    texts=texts,
                    base=base,
                    status=status,
                )
                manifest(root, name, arm, at, folder)
    return root

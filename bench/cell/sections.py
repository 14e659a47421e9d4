"""The sections of conf/config.yaml as dataclasses: their hints say what each setting may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from bench.cell.artifacts import CHUNK
from bench.cell.repeats import MOST
from bench.checks.bounds import COUNT, NAME, PLACE, SEED, Range
from bench.data.leaks import Policy
from bench.data.parse import Separation
from bench.data.protocol import Protocol
from bench.data.retrieval import Retriever
from bench.data.selection import PCASelection
from bench.data.task import Task
from bench.disk.sources import Stale
from bench.lm.base import BaseSpec
from bench.lm.profile import Profile
from bench.lm.spec import ModelSpec
from bench.score.metrics import Kind
from bench.types import Decoding


@dataclass(frozen=True)
class ShardSection:
    """Which part of a cell's users (bench/cell/shard.py)."""

    index: int
    count: Annotated[int, Range(1, 10**6)]


@dataclass(frozen=True)
class BudgetSection:
    """The clock of fit and adapt."""

    minutes: Annotated[float, Range(above=True)] | None


@dataclass(frozen=True)
class DataSection:
    """Which data: `root` is LaMP's folder, or one with a task.yaml; `version` and `seed` tell one
    generated sample from another.
    """

    name: Literal["sample", "lamp", "folder"]
    root: Annotated[str, PLACE] | None
    kind: Separation
    version: Literal[1, 2] | None
    seed: Annotated[int, SEED]


@dataclass(frozen=True)
class AdapterSection:
    """What method=adapter tries."""

    path: Annotated[str, PLACE] | None


@dataclass(frozen=True)
class ResultsSection:
    """Where cells lie."""

    root: Annotated[str, PLACE]


@dataclass(frozen=True)
class ExperimentSection:
    """What a cell knows of its experiment (bench/sweep/sweeper.py);
    its manifest is called by it.
    """

    name: Annotated[str, NAME]
    scale: Annotated[str, NAME]
    arm: Annotated[str, NAME]
    at: Mapping[str, Any]
    hash: Annotated[str, NAME]
    extra: tuple[str, ...]
    own: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """All of conf/config.yaml: groups and sections by their dataclasses,
    single settings by type and bounds.
    """

    seed: Annotated[int, SEED]
    repeat: Annotated[int, Range(0, MOST - 1)]
    limit: Annotated[int, COUNT] | None
    noise_floor: bool
    leak: Policy
    stale: Stale
    dry: bool
    progress: bool
    window: Annotated[int, Range(CHUNK, step=CHUNK)]
    shard: ShardSection
    budget: BudgetSection
    data: DataSection
    results: ResultsSection
    adapter: AdapterSection
    experiment: ExperimentSection | None
    rules: Mapping[Kind, tuple[str, ...]]
    task: Task
    selection: PCASelection
    retriever: Retriever
    profile: Profile
    model: ModelSpec
    base: BaseSpec
    protocol: Protocol
    decoding: Decoding

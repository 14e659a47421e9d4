"""The base: the model as it is (`instruct`), or adapted to the task by one LoRA on the training
users (`task_adapted`).

An adapted base is a cached artifact. Those of the embedded sample and SmolLM2 ship with the
package.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from bench.checks.bounds import COUNT, SEED, SHARE, Fields
from bench.data.task import OPPU_WORDS, Task
from bench.disk import fingerprints, sources
from bench.disk.env import cache_folder
from bench.errors import InputError
from bench.lm.profile import Profile
from bench.lm.recipes import Tuning
from bench.score.metrics import Kind

if TYPE_CHECKING:
    from bench.lm.patch import Patch

MOST: Mapping[Kind, int] = {"rating": 2000, "classification": 1200, "generation": 600}
_NOT_IN_FINGERPRINT = ("patch", "sources", "seconds", "losses")
"""Notes of a base's file that follow from the rest, or say how it was made and not what it is."""
SHIPPED = Path(__file__).parent.parent / "assets" / "bases"
WEIGHTS = ("name", "weights", "chat", "max_prompt_tokens", "history_tokens")
"""What of a model's identity a base is found by: it serves the model in every dtype."""


@dataclass(frozen=True)
class BaseSpec:
    """Which base, and how an adapted one is trained (`conf/base/*.yaml`).

    `form`: the prompt has no history (`plain`), up to `n_items` items of it (`history`), or a
    written profile (`profile`). `style`: CHAMELEON's A.3 prompt without insight, or OPPU's own.
    `no_history_share`: share of history prompts that show none, so that one base answers both.
    `leave_out`: up to so many of a training user's own history items are asked as questions, others
    shown (0: none); in LaMP-1 a paper of the author's stands for the reference, another author's
    for the other one, and every pair is then asked in both orders. `repeats`: where the history has
    no answers to ask for (LaMP-1, LaMP-7), how often each question is asked, each time with another
    choice of the history. `balance`: examples of a label are taken in proportion to count **
    balance (1 natural, 0 even). `max_examples`: by kind of task, and so many times that of the
    tasks named in `more`; None takes all.
    """

    ONLY_WITH: ClassVar = {"profile": ("form", ("profile",))}
    kind: Literal["auto", "instruct", "task_adapted"] = "auto"
    form: Literal["plain", "history", "profile"] = "history"
    style: Literal["personalized", "oppu"] = "personalized"
    n_items: int = 7
    no_history_share: Annotated[float, SHARE] = 0.1
    leave_out: int = 8
    repeats: Annotated[int, COUNT] = 4
    balance: Annotated[float, SHARE] = 0.5
    max_examples: Mapping[Kind, Annotated[int, COUNT] | None] = field(
        default_factory=lambda: dict(MOST)
    )
    more: Mapping[str, Annotated[int, COUNT]] = field(default_factory=dict)
    tuning: Annotated[Mapping[str, Any], Fields(Tuning, ("seed",))] = field(default_factory=dict)
    profile: Profile = field(default_factory=Profile)
    seed: Annotated[int, SEED] = 0
    retrain: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.profile, Profile):
            raise InputError("base.profile: no _target_, which says that it is a profile")

    def key(self, model: Mapping[str, Any], task: Task, data: str) -> str:
        """A hash of the recipe: the model, the prompts, the training data, these fields.

        It finds the artifact.
        """
        weights = {name: model[name] for name in WEIGHTS}
        # A base learns prompts as its model is given them.
        weights |= {name: model[name] for name in ("template", "date") if name in model}
        labels = list(task.labels)
        parts = [self._recipe(task), self._prompts(task), weights, task.name, labels, data]
        text = json.dumps(parts, sort_keys=True, default=list)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _recipe(self, task: Task) -> dict[str, Any]:
        """The fields that can change the base of this task."""
        recipe = asdict(self)
        del recipe["retrain"]
        # What changes nothing is left out: a base stays the same one when such a field is added.
        if self.style == "personalized":
            del recipe["style"]
        if self.form != "profile":
            del recipe["profile"]
        elif self.profile.model is not None:
            writer = self.profile.model
            recipe["profile"]["model"] = writer.said(recipe["profile"]["model"])
            if writer.commit:
                recipe["profile"]["model"]["revision"] = writer.commit
        recipe["more"] = self.more.get(task.name, 1)
        if recipe["more"] == 1:
            del recipe["more"]
        return recipe

    def _prompts(self, task: Task) -> dict[str, Any]:
        """The templates that its examples are written with."""
        of_oppu = task.oppu["profile_prompt"] if self.style == "personalized" else dict(task.oppu)
        prompts: dict[str, Any] = {"chameleon": dict(task.chameleon), "oppu": of_oppu}
        if self.style == "oppu":
            prompts["shown_words"] = OPPU_WORDS
        if self.form == "profile" and task.cites:  # what a profile is written from
            prompts["profile_line"] = task.oppu["profile_line"]
        return prompts

    def most(self, task: Task) -> int | None:
        """How many examples at most."""
        most = self.max_examples[task.kind]
        return None if most is None else most * self.more.get(task.name, 1)


def find(key: str, *, shipped: bool = True, stale: sources.Stale = "keep") -> Path | None:
    """The artifact of an adapted base, shipped or cached; None also where other code trained the
    cached one and `stale` has it trained again.

    Raises InputError where `stale` is `error`, and where the file is damaged.
    """
    folders = [cache_folder() / "bases"]
    if shipped:
        folders.insert(0, SHIPPED)
    for folder in folders:
        path = next(iter(sorted(folder.glob(f"*-{key}.safetensors"))), None)
        if path is None:
            continue
        # What ships is known by its fingerprint, whichever code trained it.
        if folder == SHIPPED or sources.counts(_differing(path), stale, f"{path}: was trained"):
            return path
    return None


def _differing(path: Path) -> list[str]:
    """Files that have changed since the base was trained, where its notes say with which it was."""
    notes = _read(path).notes
    try:
        before = json.loads(notes.get("sources", "{}"))
    except (ValueError, TypeError):
        raise InputError(f"{path}: the adapted base is damaged; {_again(path)}") from None
    return sources.differing(before, sources.training())


def fingerprint(path: Path) -> str:
    """What the base really is, wherever it was made: a hash of its tensors, and of what they were
    trained from.

    Not of the file's bytes: safetensors writes the notes in another order every time. Raises
    InputError where the file is damaged.
    """
    file = _read(path)
    origin = {"key": path.stem.rpartition("-")[2], **file.notes}
    for name in _NOT_IN_FINGERPRINT:
        origin.pop(name, None)
    digest = hashlib.sha256(json.dumps(origin, sort_keys=True).encode())
    for name, tensor in sorted(file.tensors.items()):
        begin, end = tensor["data_offsets"]
        digest.update(json.dumps([name, tensor["dtype"], tensor["shape"]]).encode())
        digest.update(file.data[file.start + begin : file.start + end])
    return digest.hexdigest()[:16]


def load(path: Path) -> Patch:
    """The base as a patch.

    Raises InputError where the file is damaged, or holds numbers that are none.
    """
    from bench.lm.patch import Patch

    notes = _read(path).notes
    try:
        patch = Patch.load(path)
    except Exception as error:  # a name or a shape that the header has lost
        raise InputError(f"{path}: the adapted base is damaged ({error}); {_again(path)}") from None
    as_recorded = patch.id == notes.get("patch", patch.id)
    if path.parent == SHIPPED and as_recorded:
        as_recorded = fingerprint(path) in fingerprints.GENUINE
    if not as_recorded or not patch.finite:
        raise InputError(
            f"{path}: the adapted base is damaged (numbers have changed); {_again(path)}"
        )
    return patch


def bytes_hash(path: Path) -> str:
    """The fingerprint of a base in records of version 0.1 that were made from this very file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@dataclass(frozen=True)
class _File:
    """A safetensors file: what its header says of each tensor, the notes in it, all bytes, and
    where among these the tensors begin (`start`).
    """

    tensors: Mapping[str, Any]
    notes: Mapping[str, Any]
    data: bytes
    start: int


def _read(path: Path) -> _File:
    """Raises InputError if the file is not as long as its header says."""
    data = path.read_bytes()
    # Eight bytes say how long the header is, which is JSON; the tensors' bytes follow it.
    start = 8 + int.from_bytes(data[:8], "little")
    try:
        tensors = json.loads(data[8:start])
        notes = dict(tensors.pop("__metadata__", {}))
        ends = [tensor["data_offsets"][1] for tensor in tensors.values()]
        if not ends or start + max(ends) != len(data):
            raise ValueError("cut off")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise InputError(f"{path}: the adapted base is damaged; {_again(path)}") from None
    return _File(tensors, notes, data, start)


def _again(path: Path) -> str:
    if path.parent == SHIPPED:
        return "install Lamplight again, or train it with base.retrain=true"
    return "delete the file, and the next run trains it again"


def place(model: str, task: Task, key: str) -> Path:
    """Where a base that is trained here is kept."""
    return cache_folder() / "bases" / f"{model}-{task.name}-{key}.safetensors"

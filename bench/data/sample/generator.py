"""The embedded sample: a seeded generator that writes all LaMP tasks in LaMP's own layout, with
planted preferences.

Every person has one preference, visible only in their history: a leniency, favourite labels, two
research interests, a habit of titling, a voice. Nothing in it comes from LaMP, and no score on it
says anything about LaMP.

Version 2 is a positive control for every task: who reads the history answers better, beyond doubt.
Version 1 has other people in LaMP-2, LaMP-2N and LaMP-3, whose preferences a small model cannot
read. Records that were published on it can be run again.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from bench.data.sample import controls, persons
from bench.data.sample.persons import Fields, SamplePerson, SampleQuestion, SampleTask
from bench.errors import InputError, one_of

LATEST = 2
TASKS = tuple(persons.TASKS)
TIME_TASKS = ("lamp2", "lamp2n", "lamp3", "lamp4")

HISTORY = (8, 14)
DATED_QUESTIONS = (4, 8)
LEAST_DATED = {"train": 30, "dev": 20}

T = TypeVar("T")


@dataclass
class Fresh:
    """Keeps the texts of one task apart: no text is used twice, in either split."""

    used: set[str] = field(default_factory=set)

    def draw(self, make: Callable[[], T], parts: Callable[[T], Sequence[str]]) -> T:
        """The first thing `make` gives whose texts are all new."""
        for _ in range(10_000):
            thing = make()
            if self.used.isdisjoint(parts(thing)):
                self.used.update(parts(thing))
                return thing
        raise InputError(
            "the sample has too many users for its vocabulary: ask for fewer train_users or"
            " dev_users"
        )


def folder(task: str, dated: bool = False) -> str:
    """The task's folder below the root; `dated` for the time-based split."""
    name = persons.TASKS[task].folder
    return f"time/{name}" if dated else name


def tasks(version: int) -> dict[str, SampleTask]:
    """Each task with the people of this version. Raises InputError if there is no such version."""
    one_of("data.version", version, range(1, LATEST + 1))
    if version == 1:
        return persons.TASKS
    people = dict(persons.TASKS)
    for name, person in controls.PEOPLE.items():
        people[name] = replace(people[name], person=person)
    return people


def write(
    root: Path,
    *,
    version: int = LATEST,
    seed: int = 0,
    train_users: int = 300,
    dev_users: int = 100,
) -> None:
    """Write all tasks below `root`, which appears complete or not at all; a complete sample there
    is left as it is.

    The same arguments give the same bytes everywhere. The time-based tasks have a sixth of the
    train users and a third of the dev users (30 and 20 at least). Raises `InputError` where `root`
    holds anything else.
    """
    manifest = {
        "version": version,
        "seed": seed,
        "train_users": train_users,
        "dev_users": dev_users,
    }
    if _complete(root, manifest):
        return
    people = tasks(version)
    root.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        unfinished.chmod(0o755)
        for task in TASKS:
            users = {"train": train_users, "dev": dev_users}
            _write_task(unfinished, task, people[task], seed, users, dated=False)
        counts = {
            "train": max(LEAST_DATED["train"], train_users // 6),
            "dev": max(LEAST_DATED["dev"], dev_users // 3),
        }
        for task in TIME_TASKS:
            _write_task(unfinished, task, people[task], seed, counts, dated=True)
        _write_json(unfinished / "sample.json", manifest)
        _move(unfinished, root, manifest)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _complete(root: Path, manifest: Mapping[str, Any]) -> bool:
    path = root / "sample.json"
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else "no sample.json"
    if found != manifest:
        raise InputError(
            f"{root}: wanted the sample {manifest}, found {found}: remove the folder or name"
            " another one"
        )
    return True


def _move(unfinished: Path, root: Path, manifest: Mapping[str, Any]) -> None:
    try:
        os.rename(unfinished, root)
    except OSError:
        # another process may have been faster; its files are the same
        if not _complete(root, manifest):
            raise


def _write_task(
    root: Path,
    task: str,
    people: SampleTask,
    seed: int,
    users: Mapping[str, int],
    *,
    dated: bool,
) -> None:
    fresh = Fresh()
    for split_number, (split, count) in enumerate(users.items()):
        prefix = f"{2 if dated else 1}{TASKS.index(task) + 1}{split_number}"
        records: list[dict[str, Any]] = []
        golds: list[Fields] = []
        stream = f"{seed}/{'time/' if dated else ''}{task}/{split}"
        turns = Random(f"{stream}/turns").sample(range(count), count)
        for number, turn in enumerate(turns):
            rng = Random(f"{stream}/{number}")
            person = people.person(rng, turn)
            rounds = _dated_rounds(rng, person, fresh) if dated else [_round(rng, person, fresh)]
            for question, profile in rounds:
                id = f"{prefix}{len(records):04d}"
                record: dict[str, Any] = {"id": id, "input": question.input}
                record["profile"] = [{"id": f"{id}{n}", **item} for n, item in enumerate(profile)]
                if dated:
                    record["user_id"] = f"{prefix}{number:04d}"
                records.append(record)
                golds.append({"id": id, "output": question.gold})
        place = root / folder(task, dated) / split
        _write_json(place / f"{split}_questions.json", records)
        _write_json(place / f"{split}_outputs.json", {"task": people.label, "golds": golds})


def _item(rng: Random, person: SamplePerson, n: int, fresh: Fresh) -> Fields:
    return fresh.draw(
        lambda: person.write(rng, n), lambda item: [item[name] for name in person.new]
    )


def _question(rng: Random, person: SamplePerson, fresh: Fresh) -> SampleQuestion:
    return fresh.draw(lambda: person.ask(rng), lambda question: question.new)


def _round(rng: Random, person: SamplePerson, fresh: Fresh) -> tuple[SampleQuestion, list[Fields]]:
    profile = [_item(rng, person, n, fresh) for n in range(rng.randint(*HISTORY))]
    rng.shuffle(profile)
    return _question(rng, person, fresh), profile


def _dated_rounds(
    rng: Random, person: SamplePerson, fresh: Fresh
) -> list[tuple[SampleQuestion, list[Fields]]]:
    """A person's questions in time; each sees the items of earlier days,
    and no question is ever an item.
    """
    day = date(2014, 1, 1) + timedelta(days=rng.randrange(1000))
    profile: list[Fields] = []
    rounds = []
    due = rng.randint(*HISTORY)
    for _ in range(rng.randint(*DATED_QUESTIONS)):
        while len(profile) < due:
            day += timedelta(days=rng.randint(1, 30))
            profile.append({**_item(rng, person, len(profile), fresh), "date": day.isoformat()})
        rounds.append((_question(rng, person, fresh), list(profile)))
        due += rng.randint(1, 2)
    return rounds


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8"))

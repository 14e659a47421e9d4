"""Code dialogues for ALOE: a small generated set, a local JSONL file, or a data set of the Hugging
Face hub.

ALOE mixes its conversations with CodeAct, dialogues in which an assistant solves a task in Python
and reads what the code prints. The generated set has that form (question, code, output, answer) and
right answers, but few kinds of task: it stands in where CodeAct cannot be had, and records say
which of the two was used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, cast, get_args

from bench.data import hub
from bench.errors import InputError
from bench.types import Message, Role

BUILT_IN = "built-in (generated)"
SIZE = 120
"""Dialogues of the generated set."""

Dialogue = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class CodeDialogues:
    """Dialogues that end with the assistant;
    `source` says where they are from, `hash` what they are.
    """

    dialogues: tuple[Dialogue, ...]
    source: str

    @property
    def hash(self) -> str:
        texts = []
        for dialogue in self.dialogues:
            texts.append([[turn.role, turn.text] for turn in dialogue])
        return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


def read(source: str | None, split: str, revision: str | None = None) -> CodeDialogues:
    """The generated set (None), a `.jsonl` file, or a hub data set (`owner/name`), its split and
    revision.

    A row has `messages` or `conversations`: a list of `{"role": system | user | assistant,
    "content": text}`. Turns after the last of the assistant are left out. Raises InputError that
    names the row and the field.
    """
    if source is None:
        return CodeDialogues(generated(), BUILT_IN)
    if source.endswith(".jsonl"):
        path = Path(source).expanduser()
        name, rows = path.name, _lines(path)
    else:
        revision = hub.commit(source, revision, "dataset") or revision  # the one that the key names
        name, rows = f"{source}@{revision or 'main'} ({split})", _hub(source, split, revision)
    dialogues = tuple(_dialogue(row, origin) for origin, row in rows)
    if not dialogues:
        raise InputError(f"{source}: no dialogues")
    return CodeDialogues(dialogues, name)


def generated(count: int = SIZE, seed: int = 0) -> tuple[Dialogue, ...]:
    """Dialogues about small Python tasks; the outputs shown are what the code really gives."""
    rng = Random(f"code dialogues/{seed}")
    dialogues = []
    for index in range(count):
        write = KINDS[index % len(KINDS)]
        dialogues.append(write(rng))
    return tuple(dialogues)


def _four_turns(question: str, code: str, output: object, answer: str) -> Dialogue:
    return (
        Message("user", (question,)),
        Message("assistant", (f"I will compute it.\n<execute>\n{code}\n</execute>",)),
        Message("user", (f"Execution output:\n{output}",)),
        Message("assistant", (answer,)),
    )


def _numbers(rng: Random) -> list[int]:
    return [rng.randint(1, 60) for _ in range(rng.randint(4, 8))]


def _total(rng: Random) -> Dialogue:
    numbers = _numbers(rng)
    odd = rng.random() < 0.5
    kind, test = ("odd", "n % 2 == 1") if odd else ("even", "n % 2 == 0")
    total = sum(n for n in numbers if n % 2 == odd)
    code = f"numbers = {numbers}\nprint(sum(n for n in numbers if {test}))"
    return _four_turns(
        f"What is the sum of the {kind} numbers in {numbers}?", code, total, f"The sum is {total}."
    )


def _largest(rng: Random) -> Dialogue:
    numbers, k = _numbers(rng), rng.randint(2, 3)
    top = sorted(numbers, reverse=True)[:k]
    code = f"numbers = {numbers}\nprint(sorted(numbers, reverse=True)[:{k}])"
    return _four_turns(f"Give the {k} largest numbers of {numbers}.", code, top, f"They are {top}.")


def _words(rng: Random) -> Dialogue:
    words = rng.sample(
        ["river", "cloud", "bridge", "lamp", "garden", "stone", "engine", "window", "letter"], 4
    )
    longest = max(words, key=len)
    code = f"words = {words}\nprint(max(words, key=len))"
    return _four_turns(
        f"Which of {words} is the longest word?", code, longest, f"It is '{longest}'."
    )


def _power(rng: Random) -> Dialogue:
    base, exponent, modulus = rng.randint(2, 9), rng.randint(5, 12), rng.randint(11, 97)
    value = pow(base, exponent, modulus)
    question = f"What remains when {base} to the power of {exponent} is divided by {modulus}?"
    return _four_turns(
        question, f"print(pow({base}, {exponent}, {modulus}))", value, f"The remainder is {value}."
    )


def _function(rng: Random) -> Dialogue:
    """Two turns: a function to write."""
    name, step = rng.choice(["shift", "bump", "raise_all", "add_to_each"]), rng.randint(2, 40)
    question = f"Write a Python function {name}(values) that adds {step} to every number of a list."
    code = f"def {name}(values):\n    return [value + {step} for value in values]"
    return Message("user", (question,)), Message("assistant", (f"```python\n{code}\n```",))


KINDS: Sequence[Callable[[Random], Dialogue]] = (_total, _largest, _words, _power, _function)


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); method.code_data names a .jsonl file"
        ) from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield f"{path}: line {number}", json.loads(line)
            except ValueError as error:
                raise InputError(f"{path}: line {number}: not JSON ({error})") from error


def _hub(name: str, split: str, revision: str | None) -> Iterator[tuple[str, Any]]:
    import datasets

    try:
        rows: Any = datasets.load_dataset(name, split=split, revision=revision)
    # The library raises its own kinds for a missing name, split or network.
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(
            f"method.code_data={name}: cannot load split '{split}' from the hub: {reason} (give a"
            " local .jsonl file, or null for the generated set)"
        ) from error
    for number, row in enumerate(rows):
        yield f"{name}: row {number}", row


def _dialogue(row: Any, origin: str) -> Dialogue:
    turns = None
    if isinstance(row, Mapping):
        turns = row.get("messages") or row.get("conversations")
    if not isinstance(turns, list) or not turns:
        raise InputError(f"{origin}: no list 'messages' (or 'conversations')")
    messages = [_turn(turn, f"{origin}: turn {number}") for number, turn in enumerate(turns)]
    while messages and messages[-1].role != "assistant":
        messages.pop()
    if len(messages) < 2:
        raise InputError(f"{origin}: no turn of the assistant that answers another")
    return tuple(messages)


def _turn(turn: Any, origin: str) -> Message:
    fields = turn if isinstance(turn, Mapping) else {}
    role, content = fields.get("role"), fields.get("content")
    roles = get_args(Role)
    if role not in roles:
        raise InputError(f"{origin}: 'role' is {role!r} (need {', '.join(roles)})")
    if not isinstance(content, str) or not content.strip():
        raise InputError(f"{origin}: no text in 'content'")
    return Message(cast(Role, role), (content,))

"""`task.yaml`: the task that a file's columns make, with plain prompts in the styles of three
papers, to be edited.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.data.task import Kind

TEMPLATES = Path(__file__).parent / "templates"
RESERVED = ("i", "id", "date", "citation", "input", "items")
"""Names that prompts or LaMP's files use for something else."""
SUBMISSION_NAME = re.compile(r"[^A-Za-z0-9_-]+")

HEAD = """\
# The task of this folder: python -m bench data=folder data.root={root} method=...
# Written by python -m bench.ingest, and made to be edited: every text below is yours. Prompts have
# slots: [HISTORY], [QUERY] and [INSIGHT], or a field of an item in braces. Another wording makes
# other cells.
"""

COMMENTS = {
    "name": "results are filed under it",
    "title": "for people: in tables and reports",
    "folder": "below time/ in this folder: train/ and dev/ lie there",
    "kind": "classification | rating | generation: metrics follow from it",
    "labels": "all valid answers; none for generation",
    "fields": "what each history item has",
    "source": "the side of an item that looks like a question",
    "target": "the side that looks like an answer",
    "corpus": "what a retriever reads",
    "markers": "the bare question begins behind this in the official input",
    "max_new_tokens": "of an answer, at the most",
    "input_template": "the official input of a question",
    "chameleon": "prompts of most methods (style: personalized); history_line is an item",
    "lamp": "style: lamp",
    "oppu": "style: oppu, and how a profile is written (profile_prompt, profile_line)",
}
"""What each key of the file is, on the line above it."""


@dataclass(frozen=True)
class Wording:
    """What the templates are filled with. `source`, `target`: the fields; `input`, `output`: the
    same in words.
    """

    name: str
    kind: Kind
    source: str
    target: str
    labels: tuple[str, ...]

    @property
    def input(self) -> str:
        return self.source.replace("_", " ").strip()

    @property
    def output(self) -> str:
        return self.target.replace("_", " ").strip()


def wording(name: str, kind: Kind, source: str, target: str, labels: Sequence[str]) -> Wording:
    """The words of a task, from the names of two columns."""
    first, second = field_name(source), field_name(target)
    if first == second:
        second = f"{second}_2"
    return Wording(name, kind, first, second, tuple(labels))


def field_name(column: str) -> str:
    """A column's name as a field of an item: one word, which a template may have in braces."""
    name = re.sub(r"\W+", "_", column.rpartition(".")[2]).strip("_").lower() or "text"
    if name in RESERVED or name[0].isdigit():
        name = f"the_{name}"
    return name


def task_values(words: Wording) -> dict[str, Any]:
    """The whole task, as `bench.data.task.load` takes it."""
    path = TEMPLATES / f"{words.kind}.yaml"
    templates = yaml.safe_load(path.read_text(encoding="utf-8"))
    filled: dict[str, Any] = _filled(templates, _slots(words))
    return {
        "name": words.name,
        "title": words.name.replace("_", " "),
        "official": words.name,
        "submission": words.name,
        "folder": words.name,
        "kind": words.kind,
        "labels": list(words.labels),
        "fields": [words.source, words.target],
        "source": words.source,
        "target": words.target,
        "corpus": [words.source],
        "markers": [_marker(filled["input_template"], words.source)],
        **filled,
    }


def _slots(words: Wording) -> dict[str, str]:
    slots = {"<input>": words.input, "<output>": words.output}
    slots |= {"<source>": words.source, "<target>": words.target}
    slots["<labels>"] = ", ".join(words.labels)
    if words.labels:
        slots |= {"<low>": words.labels[0], "<high>": words.labels[-1]}
    return slots


def _filled(value: Any, slots: Mapping[str, str]) -> Any:
    """Templates with their slots filled, in one pass: a label may look like a slot."""
    if isinstance(value, Mapping):
        return {name: _filled(entry, slots) for name, entry in value.items()}
    if not isinstance(value, str):
        return value
    return re.sub(r"<[a-z]+>", lambda slot: slots.get(slot[0], slot[0]), value)


def _marker(template: str, source: str) -> str:
    """The shortest end of what stands before the text that stands nowhere else there: a label may
    hold the name of a column.
    """
    before = template.partition("{" + source + "}")[0].rstrip()
    words = before.split(" ")
    for start in range(len(words) - 1, 0, -1):
        marker = " ".join(words[start:])
        if before.find(marker) == len(before) - len(marker):
            return marker
    return before


def task_yaml(values: Mapping[str, Any], root: Path) -> str:
    """The text of task.yaml, each key with a comment."""
    parts = [HEAD.format(root=root)]
    for name, value in values.items():
        if name in COMMENTS:
            parts.append(f"\n# {COMMENTS[name]}\n")
        parts.append(
            yaml.dump(
                {name: value}, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=100_000
            )
        )
    return "".join(parts)


class _Dumper(yaml.SafeDumper):
    """Texts with line breaks stand on one line, in quotes, as in conf/task/."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)

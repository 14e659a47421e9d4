"""A task's file, checked: its templates have the slots that are filled,
and its fields are fields of its items.
"""

from __future__ import annotations

import re
from string import Formatter

from bench.data.task import Task
from bench.errors import InputError, as_text

NEEDED = {
    "chameleon": (
        "history_line",
        "personalized",
        "neutral",
        "no_history",
        "insight_personal",
        "insight_neutral",
    ),
    "lamp": ("joiner", "item", "whole"),
    "oppu": ("prompt", "retrieval_history", "OPPU_full", "profile_prompt", "profile_line"),
}
"""The templates that prompts are made of, by paper."""

LINES = ("chameleon.history_line", "lamp.item", "oppu.retrieval_history", "oppu.profile_line")
"""Templates that an item's fields are put into."""


def check_task(task: Task) -> None:
    """Raises InputError where the task's parts do not go together, naming the setting."""
    for paper, names in NEEDED.items():
        for name in names:
            if name not in getattr(task, paper):
                raise InputError(
                    f"task.{paper}.{name} is missing (there need to be {', '.join(names)})"
                )
    _check_fields(task)
    _check_labels(task)
    for line in LINES:
        _check_line(task, line)
    _check_prompt(task)


def _check_fields(task: Task) -> None:
    if not task.fields:
        raise InputError("task.fields=[]: a history item has at least one field")
    named = {
        "source": (task.source,),
        "corpus": task.corpus,
        "target": (task.target,) if task.target else (),
    }
    for setting, names in named.items():
        for name in names:
            if name not in task.fields:
                raise InputError(
                    f"task.{setting}={as_text(name)}: no field of an item; there are"
                    f" {', '.join(task.fields)}"
                )
    if not task.markers or not all(task.markers):
        raise InputError("task.markers: at least one text, behind which the question's own begins")


def _check_labels(task: Task) -> None:
    if (task.kind == "generation") == bool(task.labels):
        needs = "has none" if task.kind == "generation" else "needs some, as in task.labels=[...]"
        raise InputError(
            f"task.labels={as_text(list(task.labels))}: a task of kind {task.kind} {needs}"
        )
    if len(set(task.labels)) < len(task.labels) or not all(label.strip() for label in task.labels):
        raise InputError(f"task.labels={as_text(list(task.labels))}: each a text of its own")
    if task.kind == "rating" and not all(
        re.fullmatch(r"[0-9]+(\.[0-9]+)?", label) for label in task.labels
    ):
        raise InputError(
            f"task.labels={as_text(list(task.labels))}: ratings are numbers from 0 on, as in"
            " ['1','2','3','4','5']"
        )


def _check_line(task: Task, line: str) -> None:
    paper, name = line.split(".")
    # the last only in OPPU's own release
    known = ("i", *task.fields, *(("citation",) if task.cites else ()))
    try:
        parts = list(Formatter().parse(getattr(task, paper)[name]))
    except ValueError as error:
        raise InputError(
            f"task.{line}: {error}; braces stand around a field's name alone, as in {{title}}"
        ) from None
    for _, slot, form, turned in parts:
        if slot is not None and (slot not in known or form or turned):
            raise InputError(
                f"task.{line}: {{{as_text(slot)}}} is no field of an item; there are"
                f" {', '.join(known)}"
            )


def _check_prompt(task: Task) -> None:
    """The templates that a question is put into."""
    holes = 3 if task.cites else 1
    if task.oppu["prompt"].count("{}") != holes:
        raise InputError(f"task.oppu.prompt: needs {{}} {holes} times, where the question stands")
    if not task.cites and task.lamp["whole"].count("{items}") != 1:
        raise InputError("task.lamp.whole: needs {items} once, where the history stands")
    if "{" + task.source + "}" not in task.input_template:
        raise InputError(
            f"task.input_template: needs {{{task.source}}}, where a question's text stands"
        )

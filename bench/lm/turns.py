"""The turns of a conversation in the forms that chat templates take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Turn = dict[str, Any]
Form = Callable[[list[Turn]], list[Turn]]


def turn(role: str, text: str) -> Turn:
    """One turn, as a template reads it."""
    return {"role": role, "content": text}


def as_blocks(text: str) -> list[dict[str, str]]:
    """A text as a block, as templates of models read it that see images too."""
    return [{"type": "text", "text": text}]


def as_given(turns: list[Turn]) -> list[Turn]:
    """The turns as they are."""
    return turns


def neighbours_joined(turns: list[Turn]) -> list[Turn]:
    """Turns that alternate: neighbours of one role as one turn."""
    joined: list[Turn] = []
    for given in turns:
        if joined and joined[-1]["role"] == given["role"]:
            text = f"{joined[-1]['content']}\n\n{given['content']}"
            joined[-1] = turn(given["role"], text)
        else:
            joined.append(given)
    return joined


def system_as_user(turns: list[Turn]) -> list[Turn]:
    """The system's words at the beginning of the user's, as Gemma's own template has them."""
    asked = []
    for given in turns:
        asked.append(given | {"role": "user"} if given["role"] == "system" else given)
    return neighbours_joined(asked)


FORMS: tuple[Form, ...] = (as_given, neighbours_joined, system_as_user)

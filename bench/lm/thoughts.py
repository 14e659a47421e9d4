"""How models think aloud before they answer: the signs around a thought."""

from __future__ import annotations

SWITCHES = ("enable_thinking", "thinking")
"""Settings by which templates turn a model's thoughts on and off."""

THOUGHTS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought", "<channel|>"),
    ("[THINK]", "[/THINK]"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
)
"""How models open a thought and close it."""


def begins_with_thought(text: str) -> bool:
    """Whether an answer begins as a thought does."""
    return text.lstrip().startswith(tuple(opened for opened, _ in THOUGHTS))


def empty_thought(text: str) -> str:
    """What closes a thought that a prompt has opened and nothing is in; empty if none is open."""
    for opened, closed in THOUGHTS:
        if text.rstrip().endswith(opened):
            return f"\n{closed}\n\n"
    return ""


def common_end(first: str, second: str) -> str:
    """The longest text that both end with."""
    length = 0
    while length < min(len(first), len(second)) and first[-1 - length] == second[-1 - length]:
        length += 1
    return first[len(first) - length :]

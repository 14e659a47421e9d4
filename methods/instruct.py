"""The instruct baseline: the task's prompt with the user's selected history. It has no insight and
changes no weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.data.selection import PCASelection
from bench.method import BaselinePrompt


@dataclass(frozen=True)
class Instruct(BaselinePrompt):
    """CHAMELEON's baseline (section 4.1). `history=none` is the floor without any
    personalization.
    """

    select: PCASelection
    history: Literal["selected", "none"] = "selected"

"""What a model must be able to do for Lamplight, whichever engine runs it. Imports no torch."""

from __future__ import annotations

from typing import Literal

Capability = Literal["logprobs", "patches", "activations", "training"]
"""What only some engines can do besides answering: give the log-probability of a given answer
(`logprobs`), answer with a user's changes to the weights (`patches`), show what a layer computes
(`activations`), and have their weights trained (`training`).
"""

ALL: frozenset[Capability] = frozenset({"logprobs", "patches", "activations", "training"})

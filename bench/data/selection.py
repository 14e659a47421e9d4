"""CHAMELEON's selection of history items: the largest in the space of a history's principal
components.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from bench.checks.bounds import COUNT, PLACE
from bench.data.embed import cut, embed
from bench.data.task import Task
from bench.errors import InputError
from bench.types import Item, User

if TYPE_CHECKING:
    from bench.data.embed import Array

WINDOW = 256
"""Users whose histories are embedded at once."""


@dataclass(frozen=True)
class PCASelection:
    """The items whose embeddings have the largest norm in the space of the top principal
    components.

    CHAMELEON section 3.1 (docs/choices.md, A1 to A3). `n_items`: how many are kept, all
    where there are no more. `n_components`: None takes min(n_items, N - 1, width). `center`: `fit`
    centres as PCA does, which picks items far from the user's mean; `none` takes the raw embeddings
    as printed, which picks items along the user's main theme. `order`: of the kept items in the
    prompt. `embedder`: `minilm` (packaged), `hash`, a folder or a hub id.
    """

    n_items: int = 10
    n_components: Annotated[int, COUNT] | None = None
    center: Literal["fit", "none"] = "fit"
    order: Literal["history", "score"] = "history"
    embedder: Annotated[str, PLACE] = "minilm"

    def select(
        self, task: Task, users: Sequence[User], check: Callable[[], object] = lambda: None
    ) -> list[tuple[Item, ...]]:
        """The items to show for each user. `check` is called now and then; what it raises ends the
        selection.
        """
        # By place, not by id: a user stands here once for each past that their questions may see.
        long = [
            (place, user) for place, user in enumerate(users) if len(user.history) > self.n_items
        ]
        chosen: dict[int, tuple[Item, ...]] = {}
        for start in range(0, len(long), WINDOW):
            check()
            some, at = long[start : start + WINDOW], 0
            vectors = embed(
                [task.item_text(item) for _, user in some for item in user.history], self.embedder
            )
            for place, user in some:
                rows = self.rank(vectors[at : at + len(user.history)])
                at += len(user.history)
                kept = rows if self.order == "score" else sorted(rows)
                chosen[place] = tuple(user.history[row] for row in kept)
        return [chosen.get(place, user.history) for place, user in enumerate(users)]

    def cut(self, task: Task, users: Sequence[User]) -> list[int]:
        """Of each user's items that are compared, how many the embedder did not read to
        their end."""
        return [
            (
                cut(map(task.item_text, user.history), self.embedder)
                if len(user.history) > self.n_items
                else 0
            )
            for user in users
        ]

    def rank(self, vectors: Array) -> list[int]:
        """The rows with the largest norm in the principal space, best first; [N, width] -> at most
        n_items indices.

        Ties go to the newer item. Raises InputError where the raw space leaves nothing to compare.
        """
        import numpy as np

        number, width = vectors.shape
        if number <= self.n_items:
            return list(range(number))
        data = vectors - vectors.mean(0) if self.center == "fit" else vectors
        _, values, axes = np.linalg.svd(data.astype(np.float64), full_matrices=False)
        rank = int((values > 1e-7 * max(values[0], 1e-12)).sum())
        components = self.n_components or min(self.n_items, number - 1, width)
        if self.center == "none" and components >= rank:
            if self.n_components:
                raise InputError(
                    f"selection.n_components={components} with center=none: a history of {number}"
                    f" items has rank {rank}, so nothing would be left to compare; take fewer"
                    " components"
                )
            components = max(1, rank - 1)
        norms = np.linalg.norm(data @ axes[:components].T, axis=1).round(9)
        order: list[int] = np.lexsort((-np.arange(number), -norms)).tolist()
        return order[: self.n_items]

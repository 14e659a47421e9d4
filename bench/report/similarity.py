"""How alike users' patches are (OPPU, figure 7): `similarity.json` of a cell, computed from its
artifacts once.

For each tensor that two patches share: the cosine of their numbers, as one vector; then the mean
over tensors. A and B of a low-rank change are told apart from their product BA, which is what the
model feels: A starts from random numbers, and whether all users start from the same ones decides
how alike it looks (`method.shared_start`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.disk import store
from bench.errors import InputError

Floats = NDArray[np.float64]
KINDS = ("A", "B", "BA")


def of_cell(folder: Path) -> dict[str, Any] | None:
    """`{"users": ids, "kinds": {"A": [users, users], "B": ..., "BA": ...}}`; None where the cell
    has no users' patches.

    Read from similarity.json, which is written first where it is missing. Needs no torch.
    """
    path = folder / "similarity.json"
    if path.exists():
        at_hand: dict[str, Any] = store.read_json(path)
        return at_hand
    patches = _patches(folder / "artifacts")
    if not patches:
        return None
    kinds = {}
    for kind, cosines in compare(list(patches.values())).items():
        kinds[kind] = cosines.tolist()
    content = {"users": list(patches), "kinds": kinds}
    store.write_json(path, content)
    return content


@dataclass(frozen=True)
class CosineRange:
    """The cosines of all pairs of different users in one kind of tensor."""

    kind: str
    median: float
    least: float
    most: float


def apart(folder: Path) -> list[CosineRange]:
    """The range of each kind; empty for less than two users."""
    content = of_cell(folder)
    if content is None or len(content["users"]) < 2:
        return []
    ranges = []
    for kind, rows in content["kinds"].items():
        cosines = of_others(np.array(rows, dtype=float))
        median, least, most = np.median(cosines), cosines.min(), cosines.max()
        ranges.append(CosineRange(kind, float(median), float(least), float(most)))
    return ranges


def of_others(matrix: Floats) -> Floats:
    """What stands beside the diagonal of [users, users], as one row: a user with another one."""
    others: Floats = matrix[~np.eye(len(matrix), dtype=bool)]
    return others


def compare(paths: Sequence[Path]) -> dict[str, Floats]:
    """Cosines of every two patch files, [patches, patches] for each of A, B and BA; 0/0 is 0.

    Raises InputError where a file is no low-rank patch or has other tensors than the first.
    """
    from safetensors import safe_open

    total = {kind: np.zeros((len(paths), len(paths))) for kind in KINDS}
    with ExitStack() as stack:
        files = [stack.enter_context(safe_open(path, "numpy")) for path in paths]
        names = _names(paths, files)
        for name in names:
            for kind, products in _products(_stack(files, f"{name}.a"), _stack(files, f"{name}.b")):
                total[kind] += _cosines(products)
    return {kind: cosines / len(names) for kind, cosines in total.items()}


def _names(paths: Sequence[Path], files: Sequence[Any]) -> list[str]:
    """The tensors that the patches change, each a pair of `NAME.a` and `NAME.b`."""
    tensors = sorted(files[0].keys())
    names = [name.removesuffix(".a") for name in tensors if name.endswith(".a")]
    for path, file in zip(paths, files, strict=True):
        if not names or sorted(file.keys()) != tensors:
            raise InputError(
                f"{path}: not a low-rank patch with the tensors of {paths[0].name}, so not"
                " comparable"
            )
    return names


def _stack(files: Sequence[Any], tensor: str) -> Floats:
    """A tensor of all users, [users, ...]."""
    return np.stack([file.get_tensor(tensor) for file in files]).astype(np.float64)


def _products(a: Floats, b: Floats) -> Iterator[tuple[str, Floats]]:
    """Inner products of every two users' factors, [users, users], from a [users, rank, in] and b
    [users, out, rank].
    """
    inner_a, inner_b = _inner(a), _inner(b.transpose(0, 2, 1))
    same_rank = np.arange(a.shape[1])
    yield "A", inner_a[:, :, same_rank, same_rank].sum(-1)
    yield "B", inner_b[:, :, same_rank, same_rank].sum(-1)
    # <B A, B' A'> = sum over ranks of (A A'^T) * (B^T B'): the product itself is never made
    yield "BA", (inner_a * inner_b).sum((-1, -2))


def _inner(factors: Floats) -> Floats:
    """[users, rank, width] -> inner products of every two rows of every two users,
    [users, users, rank, rank].
    """
    users, rank, width = factors.shape
    rows = factors.reshape(users * rank, width)
    inner: Floats = (rows @ rows.T).reshape(users, rank, users, rank).transpose(0, 2, 1, 3)
    return inner


def _cosines(products: Floats) -> Floats:
    length = np.sqrt(np.maximum(np.diagonal(products), 0))
    scale = np.outer(length, length)
    cosines: Floats = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    return cosines


def _patches(artifacts: Path) -> Mapping[str, Path]:
    """The file of each user's one low-rank patch, in the order of the users."""
    patches = {}
    for path in sorted(artifacts.glob("adapt-*.json")):
        for personal in store.read_artifact(path):
            if "user" in personal and personal["patches"]:
                name = f"{personal['patches'][0]}.safetensors"
                patches[str(personal["user"])] = artifacts / "patches" / name
    return patches

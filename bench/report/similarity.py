"""How alike users' patches are (OPPU, figure 7): `similarity.json` of a cell, computed from its
artifacts once.

For each tensor that two patches share: the cosine of their numbers, as one vector; then the mean
over tensors. A and B of a low-rank change are told apart from their product BA, which is what the
model feels: A starts from random numbers, and whether all users start from the same ones decides
how alike it looks (`method.shared_start`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
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
        found: dict[str, Any] = store.read_json(path)
        return found
    patches = _patches(folder / "artifacts")
    if not patches:
        return None
    made = {
        "users": list(patches),
        "kinds": {kind: one.tolist() for kind, one in compare(list(patches.values())).items()},
    }
    store.write_json(path, made)
    return made


def apart(folder: Path) -> list[tuple[str, float, float, float]]:
    """Kind, median, least and greatest cosine of two different users' patches;
    empty for less than two users.
    """
    found = of_cell(folder)
    if found is None or len(found["users"]) < 2:
        return []
    others = ~np.eye(len(found["users"]), dtype=bool)
    values = {
        kind: np.array(matrix, dtype=float)[others] for kind, matrix in found["kinds"].items()
    }
    return [
        (kind, float(np.median(one)), float(one.min()), float(one.max()))
        for kind, one in values.items()
    ]


def compare(paths: Sequence[Path]) -> dict[str, Floats]:
    """Cosines of every two patch files, [patches, patches] for each of A, B and BA; 0/0 is 0.

    Raises InputError where a file is no low-rank patch or has other tensors than the first.
    """
    from safetensors import safe_open

    with ExitStack() as stack:
        files = [stack.enter_context(safe_open(path, "numpy")) for path in paths]
        tensors = sorted(files[0].keys())
        names = [name.removesuffix(".a") for name in tensors if name.endswith(".a")]
        for path, file in zip(paths, files, strict=True):
            if not names or sorted(file.keys()) != tensors:
                raise InputError(
                    f"{path}: not a low-rank patch with the tensors of {paths[0].name}, so not"
                    " comparable"
                )
        total = {kind: np.zeros((len(paths), len(paths))) for kind in KINDS}
        for name in names:
            a, b = (
                np.stack([file.get_tensor(f"{name}.{part}") for file in files]).astype(np.float64)
                for part in "ab"
            )
            inner_a, inner_b = _inner(a), _inner(b.transpose(0, 2, 1))
            same_rank = np.arange(a.shape[1])
            for kind, product in (
                ("A", inner_a[:, :, same_rank, same_rank].sum(-1)),
                ("B", inner_b[:, :, same_rank, same_rank].sum(-1)),
                # <B A, B' A'> = sum over ranks of (A A'^T) * (B^T B')
                ("BA", (inner_a * inner_b).sum((-1, -2))),
            ):
                total[kind] += _cosines(product)
    return {kind: found / len(names) for kind, found in total.items()}


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
    values = [
        value
        for path in sorted(artifacts.glob("adapt-*.json"))
        for value in store.read_artifact(path)
    ]
    return {
        str(value["user"]): artifacts / "patches" / f"{value['patches'][0]}.safetensors"
        for value in values
        if "user" in value and value["patches"]
    }

"""What an id of the Hugging Face hub stands for: the commit that is its `main` today, on the hub or
in its cache.

Weights under one id change when its owner moves `main`. A key that held the id alone would serve
the old answers.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Literal

from bench.errors import InputError, as_text

RepoKind = Literal["model", "dataset"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_WEIGHTS = ("*.safetensors", "*.bin")
_SECONDS = 10.0


@cache
def commit(id: str, revision: str | None = None, kind: RepoKind = "model") -> str | None:
    """The commit that a revision (None: `main`) stands for; None where neither hub nor cache knows
    it.

    Asked once in a process, so that the cells of a sweep are all of the same one.
    """
    wanted = revision or "main"
    if _COMMIT.fullmatch(wanted):
        return wanted
    if not _ID.fullmatch(id):
        return None
    return _on_the_hub(id, wanted, kind) or _in_the_cache(id, wanted, kind)


def pinned(id: str, revision: str | None = None) -> str:
    """`id@commit`; the revision's own name where its commit is unknown."""
    return f"{id}@{commit(id, revision) or revision or 'main'}"


def check(id: str, revision: str | None, advice: str) -> None:
    """Raises InputError, with the advice,
    where the weights can come neither from the hub nor from its cache.
    """
    known = commit(id, revision)
    if known is None:
        said = f" at revision {revision}" if revision else ""
        raise InputError(
            f"the model '{id}'{said} is neither on a hub that answers nor in the hub's cache"
            f" {advice}"
        )
    folder = _snapshot(id, known)
    whole = folder is not None and any(path for form in _WEIGHTS for path in folder.glob(form))
    if not whole and _on_the_hub(id, known, "model") is None:
        raise InputError(
            f"the model '{id}' is in the hub's cache without weights, and the hub does not answer"
            f" {advice}"
        )


@cache
def _on_the_hub(id: str, revision: str, kind: RepoKind) -> str | None:
    """Its commit there; None where there is no such id, or nobody to ask."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        return None
    try:
        return HfApi().repo_info(id, revision=revision, repo_type=kind, timeout=_SECONDS).sha
    except Exception:  # no such id, no right to see it, no network: each of a class of its own
        return None


def _in_the_cache(id: str, revision: str, kind: RepoKind) -> str | None:
    """The commit that the cache's reference names;
    its files are there whether or not the hub is.
    """
    path = _folder(id, kind) / "refs" / revision
    try:
        said = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return said if _COMMIT.fullmatch(said) else None


def _snapshot(id: str, known: str) -> Path | None:
    folder = _folder(id, "model") / "snapshots" / known
    return folder if folder.is_dir() else None


def _folder(id: str, kind: RepoKind) -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    try:
        return Path(HF_HUB_CACHE) / repo_folder_name(repo_id=id, repo_type=kind)
    except ValueError:  # the library's own rules of names
        raise InputError(
            f"{as_text(id)}: neither a folder here nor a name of the hub, as in owner/name"
        ) from None

"""Is a loaded model all of what its files hold? A tensor that is missing would be a random one,
without a word.

What the library itself knows to be no fault is in no report: tied heads, and buffers that are
computed anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.errors import InputError

_SHOWN = 3
"""Tensors that an error names."""
_SUMS = "checksums.json"

_intact: set[tuple[object, ...]] = set()
"""Folders, as they stand, that this process has read and found whole: the next load need not read
them again.
"""


def seal(folder: Path) -> None:
    """Write a checksum of each file beside them."""
    (folder / _SUMS).write_text(json.dumps(_sums(folder), indent=1), encoding="utf-8")


def as_written(folder: Path) -> bool:
    """Whether a folder's files are those that were sealed in it; False where nothing was."""
    looks = (
        folder,
        *sorted(
            (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()
        ),
    )
    if looks not in _intact:
        try:
            said = json.loads((folder / _SUMS).read_bytes())
        except (OSError, ValueError):
            return False
        if said != _sums(folder):
            return False
        _intact.add(looks)
    return True


def _sums(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name != _SUMS and path.is_file():
            with path.open("rb") as file:
                found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


@contextmanager
def loading(source: str, advice: str) -> Iterator[None]:
    """Inside, whatever a library says of files that it cannot read becomes one line with the
    advice.

    Truncated weights, pickles with code in them and broken JSON each raise an exception of another
    class.
    """
    import torch

    try:
        yield
    except (InputError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise InputError(f"cannot load the model '{source}': {reason} {advice}") from error


def refuse_partial(source: str, report: Mapping[str, Any]) -> None:
    """Raises InputError, with names, unless the files hold exactly the model's tensors.

    `report`: `output_loading_info` of transformers' `from_pretrained`.
    """
    found = {
        "missing": report["missing_keys"],
        "not of this model": report["unexpected_keys"],
        "of another shape": [name for name, *_ in report["mismatched_keys"]],
    }
    faults = [f"{len(names)} {what}: {some(names)}" for what, names in found.items() if names]
    faults += list(report["error_msgs"][:1])
    if faults:
        raise InputError(
            f"the weights of '{source}' are not those of its config.json: tensors"
            f" {'; '.join(faults)} (copy the whole folder again)"
        )


def refuse_other_vocabulary(source: str, model: Any, tokenizer: Any) -> None:
    """Raises InputError where the tokenizer is of another model: it writes tokens that the model
    does not have.

    Models have some rows more than tokens, so that their number is round; a tokenizer of less than
    half is another's. Tokens that were added to the vocabulary count only where a prompt has them:
    the library adds some that never occur.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    ids = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    tokens = max(tokenizer.vocab_size, *(id + 1 for id in ids if id is not None))
    if tokens > rows or len(tokenizer) < rows / 2:
        raise InputError(
            f"'{source}': the tokenizer has {tokens} tokens and the model {rows}, so they do not"
            " belong together (copy the tokenizer's files of this model into its folder)"
        )


def some(names: Collection[str]) -> str:
    """The first few names in their order, and how many more."""
    first = sorted(names)[:_SHOWN]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")


def of_body(names: Iterable[str], model: Any) -> list[str]:
    """Those of the names that belong to a part which the model has:
    the heads of a training before are no fault.
    """
    parts = {name for name, _ in model.named_children()}
    prefix = f"{model.base_model_prefix}."
    return [name for name in names if name.removeprefix(prefix).partition(".")[0] in parts]

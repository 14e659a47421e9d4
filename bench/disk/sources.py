"""Which source files can change a cell's answers, with a hash of each: of the method, what it
imports, the engine.

Imports are followed through the product and through the package that the method is from; nothing is
run for it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from bench.errors import InputError

Stale = Literal["auto", "rerun", "keep", "error"]
"""What becomes of work that other code has done (bench/cell/staleness.py)."""

_ENGINE = "bench.cell.steps"
_WRITES = "bench.lm.model"
_TRAINS = ("bench.lm.base_training", "bench.lm.torch_engine")
_READS = "bench.data.lamp"
_PRODUCT = ("bench", "methods")
_HARMLESS_ROOMS = ("bench.checks", "bench.cost", "bench.disk", "bench.terminal")
_HARMLESS = frozenset(
    {
        "bench.cell.artifacts",
        "bench.cell.effects",
        "bench.cell.model_note",
        "bench.cell.record",
        "bench.cell.sections",
        "bench.cell.settings",
        "bench.cell.staleness",
        "bench.cell.variant",
        "bench.data.convert",
        "bench.data.fetch",
        "bench.data.file_bar",
        "bench.data.hub",
        "bench.data.json_stream",
        "bench.data.sample.generator",
        "bench.errors",
        "bench.lm.library_warnings",
        "bench.lm.response_cache",
        "bench.lm.tensor_cache",
    }
)
"""Modules that check, count, keep and show what the others make; data is known by its own hash."""


def of(method: object, engine: str) -> Mapping[str, str]:
    """`{"methods/rag.py": "9f0c...", ...}`: 12 hex digits of each file that can change this
    method's answers. `engine`: the class that answers, as `module:NAME`.
    """
    return _closure(type(method).__module__, _ENGINE, _module(engine))


def training() -> Mapping[str, str]:
    """The same of what trains an adapted base."""
    return _closure(*_TRAINS)


def reading() -> Mapping[str, str]:
    """The same of what makes users of a data file."""
    return _closure(_READS)


@cache
def writing(engine: str) -> str:
    """A digest of the files that make a text of a prompt: what methods have in common, so that
    texts stay shared.
    """
    return digest(_closure(_WRITES, _module(engine)))


def _module(engine: str) -> str:
    """Engines are named and not imported, so that no import leads to their files."""
    return engine.partition(":")[0]


def digest(files: Mapping[str, str]) -> str:
    """One hash of all, for the key of what they make."""
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]


def differing(before: Any, now: Mapping[str, str]) -> list[str]:
    """Files that were added, removed or changed since;
    none if nothing is known of the files before.
    """
    if not isinstance(before, Mapping) or not before:
        return []
    changed = []
    for name in sorted(before.keys() | now.keys()):
        module = name.removesuffix(".py").replace("/", ".")
        if before.get(name) != now.get(name) and not _harmless(module):
            changed.append(name)
    return changed


def counts(differs: Sequence[str], stale: Stale, what: str) -> bool:
    """Whether work of other code is taken as it is. `what` it is, and how it came, in words for the
    error.

    Raises InputError if `stale` is `error`.
    """
    if not differs:
        return True
    match stale:
        case "keep":
            return True
        case "error":
            raise InputError(
                f"{what} with other code ({some(differs)}); stale=rerun makes it again, stale=keep"
                " takes it as it is"
            )
        case "rerun":
            return False
        case _:
            return not edited(differs)


def some(names: Sequence[str]) -> str:
    """The first few, and how many more."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def edited(names: Collection[str]) -> list[str]:
    """Those of the files that git shows as changed or untracked; none without git, as with an
    installed wheel.
    """
    return sorted(name for name in names if _changed(name))


def _harmless(module: str) -> bool:
    """Whether a module, or the room it lies in, cannot change an answer."""
    return module in _HARMLESS or module.startswith(_HARMLESS_ROOMS)


@cache
def _closure(*modules: str) -> Mapping[str, str]:
    """The files of the modules and of all that they import, with a hash of each."""
    packages = {*_PRODUCT, *(module.partition(".")[0] for module in modules)}
    paths, todo = dict[str, Path](), [*modules]
    while todo:
        name = todo.pop()
        path = None if name in paths or _harmless(name) else _path(name)
        if path is None:
            continue
        paths[name] = path
        todo.append(name.rpartition(".")[0])  # a package's own file is run first
        for imported in _imported(name, path):
            if imported.partition(".")[0] in packages:
                todo.append(imported)
    return {_in_package(name, path): _digest(path) for name, path in sorted(paths.items())}


def _imported(module: str, path: Path) -> Iterator[str]:
    """Every module that may stand behind an import of the file, at its top or inside a function."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, package)
            yield origin
            for alias in node.names:
                yield f"{origin}.{alias.name}"


def _origin(node: ast.ImportFrom, package: str) -> str:
    """The full name of the module that a `from` names;
    each dot but the first leads one package up.
    """
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    up = parts[: len(parts) - node.level + 1]
    return ".".join([*up, node.module] if node.module else up)


def _path(module: str) -> Path | None:
    """The file of a module; None for a name that is no module.

    It looks at files and imports nothing.
    """
    if not module:
        return None
    top, *rest = module.split(".")
    for folder in _folders(top):
        base = folder.joinpath(top, *rest)
        for path in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None


@cache
def _folders(top: str) -> Sequence[Path]:
    """The folders in which a top-level package or module lies."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return ()
    if spec is None:
        return ()
    paths = spec.submodule_search_locations
    if paths is None:  # a module in one file
        paths = [spec.origin or ""]
    return tuple(Path(path).parent for path in paths)


def _in_package(module: str, path: Path) -> str:
    """The file's path in its package, without this machine's folders."""
    depth = module.count(".") + (path.name == "__init__.py")
    return "/".join(path.parts[-depth - 1 :])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _changed(name: str) -> bool:
    top = name.partition("/")[0].removesuffix(".py")
    return any(_git_shows(folder, name) for folder in _folders(top))


def _git_shows(folder: Path, name: str) -> bool:
    command = ("git", "status", "--porcelain", "--untracked-files=all", "--", name)
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return bool(done.stdout.strip())

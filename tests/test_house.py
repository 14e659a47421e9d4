"""The rules of the house: who may import whom, what stays light,
and how large a file or a function may grow.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]

# From the ground up: a room may use its own floor and those below. A room is a folder of `bench`,
# or a file beside them.
FLOORS = (
    {"errors"},
    {"checks", "terminal"},
    {"types"},
    {"disk", "score"},
    {"cost"},
    {"data"},
    {"lm"},
    {"method"},
    {"cell"},
    {"sweep", "export", "download", "ingest", "new"},
    {"report"},
    {"cli"},
    {"__main__"},
)
# What a room may use, where that is less than all below it: a report must work without a model.
ONLY = {
    "report": {"errors", "checks", "terminal", "types", "disk", "score", "sweep"},
    "download": {"errors", "checks", "terminal", "types", "disk", "data"},
    "ingest": {"errors", "checks", "terminal", "types", "disk", "data"},
}
METHODS_USE = {"errors", "types", "checks", "method", "data", "lm", "cost"}
HEAVY = {"torch", "transformers", "trl", "peft", "accelerate", "sentence_transformers", "evaluate"}
LIGHT_IN_LM = (
    "bench.lm",
    "bench.lm.backend",
    "bench.lm.spec",
    "bench.lm.engines",
    "bench.lm.cached_answers",
    "bench.lm.model",
    "bench.lm.base",
    "bench.lm.base_examples",
)

KILOBYTE = 1024
LARGEST_FILE = 5 * KILOBYTE**2
MOST_LINES = 300
LONGEST_FUNCTION = 60


@dataclass(frozen=True)
class Import:
    name: str
    at_load: bool  # runs when the module is loaded, not when a function is called


def imports(module: str, source: str, modules: Mapping[str, str]) -> Iterator[Import]:
    """What a module imports, as full names; what stands under `if TYPE_CHECKING` does not count."""
    package = (
        module
        if any(other.startswith(f"{module}.") for other in modules)
        else module.rpartition(".")[0]
    )

    def walk(node: ast.AST, at_load: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for other in node.orelse:
                yield from walk(other, at_load)
            return
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, at_load) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            up = (
                package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            )
            origin = ".".join([*up, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                yield Import(inner if inner in modules else origin, at_load)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, at_load and not inside)

    yield from walk(ast.parse(source), True)


def forbidden(modules: Mapping[str, str]) -> list[str]:
    """Each import that the house does not allow, as `importer -> imported`."""
    return [
        f"{module} -> {found.name}"
        for module, source in modules.items()
        for found in imports(module, source, modules)
        if not _allowed(module, found.name)
    ]


def _allowed(importer: str, imported: str) -> bool:
    (home, room), (other, other_room) = _room(importer), _room(imported)
    if other in ("tests", "benchmarks", "conf"):
        return False
    if other not in ("bench", "methods") or imported == "bench":
        return True
    if home == "methods":
        return other_room == room if other == "methods" else other_room in METHODS_USE
    if other == "methods":
        return False
    if room in ONLY:
        return other_room in ONLY[room] | {room}
    return _floor(room) >= _floor(other_room)


def _room(module: str) -> tuple[str, str]:
    home, _, rest = module.partition(".")
    return home, rest.partition(".")[0]


def _floor(room: str) -> int:
    """`bench` itself is below all floors, as every import runs it."""
    for height, rooms in enumerate(FLOORS):
        if room in rooms:
            return height
    if not room:
        return -1
    raise AssertionError(f"bench.{room} has no floor: say in FLOORS what it may import")


def heavy(modules: Mapping[str, str]) -> list[str]:
    """Modules that should be light and load a heavy library with them, and by which way."""
    light = [name for name in modules if _should_be_light(name)]
    graph = {
        name: [found.name for found in imports(name, source, modules) if found.at_load]
        for name, source in modules.items()
    }
    ways = (
        _way_to_heavy(name, graph, set())
        for name in light
        if name != "bench.score.evaluate_metrics"
    )
    return [" -> ".join(way) for way in ways if way]


def _should_be_light(name: str) -> bool:
    """All but the engine, and of a method of several files those that it imports when it is at
    work.

    A method's class is in the file that is called like its folder, or in the one file that it has.
    """
    home, _, rest = name.partition(".")
    if home == "methods":
        folder, _, module = rest.partition(".")
        return module in ("", folder)
    return not name.startswith("bench.lm.") or name in LIGHT_IN_LM


def _way_to_heavy(module: str, graph: Mapping[str, list[str]], seen: set[str]) -> tuple[str, ...]:
    seen.add(module)
    for name in graph.get(module, ()):
        if name.partition(".")[0] in HEAVY:
            return (module, name)
        way = () if name in seen else _way_to_heavy(name, graph, seen)
        if way:
            return (module, *way)
    return ()


@cache
def house() -> dict[str, str]:
    """The source of every module of bench and methods by its name."""
    found = {}
    for path in sorted((*REPO.glob("bench/**/*.py"), *REPO.glob("methods/**/*.py"))):
        name = ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")
        found[name] = path.read_text(encoding="utf-8")
    return found


def made_up(**sources: str) -> dict[str, str]:
    """Modules by name, `__` for a dot; every package of theirs is there too."""
    modules = {name.replace("__", "."): source for name, source in sources.items()}
    packages = {name.rpartition(".")[0] for name in modules}
    return (
        {package: "" for package in packages}
        | {"bench": "", "bench.cell.run": "", "bench.lm.model": ""}
        | modules
    )


# Who imports whom


def test_every_import_goes_down() -> None:
    assert "bench.types" in house() and "methods" in house()
    assert forbidden(house()) == []


@pytest.mark.parametrize(
    ("importer", "line"),
    [
        ("bench.data.lamp", "from bench.lm.model import LM"),
        ("bench.data.lamp", "from bench.cell import run"),
        ("bench.data.lamp", "def read():\n    import bench.cell.run"),
        ("bench.types", "from bench.data import task"),
        ("bench.lm.model", "from ..cell.run import Cell"),
        ("bench.lm.model", "from ..cell import run"),
        ("bench.disk.store", "import bench.method"),
        ("bench.cell.run", "from methods.rag import RAG"),
        ("bench.cell.run", "from bench.report.tables import table"),
        ("bench.cell.run", "from bench.cli.show import cell"),
        ("bench.report.tables", "from bench.data import task"),
        ("bench.report.tables", "from bench.lm.spec import ModelSpec"),
        ("bench.download", "from bench.lm.spec import ModelSpec"),
        ("bench.disk.env", "import tests.test_house"),
        ("methods.rag", "from methods.oppu import OPPU"),
        ("methods.chameleon.edit", "from methods.oppu import OPPU"),
        ("methods.rag", "from methods import oppu"),
        ("methods.rag", "from bench.cell.run import Cell"),
        ("methods.rag", "from bench.cell import run"),
        ("methods.rag", "from bench.disk.store import Store"),
        ("methods.rag", "class RAG:\n    def fit(self):\n        from bench.cell.plan import Plan"),
        ("methods.rag", "if TYPE_CHECKING:\n    pass\nelse:\n    import bench.cell.run"),
    ],
)
def test_the_checker_finds_an_import_that_goes_up(importer: str, line: str) -> None:
    others = made_up(methods__oppu="", bench__data__task="")
    assert [way.partition(" -> ")[0] for way in forbidden(others | {importer: line})] == [importer]


@pytest.mark.parametrize(
    ("importer", "line"),
    [
        ("bench.lm.model", "from bench import env, __version__\nfrom bench.data.task import Task"),
        ("bench.data.lamp", "from bench.disk.env import cache_folder\nfrom . import task"),
        ("bench.__main__", "from bench.cell.run import run"),
        ("bench.cli.show", "from bench.cell.run import run\nfrom bench.report import tables"),
        (
            "bench.report.__main__",
            "from bench.report.tables import table\nfrom bench.disk.store import Store",
        ),
        ("bench.types", "if TYPE_CHECKING:\n    from bench.lm.patch import Patch"),
        ("bench.types", "if typing.TYPE_CHECKING:\n    from bench.lm.patch import Patch"),
        (
            "methods.chameleon.chameleon",
            "from methods.chameleon.edit import edit\nfrom .edit import edit\nimport numpy",
        ),
        (
            "methods.rag",
            "from bench.method import Method\nfrom bench.data import task\nimport bench",
        ),
    ],
)
def test_the_checker_lets_an_import_down_pass(importer: str, line: str) -> None:
    assert (
        forbidden(made_up(bench__data__task="", methods__chameleon__edit="") | {importer: line})
        == []
    )


def test_a_new_room_must_be_given_a_floor() -> None:
    with pytest.raises(AssertionError, match=r"bench\.attic has no floor"):
        forbidden(made_up(bench__attic="from bench.types import User"))


# What stays light


def test_only_the_language_model_loads_heavy_libraries() -> None:
    assert set(LIGHT_IN_LM) <= set(house())
    assert heavy(house()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("bench.cell.run", "import torch"),
        ("bench.cell.run", "from transformers.utils import logging"),
        ("bench.cell.run", "try:\n    import peft\nexcept ImportError:\n    pass"),
        ("bench.score.metrics", "class Rouge:\n    import evaluate"),
        ("bench.lm.spec", "import torch.nn as nn"),
        ("methods.rag", "from sentence_transformers import SentenceTransformer"),
        ("methods.rag", "from bench.lm.network import Network"),
        ("methods.rag", "from bench.lm import network"),
    ],
)
def test_the_checker_finds_a_heavy_import(module: str, source: str) -> None:
    others = made_up() | {"bench.lm": "", "bench.lm.network": "import torch"}
    assert [way.partition(" -> ")[0] for way in heavy(others | {module: source})] == [module]


def test_a_heavy_import_inside_a_function_or_for_types_is_none() -> None:
    source = (
        "if TYPE_CHECKING:\n    import torch\ndef fit():\n    import torch\n"
        "    from bench.lm.network import Network"
    )
    assert (
        heavy(
            made_up() | {"bench.lm": "", "bench.lm.network": "import torch", "methods.rag": source}
        )
        == []
    )


def private(source: str) -> list[str]:
    """Each private module or name that a module imports from a library."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            ours = name.partition(".")[0] in ("bench", "methods", "__future__")
            if not ours and re.search(r"(^|\.)_", name):
                found.append(name)
    return found


def test_no_private_part_of_a_library_is_imported() -> None:
    assert {name: private(source) for name, source in house().items() if private(source)} == {}
    assert private("from hydra._internal import hydra") == ["hydra._internal.hydra"]
    assert private("import torch._C") == ["torch._C"]
    assert private("from json import _default_decoder") == ["json._default_decoder"]


def loaded(*command: str) -> set[str]:
    """The top-level names of all modules that a fresh interpreter imports for a command."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command], cwd=REPO, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (
        line.rpartition("|")[2].strip()
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    )
    return {name.partition(".")[0] for name in lines}


def test_import_bench_loads_nothing_heavy() -> None:
    names = loaded("-c", "import bench")
    assert "bench" in names and not names & HEAVY


def test_help_loads_nothing_heavy() -> None:
    if not (REPO / "bench/__main__.py").is_file():
        pytest.skip("bench/__main__.py is not written yet")
    names = loaded("-m", "bench", "--help")
    assert "bench" in names and not names & HEAVY


def test_the_listing_of_loaded_modules_sees_what_is_loaded() -> None:
    assert {"json", "decimal"} <= loaded("-c", "import json\ndef f():\n    import decimal\nf()")


# How large things are


@cache
def files() -> tuple[Path, ...]:
    """The files of the repository: those git keeps or would keep; without git, all that are not
    hidden or built.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True)
        paths = [REPO / name for name in done.stdout.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        hidden = re.compile(
            r"(^|/)(\.|__pycache__|build/|dist/|outputs/|multirun/|results/runs/|[^/]*\.egg-info)"
        )
        paths = [
            path for path in REPO.rglob("*") if not hidden.search(path.relative_to(REPO).as_posix())
        ]
    return tuple(path for path in paths if path.is_file())


def shown(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


def test_no_file_is_large() -> None:
    assert Path(__file__) in files()
    assert [shown(path) for path in files() if path.stat().st_size > LARGEST_FILE] == []


def test_no_module_is_long() -> None:
    lengths = {name: source.count("\n") for name, source in house().items()}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def long_functions(name: str, source: str) -> list[str]:
    return [
        f"{name}.{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= LONGEST_FUNCTION
    ]


def test_no_function_is_long() -> None:
    assert [
        found for name, source in house().items() for found in long_functions(name, source)
    ] == []


def test_a_function_of_one_line_too_many_is_found() -> None:
    body = "    pass\n" * (LONGEST_FUNCTION - 1)
    assert long_functions("made_up", f"def f():\n{body}") == []
    assert long_functions("made_up", f"class A:\n  def f():\n{body}    pass\n") == [
        f"made_up.f: {LONGEST_FUNCTION + 1} lines"
    ]


def test_nothing_is_left_to_do() -> None:
    left = re.compile(r"\b(TO" + r"DO|FIX" + r"ME)\b")
    texts = [
        path
        for path in files()
        if path.suffix in (".py", ".yaml", ".toml", ".md") or path.name == "Makefile"
    ]
    assert [shown(path) for path in texts if left.search(path.read_text(encoding="utf-8"))] == []

"""Names of the house: one name for one thing, no circles, and code that reads no denser than it did."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import pytest
from counts import Counts, by_room, counts_of, total
from test_house import REPO, house, imports, made_up

PYTHON_NAMES = {"__init__", "__main__"}

NO_NOUNS = """
    added alike answered applied asked beside built cached checked chosen cut done dropped dry early
    fetched fitted flat found fresh given growing held hidden kept known late learnt left limited
    linked listed loaded lost made marked mixed named old own padded paired paused picked plain
    planned ready refused resolved saved scored selected shared shown shuffled single small sorted
    split stacked stale stopped stored taken tested told touched trained unread unseen used warned
    whole written
"""
"""Participles and adjectives that a file was called by, or that one might be."""

DENSEST = Counts(lines=1000, code_lines=1000, comprehensions=26, expressions=3920, long_lines=1)
"""Of 1,000 lines over bench and methods together, except for long lines, which are all there are."""


MOST_TUPLES = 21
"""Public functions and methods that give back a tuple of several things, or several such."""


def repeated(names: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Of pairs of a name and a place, the names that several places have."""
    places: dict[str, list[str]] = defaultdict(list)
    for name, place in names:
        places[name].append(place)
    return {name: found for name, found in places.items() if len(found) > 1}


def file_names(modules: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each module's last name and its whole one; a package's own file goes by its folder."""
    for module in modules:
        is_package = any(other.startswith(f"{module}.") for other in modules)
        name = module.rpartition(".")[2]
        if not is_package and name not in PYTHON_NAMES:
            yield name, module


def class_names(modules: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each public class and its module."""
    for module, source in modules.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name, module


def test_no_two_files_have_one_name() -> None:
    assert repeated(file_names(house())) == {}


def test_no_two_classes_have_one_name() -> None:
    assert repeated(class_names(house())) == {}


def test_a_name_of_two_things_is_found() -> None:
    modules = made_up(bench__disk__store="class Cell: ...", bench__report__store="class Cell: ...")
    assert repeated(file_names(modules)) == {"store": ["bench.disk.store", "bench.report.store"]}
    assert repeated(class_names(modules)) == {"Cell": ["bench.disk.store", "bench.report.store"]}


def test_no_file_is_called_by_a_participle_or_an_adjective() -> None:
    names = [(name, module) for name, module in file_names(house()) if name in NO_NOUNS.split()]
    assert names == []


# Circles


def room(module: str) -> str:
    """The folder of bench or methods that a module lies in, or the module beside them."""
    return ".".join(module.split(".")[:2])


def rooms_used(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """The rooms that each room imports from, at load or in a function."""
    used: dict[str, set[str]] = {room(module): set() for module in modules}
    for module, source in modules.items():
        for imported in imports(module, source, modules):
            other = room(imported.name)
            if other in used and other != room(module) and other != "bench":
                used[room(module)].add(other)
    return used


def circles(used: Mapping[str, set[str]]) -> set[str]:
    """The rooms (or modules) on a circle, and those that lead to one: what is left when each that
    uses no other is taken away, again and again.
    """
    left = dict(used)
    while True:
        free = [name for name, others in left.items() if not others & left.keys()]
        if not free:
            return set(left)
        for name in free:
            del left[name]


def test_no_rooms_import_each_other_in_a_circle() -> None:
    used = rooms_used(house())
    assert used["bench.cell"] >= {"bench.disk", "bench.data"}
    assert circles(used) == set()


def test_a_circle_of_rooms_is_found() -> None:
    modules = made_up(
        bench__checks__a="from bench.terminal import b",
        bench__terminal__b="def later():\n    from bench.disk.c import x",
        bench__disk__c="import bench.checks.a",
        bench__errors="",
    )
    assert circles(rooms_used(modules)) == {"bench.checks", "bench.terminal", "bench.disk"}


def modules_used(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """The modules that each module imports, at load, in a function, or for types alone."""
    used: dict[str, set[str]] = {}
    for module, source in modules.items():
        of_types_too = source.replace("if TYPE_CHECKING:", "if True:")
        names = {imported.name for imported in imports(module, of_types_too, modules)}
        used[module] = names & modules.keys() - {module, "bench", "methods"}
    return used


def test_no_modules_import_each_other_in_a_circle() -> None:
    used = modules_used(house())
    assert used["bench.lm.decode"] >= {"bench.lm.prefill", "bench.lm.network"}
    assert circles(used) == set()


def test_a_circle_of_modules_is_found_also_for_types_alone() -> None:
    modules = made_up(
        bench__lm__a="if TYPE_CHECKING:\n    from bench.lm.b import B",
        bench__lm__b="def later():\n    from bench.lm.a import A",
    )
    assert circles(modules_used(modules)) == {"bench.lm.a", "bench.lm.b"}


# Density


def test_the_product_reads_no_denser_than_it_did() -> None:
    counts = total(by_room(REPO))
    assert counts.comprehensions_per_100 <= DENSEST.comprehensions_per_100
    assert counts.expressions_per_line <= DENSEST.expressions_per_line
    assert counts.long_lines <= DENSEST.long_lines


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a = [b for b in c]\n", Counts(1, 1, comprehensions=1, expressions=5)),
        ("# why\nx = 1  # one\n", Counts(2, 2, expressions=2, comments=1)),
        ("\n'''a # b'''\n", Counts(2, 1, expressions=1)),
        ("x = '" + "y" * 100 + "'\n", Counts(1, 1, expressions=2, long_lines=1)),
    ],
)
def test_the_counts_are_of_the_code(source: str, expected: Counts) -> None:
    assert counts_of(source) == expected


# Tuples


def tuples_given_back(modules: Mapping[str, str]) -> list[str]:
    """Public functions and methods whose answer is made of tuples: its parts have no names."""
    functions = []
    for module, source in modules.items():
        for node in ast.walk(ast.parse(source)):
            is_public = isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
            if is_public and node.returns is not None and _has_tuple(node.returns):
                functions.append(f"{module}.{node.name}")
    return functions


def _has_tuple(hint: ast.expr) -> bool:
    """Whether a tuple of given length stands in a type: not in `tuple[str, ...]`."""
    for node in ast.walk(hint):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "tuple":
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            if not any(isinstance(part, ast.Constant) and part.value is ... for part in parts):
                return True
    return False


def test_no_more_public_functions_give_back_bare_tuples_than_did() -> None:
    assert len(tuples_given_back(house())) <= MOST_TUPLES


def test_a_bare_tuple_is_found() -> None:
    modules = made_up(
        bench__a="def pair() -> tuple[int, str]: ...\ndef row() -> tuple[int, ...]: ...",
        bench__b="class B:\n    def each(self) -> Iterator[tuple[int, str]]: ...",
        bench__c="def _pair() -> tuple[int, str]: ...\ndef one() -> int: ...",
    )
    assert tuples_given_back(modules) == ["bench.a.pair", "bench.b.each"]

"""Change one operator, constant or return of the product at a time, and see whether a test notices.

    python tests/mutate.py bench/score tests/test_metrics.py tests/test_stats.py --sample 60

The first word is a file or folder of the product; then the tests that should guard it, the quickest
first. They run unchanged before anything else: where they fail, or take longer than a mutant may,
nothing that follows would mean anything. Each mutant runs in a forked child that has the heavy
libraries already, and reads the changed source through an import hook: no file is touched. What a
test starts as a fresh process does not see the change. `--line 117` tries all changes of that line.
Prints what was not killed, and the share that was. Not a test itself.

Of survivors some are the same program (`frozen=True`, `zip(strict=True)`, a size of chunks): read
each, and write a test where a number, a user or a key would be another.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
}


@dataclass
class Mutant:
    """One change. `place`: its number among the changes of this file, in the order of the tree."""

    file: str
    place: int
    line: int
    change: str
    outcome: str = ""


class _Change(ast.NodeTransformer):
    """Counts the places that can change, and changes one of them."""

    def __init__(self, wanted: int | None = None) -> None:
        self.wanted, self.count = wanted, 0
        self.found: list[tuple[int, str]] = []
        self.line = 0

    def visit(self, node: ast.AST) -> Any:
        self.line = getattr(node, "lineno", self.line)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return node  # a docstring
        if isinstance(node, ast.AnnAssign):
            node.value = self.visit(node.value) if node.value else None
            return node  # a type is no code
        if isinstance(node, ast.FunctionDef):
            node.body = [self.visit(part) for part in node.body]
            return node
        changed = self._changed(node)
        return changed if changed is not None else self.generic_visit(node)

    def _changed(self, node: ast.AST) -> ast.AST | None:
        if type(node) in SWAPS:
            other = SWAPS[type(node)]
            return self._take(f"{type(node).__name__} -> {other.__name__}", other())
        if isinstance(node, ast.Constant) and isinstance(node.value, bool):
            return self._take(f"{node.value} -> {not node.value}", ast.Constant(not node.value))
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return self._take(f"{node.value} -> {node.value + 1}", ast.Constant(node.value + 1))
        if isinstance(node, ast.Return) and node.value is not None:
            return self._take("return ... -> return None", ast.Return(ast.Constant(None)))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self._take("not x -> x", node.operand)
        return None

    def _take(self, change: str, new: ast.AST) -> ast.AST | None:
        self.found.append((self.line, change))
        self.count += 1
        return new if self.count - 1 == self.wanted else None


def mutants(path: Path) -> Iterator[Mutant]:
    """Every change of a file."""
    counter = _Change()
    counter.visit(ast.parse(path.read_text()))
    for place, (line, change) in enumerate(counter.found):
        yield Mutant(str(path.relative_to(ROOT)), place, line, change)


def changed_source(mutant: Mutant) -> str:
    tree = copy.deepcopy(ast.parse((ROOT / mutant.file).read_text()))
    return ast.unparse(ast.fix_missing_locations(_Change(mutant.place).visit(tree)))


class _Loader(importlib.abc.Loader):
    def __init__(self, path: Path, source: str) -> None:
        self.path, self.source = path, source

    def exec_module(self, module: Any) -> None:
        exec(compile(self.source, str(self.path), "exec"), module.__dict__)


class _Finder(importlib.abc.MetaPathFinder):
    """Gives the changed source for one module."""

    def __init__(self, mutant: Mutant) -> None:
        self.path = ROOT / mutant.file
        parts = Path(mutant.file).with_suffix("").parts
        self.package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.package else parts)
        self.source = changed_source(mutant)

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(
            name,
            self.path,
            loader=_Loader(self.path, self.source),
            submodule_search_locations=[str(self.path.parent)] if self.package else None,
        )


def outcome(mutant: Mutant | None, tests: Sequence[str], seconds: float) -> str:
    """`killed`, `survived` or `timeout` (an endless loop, or a crowded machine): the tests run in a
    child that sees the mutant, or the product as it is.
    """
    pid = os.fork()
    if not pid:
        os.setpgid(0, 0)
        _run(mutant, tests)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
        time.sleep(0.02)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "timeout"


def _run(mutant: Mutant | None, tests: Sequence[str]) -> NoReturn:
    """Run the tests in this process, quietly, and end it with pytest's exit code."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)
    if mutant:
        sys.meta_path.insert(0, _Finder(mutant))
    import pytest

    quick = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow")
    os._exit(int(pytest.main([*quick, *tests])))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target")
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--sample", type=int, default=40, help="so many, drawn with --seed")
    parser.add_argument("--line", type=int, help="every change of this line, in place of a sample")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=300.0, help="who takes longer is stopped")
    parser.add_argument("--out", type=Path, help="a JSON file of every mutant with its outcome")
    return parser.parse_args()


def _chosen(given: argparse.Namespace) -> tuple[list[Mutant], int]:
    """What is tried, and how many places there are."""
    target = ROOT / given.target
    files = sorted(target.rglob("*.py")) if target.is_dir() else [target]
    every = [mutant for path in files for mutant in mutants(path)]
    if given.line is not None:
        return [mutant for mutant in every if mutant.line == given.line], len(every)
    return random.Random(given.seed).sample(every, min(given.sample, len(every))), len(every)


def main() -> int:
    given = _arguments()
    chosen, places = _chosen(given)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    os.chdir(ROOT)
    import sklearn.metrics
    import torch
    import transformers

    assert torch and transformers and sklearn
    if (unchanged := outcome(None, given.tests, given.seconds)) != "survived":
        why = "fail" if unchanged == "killed" else f"take longer than {given.seconds:.0f} s"
        sys.exit(f"the tests {why} without any change")
    for number, mutant in enumerate(chosen, 1):
        mutant.outcome = outcome(mutant, given.tests, given.seconds)
        if mutant.outcome != "killed":
            where = f"{mutant.file}:{mutant.line}"
            told = f"{mutant.change}, {mutant.outcome} ({number} of {len(chosen)})"
            print(f"{where}: {told}", flush=True)
        if given.out:
            tried = [asdict(one) for one in chosen[:number]]
            given.out.write_text(json.dumps(tried, indent=1) + "\n")
    killed = sum(mutant.outcome == "killed" for mutant in chosen)
    share = killed / max(1, len(chosen))
    print(f"{given.target}: {killed} of {len(chosen)} killed ({share:.0%}), {places} places")
    return 0


if __name__ == "__main__":
    sys.exit(main())

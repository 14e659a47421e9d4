"""README's first promise: no method sees a test answer through anything it is handed.

Here a method that cheats looks everywhere it can: attributes, slots, properties, keys, values,
elements. Closures of functions, the heap and the disk are excepted: a method is code of the same
process, and the promise is no sandbox.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cells import TINY, run

from bench.data.sample import generator

MARK = "zqgold"
"""Stands in every gold, with the question's id behind it, and nowhere else."""

CHEAT = '''
"""Searches all that a method is handed for golds, and writes down where it found one."""

import types
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from bench.data.lamp import Dataset
from bench.method import Method
from bench.types import Personalization, Request

FUNCTIONS = (types.FunctionType, types.MethodType, types.BuiltinFunctionType)
PLAIN = (int, float, bytes, Path, type, types.ModuleType, *FUNCTIONS)
LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "sqlite3", "threading", "rich")


def search(value, path, found, seen):
    """Recursively over attributes, slots, properties of the product's objects, keys, values
    and elements."""
    if isinstance(value, str):
        if "zqgold" in value:
            found.append(f"{value!r} at {path}")
        return
    if value is None or isinstance(value, PLAIN) or id(value) in seen or len(path) > 300:
        return
    seen[id(value)] = value
    if isinstance(value, Mapping):
        for name in list(value):
            search(name, f"{path} key", found, seen)
            search(value[name], f"{path}[{name!r}]", found, seen)
    elif isinstance(value, Sequence | Set):
        for place, part in enumerate(value):
            search(part, f"{path}[{place}]", found, seen)
    if type(value).__module__.partition(".")[0] not in LIBRARIES:
        for name in names(value):
            try:
                part = getattr(value, name)
            except Exception:
                continue
            search(part, f"{path}.{name}", found, seen)


def names(value):
    own = list(getattr(value, "__dict__", ()))
    for base in type(value).__mro__:
        own += [name for name in getattr(base, "__slots__", ()) if isinstance(name, str)]
        own += [name for name, part in vars(base).items() if isinstance(part, property)]
    return [name for name in own if not name.startswith("__")]


@dataclass(frozen=True)
class Cheat(Method):
    report: str

    def look(self, where, **given):
        found, searched = [], {}
        for name, value in given.items():
            search(value, name, found, searched)
        if "lm" in given:  # what stands for the model has the model's attributes
            search(given["lm"].__getattr__("__dict__"), "lm", found, searched)
        with open(self.report, "a") as file:
            file.write(f"{where}: searched {len(searched)}\\\\n")
            file.writelines(f"FOUND {where}: {path}\\\\n" for path in found)

    def fit(self, lm, task, users, budget):
        lm.spec  # loaded, so that there is something to search
        self.look("fit", lm=lm, task=task, users=users, budget=budget)
        return Personalization()

    def adapt(self, lm, task, users, shared, budget):
        self.look("adapt", lm=lm, task=task, users=users, shared=shared, budget=budget)
        return [shared] * len(users)

    def request(self, task, user, query, personal):
        self.look("request", task=task, user=user, query=query, personal=personal)
        return Request(task.render(query, user.history))
'''


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "lamp"
    generator.write(root, train_users=20, dev_users=8)
    for split in ("train", "dev"):
        path = root / "LaMP_4" / split / f"{split}_outputs.json"
        outputs = json.loads(path.read_text())
        for gold in outputs["golds"]:
            gold["output"] = f"{MARK} {gold['id']}"
        path.write_text(json.dumps(outputs))
    return root


@pytest.mark.parametrize("protocol", [("seen",), ("unseen",), ("oppu", "protocol.n_test=5")])
def test_no_gold_of_a_tested_user_is_within_a_methods_reach(
    protocol: tuple[str, ...], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "cheating"
    (package / "conf" / "method").mkdir(parents=True)
    (package / "__init__.py").write_text(CHEAT.replace("\\\\n", "\\n"))
    (package / "conf" / "__init__.py").touch()
    (package / "conf" / "method" / "cheat.yaml").write_text(
        "_target_: cheating.Cheat\nreport: ???\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    report = tmp_path / "report.txt"
    code, said = run(
        *(word for word in TINY if not word.startswith("selection.")),
        "task=lamp4",
        "data=lamp",
        f"data.root={data}",
        f"protocol={protocol[0]}",
        *protocol[1:],
        "hydra.searchpath=[pkg://cheating.conf]",
        "method=cheat",
        f"method.report={report}",
        "limit=5",
        folder=tmp_path,
    )
    assert code == 0, said
    lines = report.read_text().splitlines()
    found = [line for line in lines if line.startswith("FOUND")]
    searched = [line for line in lines if line not in found]
    [answered] = tmp_path.glob("runs/lamp4/*/*/scores.json")
    tested = {one["id"] for one in json.loads(answered.read_text())}
    marked = {id for line in found for id in re.findall(rf"{MARK} (\w+)", line)}
    assert len(tested) == 5 and not tested & marked, sorted(tested & marked)
    assert len(marked) == 14, "the search finds the golds of all fit users, which they bring to fit"
    assert all(line.startswith("FOUND fit: ") for line in found), "and which are nowhere else"
    assert {line.partition(":")[0] for line in searched} == {"fit", "adapt", "request"}
    assert all(int(line.split()[-1]) > 10 for line in searched)

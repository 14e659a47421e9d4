"""Write the files that a new method begins with: its class, its settings and a test.

    python -m bench.new method NAME

    methods/NAME.py          the class; it shows the newest items of the history
    conf/method/NAME.yaml    its settings, with their defaults
    tests/test_NAME.py       a test of both, which passes

NAME is small letters, digits and _, and begins with a letter: newest, or my_method. Nothing that
exists is written over. docs/add_a_method.md has the interface and a worked example.
Exit code: 0 done, 1 a file could not be written, 2 a mistake in the command.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.checks import conf_files
from bench.checks.catalog import alike
from bench.checks.conf_files import CONF
from bench.errors import InputError
from bench.terminal import escape
from bench.terminal.pipe import unpiped

ROOT = CONF.parent

IMPORTED = frozenset({"Method", "Personalization", "Query", "Request", "Task", "User", "Sequence"})
"""Names that a method's file uses, so that its class cannot have one of them."""

NO_WORD_OF_HYDRA = frozenset({"null", "true", "false", "inf", "nan"})
"""Names that a command line reads as a value: `method=null` would not be a method."""

METHOD = '''\
"""{title}: the prompt shows the newest items of the user's history."""

from __future__ import annotations

from dataclasses import dataclass

from bench.data.task import Task
from bench.method import Method
from bench.types import Personalization, Query, Request, User


@dataclass(frozen=True)
class {class_name}(Method):
    """Show the k newest history items.

    Each field is a setting, with its default in conf/method/{name}.yaml. `fit` and `adapt` may be
    added beside `request`: see docs/add_a_method.md.
    """

    k: int = 4

    def request(self, task: Task, user: User, query: Query, personal: Personalization) -> Request:
        newest = user.history[-self.k :] if self.k else ()
        return Request(task.render(query, newest))
'''

SETTINGS = """\
# {title}: the newest items of the user's history.
_target_: methods.{name}.{class_name}
k: 4   # how many items the prompt shows
"""

TEST = '''\
"""{title}: its settings make its class, and its prompt shows the newest items of one's own."""

from __future__ import annotations

from dataclasses import replace

from conftest import ROOT, task_named
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from bench.types import Item, Personalization, Query, User
from methods.{name} import {class_name}

ITEMS = tuple(
    Item(str(index), {{"text": f"review number {{index}}", "score": "5"}}) for index in range(6)
)
QUERY = Query("q", "review: a new one", "a new one")
USER = User("ada", ITEMS, (QUERY,))


def prompt(method: {class_name}, user: User) -> str:
    request = method.request(task_named("lamp3"), user, QUERY, Personalization())
    return request.messages[0].text


def test_the_settings_make_the_class_with_its_own_defaults() -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", ["method={name}"])
    assert instantiate(config.method, _convert_="all") == {class_name}()


def test_the_prompt_shows_the_newest_items_and_no_other() -> None:
    text = prompt({class_name}(k=2), USER)
    assert "review number 5" in text and "review number 4" in text
    assert "review number 3" not in text


def test_the_prompt_knows_no_gold() -> None:
    with_gold = replace(QUERY, gold="1")
    told = {class_name}().request(task_named("lamp3"), USER, with_gold, Personalization())
    assert told.messages[0].text == prompt({class_name}(), USER)


def test_a_user_without_history_is_asked_without_it() -> None:
    assert "review number" not in prompt({class_name}(), replace(USER, history=()))
'''


def write(name: str, root: Path = ROOT) -> list[Path]:
    """The three files of a new method, written below `root`.

    Raises InputError if the name is none, or if something of that name exists.
    """
    check(name, root)
    words = {"name": name, "class_name": class_name(name), "title": title(name)}
    files = {
        root / "methods" / f"{name}.py": METHOD,
        root / "conf" / "method" / f"{name}.yaml": SETTINGS,
        root / "tests" / f"test_{name}.py": TEST,
    }

    for path in files:
        if path.exists():
            raise InputError(f"{name}: {path.relative_to(root)} exists; choose another name")
    for path, template in files.items():
        path.write_text(template.format(**words), encoding="utf-8")
    return list(files)


def check(name: str, root: Path) -> None:
    """Raises InputError if no method of this name can be written below `root`."""
    if not (root / "tests").is_dir():
        raise InputError(
            f"{root} is no checkout of Lamplight; docs/add_a_method.md says how a method of another"
            " package is used"
        )
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise InputError(f"{name}: a name is small letters, digits and _, as in my_method")

    known = conf_files.names("method", root / "conf")
    known += [path.stem for path in (root / "methods").iterdir()]
    if other := alike(name, known):
        same = "exists" if other == name else f"cannot be told from {other}, which exists"
        raise InputError(f"{name}: a method of this name {same}; choose another name")

    taken = name in NO_WORD_OF_HYDRA or keyword.iskeyword(name)
    if taken or keyword.iskeyword(class_name(name)):
        raise InputError(f"{name}: a word of Python or of the command line; choose another name")
    if class_name(name) in IMPORTED | classes(root):
        raise InputError(
            f"{name}: there is a class {class_name(name)} already; choose another name"
        )


def class_name(name: str) -> str:
    """`my_method` -> `MyMethod`."""
    return "".join(word.capitalize() for word in name.split("_"))


def title(name: str) -> str:
    """`my_method` -> `My method`."""
    return name.replace("_", " ").capitalize()


def classes(root: Path) -> set[str]:
    """The names of all classes of the house: two of one name would be confused."""
    names: set[str] = set()
    for folder in ("bench", "methods"):
        for path in (root / folder).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            names.update(re.findall(r"^class (\w+)", source, re.MULTILINE))
    return names


def main(arguments: Sequence[str]) -> int:
    """Write what the arguments ask for. The exit code."""
    if not arguments or {"-h", "--help", "help"} & set(arguments):
        print(__doc__.strip())
        return 0 if arguments else 2
    try:
        kind, *names = arguments
        if kind != "method" or len(names) != 1:
            raise InputError(f"{' '.join(arguments)}: write python -m bench.new method NAME")
        paths = write(names[0])
    except InputError as error:
        return _failed(str(error), 2)
    except OSError as error:
        return _failed(f"cannot write {error.filename}: {error.strerror or error}", 1)

    for path in paths:
        print(f"wrote {path.relative_to(ROOT)}")
    print(f"try it: python -m bench method={names[0]} model=tiny limit=10")
    return 0


def _failed(problem: str, code: int) -> int:
    escape.say(f"bench.new: {escape.line(problem)}", sys.stderr)
    return code


if __name__ == "__main__":
    unpiped()
    sys.exit(main(sys.argv[1:]))

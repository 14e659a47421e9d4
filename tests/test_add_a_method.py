"""The classes of docs/add_a_method.md and README.md run as they are printed, and the page names
every field of the types.
"""

from __future__ import annotations

import re
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
import yaml
from cells import TINY, run
from conftest import ROOT, task_named

from bench import types
from bench.errors import InputError, MethodError
from bench.method import Method
from bench.types import Item, Personalization, Query, User

PAGE = (ROOT / "docs" / "add_a_method.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
NOTHING = cast(Any, None)
"""In place of a model and a budget, which these methods do not use."""


def printed(page: str, path: str) -> str:
    """The text of a file as a page prints it, below the file's name."""
    [text] = re.findall(rf"```\w+\n# {re.escape(path)}\n(.*?)```", page, re.DOTALL)
    return str(text)


def module(page: str, name: str) -> ModuleType:
    """A printed file as a module."""
    path = f"methods/{name}.py"
    made = ModuleType(f"methods.{name}")
    sys.modules[made.__name__] = made
    try:
        exec(compile(printed(page, path), path, "exec"), made.__dict__)
    finally:
        del sys.modules[made.__name__]
    return made


def user(*scores: str, date: str | None = None) -> User:
    items = tuple(
        Item(str(index), {"text": f"review {index}", "score": score}, f"20{index + 10}")
        for index, score in enumerate(scores)
    )
    query = Query("q", "review: a new one", "a new one", gold="2", date=date)
    return User("ada", items, (query,))


@pytest.fixture
def habit() -> Method:
    return cast(Method, module(PAGE, "habit").Habit())


def test_both_pages_print_a_first_method_that_shows_the_newest_items() -> None:
    for page in (PAGE, README):
        method = module(page, "recent").Recent(k=2)
        ada = user("1", "2", "3")
        request = method.request(task_named("lamp3"), ada, ada.queries[0], Personalization())
        text = request.messages[0].text
        assert "review 2" in text and "review 1" in text and "review 0" not in text
        settings = yaml.safe_load(printed(page, "conf/method/recent.yaml"))
        assert settings == {"_target_": "methods.recent.Recent", "k": 4}


def test_the_example_learns_from_golds_and_adapts_to_the_users_own_answers(habit: Method) -> None:
    task = task_named("lamp3")
    shared = habit.fit(NOTHING, task, [user(), user()], NOTHING)
    assert shared.text["habit"] == "2" and shared.facts == {"answers_counted": 2}

    tested = [user("5", "5", "1"), user("4", "4")]
    hidden = [one.hidden() for one in tested]
    own, short = habit.adapt(NOTHING, task, hidden, shared, NOTHING)
    assert own.text["habit"] == "5" and own.facts == {"short_histories": 0}
    assert short.text["habit"] == "2" and short.facts == {"short_histories": 1}

    [message] = habit.request(task, hidden[0], hidden[0].queries[0], own).messages
    assert message.text.startswith("This user's most frequent answer is 5.\n\nSuppose you are")


def test_the_example_counts_no_item_that_is_later_than_a_question(habit: Method) -> None:
    ada = user("1", "1", "1", "5", "5", "5", "5", date="2013").hidden()
    shared = Personalization(text={"habit": "3"})
    [own] = habit.adapt(NOTHING, task_named("lamp3"), [ada], shared, NOTHING)
    assert own.text["habit"] == "1"


def test_the_example_refuses_what_it_cannot_do(habit: Method) -> None:
    with pytest.raises(InputError, match="lamp4 has no labels"):
        habit.check(task_named("lamp4"))
    nobody = replace(user(), queries=())
    with pytest.raises(MethodError, match="none of the 1 fit users has an answer"):
        habit.fit(NOTHING, task_named("lamp3"), [nobody], NOTHING)


def test_the_example_runs_as_a_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "visitors"
    (package / "conf" / "method").mkdir(parents=True)
    for name in ("__init__.py", "conf/__init__.py"):
        (package / name).touch()
    source = printed(PAGE, "methods/habit.py")
    (package / "habit.py").write_text(source, encoding="utf-8")
    settings = printed(PAGE, "conf/method/habit.yaml").replace("methods.", "visitors.")
    (package / "conf" / "method" / "habit.yaml").write_text(settings, encoding="utf-8")

    monkeypatch.syspath_prepend(str(tmp_path))
    words = [word for word in TINY if not word.startswith("selection.")]
    plugin = "hydra.searchpath=[pkg://visitors.conf]"
    code, output = run(*words, plugin, "method=habit", "limit=4", folder=tmp_path)
    assert code == 0, output
    [record] = (tmp_path / "runs").rglob("record.json")
    facts = yaml.safe_load(record.read_text(encoding="utf-8"))["facts"]
    assert facts["answers_counted"] > 0 and "users_short_histories" in facts


def test_the_page_names_every_field_of_the_types() -> None:
    table = PAGE.split("## The types")[1].split("\n## ")[0]
    named: dict[str, set[str]] = {}
    current = ""
    for row in re.findall(r"^\|(.*?)\|(.*?)\|", table, re.MULTILINE):
        current = row[0].strip("` ") or current
        named.setdefault(current, set()).update(re.findall(r"`(\w+)`", row[1]))
    for name in (
        "User",
        "Item",
        "Query",
        "Request",
        "Message",
        "Line",
        "Personalization",
        "Completion",
    ):
        assert named[name] == {field.name for field in fields(getattr(types, name))}, name

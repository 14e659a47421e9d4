"""What a configuration asks for: the key by which a cell is found,
and the words by which it is told.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from bench.cell import key as keys
from bench.cell import plan as plans
from bench.cell.key import by_content, fields_in_key
from bench.cell.plan import Plan, resolve
from bench.cell.variant import own_words, without_folder
from bench.data.lamp import Dataset
from bench.data.sample import generator
from bench.errors import InputError
from bench.types import Item, Query, User

PLAIN = ("method=chameleon", "model=tiny", "selection.embedder=hash")


@pytest.fixture(autouse=True, scope="module")
def configured() -> Iterator[None]:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield
    HydraConfig.instance().cfg = None


def user(name: str, split: str) -> User:
    history = (Item(f"{name}-a", {"text": "t", "score": "3"}),)
    return User(name, history, (Query(f"{split}-{name}", "review: x", "x", "4"),), name)


def read(task: Any, root: Path, *, split: str, kind: str) -> Dataset:
    """Two splits that share one person; only the first has golds."""
    names = {"train": ("a", "b", "c"), "dev": ("c", "d")}[split]
    users = [user(name, split) for name in names]
    golds = split == "train"
    return Dataset(users, split, "user", {}, f"hash of {split}", golds, {}, len(users))


@cache
def resolved(*words: str, own: tuple[str, ...] = ()) -> Plan:
    """The plan of a command line, which reads no data."""
    config = compose("config", [*PLAIN, *words], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return resolve(config, read)


CHANGES = [
    "seed=1",
    "limit=3",
    "leak=drop",
    "noise_floor=true",
    "budget.minutes=5",
    "decoding=sample",
    "method.alpha_p=3",
    "protocol.group_size=7",
    "protocol=unseen",
    "task=lamp2",
    "model.max_prompt_tokens=90",
    "base=task_adapted",
    "selection.n_items=3",
    "data.kind=time",
]


@pytest.mark.parametrize("word", CHANGES)
def test_what_may_change_an_answer_changes_the_key(word: str) -> None:
    assert resolved(word).cell.key != resolved().cell.key


def test_a_key_is_of_what_published_records_knew_and_of_a_limit_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[dict[str, Any]] = []
    key = plans.store.key
    monkeypatch.setattr(plans.store, "key", lambda known: said.append(known) or key(known))
    words = [
        (),
        ("budget.minutes=5",),
        ("base=task_adapted", "budget.minutes=5", "base.retrain=true"),
    ]
    plain, limited, trained = (resolved.__wrapped__(*own) and said[-1] for own in words)
    published = {"schema", "task", "method", "model", "base", "protocol", "decoding", "data", "run"}
    assert set(plain) == published
    assert set(limited) == published | {"minutes"} and limited["minutes"] == 5
    assert plain["base"] == "instruct" and trained["base"] != limited["base"]


def test_where_prompts_are_cut_is_in_the_key_of_the_style_that_cuts_them_and_in_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def key_of(style: str) -> str:
        words = ["model=tiny", "method=oppu", f"method.style={style}"]
        config = compose("config", words, return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        return resolve(config, read).cell.key

    before = {style: key_of(style) for style in ("oppu", "personalized")}
    monkeypatch.setattr(keys, "OPPU_WORDS", keys.OPPU_WORDS + 1)
    assert key_of("oppu") != before["oppu"]
    assert key_of("personalized") == before["personalized"]


@pytest.mark.parametrize("word", ["progress=false", "dry=true", "results.root=elsewhere"])
def test_what_changes_no_answer_changes_no_key_and_is_no_part_of_the_command(word: str) -> None:
    found = resolved(word)
    assert found.cell.key == resolved().cell.key
    assert list(found.overrides) == list(resolved().overrides) == list(PLAIN)


def test_a_trained_base_is_known_by_whom_it_learns_from() -> None:
    assert resolved("base=task_adapted").learnt == "hash of train"
    assert not resolved().adapted and resolved("base=task_adapted").adapted
    retrained = resolved("base=task_adapted", "base.retrain=true")
    assert retrained.cell.key != resolved("base=task_adapted").cell.key
    pooled = ("protocol=oppu", "protocol.n_test=1")
    assert resolved(*pooled, "base=task_adapted").learnt.startswith("hash of train and hash of dev")


def test_a_pool_has_both_splits_and_golds_only_where_both_have_them() -> None:
    pooled = resolved("protocol=oppu", "protocol.n_test=1")
    assert (pooled.tested.split, pooled.tested.golds) == ("train+dev", False)
    assert (resolved().tested.split, resolved().fitted.split) == ("dev", "train")
    assert [one.id for one in resolved().people().tested] == ["c", "d"]


def test_a_setting_younger_than_published_records_is_in_no_key_at_its_default() -> None:
    """CHAMELEON's cells were made when there was one shared neutral insight,
    and no such setting.
    """
    said = resolved("method.insight_neutral=shared")
    method, fields = said.method, dict(said.fields)
    assert "insight_neutral" not in fields_in_key(method, fields)
    assert fields_in_key(method, fields | {"insight_neutral": "own"})["insight_neutral"] == "own"
    assert fields_in_key(method, fields)["select"] == fields["select"]


def test_names_and_variant_are_the_words_that_tell_cells_apart() -> None:
    found = resolved("method.alpha_p=3", "leak=flag", "limit=3", "seed=2", "progress=false")
    assert found.names["variant"] == "alpha_p=3 selection.embedder=hash leak=flag limit=3"
    assert (found.names["seed"], found.names["method"], found.names["base"]) == (
        2,
        "chameleon",
        "instruct",
    )
    assert resolved().names["variant"] == "selection.embedder=hash" and resolved().seed == 0


def test_of_an_experiments_cell_only_its_own_words_are_told() -> None:
    words = ["method.k=3", "limit=3", "leak=flag"]
    assert own_words(words, {"own": ["limit"]}) == ["limit=3"]
    assert own_words(words, None) == words


# What is named is known by its content


def test_a_file_and_a_folder_are_known_by_name_and_content(tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    (folder / "deep").mkdir(parents=True)
    for name, text in (("a.txt", "one"), ("deep/b.txt", "two")):
        (folder / name).write_text(text)
    first = by_content(
        {"path": str(folder), "also": [str(folder / "a.txt")], "k": 3, "word": "rag"}
    )
    assert first["path"].startswith("profiles@") and first["also"][0].startswith("a.txt@")
    assert (first["k"], first["word"]) == (3, "rag")
    moved = folder.rename(tmp_path / "other")
    assert by_content(str(moved)) == first["path"].replace("profiles", "other")
    (moved / "deep" / "b.txt").write_text("2!!")
    changed = by_content({"path": str(moved), "also": [str(moved / "a.txt")]})
    assert changed["path"] != first["path"].replace("profiles", "other")
    assert changed["also"] == first["also"]
    (moved / "deep" / "b.txt").write_text("two")
    (moved / "deep" / "b.txt").rename(moved / "deep" / "c.txt")
    assert by_content(str(moved)) != first["path"].replace("profiles", "other")


def test_a_word_that_happens_to_be_a_file_is_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`method.form=rag` beside a folder `rag` is no folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rag").mkdir()
    assert by_content("rag") == "rag" and by_content("./rag") != "./rag"


def test_the_record_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    assert without_folder(f"model.source='{tmp_path}'") == f"model.source={tmp_path.name}"
    assert without_folder("model.source=someone/model") == "model.source=someone/model"
    assert without_folder("method.k=3") == "method.k=3"


FIT_SPLIT = [
    (("method=rag",), None),
    (("method=chameleon",), "; the method learns from its users"),
    (("method=rag", "base=task_adapted"), "; the adapted base is trained on it (base=instruct "),
    (("method=rag", "protocol=oppu", "data.kind=time"), "; protocol.pool=true takes the users"),
]


@pytest.mark.parametrize(("words", "reason"), FIT_SPLIT)
def test_a_fit_split_that_is_not_there_matters_only_to_who_reads_it(
    words: tuple[str, ...], reason: str | None, tmp_path: Path
) -> None:
    generator.write(tmp_path, train_users=4, dev_users=3)
    for train in tmp_path.rglob("train"):
        shutil.rmtree(train)
    settings = ["model=tiny", "base=instruct", "data=lamp", f"data.root={tmp_path}", *words]
    HydraConfig.instance().set_config(compose("config", settings, return_hydra_config=True))
    if reason is None:
        plan = resolve(compose("config", settings, return_hydra_config=True))
        assert list(plan.people().fitting) == []
        return
    with pytest.raises(InputError) as refused:
        resolve(compose("config", settings, return_hydra_config=True))
    assert reason in str(refused.value) and "train" in str(refused.value)


def test_a_fit_split_that_is_there_is_read_though_nobody_learns_from_it() -> None:
    plan = resolved("method=instruct")
    assert [user.id for user in plan.fitted.users] == ["a", "b", "c"]

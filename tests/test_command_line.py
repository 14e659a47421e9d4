"""The command line as a person types it, what it says of mistakes,
its help, and exit codes of sweeps.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cells import TINY, run
from conftest import ROOT

from bench.__main__ import run as bench
from bench.checks import catalog
from bench.checks.yaml_settings import Setting
from bench.cli import guide, spelling
from bench.data.sample import generator
from bench.disk import store
from bench.download import Order
from bench.errors import InputError
from bench.report.__main__ import main as report

WORKERS = {"PYTHONPATH": str(ROOT)}
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    root = tmp_path_factory.mktemp("data") / "lamp"
    generator.write(root, train_users=40, dev_users=12)
    return (*TINY, "data=lamp", f"data.root={root}", "limit=3")


@pytest.fixture(autouse=True)
def _own_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the command changes of its process is put back behind each test."""
    monkeypatch.setattr(sys, "argv", ["bench"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")
    monkeypatch.delenv("HYDRA_FULL_ERROR")
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("task=LaMP-3", ["task=lamp3"]),
        ("task=LaMP_3", ["task=lamp3"]),
        ("task=LAMP3", ["task=lamp3"]),
        ("task=lamp-2n", ["task=lamp2n"]),
        ("method=LLM-REC", ["method=llm_rec"]),
        ("model=SmolLM2", ["model=smollm2"]),
        (
            "model=Qwen/Qwen3-8B",
            ["model=folder", "model.source=Qwen/Qwen3-8B", "model.name=Qwen3-8B"],
        ),
        ("model=./my-model", ["model=folder", "model.source=./my-model", "model.name=my-model"]),
        ("data.root=/a b/c", ["data.root=/a b/c"]),
        ("data.root=/a=b (c)", ["data.root='/a=b (c)'"]),
        ("data.root=it's", ["data.root='it\\'s'"]),
        ("data.root=a,b", ["data.root='a,b'"]),
        ("data.root=2024", ["data.root='2024'"]),
        ("adapter.path=null", ["adapter.path=null"]),
    ],
)
def test_names_and_folders_are_read_as_they_are_typed(typed: str, read: list[str]) -> None:
    assert spelling.read([typed]) == read


def test_a_home_folder_is_written_out_and_an_unknown_user_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert spelling.read(["data.root=~/lamp"]) == ["data.root=/home/ada/lamp"]
    with pytest.raises(InputError, match="no user nobody-here here"):
        spelling.read(["results.root=~nobody-here/runs"])


def test_in_a_sweep_every_name_is_read_and_a_setting_that_one_method_has_waits_for_it() -> None:
    typed = ["-m", "task=LaMP-3,LaMP_2", "method=rag,random_history", "method.k=3", "seed=1"]
    assert spelling.read(typed) == [
        "-m",
        "task=lamp3,lamp2",
        "method=rag,random_history",
        "method.k=choice(3)",
        "seed=1",
    ]
    assert spelling.read(["experiment=controls", "method.k=3"]) == [
        "-m",
        "experiment=controls",
        "method.k=choice(3)",
    ]
    assert spelling.expanded(["seed=1", "model=a/b", "model.name=mine"]) == [
        "seed=1",
        "model=folder",
        "model.source=a/b",
        "model.name=mine",
    ]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["rag"], "rag: write method=rag"),
        (["LaMP-3"], "write task=lamp3"),
        (["report"], "python -m bench.report"),
        (["nonsense"], "nonsense: a setting is key=value, as in method=rag"),
        (["seed", "=", "3"], "seed: a setting is key=value"),
        (["--method", "rag"], "--method: a setting is key=value without dashes: method=rag"),
        (["--seed=3"], "without dashes: seed=3"),
        (["=3"], "=3: a setting is key=value"),
        (["method=null"], "method=null: choose one of adapter"),
        (["method="], "method=: choose one of adapter"),
        (["decoding.rule=(a"], "as a text it is \"decoding.rule='(a'\""),
        (["k=8"], "k: no such setting here (did you mean method.k, of method=oppu, pag, rag"),
        (["method=rag", "k=8"], "(did you mean method.k?)"),
        (["method=chameleon", "method.ccs.epoch=5"], "(did you mean method.ccs.epochs?)"),
        (["method.select.n_items=5"], "write selection.n_items=..."),
        (["experiment=table1"], "(did you mean chameleon_table1 or oppu_table1?)"),
        (
            ["task=lamp9"],
            "there are folder, lamp1, lamp2, lamp2n, lamp3, lamp4, lamp5, lamp6, lamp7",
        ),
        (["+seed=3"], "without the +"),
        (["hydra/launcher=slurm"], "did you mean submitit_slurm?"),
        (["--resolve"], "--resolve"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_write(
    typed: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(typed) == 2
    said = capsys.readouterr().err
    assert (
        told in said
        and said.count("\n") == 1
        and "provider=" not in said
        and "hydra.cc" not in said
    )


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("method=glob(x*)", "method=glob(x*): no value fits"),
        ("seed=range(0,0)", "seed=range(0,0): no value fits"),
        ("seed=interval(0,1)", "give the values one by one"),
        ("hydra.sweeper.max_batch_size=0", "give a number from 1, or null"),
        ("hydra.sweeper.max_batch_size=x", "give a number from 1, or null"),
    ],
)
def test_a_sweep_of_nothing_is_bad_input(typed: str, told: str, tmp_path: Path) -> None:
    code, said = run("-m", typed, folder=tmp_path)
    assert code == 2 and told in said and said.count("\n") == 1, said


def test_the_version_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(["--version"]) == 0
    assert capsys.readouterr().out.startswith("lamplight 0.")


def own_settings(method: str) -> list[Setting]:
    """The settings of a method that stand in its file, without those of sections inside."""
    found = catalog.of_option("method", method).values()
    first = [one for one in found if one.key.startswith("method.") and one.key.count(".") == 1]
    return [one for one in first if not one.is_reference]


@pytest.mark.parametrize("method", catalog.groups()["method"])
def test_the_help_is_one_screen_with_all_settings_of_the_method(method: str) -> None:
    said = guide.text(["help", f"method={method}", "task=lamp2"])
    lines = said.splitlines()
    assert len(lines) <= guide.SCREEN == 50 and max(map(len, lines)) <= 100
    for setting in own_settings(method):
        name = setting.key.removeprefix("method.")
        assert re.search(rf"[ .]{name}=", said), name
    assert "You are" not in said and "max_new_tokens=" in said and "results.root=" in said
    assert "--help=all" in lines[-1]


def test_a_screen_explains_the_main_settings_of_a_method_with_many() -> None:
    lines = guide.text(["--help", "method=chameleon"]).splitlines()
    explained = [line.partition("=")[0].strip() for line in lines if line.startswith("  method.")]
    main = [setting.key for setting in own_settings("chameleon") if setting.is_main]
    assert {"method.n_layers", "method.mode"} <= set(main) <= set(explained)
    assert re.search(r"method.n_layers=5 +A10: so many layers are edited", "\n".join(lines))


def test_the_long_help_explains_each_setting_within_the_width() -> None:
    said = guide.text(["--help=all", "method=chameleon"])
    assert max(map(len, said.splitlines())) <= 100
    for setting in own_settings("chameleon"):
        assert re.search(rf"{re.escape(setting.key)}=\S+ +# \S", said), setting.key


def test_every_setting_of_a_method_has_a_word_of_explanation() -> None:
    assert not [
        one.key
        for method in catalog.groups()["method"]
        for one in own_settings(method)
        if not one.about
    ]


def test_the_long_help_has_the_prompts() -> None:
    assert "You are a helpfully personalized assistant" in " ".join(
        guide.text(["--help=all"]).split()
    )


def test_a_word_that_two_methods_know_goes_through_a_sweep_of_both(
    small: tuple[str, ...], tmp_path: Path
) -> None:
    code, said = run(
        "-m", *small, "method=rag,random_history", "method.k=3", "progress=true", folder=tmp_path
    )
    assert code == 0, said
    assert "cell 1 of 2: method=rag" in said and "cell 2 of 2: method=random_history" in said
    assert not (tmp_path / "runs" / ".sweep").exists()


def test_a_sweep_on_a_full_disk_is_no_success(
    small: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def full(path: Path, mode: str = "r", *rest: object, **more: object) -> object:
        if mode[0] in "awx" and path.is_relative_to(tmp_path / "runs"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, mode, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", full)
    code, said = run("-m", *small, "method=majority", "seed=0,1", folder=tmp_path)
    assert code == 1 and said.count("no space left on device") == 2 and "Traceback" not in said, (
        said
    )


def test_a_finished_sweep_is_found_in_a_folder_that_cannot_be_written(
    small: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spelling = ("-m", *small, "method=majority", "seed=0,1")
    assert run(*spelling, folder=tmp_path)[0] == 0
    made, opened = Path.mkdir, Path.open

    def mkdir(path: Path, *rest: object, **more: object) -> None:
        if path.is_relative_to(tmp_path / "runs") and not path.exists():
            raise OSError(errno.EROFS, "Read-only file system")
        made(path, *rest, **more)  # type: ignore[arg-type]

    def refused(path: Path, mode: str = "r", *rest: object, **more: object) -> object:
        if mode[0] in "awx" and path.is_relative_to(tmp_path / "runs"):
            raise OSError(errno.EROFS, "Read-only file system")
        return opened(path, mode, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(Path, "open", refused)
    code, said = run(*spelling, folder=tmp_path)
    assert code == 0 and said.count("(was done)") == 2, said


@pytest.mark.parametrize("launcher", [(), JOBLIB], ids=["serial", "joblib"])
def test_term_stops_a_sweep(
    launcher: tuple[str, ...], small: tuple[str, ...], tmp_path: Path
) -> None:
    spelling = ("-m", *small, *launcher, "method=instruct", "seed=0,1", "limit=null")
    at_work = {"kill_when": lambda: _workers(tmp_path), "with_signal": signal.SIGTERM}
    code, said = run(*spelling, folder=tmp_path, environment=WORKERS, **at_work)  # type: ignore[arg-type]
    assert (
        code == 143 and "the same command goes on from here" in said and "Traceback" not in said
    ), said


@pytest.mark.parametrize("launcher", [(), JOBLIB], ids=["serial", "joblib"])
def test_impossible_results_are_one_line(
    launcher: tuple[str, ...], small: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "runs").write_text("a file")
    code, said = run(
        "-m", *small, "method=majority", "seed=0,1", *launcher, folder=tmp_path, environment=WORKERS
    )
    assert code == 2 and said.count("\n") == 1 and "results.root=FOLDER" in said


def test_other_commands_read_what_a_person_types(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "lamp3" / "rag" / "abcdef0123456789"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text("{}")
    for name in ("abcd", "lamp3/rag/abcd", str(folder)):
        assert store.resolve(name, [tmp_path]) == folder
    with pytest.raises(InputError, match="neither a cell folder"):
        store.resolve("lamp3", [tmp_path])
    assert Order.parse(["task=LaMP-3,LAMP2N"]).tasks == ("lamp3", "lamp2n")
    with pytest.raises(InputError, match="write task=lamp3"):
        Order.parse(["LaMP-3"])
    assert report(["table1"]) == 2
    assert "did you mean chameleon_table1 or oppu_table1?" in capsys.readouterr().err
    assert report(["page", str(tmp_path / "page.html"), "--results", str(tmp_path / "none")]) == 2
    assert "none: no such folder" in capsys.readouterr().err
    assert report(["help"]) == 0 and "compare A B" in capsys.readouterr().out
    assert report(["--task", "LaMP-3", "--results", str(ROOT / "results" / "published")]) == 0


@pytest.mark.parametrize(
    "command",
    [
        ("bench", "--help=all"),
        ("bench.report", "--help"),
        ("bench.download", "--help"),
        ("bench.export", "--help"),
    ],
)
def test_a_reader_that_goes_early_costs_no_traceback(command: tuple[str, str]) -> None:
    read, write = os.pipe()
    os.close(read)  # `head` has seen enough before anything is written
    done = subprocess.run(
        [sys.executable, "-m", *command],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | WORKERS,
    )
    os.close(write)
    assert done.returncode == 0 and done.stderr == ""


def test_a_killed_worker_is_a_failure_that_names_its_cells(
    small: tuple[str, ...], tmp_path: Path
) -> None:
    spelling = ("-m", *small, *JOBLIB, "method=instruct", "seed=0,1", "limit=null")
    code, said = run(
        *spelling,
        folder=tmp_path,
        environment=WORKERS,
        kill_when=lambda: _kill_a_worker(tmp_path),
        with_signal=0,
    )
    assert code == 1 and "Traceback" not in said, said
    assert "2 of 2 cells are not done: cell 1 (seed=0), cell 2 (seed=1)" in said


def test_workers_end_with_their_parent(small: tuple[str, ...], tmp_path: Path) -> None:
    spelling = ("-m", *small, *JOBLIB, "method=instruct", "seed=0,1", "limit=null")
    run(*spelling, folder=tmp_path, environment=WORKERS, kill_when=lambda: _workers(tmp_path))
    orphans = _workers(tmp_path)
    limit = time.monotonic() + 20
    while any(map(_at_work, orphans)) and time.monotonic() < limit:
        time.sleep(0.1)
    assert orphans and not any(map(_at_work, orphans))
    assert not list((tmp_path / "runs").glob("lamp3/*/*/record.json"))


def _at_work(pid: int) -> bool:
    """Whether a process runs; one that has ended may still be
    listed where nobody collects its code.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _workers(folder: Path) -> list[int]:
    """The processes that hold a cell of this folder."""
    return [
        int(path.name.partition("@")[0]) for path in (folder / "runs").glob("lamp3/*/*/claim/*")
    ]


def _kill_a_worker(folder: Path) -> bool:
    for pid in _workers(folder)[:1]:
        os.kill(pid, signal.SIGKILL)
        return True
    return False

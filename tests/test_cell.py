"""Whole cells through the command line, on a tiny random model and the sample's files."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from cells import BASE, CHAMELEON, MOCKED, TINY, run, start

from bench.data.sample import generator

VOLATILE = ("cost", "started", "finished", "environment")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "lamp"
    generator.write(root, train_users=120, dev_users=60)
    return root


def on(data: Path) -> tuple[str, ...]:
    return (*TINY, "data=lamp", f"data.root={data}")


def mocked(data: Path) -> tuple[str, ...]:
    """The same on a model without weights."""
    return (*MOCKED, "data=lamp", f"data.root={data}")


def cell_of(folder: Path, method: str) -> Path:
    [record] = (folder / "runs").glob(f"*/{method}/*/record.json")
    return record.parent


def record_of(folder: Path, method: str) -> dict:  # type: ignore[type-arg]
    return json.loads((cell_of(folder, method) / "record.json").read_text())  # type: ignore[no-any-return]


def steady(record: dict) -> dict:  # type: ignore[type-arg]
    """The record without clock, machine and what a crash may leave to count."""
    counts = {name: count for name, count in record["counts"].items() if name != "lines_dropped"}
    return {name: value for name, value in record.items() if name not in VOLATILE} | {
        "counts": counts
    }


def tokens(record: dict) -> dict[str, list[int]]:  # type: ignore[type-arg]
    """What each phase but the loading, which every run does, has read and written."""
    return {
        name: [cost["tokens_in"], cost["tokens_out"]]
        for name, cost in record["cost"].items()
        if name != "load"
    }


def test_a_cell_runs_is_told_and_is_found_done(data: Path, tmp_path: Path) -> None:
    code, said = run(*mocked(data), "method=instruct", folder=tmp_path)
    assert code == 0, said
    assert re.search(r"instruct .*on lamp3.*mae \d\.\d{3} \[", said) and "record.json" in said
    record = record_of(tmp_path, "instruct")
    assert (
        record["status"] == "ok"
        and record["data"]["queries"] == 10
        and record["counts"]["samples"] == 10
    )
    assert set(record["metrics"]) >= {"mae", "rmse", "lenient_mae", "nll_label", "user_mean_mae"}
    samples = [
        json.loads(line)
        for line in (cell_of(tmp_path, "instruct") / "samples.jsonl").read_text().splitlines()
    ]
    assert len(samples) == 10 and all("gold" not in generator for generator in samples)
    code, said = run(*mocked(data), "method=instruct", folder=tmp_path)
    assert code == 0 and "was done" in said


def test_chameleon_is_compared_with_the_baseline_on_the_same_questions(
    data: Path, tmp_path: Path
) -> None:
    for words in (("method=instruct",), CHAMELEON):
        code, said = run(*on(data), *words, folder=tmp_path)
        assert code == 0, said
    assert "10 common queries of 10 users" in said and "nll_label" in said
    record = record_of(tmp_path, "chameleon")
    facts = record["facts"]
    assert (
        facts["pairs_kept"] + facts["pairs_equal"] + facts["pairs_empty"]
        == facts["pairs_asked"]
        == 14
    )
    assert (
        len(facts["layers"]) == 1
        and record["counts"]["patches"] == 1
        and record["counts"]["patch_bytes"] > 0
    )
    assert {"insights", "pairs", "activations", "directions", "generate"} <= set(record["cost"])
    assert record["cost"]["pairs"]["tokens_in"] > 0


def test_a_question_too_long_for_the_model_is_named_with_its_file(
    data: Path, tmp_path: Path
) -> None:
    words = ("method=instruct", "method.history=none", "model.max_prompt_tokens=60")
    code, said = run(*on(data), *words, folder=tmp_path)
    assert code == 2, said
    first = json.loads((data / "LaMP_3" / "dev" / "dev_questions.json").read_text())[:10]
    assert any(
        f"LaMP_3/dev/dev_questions.json: question {one['id']}: the prompt without any" in said
        for one in first
    )
    assert "Traceback" not in said


def test_no_user_text_is_in_the_record(data: Path, tmp_path: Path) -> None:
    run(*on(data), *CHAMELEON, folder=tmp_path)
    text = (cell_of(tmp_path, "chameleon") / "record.json").read_text()
    questions = json.loads((data / "LaMP_3" / "dev" / "dev_questions.json").read_text())[:10]
    for question in questions:
        for item in question["profile"]:
            assert item["text"][:40] not in text
    assert str(tmp_path) not in text and str(data) not in text


def test_deleting_the_golds_changes_no_answer(data: Path, tmp_path: Path) -> None:
    """Acceptance check 14: nothing reads a test gold before scoring."""
    hidden = tmp_path / "hidden"
    shutil.copytree(data / "LaMP_3" / "train", hidden / "LaMP_3" / "train")
    shutil.copytree(data / "LaMP_3" / "dev", hidden / "LaMP_3" / "test")
    (hidden / "LaMP_3" / "test" / "dev_questions.json").rename(
        hidden / "LaMP_3" / "test" / "test_questions.json"
    )
    (hidden / "LaMP_3" / "test" / "dev_outputs.json").unlink()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    run(*on(data), *CHAMELEON, folder=tmp_path / "a")
    code, said = run(*on(hidden), *CHAMELEON, "protocol.test_split=test", folder=tmp_path / "b")
    assert code == 0, said
    one, other = cell_of(tmp_path / "a", "chameleon"), cell_of(tmp_path / "b", "chameleon")
    assert (one / "samples.jsonl").read_text() == (other / "samples.jsonl").read_text()
    record = json.loads((other / "record.json").read_text())
    assert record["metrics"] == {} and "no golds" in record["unscored"]
    predictions = json.loads((other / "predictions.json").read_text())
    assert set(predictions) == {"task", "golds", "model"} and predictions["task"] == "LaMP_3"
    assert [set(one) for one in predictions["golds"]] == [{"id", "output"}] * 10


def test_a_base_is_made_again_once_a_sweep_and_not_again_on_resume(
    data: Path, tmp_path: Path
) -> None:
    words = ("-m", *on(data), *BASE, "method=instruct", "base.retrain=true")
    code, said = run(*words, "method.history=selected,none", folder=tmp_path)
    assert code == 0, said
    cells = sorted((tmp_path / "runs" / "lamp3" / "instruct").iterdir())
    records = [json.loads((cell / "record.json").read_text()) for cell in cells]
    assert ["base" in record["cost"] for record in records].count(True) == 1
    assert len({record["model"]["base"] for record in records}) == 1
    trained = next(
        cell for cell, record in zip(cells, records, strict=True) if "base" in record["cost"]
    )
    (trained / "record.json").unlink()
    (trained / "artifacts" / "cost.jsonl").unlink()
    code, said = run(*words, "method.history=selected,none", folder=tmp_path)
    assert code == 0, said
    assert "base" not in json.loads((trained / "record.json").read_text())["cost"]


@pytest.mark.parametrize("task", ["lamp1", "lamp2", "lamp2n", "lamp4", "lamp5", "lamp6", "lamp7"])
def test_every_task_runs(task: str, data: Path, tmp_path: Path) -> None:
    common = (*on(data), f"task={task}", "limit=3", "protocol.group_size=6")
    for words in (("method=majority",), CHAMELEON + ("method.min_pairs=2",)):
        code, said = run(*common, *words, folder=tmp_path)
        assert code == 0, said
        assert "error" not in said


@pytest.mark.parametrize("family", ["mistral", "qwen2", "t5"])
def test_every_family_runs(family: str, data: Path, tmp_path: Path) -> None:
    code, said = run(*on(data), *CHAMELEON, *BASE, f"model.source=tiny:{family}", folder=tmp_path)
    assert code == 0, said
    assert record_of(tmp_path, "chameleon")["cell"]["base"] == "task_adapted"


@pytest.mark.parametrize(
    "words",
    [
        ("protocol=unseen",),
        ("protocol.history=other",),
        ("method.mode=user", "limit=3"),
        ("method.positions=last",),
        ("method.control=random_directions", "method.draw=1"),
        ("method.insight_at_inference=true",),
        ("decoding=likelihood",),
        ("decoding=sample",),
        ("data.kind=time", "limit=3"),
        ("base=task_adapted", "base.form=profile"),
        ("method.edit=neutral", "selection.center=none", "selection.order=score"),
    ],
)
def test_every_named_choice_runs(words: tuple[str, ...], data: Path, tmp_path: Path) -> None:
    recipe = BASE[1:] if "base=task_adapted" in words else ()
    code, said = run(*on(data), *CHAMELEON, *words, *recipe, folder=tmp_path)
    assert code == 0, said


def test_a_sweep_leaves_a_record_for_each_cell(data: Path, tmp_path: Path) -> None:
    words = (
        "-m",
        *mocked(data),
        "method=majority",
        "method.rule=global,user,median",
        "protocol=seen,unseen",
    )
    code, said = run(*words, folder=tmp_path)
    assert code == 0, said
    assert len(list((tmp_path / "runs").glob("*/majority/*/record.json"))) == 6


def test_a_failed_cell_is_a_row_and_exit_code_1(data: Path, tmp_path: Path) -> None:
    words = ("-m", *on(data), "method=chameleon", "method.ccs.epochs=20", "method.min_pairs=2,1000")
    code, said = run(*words, folder=tmp_path)
    assert code == 1
    found = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/*/*/record.json")]
    assert sorted(record["status"] for record in found) == ["error", "ok"]
    assert "fewer than min_pairs=1000" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("data=lamp", "data.root=nowhere"), "nowhere"),
        (("data=lamp",), "data.root=FOLDER"),
        (("method=nothing",), "nothing"),
        (("method.rulee=user",), "rulee"),
        (("model=folder", "model.name=x", "model.source=/nowhere"), "/nowhere"),
        (("task=lamp7", "method=majority", "method.rule=user"), "lamp7"),
        (("task=lamp7", "decoding=likelihood"), "labels"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(
    words: tuple[str, ...], told: str, data: Path, tmp_path: Path
) -> None:
    given = (
        ()
        if any(word.startswith("data=") for word in words)
        else ("data=lamp", f"data.root={data}")
    )
    code, said = run(*TINY, *given, *words, folder=tmp_path)
    assert code == 2, said
    assert told in said and "Traceback" not in said


def test_a_dry_run_loads_nothing_and_shows_a_prompt(data: Path, tmp_path: Path) -> None:
    code, said = run(*on(data), *CHAMELEON, "dry=true", folder=tmp_path)
    assert (
        code == 0
        and "to do" in said
        and "Your answer:" in said
        and "(history as stored)" not in said
    )
    assert not (tmp_path / "runs").exists()


def test_the_noise_floor_is_the_baseline_in_other_batches(data: Path, tmp_path: Path) -> None:
    for words in ((), ("noise_floor=true",)):
        code, said = run(
            *on(data), "method=instruct", "model.batch_tokens=1000", *words, folder=tmp_path
        )
        assert code == 0, said
    assert "10 common queries" in said
    texts = [
        [(one["id"], one["raw"]) for one in map(json.loads, path.read_text().splitlines())]
        for path in (tmp_path / "runs").glob("*/instruct/*/samples.jsonl")
    ]
    assert [id for id, _ in texts[0]] != [id for id, _ in texts[1]], (
        "answers come in the order of their batches"
    )
    assert sorted(texts[0]) == sorted(texts[1]), "in float32 batching changes nothing"


@pytest.mark.timeout(900)  # a dozen runs, one after the other
def test_a_killed_run_goes_on_and_ends_as_an_undisturbed_one(data: Path, tmp_path: Path) -> None:
    """SIGKILL at random moments, from the first to the last phase."""
    words = (*on(data), *CHAMELEON, *BASE)
    calm = tmp_path / "calm"
    calm.mkdir()
    before = time.monotonic()
    code, said = run(*words, folder=calm, environment={"LAMPLIGHT_CACHE": str(calm / "cache")})
    assert code == 0, said
    seconds = time.monotonic() - before
    expected, used = steady(record_of(calm, "chameleon")), tokens(record_of(calm, "chameleon"))
    samples = (cell_of(calm, "chameleon") / "samples.jsonl").read_text()
    stream, killed = random.Random(7), 0
    for trial in range(4):
        folder = tmp_path / f"trial{trial}"
        folder.mkdir()
        environment = {"LAMPLIGHT_CACHE": str(folder / "cache")}
        for attempt in range(2):
            moment = (
                seconds * (trial + stream.random()) / 4
                if attempt == 0
                else seconds * stream.random()
            )
            code, said = run(*words, folder=folder, kill_after=moment, environment=environment)
            killed += code == -signal.SIGKILL
            assert code in (0, -signal.SIGKILL), said
        code, said = run(*words, folder=folder, environment=environment)
        assert code == 0, said
        assert steady(record_of(folder, "chameleon")) == expected
        assert (cell_of(folder, "chameleon") / "samples.jsonl").read_text() == samples
        assert tokens(record_of(folder, "chameleon")) == used
    assert killed >= 4, "the test must have killed something"


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("sweep", [(), ("-m",)], ids=["cell", "sweep"])
def test_who_is_asked_to_stop_stops_cleanly_and_says_how_to_go_on(
    sweep: tuple[str, ...], number: int, expected: int, data: Path, tmp_path: Path
) -> None:
    words = (*on(data), *CHAMELEON, "method.ccs.epochs=4000")

    def begun() -> bool:
        # the first phase has ended
        return any((tmp_path / "runs").glob("*/*/*/artifacts/cost.jsonl"))

    code, said = run(*sweep, *words, folder=tmp_path, kill_when=begun, with_signal=number)
    assert code == expected, said
    assert "goes on from here" in said and "Traceback" not in said
    assert not list((tmp_path / "runs").glob("*/*/*/claim"))


def test_a_full_disk_is_said_and_nothing_is_lost(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.disk import store

    real, calls = store.append, []

    def full(cell: store.Cell, samples: object) -> None:
        calls.append(1)
        if len(calls) > 2:
            with store.writing(cell.folder):
                raise OSError(errno.ENOSPC, "No space left on device")
        real(cell, samples)  # type: ignore[arg-type]

    words = (*on(data), "method=instruct", "model.batch_tokens=1000")
    monkeypatch.setattr(store, "append", full)
    code, said = run(*words, folder=tmp_path)
    assert code == 1 and "no space left" in said.lower() and "Traceback" not in said
    monkeypatch.undo()
    [kept] = (tmp_path / "runs").glob("*/*/*/samples.jsonl")
    already = kept.read_text()
    assert already
    code, said = run(*words, folder=tmp_path)
    assert code == 0 and kept.read_text().startswith(already)


def test_a_process_that_was_suspended_too_long_stops_beside_its_successor(
    data: Path, tmp_path: Path
) -> None:
    words = (
        *on(data),
        "method=instruct",
        "model.batch_tokens=500",
        f"results.root={tmp_path / 'runs'}",
    )
    sleeper = start(words, output=tmp_path / "sleeper.txt")
    while not list((tmp_path / "runs").glob("*/*/*/samples.jsonl")):
        time.sleep(0.002)
    os.kill(sleeper, signal.SIGSTOP)
    [claim] = (tmp_path / "runs").glob("*/*/*/claim/*")
    os.utime(claim, (0, 0))  # as if it had been asleep for long
    code, said = run(*words, folder=tmp_path)
    assert code == 0, said
    os.kill(sleeper, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(sleeper, 0)[1]) == 1
    said = (tmp_path / "sleeper.txt").read_text()
    assert said.count("another process has taken this over") == 1 and "Traceback" not in said
    lines = (cell_of(tmp_path, "instruct") / "samples.jsonl").read_text().splitlines()
    assert len(lines) == len({json.loads(line)["id"] for line in lines}) == 10


def unwritable(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on nothing can be written below, as on a read-only disk."""
    real = Path.mkdir

    def refuse(path: Path, *given: object, **named: object) -> None:
        if path.is_relative_to(root):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        real(path, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", refuse)


def test_a_finished_cell_is_found_where_nothing_can_be_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = (*mocked(data), "method=majority")
    assert run(*rule, folder=tmp_path)[0] == 0
    unwritable(tmp_path / "runs", monkeypatch)
    code, said = run(*rule, folder=tmp_path)
    assert code == 0 and "(was done)" in said, said
    code, said = run(*rule, "method.rule=user", folder=tmp_path)
    assert (
        code == 2 and "read-only file system; make it writable" in said and "Traceback" not in said
    )
    assert said.count("error: ") == 1


@pytest.mark.parametrize(
    "root", ["FILE/runs", "~nobody_has_this_name/runs", "/proc/nothing", "x" * 300, "''"]
)
@pytest.mark.parametrize("words", [(), ("dry=true",)], ids=["run", "dry"])
def test_a_root_that_can_be_none_is_one_line_and_bad_input(
    words: tuple[str, ...], root: str, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "FILE").touch()
    place = f"results.root={root.replace('FILE', str(tmp_path / 'FILE'))}"
    code, said = run(*mocked(data), "method=majority", *words, place, folder=tmp_path)
    assert "Traceback" not in said and said.count("error: ") == (code == 2), said
    assert code == 2 or (words and code == 0), said


def test_a_cell_past_its_budget_is_a_row_that_says_so(data: Path, tmp_path: Path) -> None:
    code, said = run(*on(data), *CHAMELEON, "budget.minutes=0.0001", folder=tmp_path)
    assert code == 1 and "past its budget" in said
    assert record_of(tmp_path, "chameleon")["status"] == "over_budget"


def test_the_prompt_kept_with_a_sample_is_the_one_the_model_read(
    data: Path, tmp_path: Path
) -> None:
    from bench.lm.load import tiny

    code, said = run(*on(data), "method=instruct", "model.history_tokens=100", folder=tmp_path)
    assert code == 0, said
    _, tokenizer = tiny("llama")
    lines = (cell_of(tmp_path, "instruct") / "samples.jsonl").read_text().splitlines()
    for sample_ in map(json.loads, lines):
        read = tokenizer(sample_["prompt"], add_special_tokens=False)["input_ids"]
        assert sample_["cut"] > 0 and len(read) == sample_["tokens_in"]
    assert record_of(tmp_path, "instruct")["counts"]["truncated"] == len(lines) == 10

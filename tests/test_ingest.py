"""`python -m bench.ingest`: a log becomes a task, whose files are read as LaMP's are."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from logs import records, run, write_csv


@pytest.fixture
def ingest(tmp_path: Path, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """The command on files, into one folder."""
    return lambda *words: run(tmp_path / "mine", capsys, *words)


def test_a_log_becomes_a_task_whose_files_are_read_as_lamps_are(ingest, tmp_path) -> None:
    done = ingest(write_csv(tmp_path / "log.csv", records()))
    assert done.code == 0, done.err
    assert (done.task.name, done.task.kind, done.task.labels) == (
        "mine",
        "rating",
        ("1", "2", "3", "4", "5"),
    )
    train, dev = done.split("train"), done.split("dev")
    assert (len(train.users), len(dev.users)) == (10, 2)
    assert {len(user.queries) for user in done.users} == {2}  # a fifth of ten rows
    assert {len(user.history) for user in done.users} == {8}
    row = next(row for row in records() if row["text"] == dev.users[0].queries[0].text)
    assert (dev.users[0].id, dev.users[0].queries[0].gold) == (row["user"], row["stars"])


def test_questions_are_the_newest_rows_whatever_the_order_of_the_file(ingest, tmp_path) -> None:
    rows = records()
    random.Random(1).shuffle(rows)
    done = ingest(write_csv(tmp_path / "log.csv", rows))
    for user in done.users:
        assert [query.date for query in user.queries] == ["2024-03-09", "2024-03-10"]
        dates = [str(item.date) for item in user.history]
        assert dates == sorted(dates) and dates[-1] == "2024-03-08"


def test_nobody_is_in_two_splits_and_a_seed_draws_others(ingest, tmp_path) -> None:
    path = write_csv(tmp_path / "log.csv", records(users=40))
    first = ingest(path)
    names = [{user.id for user in first.split(name).users} for name in ("train", "dev")]
    assert not names[0] & names[1] and len(names[0] | names[1]) == 40
    again = ingest(path, "--replace")
    assert {user.id for user in again.split("dev").users} == names[1]
    other = ingest(path, "--replace", "--seed", 1)
    assert {user.id for user in other.split("dev").users} != names[1]


def test_without_dates_questions_are_drawn_at_random(ingest, tmp_path) -> None:
    rows = [{name: row[name] for name in ("user", "text", "stars")} for row in records(users=30)]
    done = ingest(write_csv(tmp_path / "log.csv", rows))
    assert "drawn at random" in done.out
    order = {row["text"]: index % 10 for index, row in enumerate(rows)}
    asked = {order[query.text] for user in done.users for query in user.queries}
    assert len(asked) > 6


def test_last_and_history_say_how_much_is_asked_and_kept(ingest, tmp_path) -> None:
    done = ingest(write_csv(tmp_path / "log.csv", records()), "--last", 3, "--history", 4)
    for user in done.users:
        assert (len(user.queries), len(user.history)) == (3, 4)
        assert user.history[-1].date == "2024-03-07"
    assert "older than --history keeps" in done.out


def test_users_with_too_little_history_are_left_out_and_counted(ingest, tmp_path) -> None:
    rows = records() + [row | {"user": "rare"} for row in records(users=1, rows=3, seed=7)]
    done = ingest(write_csv(tmp_path / "log.csv", rows))
    assert "1 left out, with fewer than 3 rows before a question" in done.out
    assert "rare" not in {user.id for user in done.users}


def test_what_stands_twice_is_dropped_or_counted(ingest, tmp_path) -> None:
    rows = records()
    rows.append(rows[0])  # exported twice
    rows[1] |= {"text": rows[9]["text"].upper()}  # a user's question in their own history
    question = ingest(write_csv(tmp_path / "log.csv", rows)).split("dev").users[0]
    dev, train = question.queries[0].text, "user0" if question.id != "user0" else "user1"
    copied = next(row for row in rows if row["user"] == train and row["date"] == "2024-03-05")
    copied["text"] = f"well, {dev}"
    path = write_csv(tmp_path / "log.csv", rows)

    done = ingest(path, "--replace")
    assert "1 that stand twice were taken once" in done.out
    assert "same user: 1 equal, 0 near" in done.out
    assert "tested user's question: 0 equal, 1 near; dropped" in done.out
    assert done.split("train").counts["items"] + done.split("dev").counts["items"] == 12 * 8 - 2
    kept = ingest(path, "--replace", "--duplicates", "flag")
    assert kept.split("train").counts["items"] + kept.split("dev").counts["items"] == 12 * 8


def test_a_dry_run_reports_with_a_prompt_and_writes_nothing(ingest, tmp_path) -> None:
    path = write_csv(tmp_path / "log.csv", records())
    done = ingest(path, "--dry-run")
    assert done.code == 0 and "nothing was written" in done.out
    assert "Your answer:" in done.out and done.out.count("example ") == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["log.csv"]


def test_an_edited_task_is_not_written_over_unless_asked(ingest, tmp_path) -> None:
    path = write_csv(tmp_path / "log.csv", records())
    root = ingest(path).root
    (root / "task.yaml").write_text("edited: true\n")
    again = ingest(path)
    assert again.code == 2 and "--replace" in again.err
    assert (root / "task.yaml").read_text() == "edited: true\n"
    assert ingest(path, "--replace").task.name == "mine"


def test_each_kind_has_prompts_in_the_three_styles(ingest, tmp_path) -> None:
    rows = records()
    for index, row in enumerate(rows):
        row |= {
            "genre": ("drama", "comedy", "war")[index % 3],
            "headline": f"on {row['text'][:30]}",
        }
    path = write_csv(tmp_path / "log.csv", rows)
    for output, kind in (
        ("stars", "rating"),
        ("genre", "classification"),
        ("headline", "generation"),
    ):
        done = ingest(path, "--output", output, "--replace")
        assert (done.task.kind, done.task.target) == (kind, output)
        user = done.split("dev").users[0]
        for style in ("personalized", "neutral", "lamp", "oppu"):
            [message] = done.task.render(user.queries[0], user.history[:2], style=style)
            assert user.queries[0].text in message.text
            assert user.history[0].fields[output] in message.text

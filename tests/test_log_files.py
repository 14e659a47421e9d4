"""Ten files as people have them: each ends in a task that is read, or in one line that says what to
do.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from logs import Outcome, records, run, write_csv, write_lines

from bench.ingest.bad_rows import BadRows
from bench.ingest.table import TableFile


@pytest.fixture
def ingest(tmp_path: Path, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """The command on files, into one folder."""
    return lambda *words: run(tmp_path / "mine", capsys, *words)


def one_line(outcome: Outcome, *parts: str) -> None:
    """The command refused its input in one line that holds these words, and has written nothing."""
    assert (outcome.code, outcome.out) == (2, "")
    assert len(outcome.err.strip().splitlines()) == 1, outcome.err
    for part in parts:
        assert part in outcome.err
    assert not (outcome.root / "task.yaml").exists()


def test_an_app_stores_export_with_quotes_and_line_breaks(ingest, tmp_path) -> None:
    rows = [
        {
            "Review ID": f"gp:{index}",
            "Author Name": row["user"],
            "Star Rating": row["stars"],
            "Review Text": f'{row["text"]}\n"Best" app, ever;\r\nreally',
            "Review Submit Date and Time": f"{row['date']}T08:00:00Z",
        }
        for index, row in enumerate(records())
    ]
    path = write_csv(tmp_path / "reviews.csv", rows, encoding="utf-16")
    one_line(ingest(path), "not utf-8", "--encoding utf-16")
    words = ("--encoding", "utf-16", "--user", "Author Name")
    one_line(ingest(path, *words, "--date", "Submit Date"), "no such column", "did you mean")
    done = ingest(path, *words, "--date", "Review Submit Date and Time")
    assert done.code == 0, done.err
    assert done.task.fields == ("review_text", "star_rating")
    assert '\n"Best" app, ever;' in done.users[0].history[0].fields["review_text"]
    assert {len(user.queries) for user in done.users} == {2}


def test_a_chat_log_in_json_lines_with_times_in_milliseconds(ingest, tmp_path) -> None:
    start = datetime(2024, 5, 31, 23, 59, tzinfo=UTC)
    rows: list[Any] = []
    for number, row in enumerate(records(users=8)):
        moment = start + timedelta(seconds=number)
        rows.append(
            {
                "from": {"id": 1000 + int(row["user"][4:]), "name": "?"},
                "message": row["text"],
                "reply": f"{row['text'][:40]} yes",
                "ts": int(moment.timestamp() * 1000),
            }
        )
    done = ingest(write_lines(tmp_path / "chat.jsonl", rows), "--user", "from.id")
    assert done.code == 0, done.err
    assert (done.task.kind, done.task.fields) == ("generation", ("message", "reply"))
    assert "milliseconds: questions are a user's newest rows" in done.out
    order = [row["message"] for row in rows]
    for user in done.users:
        texts = [item.fields["message"] for item in user.history]
        texts += [query.text for query in user.queries]
        assert texts == sorted(texts, key=order.index)  # by the second, within one day


def test_ratings_from_one_to_ten_with_half_points(ingest, tmp_path) -> None:
    rng = random.Random(3)
    rows = [row | {"stars": f"{rng.randint(2, 20) / 2:.1f}"} for row in records()]
    done = ingest(write_csv(tmp_path / "films.csv", rows))
    assert done.code == 0, done.err
    assert done.task.labels == tuple(f"{step / 2:g}" for step in range(2, 21))
    assert {query.gold for user in done.users for query in user.queries} <= set(done.task.labels)
    assert "1 to 10 in steps of 0.5 (guessed: --scale)" in done.out
    given = ingest(tmp_path / "films.csv", "--replace", "--scale", "0:10:0.5")
    assert given.task.labels[0] == "0"
    wrong = ingest(tmp_path / "films.csv", "--replace", "--scale", "1:5")
    assert wrong.code == 2 and "is not on the scale 1, 2, ..., 5" in wrong.err


def test_tags_behind_bars(ingest, tmp_path) -> None:
    rng = random.Random(4)
    rows = []
    for row in records():
        tags = rng.sample(["drama", "war", "comedy", "crime"], 2)
        rows.append(
            {name: row[name] for name in ("user", "text", "date")} | {"tags": "|".join(tags)}
        )
    path = write_csv(tmp_path / "films.csv", rows)
    one_line(ingest(path, "--kind", "classification"), "several labels", "--separator '|'")
    done = ingest(path, "--kind", "classification", "--separator", "|")
    assert done.code == 0, done.err
    assert sorted(done.task.labels) == ["comedy", "crime", "drama", "war"]


def test_german_text_with_decimal_commas(ingest, tmp_path) -> None:
    rows = []
    for index, row in enumerate(records()):
        rows.append(
            {
                "Nutzer": f"Jürgen {row['user']}",
                "Text": f"Größe, Maß und Süßes: {row['text']}",
                "Note": f"{2 + index % 7 / 2:.1f}".replace(".", ","),
                "Datum": f"{int(row['date'][-2:]):02d}.03.2024 14:30",
            }
        )
    path = write_csv(tmp_path / "noten.csv", rows, delimiter=";", encoding="latin-1")
    one_line(ingest(path), "not utf-8", "--encoding latin-1")
    latin = ("--encoding", "latin-1")
    one_line(
        ingest(path, *latin), "which column is who wrote each row", "Nutzer, Text, Note, Datum"
    )
    columns = ("--user", "Nutzer", "--output", "Note", "--date", "Datum")
    done = ingest(path, *latin, *columns)
    assert done.code == 0, done.err
    assert done.task.labels == ("1", "1.5", "2", "2.5", "3", "3.5", "4", "4.5", "5")
    assert done.users[0].history[0].fields["text"].startswith("Größe, Maß")
    assert [query.date for query in done.users[0].queries] == ["2024-03-09", "2024-03-10"]


def test_users_who_are_called_by_emoji(ingest, tmp_path) -> None:
    names = {"user0": "🦊", "user1": "👨‍👩‍👧", "user2": "👨‍👩‍👦", "user3": " Ana\u00a0🌙 "}
    rows = [row | {"user": names.get(row["user"], row["user"])} for row in records()]
    done = ingest(write_csv(tmp_path / "log.csv", rows))
    assert done.code == 0, done.err
    ids = {user.id for user in done.users}
    assert "🦊" in ids and len(ids) == 12
    assert all(name.isprintable() for name in ids)


def test_labels_in_several_spellings_and_labels_seen_once(ingest, tmp_path) -> None:
    rows = []
    for index, row in enumerate(records()):
        label = ("Bug", "bug", "question", "praise")[index % 4] if index else "odd one"
        rows.append({name: row[name] for name in ("user", "text", "date")} | {"label": label})
    path = write_csv(tmp_path / "tickets.csv", rows)
    done = ingest(path)
    assert "differ in capitals alone: bug, Bug (--ignore-case)" in done.out
    assert "labels seen once: 1 (odd one)" in done.out
    folded = ingest(path, "--replace", "--ignore-case")
    assert sorted(folded.task.labels) == ["bug", "odd one", "praise", "question"]


def test_two_hundred_labels_are_said_and_a_thousand_refused(ingest, tmp_path) -> None:
    rows = [row | {"label": f"topic {index % 200}"} for index, row in enumerate(records(40))]
    words = ("--kind", "classification", "--output", "label")
    done = ingest(write_csv(tmp_path / "log.csv", rows), *words)
    assert "200 labels: every prompt lists them all" in done.out
    rows = [row | {"label": f"topic {index}"} for index, row in enumerate(records(100))]
    wide = ingest(write_csv(tmp_path / "log.csv", rows), *words, "--replace")
    assert wide.code == 2 and "1,000 different labels" in wide.err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('user0,"never closed,3,2024-03-01', "quote is opened here and never closed"),
        ("user0,a,b,3,2024-03-01", "5 cells for 4 columns"),
        ("user0,,3,2024-03-01", "column text is empty"),
        (",fine,3,2024-03-01", "column user is empty"),
        ("user0,fine,many,2024-03-01", "column stars: 'many' is no number"),
        ("user0,fine,3,yesterday", "column date: 'yesterday' is no date of the form iso"),
    ],
)
def test_a_bad_row_is_named_and_can_be_skipped(line, message, ingest, tmp_path) -> None:
    path = write_csv(tmp_path / "log.csv", records())
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    one_line(ingest(path), "log.csv: line 122: ", message, "--skip-bad")
    done = ingest(path, "--skip-bad")
    assert done.code == 0 and "1 bad ones left out" in done.out
    assert done.split("train").counts["users"] == 10


def test_dates_that_may_be_read_in_two_ways_are_asked_for(ingest, tmp_path) -> None:
    rows = [row | {"date": f"{row['date'][-2:]}/03/2024"} for row in records()]
    path = write_csv(tmp_path / "log.csv", rows)
    one_line(ingest(path), '--date-format "%d/%m/%Y" or "%m/%d/%Y"')
    done = ingest(path, "--date-format", "%d/%m/%Y")
    assert done.users[0].queries[-1].date == "2024-03-10"


def test_several_files_of_a_json_list_and_parquet(ingest, tmp_path) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = records()
    first, second = tmp_path / "first.json", tmp_path / "second.parquet"
    first.write_text(json.dumps(rows[:60]), encoding="utf-8")
    parquet.write_table(pyarrow.Table.from_pylist(rows[60:]), second)
    done = ingest(first, second)
    assert done.code == 0, done.err
    assert "120 used, of 2 files" in done.out and len(done.users) == 12


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.csv", b"", "the file is empty"),
        ("log.csv", b"user,text,stars\n", "no rows below the names"),
        ("log.csv", b"user,text,text\na,b,c\n", "two columns are called 'text'"),
        ("log.xlsx", b"PK", "not a kind of file that is read"),
        ("log.parquet", b"PAR1 and no more", "not a Parquet file"),
        ("log.jsonl", b"[1, 2]\n", "not an object"),
        ("log.jsonl", b'{"user": "a", "text": \n', "not JSON at character"),
        ("log.json", b'[{"user": "a"}, {"user"', "incomplete"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(
    name, content, message, ingest, tmp_path
) -> None:
    (tmp_path / name).write_bytes(content)
    one_line(ingest(tmp_path / name), name, message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "choice"], "--kind choice: questions with options of their own"),
        (["--kind", "stars"], "choose classification, rating or generation"),
        (["--dev", "2"], "--dev 2: a share between 0 and 1"),
        (["--most", "0"], "--most 0: a whole number from 1"),
        (["--user", "usr"], "did you mean user?"),
        (["--sede", "3"], "unrecognized arguments: --sede 3"),
        (["--least", "20"], "lower --least"),
        (["--user", "text", "--input", "text"], "each is a column of its own"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(words, message, ingest, tmp_path) -> None:
    one_line(ingest(write_csv(tmp_path / "log.csv", records()), *words), message)


def test_a_missing_file_is_one_line(ingest, tmp_path) -> None:
    one_line(ingest(tmp_path / "log.csv"), "log.csv: no such file")


def test_rows_are_read_one_after_another(tmp_path) -> None:
    """The first row of a large file is there before the file is read."""
    path = write_csv(tmp_path / "log.csv", records(users=200))
    row = next(iter(TableFile(path).rows(BadRows())))
    assert row.done < path.stat().st_size and row.values["user"] == "user0"

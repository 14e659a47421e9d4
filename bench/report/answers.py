"""Users' questions for the page: prompt, answer, gold, and which baseline answered the same
questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.disk import store
from bench.errors import InputError
from bench.report import scores
from bench.report.cells import kind_of, task_of
from bench.report.experiments import Results
from bench.report.inventory import left_out
from bench.score.metrics import PRIMARY
from bench.sweep.design import repeat_of
from bench.types import Sample

Row = dict[str, Any]


class Answers:
    """Collects the texts of many cells, each text once (`texts`; rows hold places in it).

    `hidden`: by cell, how many users are left out because only so many are shown.
    """

    def __init__(self, users: int) -> None:
        self.users = users
        self.texts: list[str] = []
        self.hidden: dict[str, int] = {}
        self._places: dict[str, int] = {}

    def of(self, folder: Path, record: Mapping[str, Any]) -> list[Row]:
        """The questions of a cell's first users, in the order of their answers; none without
        samples.jsonl.
        """
        try:
            return self._of(folder, record)
        except InputError as error:
            left_out(str(error))
            return []

    def _of(self, folder: Path, record: Mapping[str, Any]) -> list[Row]:
        cell = record["cell"]
        samples, _ = store.read_samples(cell_of(folder))
        people = list(dict.fromkeys(sample.group for sample in samples))
        shown = set(people[: self.users])
        self.hidden[record["key"]] = len(people) - len(shown)
        scored = {row["id"]: row for row in scores.read(folder, record)}
        golds = golds_of(folder, cell["task"], scored)
        kind = kind_of(record["metrics"])
        value = PRIMARY[kind][0] if kind else ""
        return [
            self._row(
                sample, golds.get(sample.id), scored.get(sample.id, {}).get("values", {}).get(value)
            )
            for sample in samples
            if sample.group in shown
        ]

    def notes(self, folder: Path) -> list[tuple[str, int]]:
        """What the method wrote on its way (insights, pairs, profiles): titles and places of texts,
        of each kind those of the first users.
        """
        artifacts = folder / "artifacts"
        found: dict[str, list[tuple[str, int]]] = {}
        for path in [artifacts / "fit.json", *sorted(artifacts.glob("adapt-*.json"))]:
            for name, rows in notes_of(path) if path.exists() else ():
                kept = found.setdefault(name, [])
                kept += [
                    (title, self._place(_said(one)))
                    for title, one in rows[: max(0, self.users - len(kept))]
                ]
        return [row for rows in found.values() for row in rows]

    def _row(self, sample: Sample, gold: str | None, value: float | None) -> Row:
        return {
            "id": sample.id,
            "user": sample.group,
            "prompt": self._place(sample.prompt),
            "answer": self._place(sample.raw),
            "gold": None if gold is None else self._place(gold),
            "value": value,
            "in": sample.tokens_in,
            "out": sample.tokens_out,
            "cut": sample.cut,
        }

    def _place(self, text: str) -> int:
        if text not in self._places:
            self._places[text] = len(self.texts)
            self.texts.append(text)
        return self._places[text]


def baselines(records: Sequence[Mapping[str, Any]], shown: Sequence[Results]) -> dict[str, str]:
    """The key of the cell to compare with, by key: an experiment's baseline, or else the plain
    instruct cell.
    """
    found: dict[str, str] = {}
    # without settings last
    bare = sorted(filter(_plain, records), key=lambda record: not record["cell"]["variant"])
    plain = {_alike(record): record["key"] for record in bare}
    for record in records:
        if record["status"] == "ok" and plain.get(_alike(record), record["key"]) != record["key"]:
            found[record["key"]] = plain[_alike(record)]
    for results in shown:
        for (place, arm), runs in results.cells.items():
            base = results.experiment.show.baseline_of(arm)
            others = {
                (run.seed, repeat_of(run.at)): run
                for run in results.cells.get((place, base or ""), ())
            }
            for run in runs:
                other = others.get((run.seed, repeat_of(run.at))) or others.get((run.seed, "0"))
                if (
                    run.record
                    and other
                    and other.record
                    and run.record["cell"]["base"] == other.record["cell"]["base"]
                ):
                    found[run.record["key"]] = other.record["key"]
    return found


def notes_of(path: Path) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Each kind of note in a file of personalizations: its name, and the title and text of each.

    A damaged file has none.
    """
    try:
        values = store.read_artifact(path)
    except InputError as error:
        return left_out(str(error))
    shown = (
        [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
    )
    if not shown and values != []:
        left_out(f"{path}: no list of personalizations")
    for value in shown:
        notes = value.get("notes")
        for name, note in notes.items() if isinstance(notes, dict) else ():
            of = (
                {str(value["user"]): note}
                if "user" in value
                else note
                if isinstance(note, dict)
                else {"": note}
            )
            yield name, [(f"{name} of {user}" if user else name, one) for user, one in of.items()]


def _said(note: Any) -> str:
    """A text as it is; rows of texts a line each."""
    if not isinstance(note, list):
        return str(note)
    return "\n".join(
        " | ".join(map(str, row)) if isinstance(row, list) else str(row) for row in note
    )


def _plain(record: Mapping[str, Any]) -> bool:
    config = record["config"]
    chosen = (
        record["cell"]["method"] == "instruct"
        and config["method"].get("history", "selected") == "selected"
    )
    return record["status"] == "ok" and chosen and not config.get("noise_floor")


_FITTING = ("name", "fit_split", "group_size")
"""Of a protocol, what the baseline has no use for."""


def _alike(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a cell and its baseline share."""
    cell, data, config = record["cell"], record["data"], record["config"]
    protocol = {
        name: value for name, value in config.get("protocol", {}).items() if name not in _FITTING
    }
    shown = config.get("method", {}).get("select") or config.get("selection")
    return (
        *(cell[name] for name in ("task", "model", "base", "decoding", "seed")),
        record.get("model", {}).get("base"),  # two adapted bases are two models
        data["hash"],
        data["queries"],
        str(protocol),
        str(shown),
    )


def cell_of(folder: Path) -> store.Cell:
    """The cell of a folder, whose place says what it is: a record may say otherwise."""
    *_, task, method, key = folder.resolve().parts
    return store.Cell(folder.resolve().parents[2], task, method, key)


def golds_of(folder: Path, task: str, scored: Mapping[str, Any]) -> dict[str, str]:
    """The golds as texts: of golds.json, or where that is missing the labels and ratings of
    scores.json.
    """
    path = folder / "golds.json"
    if path.exists():
        found: Any = store.read_json(path)
        if not isinstance(found, dict) or not all(isinstance(gold, str) for gold in found.values()):
            raise InputError(f"{path}: not a text for each question; delete the file")
        return dict(found)
    kind, labels = task_of(task)
    numbers = {id: row["gold"] for id, row in scored.items() if row.get("gold") is not None}
    if kind == "classification":
        return {id: labels[int(number)] for id, number in numbers.items()}
    return {id: f"{number:g}" for id, number in numbers.items()}

"""Users' questions for the page: prompt, answer, gold,
and which baseline answered the same questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.disk import store
from bench.errors import InputError
from bench.report import baseline, scores
from bench.report.cells import kind_of, task_of
from bench.report.inventory import left_out
from bench.report.runs import Results
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
        """The questions of a cell's first users, in the order of their answers;
        none without samples.jsonl.
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
    """The key of the cell to compare with, by key: an experiment's baseline,
    or else the plain instruct cell.
    """
    keys: dict[str, str] = {}
    candidates = list(filter(baseline.is_plain, records))
    for record in records:
        plain = baseline.find(record, candidates) if record["status"] == "ok" else None
        if plain is not None:
            keys[record["key"]] = plain["key"]
    for results in shown:
        keys |= _of_experiment(results)
    return keys


def _of_experiment(results: Results) -> dict[str, str]:
    """The keys of an experiment's baseline, run by run: of the same place, seed and repeat, or of
    the first repeat if the baseline was not repeated.
    """
    keys: dict[str, str] = {}
    for (place, arm), runs in results.cells.items():
        base_arm = results.experiment.show.baseline_of(arm) or ""
        base_runs = {}
        for run in results.cells.get((place, base_arm), ()):
            base_runs[run.seed, repeat_of(run.at)] = run
        for run in runs:
            base = base_runs.get((run.seed, repeat_of(run.at))) or base_runs.get((run.seed, "0"))
            if not (run.record and base and base.record):
                continue
            if run.record["cell"]["base"] == base.record["cell"]["base"]:
                keys[run.record["key"]] = base.record["key"]
    return keys


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


def cell_of(folder: Path) -> store.Cell:
    """The cell of a folder, whose place says what it is: a record may say otherwise."""
    *_, task, method, key = folder.resolve().parts
    return store.Cell(folder.resolve().parents[2], task, method, key)


def golds_of(folder: Path, task: str, scored: Mapping[str, Any]) -> dict[str, str]:
    """The golds as texts: of golds.json,
    or where that is missing the labels and ratings of scores.json.
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

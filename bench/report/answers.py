"""Users' questions for the page: prompt, answer, gold,
and which baseline answered the same questions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

from bench.disk import store
from bench.errors import InputError
from bench.report import baseline, scores
from bench.report.cell_texts import cell_of, golds_of, notes_of
from bench.report.cells import Record, main_metric
from bench.report.inventory import left_out
from bench.report.runs import Results, Run
from bench.types import Sample

Row = dict[str, Any]


class Answers:
    """Collects the texts of many cells, each text once (`texts`; rows hold its index there).

    `hidden`: by cell, how many users are left out because only so many are shown.
    """

    def __init__(self, users: int) -> None:
        self.users = users
        self.texts: list[str] = []
        self.hidden: dict[str, int] = {}
        self._indices: dict[str, int] = {}

    def of(self, folder: Path, record: Record) -> list[Row]:
        """The questions of a cell's first users, in the order of their answers;
        none without samples.jsonl.
        """
        try:
            return self._of(folder, record)
        except InputError as error:
            left_out(str(error))
            return []

    def _of(self, folder: Path, record: Record) -> list[Row]:
        samples = store.read_samples(cell_of(folder)).samples
        users = list(dict.fromkeys(map(attrgetter("group"), samples)))
        first = set(users[: self.users])
        self.hidden[record["key"]] = len(users) - len(first)

        scored = {row["id"]: row for row in scores.read(folder, record)}
        golds = golds_of(folder, record["cell"]["task"], scored)
        metric = main_metric(record["metrics"])
        rows = []
        for sample in samples:
            if sample.group in first:
                value = scored.get(sample.id, {}).get("values", {}).get(metric)
                rows.append(self._row(sample, golds.get(sample.id), value))
        return rows

    def notes(self, folder: Path) -> list[tuple[str, int]]:
        """What the method wrote on its way (insights, pairs, profiles): titles and places of texts,
        of each kind those of the first users.
        """
        artifacts = folder / "artifacts"
        rows: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for path in [artifacts / "fit.json", *sorted(artifacts.glob("adapt-*.json"))]:
            for note in notes_of(path) if path.exists() else ():
                if len(rows[note.name]) < self.users:
                    rows[note.name].append((note.title, self._index(note.text)))
        return list(chain.from_iterable(rows.values()))

    def _row(self, sample: Sample, gold: str | None, value: float | None) -> Row:
        return {
            "id": sample.id,
            "user": sample.group,
            "prompt": self._index(sample.prompt),
            "answer": self._index(sample.raw),
            "gold": None if gold is None else self._index(gold),
            "value": value,
            "in": sample.tokens_in,
            "out": sample.tokens_out,
            "cut": sample.cut,
        }

    def _index(self, text: str) -> int:
        if text not in self._indices:
            self._indices[text] = len(self.texts)
            self.texts.append(text)
        return self._indices[text]


def baselines(records: Sequence[Record], experiments: Sequence[Results]) -> dict[str, str]:
    """The key of the cell to compare with, by key: an experiment's baseline,
    or else the plain instruct cell.
    """
    keys: dict[str, str] = {}
    candidates = list(filter(baseline.is_plain, records))
    for record in records:
        plain = baseline.find(record, candidates) if record["status"] == "ok" else None
        if plain is not None:
            keys[record["key"]] = plain["key"]
    for results in experiments:
        keys |= _of_experiment(results)
    return keys


def _of_experiment(results: Results) -> dict[str, str]:
    """The keys of an experiment's baseline, run by run."""
    keys: dict[str, str] = {}
    for (place, arm), runs in results.cells.items():
        base_arm = results.experiment.show.baseline_of(arm) or ""
        base_runs = _by_repeat(results.cells.get((place, base_arm), ()))
        for run in runs:
            # of the same seed and repeat, or of the first repeat if the baseline was not repeated
            base = base_runs.get((run.seed, run.repeat)) or base_runs.get((run.seed, "0"))
            if base and _on_one_base(run.record, base.record):
                keys[run.finished.record["key"]] = base.finished.record["key"]
    return keys


def _by_repeat(runs: Sequence[Run]) -> dict[tuple[str, str], Run]:
    return {(run.seed, run.repeat): run for run in runs}


def _on_one_base(record: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Whether both have ended, on the same base."""
    if not record or not other:
        return False
    return bool(record["cell"]["base"] == other["cell"]["base"])

"""One user's case (OPPU, Figure 5): the history, and of each question its text,
the gold and every arm's answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.disk import store
from bench.errors import InputError
from bench.report import scores
from bench.report.base_results import Tables
from bench.report.cell_texts import cell_of, golds_of, notes_of
from bench.report.cells import main_metric
from bench.report.grid_head import title
from bench.report.inventory import left_out
from bench.report.render import Grid
from bench.report.runs import Place, Run, place_words
from bench.types import Sample

QUESTIONS = 3
"""Of a user with more, so many are shown: first those that the arms answer differently."""
BELOW = (
    (
        "History: what the adapter has learnt from, newest last, at most twenty items of sixty"
        " words a field."
    ),
    "The user is the first whose answers differ between the arms; --user ID shows another.",
    "These are users' texts: share them as you would share the data.",
)


@dataclass(frozen=True)
class Arm:
    """What an arm answered, by question, in the order of its answers; and each answer's score."""

    name: str
    samples: Mapping[str, Sample]
    values: Mapping[str, float]
    golds: Mapping[str, str]
    metric: str


def grids(tables: Tables) -> list[Grid]:
    """A case for each place of which something has finished."""
    cases = []
    for place in tables.results.places:
        case = _grid(tables, place)
        if case is not None:
            cases.append(case)
    return cases or [_nothing(tables, "No arm has finished with its users' texts.")]


def _grid(tables: Tables, place: Place) -> Grid | None:
    runs = _first_runs(tables, place)
    arms = _read_all(runs)
    if not arms:
        return None
    samples = arms[0].samples
    wanted = tables.experiment.show.user or _differing(arms)
    asked = [id for id, sample in samples.items() if wanted in (sample.user, sample.group)]
    if not asked:
        users = [sample.user for sample in list(samples.values())[:5]]
        first = ", ".join(dict.fromkeys(users))
        return _nothing(
            tables, f"{place_words(place)}: no tested user {wanted}; there are {first}, ..."
        )

    owner = samples[asked[0]].user
    rows = [["history", "", item] for item in _history(list(runs.values()), owner)]
    for id in sorted(asked, key=lambda id: not _differ(arms, id))[:QUESTIONS]:
        rows += _question(arms, id, tables.experiment.show.baseline)
    more = len(asked) - QUESTIONS
    below = [f"{more} more questions of this user are not shown."] if more > 0 else []
    return Grid(
        title=f"{title(tables)}: user {owner}, {place_words(place)}",
        head=["", arms[0].metric, "text"],
        rows=rows,
        below=[*below, *BELOW],
        labels=2,
        texts=True,
    )


def _nothing(tables: Tables, why: str) -> Grid:
    return Grid(title(tables), ["", "text"], [["", why]], texts=True)


def _question(arms: Sequence[Arm], id: str, baseline: str | None) -> Iterator[list[str]]:
    """The question as the arm without history has it, the gold, and the answers."""
    plain = next((arm for arm in arms if arm.name == baseline), arms[0])
    yield [f"question {id}", "", _in_one_line(plain.samples[id].prompt)]
    yield ["gold", "", _in_one_line(plain.golds.get(id, "-"))]
    for arm in arms:
        sample, value = arm.samples.get(id), arm.values.get(id)
        score = "" if value is None else f"{value:.3f}"
        yield [arm.name, score, _in_one_line(sample.raw) if sample else "-"]


def _first_runs(tables: Tables, place: Place) -> dict[str, Run]:
    """The first finished run of each arm that has one."""
    runs: dict[str, Run] = {}
    for arm in tables.results.arms:
        for run in tables.results.cells.get((place, arm), ()):
            if run.is_ok and run.folder:
                runs.setdefault(arm, run)
    return runs


def _read_all(runs: Mapping[str, Run]) -> list[Arm]:
    arms = []
    for name, run in runs.items():
        arm = _read(name, run)
        if arm is not None:
            arms.append(arm)
    return arms


def _read(name: str, run: Run) -> Arm | None:
    """None for a cell without texts (published ones have none) or with damaged ones,
    which are named.
    """
    cell = run.finished
    try:
        samples = store.read_samples(cell_of(cell.folder)).samples
        rows = {row["id"]: row for row in scores.read(cell.folder, cell.record)}
        golds = golds_of(cell.folder, str(cell.record["cell"]["task"]), rows)
    except InputError as error:
        left_out(str(error))
        return None
    if not samples:
        return None

    metric = main_metric(cell.record["metrics"])
    values = {id: row["values"][metric] for id, row in rows.items() if metric in row["values"]}
    return Arm(name, {sample.id: sample for sample in samples}, values, golds, metric)


def _history(runs: Sequence[Run], user: str) -> list[str]:
    """The items that a method has noted of the user."""
    for run in runs:
        for path in sorted((run.finished.folder / "artifacts").glob("adapt-*.json")):
            for note in notes_of(path):
                is_history = note.name == "history" and note.user == user
                if is_history and isinstance(note.content, list):
                    return list(map(_in_one_line, note.content))
    return []


def _differing(arms: Sequence[Arm]) -> str:
    """The first user of whose questions one is answered differently;
    the first of all where none is.
    """
    samples = arms[0].samples
    for id, sample in samples.items():
        if _differ(arms, id):
            return sample.user
    return next(iter(samples.values())).user


def _differ(arms: Sequence[Arm], id: str) -> bool:
    return len({arm.samples[id].raw for arm in arms if id in arm.samples}) > 1


def _in_one_line(text: Any) -> str:
    return " ".join(str(text).split())

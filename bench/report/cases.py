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
from bench.report.answers import cell_of, golds_of, notes_of
from bench.report.base_results import Tables
from bench.report.cells import kind_of
from bench.report.inventory import left_out
from bench.report.render import Grid
from bench.report.runs import Place, Run
from bench.score.metrics import PRIMARY
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
    found = [_grid(tables, place) for place in tables.results.places]
    return [grid for grid in found if grid] or [
        _nothing(tables, "No arm has finished with its users' texts.")
    ]


def _grid(tables: Tables, place: Place) -> Grid | None:
    runs = {arm: _first(tables.results.cells.get((place, arm), ())) for arm in tables.results.arms}
    arms = [arm for name, run in runs.items() if run and (arm := _read(name, run))]
    if not arms:
        return None
    wanted = tables.experiment.show.user
    user = wanted or _differing(arms)
    asked = [id for id, sample in arms[0].samples.items() if user in (sample.user, sample.group)]
    if not asked:
        first = ", ".join(
            dict.fromkeys(sample.user for sample in list(arms[0].samples.values())[:5])
        )
        return _nothing(tables, f"{_where(place)}: no tested user {user}; there are {first}, ...")
    owner = arms[0].samples[asked[0]].user
    rows = [["history", "", item] for item in _history(filter(None, runs.values()), owner)]
    for id in sorted(asked, key=lambda id: not _differ(arms, id))[:QUESTIONS]:
        rows += _question(arms, id, tables.experiment.show.baseline)
    more = (
        [f"{len(asked) - QUESTIONS} more questions of this user are not shown."]
        if len(asked) > QUESTIONS
        else []
    )
    title = (
        f"{tables.experiment.title} [scale {tables.experiment.scale}]: user {owner},"
        f" {_where(place)}"
    )
    head = ["", arms[0].metric, "text"]
    return Grid(title, head, rows, below=[*more, *BELOW], labels=2, texts=True)


def _question(arms: Sequence[Arm], id: str, baseline: str | None) -> Iterator[list[str]]:
    """The question as the arm without history has it, the gold, and the answers."""
    plain = next((arm for arm in arms if arm.name == baseline), arms[0])
    yield [f"question {id}", "", _flat(plain.samples[id].prompt)]
    yield ["gold", "", _flat(plain.golds.get(id, "-"))]
    for arm in arms:
        answered, value = arm.samples.get(id), arm.values.get(id)
        yield [
            arm.name,
            "" if value is None else f"{value:.3f}",
            _flat(answered.raw) if answered else "-",
        ]


def _read(name: str, run: Run) -> Arm | None:
    """None for a cell without texts (published ones have none) or with damaged ones,
    which are named.
    """
    assert run.folder is not None and run.record is not None
    try:
        samples, _ = store.read_samples(cell_of(run.folder))
        rows = {row["id"]: row for row in scores.read(run.folder, run.record)}
        golds = golds_of(run.folder, str(run.record["cell"]["task"]), rows)
    except InputError as error:
        left_out(str(error))
        return None
    kind = kind_of(run.record["metrics"])
    metric = PRIMARY[kind][0] if kind else ""
    values = {id: row["values"][metric] for id, row in rows.items() if metric in row["values"]}
    return (
        Arm(name, {sample.id: sample for sample in samples}, values, golds, metric)
        if samples
        else None
    )


def _history(runs: Iterator[Run], user: str) -> list[str]:
    """The items that a method has noted of the user."""
    for run in runs:
        for path in sorted((run.folder / "artifacts").glob("adapt-*.json")) if run.folder else ():
            for name, notes in notes_of(path):
                for title, note in notes:
                    if (
                        name == "history"
                        and title == f"history of {user}"
                        and isinstance(note, list)
                    ):
                        return [_flat(str(item)) for item in note]
    return []


def _differing(arms: Sequence[Arm]) -> str:
    """The first user of whose questions one is answered differently;
    the first of all where none is.
    """
    first = arms[0].samples
    return next(
        (sample.user for id, sample in first.items() if _differ(arms, id)),
        next(iter(first.values())).user,
    )


def _differ(arms: Sequence[Arm], id: str) -> bool:
    return len({arm.samples[id].raw for arm in arms if id in arm.samples}) > 1


def _first(runs: Sequence[Run]) -> Run | None:
    return next((run for run in runs if run.state == "ok" and run.folder), None)


def _nothing(tables: Tables, why: str) -> Grid:
    title = f"{tables.experiment.title} [scale {tables.experiment.scale}]"
    return Grid(title, ["", "text"], [["", why]], texts=True)


def _where(place: Place) -> str:
    return ", ".join(value for _, value in place)


def _flat(text: Any) -> str:
    return " ".join(str(text).split())

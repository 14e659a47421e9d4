"""Arms of one row answered the same questions, or they are not in it: else a table would compare
users, not methods.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from bench.errors import InputError
from bench.report import scores
from bench.report.experiments import Experiment
from bench.report.runs import Results, Run


def same(results: Results) -> Results:
    """The results in which every arm of a place and seed has the same questions; who has others is
    set `aside`.

    The questions of a place are those that most arms answered; of as many, those of the
    experiment's own cells.
    """
    rows: dict[Hashable, list[Run]] = {}
    for run in results.runs:
        if run.state == "ok":
            rows.setdefault((results.place(run), run.seed), []).append(run)
    aside: dict[int, str] = {}
    for runs in rows.values():
        asked = [_asked(run) for run in runs]
        if len(set(asked)) > 1:
            common = _of_most(runs, asked)
            aside |= {
                id(run): f"other questions ({_count(own)}, not {_count(common)})"
                for run, own in zip(runs, asked, strict=True)
                if own != common
            }
    if not aside:
        return results
    kept = tuple(
        replace(run, aside=aside[id(run)]) if id(run) in aside else run for run in results.runs
    )
    return replace(results, runs=kept)


def commands(experiment: Experiment, runs: Iterable[Run]) -> str:
    """How to run an experiment's cells,
    with the overrides of the command line that those at hand have.
    """
    scale = [] if experiment.scale == "paper" else [f"scale={experiment.scale}"]
    words = ["python -m bench", f"experiment={experiment.name}", *scale]
    extras = dict.fromkeys(run.extra for run in runs if run.record and not run.aside)
    return "; or ".join(" ".join([*words, *map(shlex.quote, extra)]) for extra in extras or [()])


def _asked(run: Run) -> Hashable:
    """The ids of a cell's questions; where its scores are not at hand,
    how many it says there are.
    """
    assert run.record is not None and run.folder is not None  # a finished one
    try:
        rows = scores.read(run.folder, run.record)
    except InputError:  # said where the scores are used
        rows = []
    return frozenset(row["id"] for row in rows) or run.record["data"]["queries"]


def _of_most(runs: Sequence[Run], asked: Sequence[Hashable]) -> Hashable:
    counts = Counter(asked)
    own = {
        questions: any(
            not run.extra for run, one in zip(runs, asked, strict=True) if one == questions
        )
        for questions in counts
    }
    return max(counts, key=lambda questions: (counts[questions], own[questions], _count(questions)))


def _count(questions: Hashable) -> int:
    return len(questions) if isinstance(questions, frozenset) else int(str(questions))

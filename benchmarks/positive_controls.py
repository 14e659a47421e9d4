"""The table of docs/results/positive_controls.md: what the embedded sample allows, and what the
shipped bases make of it, one row a task.

    python -m bench experiment=positive_controls
    python benchmarks/results_tables.py
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import sample_oracles

from bench.data.sample import generator
from bench.report import base_results, experiments, runs
from bench.report.cells import interval
from bench.report.runs import Results
from bench.report.standings import ArmStanding, standings
from bench.score.metrics import DIRECTION

NAME = "positive_controls"
OWN, OTHER, NONE, AGAIN = "own_history", "other_history", "no_history", "own_history_again"
HEAD = f"""# Positive controls

Written by `python benchmarks/results_tables.py` from the published cells of
`python -m bench experiment={NAME}`: 100 dev users of the embedded sample, SmolLM2-135M on the bases
that ship. [The sample](../sample.md) says what is planted, and how the bases were made.

The first table is what the data allow. An oracle reads the texts with the sample's own vocabulary:
the question alone, the history alone, or both. The best rule is the best of the experiment's trivial
rules. The second table is what the model does with no history in the prompt, with another user's,
and with the user's own. Brackets are 95 % intervals over users.

Without a history a base that was trained to read one is at a loss: on lamp1, lamp3 and lamp6 it is
below a rule or a guess. So "own minus another's" is the cleaner contrast.
"""
BOUNDS = (
    "| task | metric | question only | history only | both | best rule |\n|---|---|---|---|---|---|"
)
ANSWERS = (
    "| task | metric | no history | another user's | own | own minus none | own minus another's |"
    " own again minus own |\n|---|---|---|---|---|---|---|---|"
)
FOOT = """
"Own again" is the noise floor: the same prompts in other batches. Nothing is planted there."""


@dataclass(frozen=True)
class Row:
    """What a task's arms are, by name."""

    task: str
    arms: dict[str, ArmStanding]

    @property
    def metric(self) -> str:
        return self.arms[OWN].metric

    def value(self, arm: str) -> str:
        found = self.arms[arm].summary.values[self.metric]
        return f"{found.value:.3f} {interval(found.low, found.high, found.users)}"

    def own_minus(self, arm: str) -> str:
        """The own history's gain over an arm, whose row is that arm minus the own history."""
        paired = self.arms[arm].paired
        if paired is None:
            return "-"
        low = None if paired.high is None else -paired.high
        high = None if paired.low is None else -paired.low
        return f"{-paired.difference:+z.3f} {interval(low, high, paired.users)}".strip()

    def best_rule(self) -> str:
        rules = []
        for arm, entry in self.arms.items():
            if arm.startswith("majority_"):
                rules.append((entry.summary.values[self.metric].value, arm))
        value, arm = max(rules) if DIRECTION[self.metric] else min(rules)
        return f"{value:.3f} ({arm.removeprefix('majority_')})"


def page(published: Path) -> str:
    """The page as it should be. Raises KeyError if an arm has not run."""
    results = runs.results(experiments.load(NAME), [published])
    rows = _rows(results)
    bounds, answers = [BOUNDS], [ANSWERS]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "sample"
        generator.write(root)
        for row in rows:
            found = sample_oracles.bounds(root, row.task)
            oracle = f"{found.question:.3f} | {found.history:.3f} | {found.both:.3f}"
            bounds.append(f"| {row.task} | {_arrow(row.metric)} | {oracle} | {row.best_rule()} |")
    for row in rows:
        cells = [row.task, _arrow(row.metric), *(row.value(arm) for arm in (NONE, OTHER, OWN))]
        cells += [row.own_minus(NONE), row.own_minus(OTHER), _negative(row)]
        answers.append(f"| {' | '.join(cells)} |")
    return "\n".join([HEAD, *bounds, "", *answers, FOOT]) + "\n"


def _rows(results: Results) -> list[Row]:
    [tables] = base_results.by_base(results)
    by_task: dict[str, dict[str, ArmStanding]] = {}
    for entry in standings(tables):
        by_task.setdefault(dict(entry.place)["task"], {})[entry.arm] = entry
    return [Row(task, arms) for task, arms in by_task.items()]


def _negative(row: Row) -> str:
    """The noise floor minus the own history."""
    paired = row.arms[AGAIN].paired
    if paired is None:
        return "-"
    return f"{paired.difference:+z.3f} {interval(paired.low, paired.high, paired.users)}".strip()


def _arrow(metric: str) -> str:
    return f"{metric} {'↑' if DIRECTION[metric] else '↓'}"

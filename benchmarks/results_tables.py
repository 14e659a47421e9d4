"""Write the tables of the papers' experiments in docs/results.md, and their figures, anew, as the
report has them.

    python benchmarks/results_tables.py [--check]

Each table stands under the heading with its experiment's title. Only tables and the notes at their
feet are replaced, never prose. The tables of real questions get their columns of p and `detects`
(real_questions.py). `--check` writes nothing and exits with 1 where a table is not what the report
prints.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from real_questions import with_detects

from bench.report import base_results, experiments, figures, grids
from bench.report.base_results import Tables
from bench.report.experiments import Results
from bench.report.render import Grid, table_of
from bench.terminal import escape

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
PUBLISHED = ROOT / "results" / "published"
SHOWN: dict[str, Callable[[Tables], Grid]] = {
    **{
        name: grids.numbers
        for name in ("chameleon_table1", "chameleon_table2", "chameleon_table3", "chameleon_fig4")
    },
    **{name: grids.numbers for name in ("oppu_table1", "oppu_table3")},
    "oppu_fig7": grids.cosines,
    "oppu_fig8": grids.times,
    "controls": grids.comparisons,
    "sensitivity": grids.comparisons,
}
"""Which of an experiment's tables the page shows."""
FEET = ("Above the line", "With ", "full:", "^:", "p: ", "Holm: ", "detects: ", "f1: ")
"""How the notes begin that go with a table."""
TABLE = re.compile(
    rf"(?:^\|.*\n)+(?:\n(?:(?:{'|'.join(map(re.escape, FEET))}).*\n)+)?", re.MULTILINE
)


def rewritten(text: str, names: list[str]) -> str:
    """The page with the tables of these experiments as the report has them."""
    for name in names:
        experiment = experiments.load(name, "laptop")
        results = experiments.results(experiment, [PUBLISHED])
        [tables] = base_results.by_base(_begun(results))
        start = text.index(f"### {experiment.title}\n")
        end = re.compile(r"^#{2,3} ", re.MULTILINE).search(text, start + 4)
        section = text[start : end.start() if end else len(text)]
        made = TABLE.sub(lambda _: shown(SHOWN[name](tables)), section, count=1)  # noqa: B023
        text = text.replace(section, made)
    return text


def _begun(results: Results) -> Results:
    """Without the arms and the places of which nothing has run; the page says which."""
    ran = [run for run in results.runs if run.record]
    arms, places = {run.arm for run in ran}, {results.place(run) for run in ran}
    runs = tuple(run for run in results.runs if run.arm in arms and results.place(run) in places)
    return replace(results, runs=runs)


def shown(grid: Grid) -> str:
    """A table and the notes that go with it."""
    notes = [escape.prose(line) + "  \n" for line in grid.below if line.startswith(FEET)]
    if notes:
        notes[-1] = notes[-1].rstrip() + "\n"
    return table_of(grid) + "\n" + ("\n" + "".join(notes) if notes else "")


def redraw() -> None:
    """Every figure of the page: docs/figures/EXPERIMENT-KIND.png."""
    for path in sorted((ROOT / "docs" / "figures").glob("*.png")):
        name, _, kind = path.stem.rpartition("-")
        results = experiments.results(experiments.load(name, "laptop"), [PUBLISHED])
        drawn = dict(figures.figures(_begun(results)))
        path.write_bytes(figures.image(drawn[kind], "png"))


def main(arguments: list[str]) -> int:
    """The exit code."""
    before = PAGE.read_text(encoding="utf-8")
    after = with_detects(rewritten(before, list(SHOWN)), PUBLISHED)
    if "--check" in arguments:
        return int(before != after)
    PAGE.write_text(after, encoding="utf-8")
    redraw()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

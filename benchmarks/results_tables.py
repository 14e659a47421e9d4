"""Write the pages of docs/results/ and the figures of docs/figures/ anew, from the published cells.

    python benchmarks/results_tables.py [--check]

A page of an experiment is what `python -m bench.report NAME --format md --out docs/results` writes.
The tables of real questions are not an experiment's: they get their columns of p and `detects`
(real_questions.py). `--check` writes nothing and exits with 1 if a page is not what the published
cells give.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import positive_controls
from real_questions import with_detects

from bench.report import experiments, figures, output, runs
from bench.report.runs import Results

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "results"
FIGURES = ROOT / "docs" / "figures"
QUESTIONS = PAGES / "real_questions.md"
PUBLISHED = ROOT / "results" / "published"
SCALE = "laptop"


def results(name: str) -> Results:
    """The published cells of an experiment."""
    return runs.results(experiments.load(name, SCALE), [PUBLISHED])


def names() -> list[str]:
    """The experiments of which something is published."""
    folders = (PUBLISHED / "experiments").iterdir()
    return sorted(path.name for path in folders if (path / SCALE).is_dir())


def pages() -> dict[Path, str]:
    """What each page should hold."""
    made = {PAGES / f"{name}-{SCALE}.md": output.page(results(name)) for name in names()}
    if (PUBLISHED / "experiments" / positive_controls.NAME).is_dir():
        made[PAGES / f"{positive_controls.NAME}.md"] = positive_controls.page(PUBLISHED)
    return made | {QUESTIONS: with_detects(QUESTIONS.read_text(encoding="utf-8"), PUBLISHED)}


def _begun(found: Results) -> Results:
    """Without the arms and places of which nothing has run: a figure needs no room for them."""
    ran = [run for run in found.runs if run.record]
    arms = {run.arm for run in ran}
    places = {found.place(run) for run in ran}
    runs = tuple(run for run in found.runs if run.arm in arms and found.place(run) in places)
    return replace(found, runs=runs)


def redraw() -> None:
    """Every figure of the pages: docs/figures/EXPERIMENT-KIND.png."""
    for path in sorted(FIGURES.glob("*.png")):
        name, _, kind = path.stem.rpartition("-")
        drawn = dict(figures.figures(_begun(results(name))))
        path.write_bytes(figures.image(drawn[kind], "png"))


def main(arguments: list[str]) -> int:
    """The exit code."""
    made = pages()
    if "--check" in arguments:
        wrong = [path for path, text in made.items() if not _is(path, text)]
        for path in wrong:
            print(f"{path.relative_to(ROOT)}: not what the published cells give", file=sys.stderr)
        return int(bool(wrong))
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
    redraw()
    return 0


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Every table of every page is one that GitHub renders: head, delimiter row and rows have the same
number of cells.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from markdown_it import MarkdownIt

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("**/*.md"))]
QUESTIONS = ROOT / "docs" / "results" / "real_questions.md"
PARSER = MarkdownIt("gfm-like", {"linkify": False})


def faults(text: str) -> list[str]:
    """The tables that are none, or whose rows have other numbers of cells than the head,
    each by its line.
    """
    lines, found = text.splitlines(), []
    for token in PARSER.parse(text):
        start, end = token.map or (0, 0)
        shown = [line.strip() for line in lines[start:end]]
        if token.type == "table_open":
            counts = [len(re.findall(r"(?<!\\)\|", line)) for line in shown if line]
            found += [
                f"line {start + 1 + at}: {count - 1} cells"
                for at, count in enumerate(counts)
                if count != counts[0]
            ]
        elif token.type == "paragraph_open" and any(line.startswith("|") for line in shown):
            found.append(f"line {start + 1}: no table, as its delimiter row has another width")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_table_of_a_page_is_a_table_on_github(page: Path) -> None:
    assert faults(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "table",
    [
        "| a | b |\n|---|\n| 1 | 2 |",
        "| a | b |\n|---|---|\n| 1 |",
        "| a | b |\n|---|---|\n| 1 | 2 | 3 |",
    ],
)
def test_a_table_of_another_width_is_found(table: str) -> None:
    assert len(faults(f"Text.\n\n{table}\n")) == 1
    assert faults("| a | b |\n|---|---|\n| 1 \\| 2 | 3 |") == []


PRINTED = r"\| paper \((mistral|llama2|flan_t5_xxl)\)"


def test_the_papers_numbers_never_stand_in_a_table_with_ours_without_a_line_and_a_note() -> None:
    pages = sorted((ROOT / "docs" / "results").glob("*-laptop.md"))
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    assert len(re.findall(PRINTED, text)) > 20
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        if re.search(PRINTED, table) and "| ours |" in table:
            above, line, below = table.partition("| ― |")
            assert line and "| ours |" not in above and not re.search(PRINTED, below), (
                table.splitlines()[2]
            )
            after = text[text.index(table) + len(table) :][:900]
            assert "Above the line: the paper's numbers" in after


def test_run_noise_and_the_golds_are_said_where_results_are_published() -> None:
    readme, results = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/results.md")
    )
    for text in (readme, results):
        assert "run noise" in text and "as large as" in text
    questions = QUESTIONS.read_text(encoding="utf-8")
    assert "private" in questions and "golds were recovered" in questions


def test_every_table_of_real_questions_says_what_it_could_have_seen() -> None:
    text = QUESTIONS.read_text(encoding="utf-8")
    tables = re.findall(r"^\| \| \w+ \| difference .*\n(?:\|.*\n)+", text, re.MULTILINE)
    assert len(tables) == 14
    for table in tables:
        head, _, *rows = [
            [cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()
        ]
        places = [place for place, name in enumerate(head) if name == "detects"]
        assert [head[place - 1] for place in places] == ["difference", "difference"]
        for row in rows:
            told = [bool(row[place]) for place in places]
            compared = [bool(row[place - 1]) and "(range)" not in row[0] for place in places]
            assert told == compared, row


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("results_tables")


def test_a_page_of_an_experiment_has_what_the_published_cells_have(tables: Any) -> None:
    for name in ("oppu_table2", "oppu_fig7"):
        page = tables.PAGES / f"{name}-laptop.md"
        assert page.read_text(encoding="utf-8") == tables.output.page(tables.results(name))


@pytest.mark.slow
def test_every_page_of_results_has_what_the_published_cells_have(tables: Any) -> None:
    text = QUESTIONS.read_text(encoding="utf-8")
    with pytest.raises(LookupError, match="no history: no published cell has 0.101"):
        tables.with_detects(
            text.replace("| no history | 0.100", "| no history | 0.101"), tables.PUBLISHED
        )
    assert tables.main(["--check"]) == 0


def test_every_published_experiment_has_a_page_and_every_page_is_linked(tables: Any) -> None:
    linked = (tables.PAGES / "laptop.md").read_text(encoding="utf-8")
    for name in tables.names():
        assert (tables.PAGES / f"{name}-laptop.md").exists() and f"({name}-laptop.md)" in linked


def test_an_interval_of_macro_f1_is_called_wide_and_layers_by_loss_are_not_called_the_papers() -> (
    None
):
    pages = sorted((ROOT / "docs" / "results").glob("*.md"))
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    shown = re.findall(r"(?:^\|.*\n)+\n(?:\S.*\n)*", text, re.MULTILINE)
    with_f1 = [table for table in shown if re.search(r"\| f1 .*\[", table)]
    assert with_f1 and all("f1: " in table and "more often than 95 %" in table for table in with_f1)
    assert "what the paper describes" not in text

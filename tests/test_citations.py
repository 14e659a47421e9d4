"""What code, configuration and pages cite can be found: a choice by its number, a page by its path,
a paper's section, table and figure by its number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
from test_house import REPO, files, shown

SECTIONS: Mapping[str, Mapping[str, str]] = {
    "LaMP": {
        "3": "retrieval for personalization: the rankers and their prompts",
    },
    "OPPU": {
        "3": "the method",
        "3.2": "the base, adapted to the task",
        "3.3": "one adapter for each user, trained on the user's history",
        "4": "experiments: users, baselines, hyper-parameters",
        "H": "the prompts of the tasks",
        "H.1": "the prompt of LaMP-1",
    },
    "CHAMELEON": {
        "3": "the method",
        "3.1": "preference data: selected history, insights, pairs",
        "3.2": "representation editing: directions, layers, edit",
        "3.3": "one edit for a group of users",
        "4": "experiments",
        "4.1": "setup: models, tasks, baselines",
        "4.2": "users with history",
        "4.3": "unseen users",
        "4.4": "which half of the edit matters",
        "A.3": "the prompts",
        "A.5": "DPO's hyper-parameters",
    },
}
"""The sections that we cite, and what is in them. A section that is cited for the first time is
looked up in the paper before it is entered here.
"""

TABLES: Mapping[str, range] = {"OPPU": range(1, 5), "CHAMELEON": range(1, 4)}
FIGURES: Mapping[str, range] = {"OPPU": range(3, 9), "CHAMELEON": range(3, 6)}
"""The tables and figures that show results."""

HOMES = {"methods/chameleon/": "CHAMELEON", "methods/dpo/": "CHAMELEON", "methods/oppu.py": "OPPU"}
"""Files that cite their own paper without naming it."""

AUTHORS = {"Salemi": "LaMP", "Tan": "OPPU", "Zhang": "CHAMELEON"}
PAPER = re.compile(r"\b(?:(LaMP|OPPU|CHAMELEON)(?![-\w])|([A-Z][a-z]+) et al\.)")

NUMBER = r"(?:\d(?:\.\d)?|[A-I](?:\.\d)?)(?![\w.]*\w)"
NUMBERS = rf"{NUMBER}(?:(?:, | and |; ){NUMBER})*"
CITATION = re.compile(
    rf"\b(?:(?P<kind>[Ss]ections?|[Aa]ppendix|[Tt]ables?|[Ff]igures?) (?P<numbers>{NUMBERS})"
    r"|(?<=OPPU |LaMP )(?P<bare>\d\.\d)|(?<=OPPU's |LaMP's )(?P<owned>\d\.\d)"
    r"|(?<=CHAMELEON )(?P<third>\d\.\d)|(?P<appendix>[A-I]\.\d))(?!\d)"
)

NOT_HERE = re.compile(r"\breference \d|later_methods|\bdesign/|architecture\.md|style\.md", re.I)
"""How a document is cited that is not in the repository."""

POINT = re.compile(r"\b[AB]\d{1,2}\b")
"""How an open point of a paper is cited, that docs/choices.md answers."""

PAGE = re.compile(r"\bdocs/[\w/]+\.md\b")

MAPS = ("methods/chameleon/__init__.py", "methods/oppu.py")


@dataclass(frozen=True)
class Citation:
    """`kind`: `section`, `table` or `figure`. `paper`: the one named last before it, if any."""

    paper: str
    kind: str
    number: str

    @property
    def resolves(self) -> bool:
        if self.kind == "section":
            return self.number in SECTIONS.get(self.paper, {})
        numbers = (TABLES if self.kind == "table" else FIGURES).get(self.paper, ())
        return self.number.isdigit() and int(self.number) in numbers


def citations(text: str, home: str = "") -> list[Citation]:
    """All citations of a text. `home`: the paper that it speaks of before it names one."""
    text = re.sub(r"\s*\n[\s#]*", " ", text)
    marks = [*PAPER.finditer(text), *CITATION.finditer(text)]
    paper, found = home, []
    for mark in sorted(marks, key=lambda mark: mark.start()):
        if mark.re is PAPER:
            paper = mark[1] or AUTHORS.get(mark[2], mark[2])
            continue
        kind = (mark["kind"] or "section").lower().rstrip("s").replace("appendix", "section")
        numbers = mark["numbers"] or mark["bare"] or mark["owned"] or mark["third"]
        for number in re.findall(NUMBER, numbers or mark["appendix"]):
            found.append(Citation(paper, kind, number))
    return found


def home(name: str) -> str:
    """The paper that a file speaks of."""
    return next((paper for start, paper in HOMES.items() if name.startswith(start)), "")


def rows(text: str) -> list[tuple[str, str]]:
    """Of a paper's map from sections to files: each number and where it leads."""
    pattern = r"^    ([\dA-H][\d., A-H]*?)  .*? ((?:bench|conf|methods)/\S+?)(?::? .*)?$"
    lines = re.findall(pattern, text, re.MULTILINE)
    return [(number, path) for numbers, path in lines for number in numbers.split(", ")]


def texts() -> Iterator[tuple[str, str]]:
    """All files that may cite: code, configuration, pages."""
    for path in files():
        if path.suffix in (".py", ".yaml", ".md", ".toml") and path.name != "test_citations.py":
            yield shown(path), path.read_text(encoding="utf-8")


def product() -> Iterator[tuple[str, str]]:
    """The files that users and readers open."""
    for name, text in texts():
        if name.startswith(("bench/", "methods/", "conf/", "docs/", "README", "CONTRIBUTING")):
            yield name, text


def test_each_section_table_and_figure_that_is_cited_is_one_of_its_paper() -> None:
    cited: dict[Citation, str] = {}
    for name, text in product():
        if "assets/" not in name:
            cited |= dict.fromkeys(citations(text, home(name)), name)
    lost = {citation: name for citation, name in cited.items() if not citation.resolves}
    assert lost == {}

    sections = {(one.paper, one.number) for one in cited if one.kind == "section"}
    for name in MAPS:
        text = (REPO / name).read_text(encoding="utf-8")
        sections |= {(home(name), number) for number, _ in rows(text)}
    entered = {(paper, number) for paper, known in SECTIONS.items() for number in known}
    assert entered - sections == set(), "entered and cited nowhere"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("OPPU (Tan et al. 2024), sections 3.2 and 3.9", [("OPPU", "3.2", 1), ("OPPU", "3.9", 0)]),
        ("CHAMELEON 3.2, its\n    # appendix B", [("CHAMELEON", "3.2", 1), ("CHAMELEON", "B", 0)]),
        ("CHAMELEON takes OPPU's 3.2", [("OPPU", "3.2", 1)]),
        ("LaMP, section 3; OPPU, table 9", [("LaMP", "3", 1), ("OPPU", "9", 0)]),
        ("LaMP-2 has A.3", [("", "A.3", 0)]),
        ("CHAMELEON beats Burns et al. 2023, section 3.1", [("Burns", "3.1", 0)]),
        ("CHAMELEON's figures 3, 4", [("CHAMELEON", "3", 1), ("CHAMELEON", "4", 1)]),
        ("of CHAMELEON .3 to 3.4 %", []),
    ],
)
def test_a_citation_belongs_to_the_paper_named_last(
    text: str, expected: list[tuple[str, str, int]]
) -> None:
    found = [(one.paper, one.number, int(one.resolves)) for one in citations(text)]
    assert found == expected


def test_each_open_point_that_is_cited_is_one_of_the_choices() -> None:
    choices = (REPO / "docs/choices.md").read_text(encoding="utf-8")
    answered = re.findall(r"^\| ([AB]\d+) \||^- \*\*.*?\*\* \(([AB]\d+)\):", choices, re.MULTILINE)
    points = {row or line for row, line in answered}
    assert {f"A{number}" for number in range(1, 28)} <= points

    cited: dict[str, str] = {}
    for name, text in product():
        cited |= dict.fromkeys(POINT.findall(text), name)
    assert len(cited) > 10
    assert {point: name for point, name in cited.items() if point not in points} == {}


def test_nothing_cites_a_document_that_is_not_here() -> None:
    cited = [f"{name}: {match[0]}" for name, text in texts() for match in NOT_HERE.finditer(text)]
    assert cited == []


def test_each_file_that_a_contributor_is_led_to_is_there() -> None:
    text = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:bench|methods|conf|docs|tests|results|benchmarks)/[\w/.]*)`", text)
    assert len(paths) > 30
    assert [path for path in paths if "NAME" not in path and not (REPO / path).exists()] == []


def test_each_page_of_docs_that_is_cited_is_there() -> None:
    missing = {
        f"{name}: {page}"
        for name, text in texts()
        for page in PAGE.findall(text)
        if not (REPO / page).is_file() and "results/" not in page
    }
    assert missing == set()


@pytest.mark.parametrize("name", MAPS)
def test_the_map_of_a_paper_leads_to_files_and_to_what_is_in_them(name: str) -> None:
    text = (REPO / name).read_text(encoding="utf-8")
    assert len(rows(text)) > 7
    for number, path in rows(text):
        assert number in SECTIONS[home(name)]
        assert list(REPO.glob(path.rstrip(":,"))), path
    for path, names in re.findall(r"(methods/\S+\.py): ([a-z_, ]+)$", text, re.M):
        for function in names.split(", "):
            assert f"def {function}(" in (REPO / path).read_text(encoding="utf-8")

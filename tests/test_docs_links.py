"""Every link of a page leads somewhere, and every number of an open point is one of
docs/choices.md.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("**/*.md")),
]
POINT = re.compile(r"\bA([1-9]|1\d|2\d)\b")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        letters = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(letters.strip().replace(" ", "-"))
    return found


def lost(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    missing = []
    for link in re.findall(r"\]\(\s*([^)\s]+)\s*\)", text):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(link)
    return missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert lost(page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One thing\n[a](#one-thing) [b](#two) [c](other.md) [d](page.md)\n")
    assert lost(page) == ["#two", "other.md"]


def test_every_open_point_that_is_cited_is_among_the_choices() -> None:
    choices = (ROOT / "docs" / "choices.md").read_text(encoding="utf-8")
    known = set(POINT.findall(choices))
    assert {str(number) for number in range(1, 17)} <= known
    for folder in ("conf", "methods", "bench"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".yaml") and "assets" not in path.parts:
                cited = set(POINT.findall(path.read_text(encoding="utf-8")))
                assert cited <= known, path


def test_no_setting_cites_a_document_that_is_not_here() -> None:
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert not re.search(r"\breference \d", path.read_text(encoding="utf-8")), path

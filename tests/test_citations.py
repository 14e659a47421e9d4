"""What code and configuration cite can be found: a choice by its number, a file by its path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
CHOICES = (REPO / "docs/choices.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"\bA\d{1,2}\b")
ELSEWHERE = re.compile(r"[Rr]eference \d+(\.\d+)?\b|reference\.md|[Pp]itfall \d")
MAPS = ("methods/chameleon/__init__.py", "methods/oppu.py")


def sources() -> Iterator[tuple[str, str]]:
    for pattern in ("bench/**/*.py", "methods/**/*.py", "conf/**/*.yaml", "docs/*.md"):
        for path in REPO.glob(pattern):
            yield str(path.relative_to(REPO)), path.read_text(encoding="utf-8")


def test_every_choice_that_is_cited_is_in_the_page_of_choices() -> None:
    known = set(NUMBER.findall(CHOICES))
    assert {f"A{number}" for number in range(1, 28)} == known
    for name, text in sources():
        assert set(NUMBER.findall(text)) <= known, name


def test_no_document_is_cited_that_is_not_in_the_repository() -> None:
    found = []
    for name, text in sources():
        found += [f"{name}: {match[0]}" for match in ELSEWHERE.finditer(text)]
    assert found == []


@pytest.mark.parametrize("name", MAPS)
def test_the_map_of_a_paper_leads_to_files_and_to_what_is_in_them(name: str) -> None:
    text = (REPO / name).read_text(encoding="utf-8")
    rows = re.findall(r"^    [\d.A-H, ]+  .*? ((?:bench|conf|methods)/\S+?)(?::? .*)?$", text, re.M)
    assert len(rows) > 7
    for path in rows:
        assert list(REPO.glob(path.rstrip(":,"))), path
    for path, names in re.findall(r"(methods/\S+\.py): ([a-z_, ]+)$", text, re.M):
        for function in names.split(", "):
            assert f"def {function}(" in (REPO / path).read_text(encoding="utf-8")

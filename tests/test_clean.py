"""Words of a foreign record reach every output as words: no escape, no markup, no formula acts."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import re

import pytest
from made import cell, conf, experiment, manifest
from markdown_it import MarkdownIt

from bench.report import experiments
from bench.report.__main__ import main
from bench.score.metrics import Scored
from bench.terminal import escape

ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202eevil\u2066\u200f\ufeff\U000e0041\x00\r\x7f\ud800"
MARKUP = (
    "<img src=x onerror=alert(1)>[click](javascript:alert(1)) `x` | **b** &lt;b&gt; $x^2$"
    " \\input{/etc/passwd} %"
)
FORMULA = '=HYPERLINK("http://evil","x")'
HOSTILE = f"{FORMULA}{ESCAPES}{MARKUP}\n# heading\n- list"
ACTS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]"
)
PARSER = MarkdownIt("gfm-like", {"linkify": False})


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Results in which every text of a record, a manifest, a sample and a note is hostile;
    and the conf folder.
    """
    folder = tmp_path_factory.mktemp("hostile")
    root = experiment(folder / "results", texts=True)
    for path in root.glob("*/chameleon/*/record.json"):
        record = json.loads(path.read_text())
        record["cell"] |= {"variant": HOSTILE, "model": HOSTILE, "protocol": HOSTILE}
        record["config"] |= {HOSTILE: HOSTILE}
        record["data"] |= {"name": HOSTILE, "split": HOSTILE}
        record |= {"unscored": HOSTILE, "leaks": {HOSTILE: 3}, "finished": HOSTILE}
        record["facts"] |= {HOSTILE: HOSTILE}
        record["counts"] |= {HOSTILE: 1}
        record["error"] = HOSTILE if record["status"] != "ok" else None
        record["environment"] = {"git": {"revision": HOSTILE}}
        path.write_text(json.dumps(record))
        samples = path.parent / "samples.jsonl"
        lines = [
            json.loads(one) | {"raw": HOSTILE, "prompt": HOSTILE}
            for one in samples.read_text().splitlines()
        ]
        samples.write_text("".join(json.dumps(one) + "\n" for one in lines))
        (path.parent / "artifacts").mkdir()
        (path.parent / "artifacts" / "fit.json").write_text(
            json.dumps([{"notes": {HOSTILE: HOSTILE}}])
        )
    at = {"task": "lamp2", "model": HOSTILE, "seed": 0, HOSTILE: HOSTILE}
    manifest(root, "made_table", HOSTILE[:20], at, cell(root, "lamp2", "rag"), extra=[HOSTILE])
    return root, conf(folder / "conf")


@pytest.fixture
def ran(hostile, monkeypatch, capsys, tmp_path):
    """Runs `bench.report` on the hostile results; what it printed, both ways."""
    monkeypatch.setattr(experiments, "CONF", hostile[1])

    def run(*words):
        code = main([*words, "--results", str(hostile[0])])
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.out + said.err

    return run


def keys(root, method):
    return [path.parent.name for path in sorted(root.glob(f"lamp2/{method}/*/scores.json"))]


OUTPUTS = [
    (*words, *(("--format", format) if format else ()))
    for words in ((), ("made_table",))
    for format in (None, "md", "csv")
] + [("made_table", "--format", "tex"), ("made_table", "--format", "html")]


@pytest.mark.parametrize("words", OUTPUTS, ids=" ".join)
def test_nothing_that_a_terminal_or_an_editor_obeys_is_in_any_output(ran, words):
    text = ran(*words)
    assert "evil" in text and not ACTS.search(text)
    text.encode()  # no lone surrogate


def test_a_comparison_is_clean_and_so_are_its_errors(ran, hostile, capsys):
    own, other = keys(hostile[0], "chameleon")[0], keys(hostile[0], "instruct")[0]
    text = ran("compare", own, other)
    assert "evil" in text and not ACTS.search(text)
    assert main(["compare", HOSTILE, "b", "--results", str(hostile[0])]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and not ACTS.search(said)


def test_files_in_every_format_and_figures_are_clean(ran, tmp_path):
    ran("made_table", "--scale", "small", "--out", str(tmp_path))
    found = [path for path in tmp_path.iterdir() if path.suffix != ".png"]
    assert {path.suffix for path in found} == {".txt", ".md", ".csv", ".tex", ".html", ".svg"}
    for path in found:
        assert not ACTS.search(path.read_text(encoding="utf-8")), path.name


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = set()

    def handle_starttag(self, tag, attrs):
        self.found |= {tag, *(name for name, _ in attrs if name.startswith("on"))}


def test_html_has_our_tags_alone(ran):
    tags = Tags()
    tags.feed(ran("made_table", "--format", "html"))
    assert not tags.found & {"img", "a", "script", "b", "onerror"}


@pytest.mark.parametrize(
    "words", [("--format", "md"), ("made_table", "--format", "md")], ids=" ".join
)
def test_markdown_has_our_headings_and_tables_alone(ran, words):
    tokens = PARSER.parse(ran(*words))
    inline = {child.type for token in tokens for child in token.children or ()}
    assert inline <= {"text", "text_special", "softbreak", "hardbreak"}, inline
    assert {token.tag for token in tokens if token.type == "heading_open"} == {"h3"}
    assert {token.type for token in tokens} & {
        "html_block",
        "bullet_list_open",
        "fence",
        "code_block",
    } == set()
    shown = " ".join(child.content for token in tokens for child in token.children or ())
    assert "<img src=x onerror=alert(1)>[click](javascript:alert(1))" in shown


@pytest.mark.parametrize(
    "words", [("--format", "csv"), ("made_table", "--format", "csv")], ids=" ".join
)
def test_no_cell_of_a_csv_is_a_formula_and_numbers_stay_numbers(ran, words):
    cells = [one for row in csv.reader(io.StringIO(ran(*words))) for one in row]
    assert any(one.startswith("'=HYPERLINK") for one in cells)
    for one in cells:
        assert one[:1] not in ("=", "@", "+", "-") or is_number(one), one


def is_number(text):
    try:
        return float(text) is not None
    except ValueError:
        return False


def test_latex_has_no_command_of_a_record(ran):
    text = ran("made_table", "--format", "tex")
    assert "\\input" not in text and r"\textbackslash{}input\{/etc/passwd\}" in text
    assert not re.search(r"(?<!\\)%(?!  needs graphicx)", text)


def test_the_page_holds_only_what_can_be_seen(ran, tmp_path):
    ran("page", "--out", str(tmp_path / "page.html"))
    text = (tmp_path / "page.html").read_text()
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1]
    assert not ACTS.search(text) and not ACTS.search(every_text(json.loads(data)))
    assert "<img" not in text


def every_text(value):
    if isinstance(value, dict):
        return "".join(map(every_text, [*value, *value.values()]))
    return "".join(map(every_text, value)) if isinstance(value, list) else str(value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcode 日本 👩‍👧", "plain, ünïcode 日本 👩‍👧"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\u202eb", r"a\u202eb"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\ud800", r"\ud800"),
    ],
)
def test_visible_spells_out_what_acts_and_leaves_words_alone(text, shown):
    assert escape.visible(text) == shown


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+cmd|x", "'+cmd|x"),
        ("-2+3", "'-2+3"),
        (" =1", "' =1"),
        ("＝1", "'＝1"),
        ("-0.5", "-0.5"),
        ("+0.013", "+0.013"),
        ("-1e-05", "-1e-05"),
        ("-", "-"),
        ("", ""),
        (-1.5, -1.5),
        (None, None),
        ("rag", "rag"),
    ],
)
def test_a_spreadsheet_takes_no_text_for_a_formula(value, cell):
    assert escape.csv(value) == cell


@pytest.mark.parametrize(
    "text", ["# no", "- no", "1. no", "+ no", "=== no", "*no*", "_no_", "[a](b)", "[a]: b", "a_b"]
)
def test_a_line_of_prose_is_a_paragraph_with_its_own_words(text):
    tokens = PARSER.parse(escape.prose(text))
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert "".join(child.content for child in tokens[1].children) == text


def test_scored_questions_have_no_field_that_the_shape_does_not_know():
    from bench.checks import shape
    from bench.types import Sample

    assert {name.removesuffix("?") for name in shape.SAMPLE} == set(Sample.__dataclass_fields__)
    assert {name.removesuffix("?") for name in shape.SCORE} == set(Scored.__dataclass_fields__)

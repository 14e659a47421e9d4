"""The page: nothing of a record or an answer becomes markup;
and used as a reader would, in a real browser.
"""

import hashlib
import json
import re
import shutil
from base64 import b64encode

import pytest
from made import cell, conf, experiment

from bench.errors import InputError
from bench.report import answers, experiments, page
from bench.report.__main__ import main

EVIL = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    " & <!--"
)
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def with_evil(root):
    """A cell in which an answer, a prompt, a gold, a user's name,
    a variant and a fact hold markup.
    """
    folder = cell(
        root, "lamp4", "chameleon", skill=0.4, users=3, texts=True, variant=EVIL, facts={EVIL: EVIL}
    )
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    lines = [
        line
        | {
            "raw": EVIL,
            "prompt": EVIL,
            "group": EVIL if line["group"] == "u0" else line["group"],
        }
        for line in lines
    ]
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "golds.json").write_text(json.dumps({line["id"]: EVIL for line in lines}))
    (folder / "artifacts").mkdir()
    insights = {EVIL: [[EVIL, "be short"], ["tea", "be short"]], "u2": [["cats", "be dull"]]}
    (folder / "artifacts" / "fit.json").write_text(json.dumps([{"notes": {"insights": insights}}]))
    users = [
        {"user": f"u{number}", "notes": {"profile": f"likes {number} teas"}} for number in range(20)
    ]
    (folder / "artifacts" / "adapt-00000.json").write_text(json.dumps(users))
    return folder


def data(text):
    """What the page carries, as its script reads it."""
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1]
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A page of an experiment, a cell full of markup,
    a failed cell and one without texts; and its text.
    """
    folder = tmp_path_factory.mktemp("page")
    root = experiment(folder / "results", texts=True)
    evil = with_evil(root)
    cell(root, "lamp7", "rag", skill=0.3, users=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiments, "CONF", conf(folder / "conf"))
        assert (
            main(
                [
                    "page",
                    "--results",
                    str(root),
                    "--out",
                    str(folder / "page.html"),
                    "--users",
                    "15",
                ]
            )
            == 0
        )
    return folder / "page.html", evil.name


def test_nothing_of_a_record_or_an_answer_becomes_markup(made):
    text = made[0].read_text()
    assert EVIL not in text and "<script>document" not in text and "<img src=x" not in text
    assert text.count("<script") == text.count("</script>") == 2
    assert EVIL in data(text)["texts"]


def test_only_the_pages_own_script_may_run_and_nothing_is_loaded(made):
    text = made[0].read_text()
    script = re.findall(r"<script>(.*?)</script>", text, re.S)[0]
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src"
        f" 'sha256-{digest}'" in text
    )
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text) and "innerHTML" not in script


def test_each_text_is_carried_once_and_users_left_out_are_counted(made):
    found = data(made[0].read_text())
    assert len(found["texts"]) == len(set(found["texts"]))
    by_key = {one["key"]: one for one in found["cells"]}
    for key, rows in found["answers"].items():
        people = len({row["user"] for row in rows})
        assert people + by_key[key]["hidden_users"] == by_key[key]["users"] and people <= 15


def test_what_a_method_wrote_on_its_way_is_there_to_judge(made):
    found = data(made[0].read_text())
    cell = next(one for one in found["cells"] if one["key"] == made[1])
    notes = {title: found["texts"][place] for title, place in cell["notes"]}
    assert notes[f"insights of {EVIL}"] == f"{EVIL} | be short\ntea | be short"
    assert (
        notes["insights of u2"] == "cats | be dull" and notes["profile of u14"] == "likes 14 teas"
    )
    assert len(notes) == 2 + 15  # of 20 users' profiles as many as there are users on the page


def test_a_method_is_shown_beside_the_baseline_of_its_own_task_and_seed(made):
    found = data(made[0].read_text())
    by_key = {one["key"]: one for one in found["cells"]}
    pairs = [(by_key[key], by_key[base]) for key, base in found["baselines"].items()]
    assert {one["method"] for one, _ in pairs} == {"chameleon", "majority"}
    assert all(
        base["method"] == "instruct" and one["task"] == base["task"] and one["seed"] == base["seed"]
        for one, base in pairs
    )


def test_the_baseline_of_a_cell_has_its_prompts():
    def of(key, method="instruct", variant="", n_items=10, group=24):
        protocol, select = {"history": "own", "group_size": group}, {"n_items": n_items}
        return {
            "key": key,
            "schema": 1,
            "status": "ok",
            "config": {"method": {"select": select}, "protocol": protocol},
            "cell": dict(
                task="lamp3",
                model="m",
                base="instruct",
                decoding="greedy",
                seed=0,
                method=method,
                variant=variant,
            ),
            "model": {},
            "data": {"hash": "h", "queries": 9},
        }

    cells = [
        of("plain"),
        of("few", variant="selection.n_items=2", n_items=2),
        of("small", variant="z", group=1),
        of("edit", "chameleon"),
        of("edit few", "chameleon", n_items=2),
    ]
    assert answers.baselines(cells, []) == {"edit": "plain", "edit few": "few"}


def test_golds_are_those_of_the_scores_where_no_texts_of_golds_are_kept(tmp_path):
    folder = cell(tmp_path, "lamp2", "instruct", texts=True)
    kept = json.loads((folder / "golds.json").read_text())
    (folder / "golds.json").unlink()
    found = data(page.page([tmp_path]))
    [rows] = found["answers"].values()
    assert {row["id"]: found["texts"][row["gold"]] for row in rows} == kept


def test_a_page_of_nothing_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no records below"):
        page.page([tmp_path])


# In a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not (BROWSER and DRIVER):
        missing = "chromium" if not BROWSER else "chromedriver"
        pytest.skip(f"{missing} is not on PATH: apt-get install chromium chromium-driver")
    selenium = pytest.importorskip(
        "selenium.webdriver", reason="selenium is not installed: pip install -e .[dev]"
    )
    from selenium.webdriver.chrome.service import Service

    options = selenium.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    driver = selenium.Chrome(options=options, service=Service(DRIVER))
    driver.set_window_size(1280, 900)
    # on a busy machine a view is drawn some time after the event that asks for it
    driver.implicitly_wait(20)
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, made):
    """The page, freshly opened; finds elements by CSS."""
    browser.get("about:blank")
    browser.get(made[0].as_uri())
    return browser


def texts(driver, selector):
    return [one.text for one in driver.find_elements("css selector", selector)]


def press(driver, selector, *keys):
    driver.find_element("css selector", selector).send_keys(*keys)
    # a link's view is drawn by an event that follows the key
    driver.execute_async_script(
        "const done = arguments[0]; setTimeout(() => requestAnimationFrame(() => done()), 100)"
    )


def column(driver, number):
    return texts(driver, f"tbody tr td:nth-child({number})")


@pytest.mark.timeout(600)
def test_a_click_on_a_head_sorts_and_a_second_turns_it_round(opened):
    head = opened.find_element("css selector", "thead th:nth-child(13)")
    for order, reverse in (("ascending", False), ("descending", True)):
        head.find_element("css selector", "button").click()
        seconds = [float(text.replace(",", "")) for text in column(opened, 13)]
        assert head.get_attribute("aria-sort") == order and seconds == sorted(
            seconds, reverse=reverse
        )
    assert len(set(seconds)) > 1


@pytest.mark.timeout(600)
def test_search_and_filters_leave_what_was_asked_for(opened):
    from selenium.webdriver.support.select import Select

    everything = len(column(opened, 1))
    Select(opened.find_element("css selector", "[data-filter=task]")).select_by_value("lamp3")
    assert set(column(opened, 1)) == {"lamp3"} and len(column(opened, 1)) < everything
    press(opened, "#search", "oom")
    assert column(opened, 2) == ["chameleon"] and "failed: oom" in column(opened, 6)[0]
    assert f"1 of {everything} cells" in texts(opened, "[role=status]")[0]


@pytest.mark.timeout(600)
def test_from_a_cell_to_a_users_prompt_answers_and_gold(opened):
    from selenium.webdriver.support.select import Select

    Select(opened.find_element("css selector", "[data-filter=method]")).select_by_value("chameleon")
    Select(opened.find_element("css selector", "[data-filter=task]")).select_by_value("lamp2")
    opened.find_element("css selector", "tbody tr a").click()
    opened.find_element("css selector", "#changed").click()
    user = opened.find_element("css selector", ".people button:nth-child(2)")
    user.click()
    assert user.get_attribute("aria-pressed") == "true"
    first = opened.find_element("css selector", "article")
    shown = {
        name: first.find_element("css selector", f".{name}").text
        for name in ("gold", "before", "after")
    }
    assert all(shown.values()) and "(accuracy" in shown["after"]
    first.find_element("css selector", "summary").click()
    assert "What now?" in first.find_element("css selector", "pre").text
    place = opened.current_url
    opened.get("about:blank")
    opened.get(place)  # the address leads back to this user
    assert (
        opened.find_element("css selector", "[aria-pressed=true]").get_attribute("data-user")
        in place
    )


@pytest.mark.timeout(600)
def test_the_keyboard_is_enough(opened):
    from selenium.webdriver.common.keys import Keys

    press(opened, "body", Keys.TAB)
    assert opened.switch_to.active_element.text == "Skip to the results"
    press(opened, "thead th:nth-child(1) button", Keys.ENTER)
    assert opened.find_element("css selector", "thead th").get_attribute("aria-sort") == "ascending"
    outline = opened.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    press(opened, "tbody tr a", Keys.ENTER)
    assert "Back to all cells" in texts(opened, "main")[0]
    assert opened.switch_to.active_element.get_attribute("id") == "main"
    press(opened, "nav a:nth-child(2)", Keys.ENTER)
    press(opened, "details:not([open]) summary, details summary", Keys.ENTER)
    assert texts(opened, "h2") == ["Experiments"]


@pytest.mark.timeout(600)
def test_markup_in_answers_is_shown_and_does_not_run(opened, made):
    opened.get(f"{made[0].as_uri()}#cell/{made[1]}")
    opened.refresh()
    assert EVIL in texts(opened, "main")[0] and opened.title.startswith("Lamplight results")
    assert opened.find_element("css selector", ".after").text.startswith(EVIL)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("width", [390, 1280])
def test_no_view_is_wider_than_the_window(opened, made, width):
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": False},
    )
    try:
        for view in ("cells", "experiments", f"cell/{made[1]}"):
            opened.get(f"{made[0].as_uri()}#{view}")
            wide, window = opened.execute_script(
                "return [document.documentElement.scrollWidth, innerWidth]"
            )
            assert wide <= window == width, view
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_page_in_a_place_that_can_be_none_is_one_line_and_exit_code_2(tmp_path, capsys):
    cell(tmp_path / "runs", "lamp2", "instruct")
    (tmp_path / "file").write_text("in the way")
    where = ["--results", str(tmp_path / "runs"), "--out", str(tmp_path / "file" / "page.html")]
    assert main(["page", *where]) == 2
    said = capsys.readouterr().err
    assert "write elsewhere with --out FILE" in said and said.count("\n") == 1

"""The downloader against a local server that drops, lies, moves and changes its mind."""

from __future__ import annotations

import hashlib
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench import download
from bench.data.fetch import DownloadError, _Redirects
from bench.download import Order

IDS = [str(number) for number in range(400)]
QUESTIONS = json.dumps(
    [
        {"id": name, "input": "review: fine", "profile": [{"text": "word " * 200, "score": "5"}]}
        for name in IDS
    ]
).encode()
GOLDS = json.dumps(
    {"task": "LaMP_3", "golds": [{"id": name, "output": "5"} for name in IDS]}
).encode()
LABEL = "LaMP_3/dev/dev_questions.json"

Answer = Callable[["Handler", bytes], None]


class Handler(BaseHTTPRequestHandler):
    """Answers the n-th request for a questions file with `script[n]` (the last one for ever)."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("Range"))
        self.close_connection = True
        if self.path.endswith("_outputs.json"):
            return whole(self, self.server.golds)
        step = min(self.server.asked, len(self.server.script) - 1)
        self.server.asked += 1
        self.server.script[step](self, self.server.data)

    def head(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.golds, self.asked = QUESTIONS, GOLDS, 0
        self.script: list[Answer] = [whole]
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/LaMP"


def tag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def whole(handler: Handler, data: bytes) -> None:
    """A server that keeps the rules: Range and If-Range."""
    wanted = handler.headers.get("Range")
    if wanted and handler.headers.get("If-Range") == tag(data):
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        handler.head(
            206,
            len(data) - start,
            ETag=tag(data),
            Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}",
        )
        handler.wfile.write(data[start:])
    else:
        handler.head(200, len(data), ETag=tag(data))
        handler.wfile.write(data)


def drops(handler: Handler, data: bytes) -> None:
    handler.head(200, len(data), ETag=tag(data))
    handler.wfile.write(data[: len(data) // 3])


def ignores_range(handler: Handler, data: bytes) -> None:
    handler.head(200, len(data), ETag=tag(data))
    handler.wfile.write(data)


def ignores_if_range(handler: Handler, data: bytes) -> None:
    start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
    handler.head(
        206,
        len(data) - start,
        ETag=tag(data),
        Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}",
    )
    handler.wfile.write(data[start:])


def html(handler: Handler, data: bytes) -> None:
    page = b"<!DOCTYPE html><html><body>Moved</body></html>"
    handler.head(200, len(page))
    handler.wfile.write(page)


def missing(handler: Handler, data: bytes) -> None:
    handler.head(404, 0)


def busy(handler: Handler, data: bytes) -> None:
    handler.head(503, 0)


def promises_more(handler: Handler, data: bytes) -> None:
    handler.head(200, len(data) + 1000)
    handler.wfile.write(data)


def promises_less(handler: Handler, data: bytes) -> None:
    handler.head(200, len(data) - 1000)
    handler.wfile.write(data)


def says_no_length(handler: Handler, data: bytes) -> None:
    handler.head(200, None, Connection="close")
    handler.wfile.write(data)


def becomes(new: bytes, then: Answer) -> Answer:
    def answer(handler: Handler, data: bytes) -> None:
        handler.server.data = new
        then(handler, new)

    return answer


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(
            target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        thread.start()
        yield running
        running.shutdown()


def order(server: Server, root: Path, **changes: Any) -> Order:
    values: dict[str, Any] = {
        "tasks": ("lamp3",),
        "parts": ("dev",),
        "retries": 3,
        "timeout": 5.0,
        "pause": 0.0,
    }
    return Order(root=root, base=server.url, **values | changes)


def left_over(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


COMPLETE = ["dev_outputs.json", "dev_questions.json", "lamplight_download.json"]


def test_files_arrive_whole_and_the_manifest_says_where_from(
    server: Server, tmp_path: Path
) -> None:
    said: list[str] = []
    download.download(order(server, tmp_path), said.append)
    assert (tmp_path / LABEL).read_bytes() == QUESTIONS
    assert left_over(tmp_path) == COMPLETE
    entry = json.loads((tmp_path / download.MANIFEST).read_text())[LABEL]
    assert entry["url"] == f"{server.url}/{LABEL}"
    assert (entry["bytes"], entry["count"]) == (len(QUESTIONS), 400)
    assert entry["sha256"] == hashlib.sha256(QUESTIONS).hexdigest()
    assert said[0].startswith(f"{LABEL}: 400 questions")


def test_a_second_run_asks_the_server_for_nothing(server: Server, tmp_path: Path) -> None:
    download.download(order(server, tmp_path), lambda line: None)
    asked = len(server.ranges)
    download.download(order(server, tmp_path), lambda line: None)
    assert len(server.ranges) == asked


def test_a_dropped_connection_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.script = [drops, whole]
    download.download(order(server, tmp_path), lambda line: None)
    assert (tmp_path / LABEL).read_bytes() == QUESTIONS
    assert server.ranges[:2] == [None, f"bytes={len(QUESTIONS) // 3}-"]


def test_a_later_run_goes_on_where_the_first_gave_up(server: Server, tmp_path: Path) -> None:
    server.script = [drops]
    with pytest.raises(
        DownloadError, match=r"ended at .* bytes \(tried 1 times; .* bytes are kept"
    ):
        download.download(order(server, tmp_path, retries=0), lambda line: None)
    assert not (tmp_path / LABEL).exists()
    server.script, server.asked = [whole], 0
    download.download(order(server, tmp_path), lambda line: None)
    assert (tmp_path / LABEL).read_bytes() == QUESTIONS
    assert server.ranges[1] == f"bytes={len(QUESTIONS) // 3}-"


@pytest.mark.parametrize("then", [ignores_range, whole, ignores_if_range])
def test_a_file_that_changed_is_fetched_anew(server: Server, tmp_path: Path, then: Answer) -> None:
    changed = QUESTIONS.replace(b"fine", b"good")
    server.script = [drops, becomes(changed, then), whole]
    download.download(order(server, tmp_path), lambda line: None)
    assert (tmp_path / LABEL).read_bytes() == changed


@pytest.mark.parametrize("answer", [ignores_range, says_no_length])
def test_plain_servers_are_enough(server: Server, tmp_path: Path, answer: Answer) -> None:
    server.script = [drops, answer]
    download.download(order(server, tmp_path), lambda line: None)
    assert (tmp_path / LABEL).read_bytes() == QUESTIONS


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.script = [busy, busy, whole]
    download.download(order(server, tmp_path), lambda line: None)
    assert (tmp_path / LABEL).read_bytes() == QUESTIONS


@pytest.mark.parametrize(
    ("answer", "message", "requests"),
    [
        (html, "an HTML page instead of data", 1),
        (missing, "the server answers 404", 1),
        (busy, r"the server answers 503 .*\(tried 4 times\)", 4),
        (promises_more, r"the connection ended at .* bytes \(tried 4 times", 4),
        (promises_less, "the file ends inside record 399", 1),
    ],
)
def test_what_is_no_data_never_gets_the_file_s_name(
    server: Server, tmp_path: Path, answer: Answer, message: str, requests: int
) -> None:
    server.script = [answer]
    with pytest.raises(DownloadError, match=message):
        download.download(order(server, tmp_path), lambda line: None)
    assert COMPLETE[1] not in left_over(tmp_path)
    assert len(server.ranges) == requests


def test_a_text_that_quotes_html_is_data(server: Server, tmp_path: Path) -> None:
    server.data = QUESTIONS.replace(b"review: fine", b"review: <html>", 1)
    download.download(order(server, tmp_path), lambda line: None)
    assert (tmp_path / LABEL).read_bytes() == server.data


def test_golds_of_other_questions_are_refused(server: Server, tmp_path: Path) -> None:
    server.golds = GOLDS.replace(b'"399"', b'"9999"')
    message = r"400 golds for 400 questions, 2 without a partner, such as 399, 9999"
    with pytest.raises(DownloadError, match=message):
        download.download(order(server, tmp_path), lambda line: None)
    assert left_over(tmp_path) == []  # which of the two files is wrong, nobody knows


def test_questions_that_were_there_stay_when_new_golds_do_not_fit(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / LABEL).parent.mkdir(parents=True)
    (tmp_path / LABEL).write_bytes(QUESTIONS)
    server.golds = GOLDS.replace(b'"399"', b'"9999"')
    with pytest.raises(DownloadError, match=r"remove .*dev_questions.json and run again"):
        download.download(order(server, tmp_path), lambda line: None)
    assert left_over(tmp_path) == ["dev_questions.json"]


def test_whole_questions_are_not_fetched_again_when_their_golds_were_not_to_be_had(
    server: Server, tmp_path: Path
) -> None:
    golds, server.golds = server.golds, b"<html>"
    with pytest.raises(DownloadError, match="an HTML page"):
        download.download(order(server, tmp_path), lambda line: None)
    assert COMPLETE[1] not in left_over(tmp_path)
    server.golds = golds
    download.download(order(server, tmp_path), lambda line: None)
    assert (
        (tmp_path / LABEL).read_bytes() == QUESTIONS
        and server.asked == 1
        and left_over(tmp_path) == COMPLETE
    )


def wrong_range(handler: Handler, data: bytes) -> None:
    """Answers a range with another one, and anything else with the whole."""
    if not handler.headers.get("Range"):
        return whole(handler, data)
    handler.head(206, 10, ETag=tag(data), Content_Range=f"bytes 0-9/{len(data)}")
    handler.wfile.write(data[:10])


def test_a_wrong_range_falls_back_to_the_whole_file(server: Server, tmp_path: Path) -> None:
    server.script = [drops, wrong_range]
    download.download(order(server, tmp_path, retries=1), lambda line: None)
    assert (tmp_path / LABEL).read_bytes() == QUESTIONS
    assert server.ranges[1:3] == [f"bytes={len(QUESTIONS) // 3}-", None]


def moved(to: str) -> Answer:
    def answer(handler: Handler, data: bytes) -> None:
        handler.head(302, 0, Location=to)

    return answer


def test_the_manifest_says_where_a_redirect_led(server: Server, tmp_path: Path) -> None:
    server.script = [moved(f"{server.url}/elsewhere_questions.json"), whole]
    download.download(order(server, tmp_path), lambda line: None)
    entry = json.loads((tmp_path / download.MANIFEST).read_text())[LABEL]
    assert entry["url"] == f"{server.url}/{LABEL}"
    assert entry["final_url"] == f"{server.url}/elsewhere_questions.json"


@pytest.mark.parametrize("to", ["ftp://127.0.0.1/x", "file:///etc/passwd", "gopher://127.0.0.1/x"])
def test_a_redirect_out_of_http_is_not_followed(server: Server, tmp_path: Path, to: str) -> None:
    server.script = [moved(to)]
    with pytest.raises(DownloadError, match="from http to ftp: not followed|is not allowed"):
        download.download(order(server, tmp_path), lambda line: None)
    assert left_over(tmp_path) == []


def test_a_redirect_from_https_to_http_is_not_followed() -> None:
    before = urllib.request.Request("https://here.example/x")
    with pytest.raises(DownloadError, match="from https to http: not followed"):
        _Redirects().redirect_request(before, None, 302, "Found", {}, "http://here.example/x")
    assert (
        _Redirects().redirect_request(before, None, 302, "Found", {}, "https://there.example/x")
        is not None
    )


def test_test_golds_are_not_asked_for(server: Server, tmp_path: Path) -> None:
    download.download(order(server, tmp_path, parts=("test",)), lambda line: None)
    assert left_over(tmp_path) == ["lamplight_download.json", "test_questions.json"]


def test_lamp6_says_that_its_mails_are_licensed(server: Server, tmp_path: Path) -> None:
    said: list[str] = []
    download.download(order(server, tmp_path, tasks=("lamp6",)), said.append)
    assert "Avocado" in said[0]


def test_folders_are_those_of_the_tasks() -> None:
    tasks = [
        yaml.safe_load(path.read_text())
        for path in Path(__file__).parents[1].glob("conf/task/lamp*.yaml")
    ]
    assert {task["name"]: task["folder"] for task in tasks} == download.FOLDERS


def test_the_command_line_is_understood() -> None:
    parsed = Order.parse(
        ["task=lamp2,lamp3", "split=time", "root=x", "parts=dev", "base=http://h/L/"]
    )
    assert parsed == Order(("lamp2", "lamp3"), "time", ("dev",), Path("x"), "http://h/L")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["taks=lamp3"], "did you mean task=...?"),
        (["task=lamp9"], "need one or more, with commas, of lamp1, lamp2"),
        (["split=user"], "task= (need"),
        (["task=lamp3", "split=both"], "split=both (need one of user, time)"),
        (["task=lamp6", "split=time"], "no time-based split"),
        (["task=lamp3", "retries=many"], "retries=many"),
        (["task=lamp3", "base=ftp://x"], "need an http:// or https:// address"),
        ([], "python -m bench.download task=lamp3"),
    ],
)
def test_a_mistake_in_the_command_ends_with_two(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert download.main(words) == 2
    assert message in "".join(capsys.readouterr())


def test_help_is_no_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert download.main(["--help"]) == 0
    assert "split    user (default)" in capsys.readouterr().out


def test_exit_codes_of_a_download(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["task=lamp3", "parts=dev", f"root={tmp_path}", f"base={server.url}", "retries=0"]
    server.script = [html, whole]
    assert [download.main(words), download.main(words)] == [1, 0]
    assert capsys.readouterr().err.count("\n") == 1

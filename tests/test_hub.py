"""A model and a data set from a hub, against a local server that speaks the hub's protocol."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import InputError
from bench.lm.load import load, tiny
from bench.lm.spec import ModelSpec

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ID = "someone/tiny-llama"
DATA = "someone/talks"
READ = """
import json, sys
from bench.lm.load import load
from bench.lm.spec import ModelSpec
from bench.errors import InputError
import torch
try:
    model, tokenizer, _ = load(ModelSpec(name="hub", dtype="float32", device="cpu", **json.loads(sys.argv[1])))
except InputError as error:
    sys.exit(f"InputError: {error}")
print(json.dumps(model(torch.tensor([tokenizer("five stars")["input_ids"]])).logits[0, -1].tolist()))
"""


READ_DATA = """
import json, sys
from methods.aloe.dialogues import read
from bench.errors import InputError
try:
    found = read(*json.loads(sys.argv[1]))
except InputError as error:
    sys.exit(f"InputError: {error}")
print(json.dumps([found.source, [[turn.text for turn in dialogue] for dialogue in found.dialogues]]))
"""


class Hub(BaseHTTPRequestHandler):
    """`/ID/resolve/REVISION/FILE` and the list of files; everything else is not there."""

    server: Server

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path, own = self.path.split("?")[0], self.server
        if path.startswith(f"/api/{own.kind}/{own.id}/tree/"):
            if own.kind == "models":
                # of folders there are none
                return self.send(404, b"", body=body, X_Error_Code="EntryNotFound")
            return self.send(
                200,
                json.dumps([self.listed(file) for file in own.folder.iterdir()]).encode(),
                body=body,
            )
        if path.startswith(f"/api/{own.kind}/{own.id}"):
            names = [{"rfilename": file.name} for file in own.folder.iterdir()]
            return self.send(
                200,
                json.dumps({"id": own.id, "sha": COMMIT, "siblings": names}).encode(),
                body=body,
            )
        known, _, name = path.partition(f"/{own.id}/resolve/")
        file = own.folder / name.partition("/")[2]
        if (
            known != ("" if own.kind == "models" else f"/{own.kind}")
            or not name
            or not file.is_file()
        ):
            code = "EntryNotFound" if name else "RepoNotFound"
            return self.send(404, b"", body=body, X_Error_Code=code, X_Repo_Commit=COMMIT)
        self.server.sent.append(file.name)
        data = file.read_bytes()
        return self.send(
            200, data, body=body, ETag=f'"{hashlib.sha1(data).hexdigest()}"', X_Repo_Commit=COMMIT
        )

    def listed(self, file: Path) -> dict[str, Any]:
        data = file.read_bytes()
        return {
            "type": "file",
            "path": file.name,
            "size": len(data),
            "oid": hashlib.sha1(data).hexdigest(),
        }

    def send(self, status: int, data: bytes, *, body: bool, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    def __init__(self, folder: Path, kind: str, id: str) -> None:
        super().__init__(("127.0.0.1", 0), Hub)
        self.folder, self.kind, self.id = folder, kind, id
        self.sent: list[str] = []


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Server]:
    model, tokenizer = tiny("llama")
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    yield from serving(Server(tmp_path / "model", "models", ID))


@pytest.fixture
def talks(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "talks").mkdir()
    turns = [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "Three."}]
    (tmp_path / "talks" / "talks.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    card = (
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: codeact\n    path:"
        " talks.jsonl\n---\n"
    )
    (tmp_path / "talks" / "README.md").write_text(card)
    yield from serving(Server(tmp_path / "talks", "datasets", DATA))


def serving(server: Server) -> Iterator[Server]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def read(server: Server, home: Path, **spec: str) -> subprocess.CompletedProcess[str]:
    """Load a model in a process of its own, whose hub is the local server."""
    return run(server, home, READ, spec)


def run(server: Server, home: Path, code: str, said: Any) -> subprocess.CompletedProcess[str]:
    own = {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
    }
    own |= {"HF_HUB_DISABLE_XET": "1", "no_proxy": "*"}
    command = [sys.executable, "-c", code, json.dumps(said)]
    return subprocess.run(
        command, env=os.environ | own, capture_output=True, text=True, timeout=120, check=False
    )


def test_model_from_hub_is_the_model_in_the_folder(hub: Server, tmp_path: Path) -> None:
    done = read(hub, tmp_path / "home", source=ID)
    assert done.returncode == 0, done.stderr
    assert "model.safetensors" in hub.sent
    model, tokenizer, _ = load(
        ModelSpec(name="folder", source=str(hub.folder), dtype="float32", device="cpu")
    )
    expected = model(torch.tensor([tokenizer("five stars")["input_ids"]])).logits[0, -1]
    assert torch.equal(torch.tensor(json.loads(done.stdout)), expected)


def test_where_the_package_is_missing_its_hub_id_is_used(hub: Server, tmp_path: Path) -> None:
    done = read(hub, tmp_path / "home", source="package:no_such_package", hub=ID)
    assert done.returncode == 0, done.stderr
    assert "model.safetensors" in hub.sent


def test_missing_package_and_hub_give_one_line_with_both_ways(hub: Server, tmp_path: Path) -> None:
    done = read(hub, tmp_path / "home", source="package:no_such_package", hub="someone/else")
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("InputError")]
    assert len(lines) == 1 and "pip install" in lines[0] and "model.source=FOLDER" in lines[0]


def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load(
            ModelSpec(
                name="folder", source=str(tmp_path / "nothing"), dtype="float32", device="cpu"
            )
        )


def test_code_dialogues_come_from_a_data_set_of_the_hub(talks: Server, tmp_path: Path) -> None:
    done = run(talks, tmp_path / "home", READ_DATA, [DATA, "codeact", "main"])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [f"{DATA}@{COMMIT} (codeact)", [["How many?", "Three."]]]
    assert "talks.jsonl" in talks.sent


def test_a_split_that_the_data_set_lacks_is_one_line(talks: Server, tmp_path: Path) -> None:
    done = run(talks, tmp_path / "home", READ_DATA, [DATA, "general", None])
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("InputError")]
    assert (
        f"method.code_data={DATA}: cannot load split 'general'" in line
        and "Traceback" not in done.stderr
    )

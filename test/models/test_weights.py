"""Weight files: checksums, downloads from a real server that stops, lies and changes, and which pickles are loaded."""

from __future__ import annotations

import hashlib
import http.server
import os
import pickle
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from smotracker_ros.commands.weights import app
from smotracker_ros.models import weight_files
from smotracker_ros.models.fetch import entry_for, fetch
from smotracker_ros.models.weight_files import (
    EMBEDDED_FOLDER,
    WeightError,
    WeightFile,
    check_trust,
    checksum,
    find_weights,
    known_files,
    verify,
)
from smotracker_ros.presets import build_detector, load_settings

ROOT = Path(__file__).resolve().parents[1]
CONTENT = random.Random(0).randbytes(3_000_000)


class Server(http.server.ThreadingHTTPServer):
    """Serves one file under any name, with ranges as HTTP has them."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), Handler)
        self.content = CONTENT
        self.tag = '"one"'
        self.stop_after: int | None = None
        self.status: int | None = None
        self.redirect = ""
        self.requests: list[tuple[str | None, int]] = []

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_address[1]}/models/mine.pt"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server, content = self.server, self.server.content
        asked = self.headers.get("Range")
        if server.redirect:
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        status = server.status or 200
        if asked and status == 200 and self.headers.get("If-Range") == server.tag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            status = 206 if start < len(content) else 416
        server.requests.append((asked, status))
        body = content[start:] if status in (200, 206) else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", server.tag)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(body[: server.stop_after])
        if server.stop_after is not None:
            self.close_connection = True

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def _serving(*host: str) -> Iterator[Server]:
    with Server(*host) as instance:
        thread = threading.Thread(target=instance.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield instance
        instance.shutdown()
        thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with _serving() as instance:
        yield instance


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "weights"
    monkeypatch.setenv("SMOTRACKER_WEIGHTS", str(path))
    return path


def _known(server: Server, content: bytes = CONTENT) -> WeightFile:
    return WeightFile("mine", "mine.pt", sha256=hashlib.sha256(content).hexdigest(), size=len(content), url=server.url)


def test_embedded_files_are_the_shipped_ones() -> None:
    embedded = [entry for entry in known_files().values() if entry.embedded]
    assert {entry.file for entry in embedded} == {
        path.name for path in EMBEDDED_FOLDER.iterdir() if path.suffix in (".pt", ".onnx")
    }
    for entry in embedded:
        verify(entry)


def test_the_manifest_is_complete() -> None:
    official = [entry for entry in known_files().values() if not entry.embedded]
    assert len(official) == 8
    for entry in official:
        assert entry.url.startswith("https://dl.fbaipublicfiles.com/") and entry.url.endswith(entry.file)
        assert len(entry.sha256) == 64 and int(entry.sha256, 16)
    assert len({entry.sha256 for entry in known_files().values()}) == len(known_files())


def test_a_file_is_fetched_once(server: Server, folder: Path) -> None:
    progress: list[tuple[int, int]] = []
    entry = _known(server)
    assert fetch(entry, lambda done, total: progress.append((done, total))) == entry
    assert (folder / "mine.pt").read_bytes() == CONTENT
    assert progress[-1] == (len(CONTENT), len(CONTENT)) and len(progress) > 1
    fetch(entry)
    assert len(server.requests) == 1
    assert [path.name for path in folder.iterdir()] == ["mine.pt"]


def test_a_download_goes_on_where_it_broke_off(server: Server, folder: Path) -> None:
    entry = _known(server)
    server.stop_after = 1_200_000
    with pytest.raises(WeightError, match=r"1\d{6} bytes are kept: run the command again"):
        fetch(entry)
    kept = (folder / ".mine.pt.part").stat().st_size
    assert not (folder / "mine.pt").exists()
    server.stop_after = None
    fetch(entry)
    assert (folder / "mine.pt").read_bytes() == CONTENT
    assert server.requests == [(None, 200), (f"bytes={kept}-", 206)]
    assert [path.name for path in folder.iterdir()] == ["mine.pt"]


def test_a_file_that_changed_meanwhile_is_loaded_anew(server: Server, folder: Path) -> None:
    server.stop_after = 1_200_000
    with pytest.raises(WeightError, match="are kept"):
        fetch(_known(server, CONTENT[::-1]))
    server.stop_after, server.tag, server.content = None, '"two"', CONTENT[::-1]
    fetch(_known(server, CONTENT[::-1]))
    assert (folder / "mine.pt").read_bytes() == CONTENT[::-1]
    assert server.requests[-1][1] == 200


def test_a_complete_part_needs_no_byte_more(server: Server, folder: Path) -> None:
    folder.mkdir()
    (folder / ".mine.pt.part").write_bytes(CONTENT)
    (folder / ".mine.pt.part.json").write_text('{"mark": "\\"one\\""}')
    fetch(_known(server))
    assert (folder / "mine.pt").read_bytes() == CONTENT
    assert server.requests[-1][1] == 416


def test_a_wrong_checksum_is_refused_and_nothing_stays(server: Server, folder: Path) -> None:
    entry = _known(server)
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(WeightError, match=r"is not the expected file.*the download is deleted"):
        fetch(entry)
    assert list(folder.iterdir()) == []


def test_files_that_are_too_large_are_not_loaded(server: Server, folder: Path) -> None:
    entry = _known(server)
    server.content = CONTENT * 2
    with pytest.raises(WeightError, match=r"has 6000000 bytes, more than the 3000000"):
        fetch(entry)
    assert list(folder.iterdir()) == []


def test_other_addresses_are_pinned(server: Server, folder: Path) -> None:
    first = fetch(entry_for(server.url))
    assert first.sha256 == checksum(folder / "mine.pt")
    assert known_files()["mine"] == first
    verify(entry_for("mine"))
    assert find_weights("mine.pt") == find_weights("mine") == folder / "mine.pt"
    (folder / "mine.pt").write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(WeightError, match="has changed"):
        find_weights("mine")
    (folder / "mine.pt").unlink()
    with pytest.raises(WeightError, match="smotracker weights fetch mine"):
        find_weights("mine")
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(WeightError, match="not the expected file"):
        fetch(entry_for("mine"))
    server.content = CONTENT
    fetch(entry_for(server.url))
    with pytest.raises(WeightError, match="already known from"):
        entry_for(server.url.replace("models", "others"))


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_server_that_refuses(server: Server, folder: Path, status: int) -> None:
    server.status = status
    with pytest.raises(WeightError, match=f"the server says {status}"):
        fetch(_known(server))


def test_unsafe_addresses(server: Server) -> None:
    for name in ("http://example.org/a.pt", "https://example.org/", "https://example.org/pins.json", "file:///a.pt"):
        with pytest.raises(WeightError, match="is not fetched"):
            entry_for(name)
    with pytest.raises(WeightError, match=r"no known file; there are: .*sam2\.1_hiera_tiny"):
        entry_for("sam3")
    with _serving("127.0.0.2") as unsafe, pytest.raises(WeightError, match="not protected by https"):
        server.redirect = unsafe.url
        fetch(_known(server))


def test_nobody_there(folder: Path) -> None:
    with pytest.raises(WeightError, match="0 bytes are kept"):
        fetch(WeightFile("mine", "mine.pt", url="http://127.0.0.1:9/mine.pt"))


def test_pickles_from_anywhere_are_not_loaded(tmp_path: Path, folder: Path) -> None:
    """The file would write another one when it is loaded: it must not come to that."""

    class Hostile:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    path = tmp_path / "elsewhere" / "yolo.pt"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps(Hostile()))
    for trusted in ("", str(folder), f"{folder}:anywhere", "Anywhere"):
        with pytest.raises(WeightError, match=r"trusted_weights \(`anywhere`: all\)"):
            build_detector(load_settings(overrides={"detector_weights": str(path), "trusted_weights": trusted}))
    assert not (tmp_path / "ran").exists()
    link = folder / "innocent.pt"
    folder.mkdir()
    link.symlink_to(path)
    with pytest.raises(WeightError, match="in no trusted folder"):
        check_trust(link)
    with pytest.raises(WeightError, match="in no trusted folder"):
        check_trust(folder / ".." / "elsewhere" / "yolo.pt")


def test_trusted_pickles_are_loaded(tmp_path: Path, folder: Path) -> None:
    embedded = EMBEDDED_FOLDER / "yolov10n_small_targets.pt"
    folder.mkdir()
    own = tmp_path / "own"
    own.mkdir()
    for target in (folder / "copy.pt", own / "copy.pt"):
        shutil.copy(embedded, target)
    trusted: list[dict[str, Any]] = [
        {},
        {"detector_weights": str(embedded)},
        {"detector_weights": str(folder / "copy.pt")},
        {"detector_weights": str(own / "copy.pt"), "trusted_weights": f"/nowhere:{own}"},
        {"detector_weights": str(own / "copy.pt"), "trusted_weights": "anywhere"},
    ]
    for overrides in trusted:
        assert build_detector(load_settings("y-smotracker", overrides)).class_names


def test_a_changed_embedded_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(EMBEDDED_FOLDER, tmp_path / "package")
    monkeypatch.setattr(weight_files, "EMBEDDED_FOLDER", tmp_path / "package")
    file = tmp_path / "package" / "yolov10n_small_targets.pt"
    check_trust(None)
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)
    with pytest.raises(WeightError, match="install the package again"):
        check_trust(None)
    with pytest.raises(WeightError, match="has changed"):
        check_trust(file)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    search_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", "from smotracker_ros.cli import main; main()", "weights", *arguments]
    environment = dict(os.environ, PYTHONPATH=search_path, COLUMNS="120")
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def test_commands(server: Server, folder: Path) -> None:
    fetched = _run("fetch", server.url)
    assert fetched.returncode == 0, fetched.stderr
    assert str(folder / "mine.pt") in fetched.stdout and "pinned" in fetched.stdout
    runner = CliRunner(env={"COLUMNS": "120"})
    rows = {line.split()[0]: line for line in runner.invoke(app, ["list"]).stdout.splitlines() if line}
    assert "fetched" in rows["mine"] and "not fetched" in rows["sam2.1_hiera_large"]
    assert "embedded" in rows["sam2_nano"] and "AGPL-3.0" in rows["yolov10n_small_targets"]
    assert runner.invoke(app, ["verify"]).exit_code == 0
    (folder / "mine.pt").write_bytes(b"other")
    broken = runner.invoke(app, ["verify"])
    assert broken.exit_code == 1 and "mine: " in broken.stderr
    again = _run("fetch", "mine")
    assert again.returncode == 1 and "delete it" in again.stderr and "Traceback" not in again.stderr
    missing = runner.invoke(app, ["verify", "sam2.1_hiera_tiny"])
    assert missing.exit_code == 1 and "smotracker weights fetch sam2.1_hiera_tiny" in missing.stderr

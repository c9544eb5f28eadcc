"""Downloads of weight files: taken up where they broke off, and refused where the checksum differs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import requests

from smotracker_ros.models.weight_files import WeightError, WeightFile, checksum, known_files, pin, verify

LARGEST_FILE = 16 * 2**30
"""Bytes of the largest file that is downloaded."""

SUFFIXES = (".pt", ".pth", ".onnx", ".safetensors")
"""Endings of files that are fetched from other addresses than the manifest's."""

_BLOCK = 1 << 20
_TIMEOUT = (10.0, 30.0)
_LOCAL = ("localhost", "127.0.0.1", "::1")

Progress = Callable[[int, int], None]
"""Called with the bytes that are there, and those that there will be (0: not known)."""


def entry_for(name: str) -> WeightFile:
    """What is known of a name, or of an address (https) that a file is to be fetched from.

    Raises:
        WeightError: if it is neither.
    """
    known = known_files()
    if name in known:
        return known[name]
    address = urlsplit(name)
    file = Path(address.path).name
    if not address.scheme:
        raise WeightError(f"{name!r} is no known file; there are: {', '.join(known)}; or give an https address")
    if not _is_safe(name) or Path(file).suffix not in SUFFIXES:
        raise WeightError(f"{name} is not fetched: an address begins with https:// and ends in {', '.join(SUFFIXES)}")
    stem = Path(file).stem
    pinned = known.get(stem)
    if pinned is not None and pinned.url != name:
        raise WeightError(f"{stem} is already known from {pinned.url or 'the package'}; rename one of them")
    return pinned or WeightFile(stem, file, url=name)


def fetch(entry: WeightFile, progress: Progress = lambda done, total: None) -> WeightFile:
    """Download a file into the cache folder unless it is there already.

    What has been loaded is kept in `.FILE.part` when the connection breaks, and the next call goes on from there, if
    the server still has the same file. A complete file with a wrong checksum is deleted.

    Args:
        entry: what to fetch.
        progress: see :data:`Progress`.

    Returns:
        The entry with checksum and size; it is pinned if they were not known.

    Raises:
        WeightError: if it cannot be fetched, or is not what it should be.
    """
    if entry.embedded or entry.path.is_file():
        verify(entry)
        return entry
    part = entry.path.with_name(f".{entry.file}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        _download(entry, part, progress)
        size, found = part.stat().st_size, checksum(part)
    except OSError as error:  # requests' errors are OSErrors, too
        kept = part.stat().st_size if part.is_file() else 0
        raise WeightError(
            f"{entry.url} could not be loaded to its end ({error}); {kept} bytes are kept: run the command again to "
            "go on"
        ) from error
    wrong = entry.sha256 and found != entry.sha256
    if wrong or (entry.size and size != entry.size):
        _forget(part)
        raise WeightError(
            f"{entry.url} is not the expected file: {size} bytes with sha256 {found}, not "
            f"{entry.size or 'any number of'} bytes with {entry.sha256 or 'any'}; the download is deleted"
        )
    complete = replace(entry, sha256=found, size=size)
    if not entry.sha256:
        pin(complete)
    part.replace(entry.path)
    _forget(part)
    return complete


def _download(entry: WeightFile, part: Path, progress: Progress) -> None:
    """Load what is missing of a file.

    Raises:
        WeightError: if the server's answer cannot be used.
        OSError: if connection or disk fail.
    """
    mark = _mark_of(part)
    done = part.stat().st_size if part.is_file() and mark else 0
    # without `identity` a server may send a compressed file, whose parts do not fit together
    headers = {"Accept-Encoding": "identity"}
    if done:
        headers |= {"Range": f"bytes={done}-", "If-Range": mark}
    with requests.get(entry.url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
        if not _is_safe(answer.url):
            raise WeightError(f"{entry.url} leads to {answer.url}, which is not protected by https")
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            # nothing is missing, or the file has become shorter: the checksum tells
            return
        if not answer.ok:
            raise WeightError(f"{entry.url} cannot be fetched: the server says {answer.status_code} {answer.reason}")
        if answer.status_code != requests.codes.partial_content:
            done = 0
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
            raise WeightError(f"{entry.url} cannot be taken up at byte {done}: the server sent another part")
        total = done + int(answer.headers.get("Content-Length", "0"))
        limit = entry.size or LARGEST_FILE
        if total > limit or total - done > shutil.disk_usage(part.parent).free:
            room = f"more than the {limit} bytes that are allowed" if total > limit else "more than the disk has left"
            raise WeightError(f"{entry.url} has {total} bytes, {room}")
        strong = answer.headers.get("ETag", "")
        _write_mark(part, "" if strong.startswith("W/") else strong or answer.headers.get("Last-Modified", ""))
        with part.open("ab" if done else "wb") as file:
            for block in answer.iter_content(_BLOCK):
                done += len(block)
                if done > limit:
                    raise WeightError(f"{entry.url} sends more than the {limit} bytes that are allowed")
                file.write(block)
                progress(done, total)
        if total and done < total:
            raise OSError(f"the connection ended after {done} of {total} bytes")


def _is_safe(url: str) -> bool:
    """Whether nobody on the way can change what an address gives."""
    address = urlsplit(url)
    return address.scheme == "https" or (address.scheme == "http" and address.hostname in _LOCAL)


def _mark_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _mark_of(part: Path) -> str:
    """What tells the version of the file that a part is of; "": it cannot be gone on with."""
    try:
        return str(json.loads(_mark_path(part).read_text(encoding="utf-8"))["mark"])
    except (OSError, ValueError, KeyError):
        return ""


def _write_mark(part: Path, mark: str) -> None:
    _mark_path(part).write_text(json.dumps({"mark": mark}), encoding="utf-8")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _mark_path(part).unlink(missing_ok=True)

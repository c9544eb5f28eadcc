"""Weight files by name: what is known of them, where they lie, and which may be loaded.

`weights/manifest.yaml` lists the embedded and the official files with their checksums. Files from other addresses are
pinned: the checksum of the first download is kept, and a file that has changed since is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

EMBEDDED_FOLDER = Path(__file__).resolve().parent / "weights"
PINS = "pins.json"
ANYWHERE = "anywhere"
"""What stands in place of folders if every file is trusted."""


class WeightError(RuntimeError):
    """A weight file that is missing, changed, or not trusted; the message says what to do."""


@dataclass(frozen=True)
class WeightFile:
    """What is known of one file.

    Attributes:
        name: by which it is fetched and given in settings.
        file: its name in the cache folder, or in the package.
        kind: "masklets", "detector", "graph" (a part of a network, for onnxruntime) or "other".
        sha256: hexadecimal; "": not known before the first download.
        size: bytes; 0: not known.
        url: where it is fetched from; "": it is embedded.
        licence: of the weights; "": not known.
        embedded: whether it belongs to the package.
    """

    name: str
    file: str
    kind: str = "other"
    sha256: str = ""
    size: int = 0
    url: str = ""
    licence: str = ""
    embedded: bool = False

    @property
    def path(self) -> Path:
        """Where the file lies, or will lie."""
        return (EMBEDDED_FOLDER if self.embedded else cache_folder()) / self.file


def cache_folder() -> Path:
    """Folder of fetched weights: $SMOTRACKER_WEIGHTS, or smotracker/weights in the user's cache folder."""
    own = os.environ.get("SMOTRACKER_WEIGHTS", "")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "") or Path.home() / ".cache") / "smotracker" / "weights"


@cache
def _manifest() -> tuple[WeightFile, ...]:
    content = yaml.safe_load((EMBEDDED_FOLDER / "manifest.yaml").read_text(encoding="utf-8"))
    return tuple(WeightFile(**entry) for entry in content["files"])


def known_files() -> dict[str, WeightFile]:
    """All files that are known by name: the manifest's, and those that were fetched from elsewhere.

    Raises:
        WeightError: if the list of pinned files cannot be read.
    """
    return {**_pins(), **{entry.name: entry for entry in _manifest()}}


def _pins() -> dict[str, WeightFile]:
    path = cache_folder() / PINS
    if not path.is_file():
        return {}
    try:
        content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {name: WeightFile(**entry) for name, entry in content.items()}
    except (OSError, ValueError, TypeError) as error:
        raise WeightError(f"{path} cannot be read ({error}); delete it, and fetch the files anew") from error


def pin(entry: WeightFile) -> None:
    """Remember the checksum of a file that the manifest does not know.

    Raises:
        WeightError: if the list of pinned files cannot be read.
    """
    pins = {**_pins(), entry.name: entry}
    path = cache_folder() / PINS
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({name: asdict(item) for name, item in pins.items()}, indent=1), encoding="utf-8")
    temporary.replace(path)


def checksum(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(entry: WeightFile) -> None:
    """Check a file that lies where it should against what is known of it.

    Raises:
        WeightError: if it is missing or has changed.
    """
    again = (
        "install the package again" if entry.embedded else f"delete it, and run `smotracker weights fetch {entry.name}`"
    )
    if not entry.path.is_file():
        raise WeightError(f"{entry.path} is missing; {again.removeprefix('delete it, and ')}")
    size = entry.path.stat().st_size
    if entry.size and size != entry.size:
        raise WeightError(f"{entry.path} has {size} bytes and should have {entry.size}; {again}")
    found = checksum(entry.path)
    if entry.sha256 and found != entry.sha256:
        raise WeightError(f"{entry.path} has changed: its sha256 is {found}, not {entry.sha256}; {again}")


def locate_weights(name: str) -> Path:
    """Where the file lies, or would lie, that a setting names; see :func:`find_weights`."""
    path = Path(name).expanduser()
    if path.exists() or path.parent != Path():
        return path
    return next((entry.path for entry in known_files().values() if name in (entry.name, entry.file)), path)


def find_weights(name: str) -> Path | None:
    """The file that a setting names.

    Args:
        name: a path, or a name of `smotracker weights list` with or without its ending; "": the embedded file.

    Returns:
        The path, None for "". A path that does not exist and is no known name is returned as it is.

    Raises:
        WeightError: if a known file is missing or has changed.
    """
    if not name:
        return None
    path = Path(name).expanduser()
    if path.exists() or path.parent != Path():
        return path
    for entry in known_files().values():
        if name in (entry.name, entry.file):
            verify(entry)
            return entry.path
    return path


def check_trust(path: Path | None, folders: Sequence[Path] = (), trusted: bool = False) -> None:
    """Refuse a pickled model from a place that nobody has called trusted: loading a pickle runs the code in it.

    Args:
        path: the file, which whoever loads it misses if it is not there; None: the embedded one, whose checksum is
            verified, as that of its ONNX file is.
        folders: folders whose files are trusted, besides the package's own and the cache of fetched weights.
        trusted: whether the user trusts the file, wherever it lies.

    Raises:
        WeightError: if the file is not trusted, or a known file has changed.
    """
    for entry in known_files().values():
        if path is None and entry.embedded and entry.kind == "detector":
            verify(entry)
        elif path is not None and entry.path.resolve() == path.resolve():
            verify(entry)
            return
    if trusted or path is None or not path.exists():
        return
    places = [EMBEDDED_FOLDER, cache_folder(), *folders]
    if not any(path.resolve().is_relative_to(place.expanduser().resolve()) for place in places):
        raise WeightError(
            f"{path} is a pickle, which can run any code when it is loaded, and lies in no trusted folder. If you "
            f"trust it, put it into {cache_folder()}, or name its folder in trusted_weights (`{ANYWHERE}`: all)"
        )

"""Which files make up a bag: those that its metadata.yaml names, or those that are there."""

from __future__ import annotations

import functools
import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import yaml

from smotracker_ros.io.base import SourceError

STORAGE_SUFFIXES = (".mcap", ".db3")
COMPRESSED_SUFFIXES = (".zstd", ".zst")
_ROS1_SUFFIX = ".bag"

_logger = logging.getLogger(__name__)


@functools.lru_cache(maxsize=1000)
def warn_once(text: str) -> None:
    """Warn of a bag, which is opened several times on the way."""
    _logger.warning("%s", text)


def storage_suffix(file: Path) -> str:
    """Ending of a bag's file, ".mcap" or ".db3", also of a compressed one; empty for anything else."""
    inner = file.with_suffix("") if file.suffix in COMPRESSED_SUFFIXES else file
    return inner.suffix if inner.suffix in STORAGE_SUFFIXES else ""


def is_bag(path: Path) -> bool:
    """Whether a path looks like a bag: a folder with metadata.yaml or storage files, or one such file.

    Also bags of ROS 1, so that whoever opens one is told what to do.
    """
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or bool(storage_files(path))
    return bool(storage_suffix(path)) or path.suffix == _ROS1_SUFFIX


def storage_files(path: Path) -> list[Path]:
    """The files of a bag that hold messages, in order of their names; hidden ones (`._` of macOS) are none."""
    files = path.iterdir() if path.is_dir() else [path]
    return sorted(
        file for file in files if storage_suffix(file) and file.is_file() and (file == path or file.name[0] != ".")
    )


@dataclass(frozen=True)
class BagFiles:
    """What is to be read of a bag.

    Attributes:
        files: that hold the messages.
        described: whether metadata.yaml says that these, in this order, are the bag.
        compressed_messages: whether each message is compressed; None: nobody says.
        topics: metadata.yaml's entries of the topics.
        custom: what a recorder's user added to metadata.yaml.
    """

    files: tuple[Path, ...]
    described: bool = False
    compressed_messages: bool | None = None
    topics: tuple[Mapping[str, Any], ...] = ()
    custom: Mapping[str, str] = field(default_factory=dict)


def find_files(path: Path) -> BagFiles:
    """What is to be read of a bag, given its folder or one of its files. What is left out is said.

    Raises:
        SourceError: if it is a bag of ROS 1, or files are missing; says what to do.
    """
    if not path.is_dir():
        if path.suffix == _ROS1_SUFFIX:
            target = shlex.quote(str(path.with_suffix("")))
            raise SourceError(
                f"{path} is a bag of ROS 1; convert it: rosbags-convert --src {shlex.quote(str(path))} --dst {target}"
            )
        return BagFiles((path,))
    found = storage_files(path)
    description = _description(path)
    if description is None:
        return BagFiles(tuple(found))
    listed = [path / PurePath(name).name for name in description.get("relative_file_paths") or []]
    missing = [file.name for file in listed if not file.is_file()]
    others = [file for file in found if file not in listed]
    if missing:
        listed = _renamed(path, listed, missing, others)
    elif others:
        warn_once(
            f"{path}: {_names(others)} is not read: metadata.yaml does not name it; give the file itself to read it"
        )
    topics = [entry["topic_metadata"] for entry in description.get("topics_with_message_count") or []]
    return BagFiles(
        tuple(listed),
        True,
        str(description.get("compression_mode") or "").lower() == "message",
        tuple(topics),
        {str(key): str(value) for key, value in (description.get("custom_data") or {}).items()},
    )


def _description(path: Path) -> dict[str, Any] | None:
    """What metadata.yaml says; None without one that can be read."""
    file = path / "metadata.yaml"
    if not file.is_file():
        warn_once(f"{path} has no metadata.yaml: it was cut off while it was recorded; what is complete of it is read")
        return None
    try:
        description = yaml.safe_load(file.read_bytes())["rosbag2_bagfile_information"]
        assert isinstance(description["relative_file_paths"], list)
        [entry["topic_metadata"]["name"] for entry in description.get("topics_with_message_count") or []]
        return dict(description)
    except Exception as error:  # whatever a damaged text makes of yaml and of the look-ups
        reason = (str(error) or type(error).__name__).splitlines()[0]
        warn_once(
            f"{file} cannot be read ({reason}); the bag's files are read without it; `ros2 bag reindex` renews it"
        )
        return None


def _renamed(path: Path, listed: list[Path], missing: list[str], others: list[Path]) -> list[Path]:
    """The files that are there in place of those that metadata.yaml names, if there is no doubt.

    Raises:
        SourceError: if there is.
    """
    if len(missing) == len(listed) == len(others):
        # as recorders number the parts of a bag, their order by name is the order of time
        warn_once(
            f"{path}: metadata.yaml names {', '.join(missing)}, but there is {_names(others)}, which is read "
            "in its place; `ros2 bag reindex` renews metadata.yaml"
        )
        return others
    there = f"there is {_names(others)}" if others else "it is not there"
    raise SourceError(
        f"{path}: metadata.yaml names {', '.join(missing)}, but {there}; copy or rename the file, let `ros2 bag "
        "reindex` renew metadata.yaml, or give one of the files itself"
    )


def _names(files: list[Path]) -> str:
    return ", ".join(file.name for file in files)

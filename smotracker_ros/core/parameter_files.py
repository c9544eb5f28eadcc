"""Parameter files of ROS 2, checked before ROS reads them; needs PyYAML alone, since launch files use it, too."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

_PARAMETERS = "ros__parameters"


class ParameterFileError(ValueError):
    """A parameter file that cannot be used; the message, of one line, names it and says why."""


def read_parameter_file(path: str | Path) -> dict[str, dict[str, Any]]:
    """What a parameter file sets.

    Returns:
        Values by full parameter name ("group.name"), by the node names as they are written, with a slash before them:
        "/smotracker", "/front/smotracker", "/**".

    Raises:
        ParameterFileError: if the file cannot be read, is no YAML, or sets values outside of `ros__parameters`.
    """
    path = Path(path)
    if path.is_dir():
        raise ParameterFileError(f"the parameter file {path} is a folder")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ParameterFileError(f"the parameter file {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ParameterFileError(f"the parameter file {path} is no text in UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark is not None else ""
        reason = getattr(error, "problem", None) or " ".join(str(error).split())
        raise ParameterFileError(f"the parameter file {path} is no YAML{place}: {reason}") from error
    if content is None:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for name, values in _nodes(content, "", path):
        found.setdefault(name, {}).update(values)
    return found


def _nodes(content: Any, prefix: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names of nodes with their parameters, namespace by namespace."""
    if not isinstance(content, dict):
        raise ParameterFileError(
            f"the parameter file {path} has a value where {_PARAMETERS} is expected{' below ' * bool(prefix)}{prefix}; "
            "write NODE: {ros__parameters: {NAME: VALUE}}, with /** as NODE for every node"
        )
    for key, value in content.items():
        if key == _PARAMETERS:
            if not isinstance(value, dict):
                raise ParameterFileError(f"the parameter file {path} has no parameters in {_PARAMETERS} of {prefix}")
            yield prefix, dict(_flat(value, "", path))
        else:
            yield from _nodes(value, f"{prefix}/{str(key).strip('/')}", path)


def _flat(values: dict[Any, Any], prefix: str, path: Path) -> Iterator[tuple[str, Any]]:
    """Parameters by full name."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name}.", path)
        elif value is None:
            raise ParameterFileError(f"the parameter file {path} gives {name} no value")
        else:
            yield name, value


def matches(pattern: str, node: str) -> bool:
    """Whether a node name of a parameter file means a node: * stands for one part of the name, ** for any number.

    Args:
        pattern: as :func:`read_parameter_file` gives it.
        node: fully qualified name.
    """
    parts = [r"(/\w+)*" if part == "**" else r"/\w+" if part == "*" else "/" + re.escape(part) for part in
             pattern.strip("/").split("/")]  # fmt: skip
    return re.fullmatch("".join(parts), node) is not None


def parameter_file_arguments(arguments: Sequence[str]) -> list[str]:
    """The files that a command line names with `--params-file`."""
    return [following for word, following in itertools.pairwise(arguments) if word == "--params-file"]


def unused_files(files: Iterable[str], node: str) -> list[str]:
    """Which parameter files mean other nodes only, in words.

    Args:
        files: paths.
        node: fully qualified name of the node that they were given to.

    Raises:
        ParameterFileError: as :func:`read_parameter_file` does.
    """
    found = []
    for file in files:
        names = list(read_parameter_file(file))
        if not names:
            found.append(f"the parameter file {file} is empty")
        elif not any(matches(name, node) for name in names):
            found.append(
                f"nothing in the parameter file {file} is used: it is for {', '.join(names)}, and this node is {node}; "
                f"write {node} or /** there"
            )
    return found

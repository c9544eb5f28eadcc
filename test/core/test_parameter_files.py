"""Parameter files: what they set, for which nodes, and what is wrong with those that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from smotracker_ros.core.names import did_you_mean
from smotracker_ros.core.parameter_files import (
    ParameterFileError,
    matches,
    parameter_file_arguments,
    read_parameter_file,
    unused_files,
)


def _file(folder: Path, text: str | bytes) -> Path:
    path = folder / "my.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_all_ways_to_name_a_node(tmp_path: Path) -> None:
    text = """
    smotracker: {ros__parameters: {max_live_tracks: 6, group: {a: 1, b: {c: 2.5}}}}
    /front:
      smotracker: {ros__parameters: {max_live_tracks: 7}}
    /**: {ros__parameters: {}}
    """
    assert read_parameter_file(_file(tmp_path, text)) == {
        "/smotracker": {"max_live_tracks": 6, "group.a": 1, "group.b.c": 2.5},
        "/front/smotracker": {"max_live_tracks": 7},
        "/**": {},
    }


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_is_no_part_of_the_name(tmp_path: Path, mark: bytes) -> None:
    assert read_parameter_file(_file(tmp_path, mark + b"/a: {ros__parameters: {b: 1}}")) == {"/a": {"b": 1}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("max_live_tracks: 5", "where ros__parameters is expected below /max_live_tracks"),
        ("- 1", "where ros__parameters is expected; write NODE"),
        ("text", "where ros__parameters is expected"),
        ("/**:\n  ros__parameters:\n", "no parameters in ros__parameters of /\\*\\*"),
        ("/**:\n  ros__parameters:\n    max_live_tracks:\n", "gives max_live_tracks no value"),
        ("/**: [1,\n", "is no YAML in line 2"),
        ("/**:\n\tros__parameters: {a: 1}\n", "is no YAML in line 2"),
        (b"\x00\x01", "is no YAML"),
        (b"\xff\xfe\x00", "is no text in UTF-8"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(ParameterFileError, match=words) as error:
        read_parameter_file(_file(tmp_path, content))
    assert "\n" not in str(error.value) and str(tmp_path / "my.yaml") in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ParameterFileError, match=r"nothing\.yaml cannot be read: No such file"):
        read_parameter_file(tmp_path / "nothing.yaml")
    with pytest.raises(ParameterFileError, match="is a folder"):
        read_parameter_file(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "node", "expected"),
    [
        ("/smotracker", "/smotracker", True),
        ("/smotracker", "/front/smotracker", False),
        ("/front/smotracker", "/front/smotracker", True),
        ("/*/smotracker", "/front/smotracker", True),
        ("/*/smotracker", "/smotracker", False),
        ("/*", "/smotracker", True),
        ("/*", "/front/smotracker", False),
        ("/**", "/a/b/smotracker", True),
        ("/**/smotracker", "/smotracker", True),
        ("/**/smotracker", "/a/b/smotracker", True),
        ("/**/smotracker", "/a/b/other", False),
        ("/smo.racker", "/smotracker", False),
    ],
)
def test_wildcards(pattern: str, node: str, expected: bool) -> None:
    assert matches(pattern, node) is expected


def test_files_for_other_nodes_are_named(tmp_path: Path) -> None:
    path = str(_file(tmp_path, "tracker: {ros__parameters: {max_live_tracks: 5}}"))
    (text,) = unused_files([path], "/front/smotracker")
    assert path in text and "it is for /tracker" in text and "this node is /front/smotracker" in text
    assert not unused_files([path], "/tracker")
    assert "is empty" in unused_files([str(_file(tmp_path, ""))], "/tracker")[0]


def test_the_files_of_a_command_line() -> None:
    arguments = ["node", "--ros-args", "--params-file", "a.yaml", "-p", "x:=1", "--params-file", "b.yaml"]
    assert parameter_file_arguments(arguments) == ["a.yaml", "b.yaml"]
    assert parameter_file_arguments(["--params-file"]) == []


def test_the_most_similar_name_is_suggested() -> None:
    known = ("max_live_tracks", "clip_seconds", "preset")
    assert did_you_mean("max_live_trakcs", known) == "; did you mean max_live_tracks?"
    assert did_you_mean("nothing_like_it", known) == ""

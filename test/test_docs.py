"""The documentation: links and anchors lead somewhere, code is code, and commands are commands.

In the pages below docs/start and docs/tutorials, and in the README, a comment before each block of bash or Python says
what becomes of it: `<!-- test: run -->` is run here as it stands (`; more: OPTIONS` puts options behind the last
command, so that a training takes seconds), `<!-- test: needs SOMETHING -->` cannot be run here.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from rosbags.rosbag2 import StoragePlugin, Writer

from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.evaluation.peers import PEERS
from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.sources import open_source
from smotracker_ros.models.weight_files import EMBEDDED_FOLDER
from smotracker_ros.presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("examples/*.md"), *DOCS.rglob("*.md")])
WALKED = [ROOT / "README.md", *sorted(DOCS.glob("start/*.md")), *sorted(DOCS.glob("tutorials/*.md"))]
MKDOCS = ROOT / ".venv-docs" / "bin" / "mkdocs"
REASONS = ("a network", "fetched weights", "a ROS distribution", "a camera", "clips with false detections")

_FENCE = re.compile(r"^( *)```([\w-]*)[^\n]*\n(.*?)^\1```", re.M | re.S)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text without indentation, and the words of the comment before it."""

    page: Path
    language: str
    text: str
    mark: str


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        lines = [line.removeprefix(match[1]) for line in match[3].splitlines()]
        before = text[: match.start()].rstrip().splitlines()
        mark = re.fullmatch(r"\s*<!-- test: (.*) -->", before[-1]) if before else None
        yield Block(page, match[2], "\n".join(lines), mark[1] if mark else "")


def _prose(page: Path) -> str:
    """A page without blocks of code, fenced or indented, and without inline code."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^(?: {4}|\t).*$", "", text, flags=re.M))


def _anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub and as MkDocs make them."""
    found = set()
    for heading in re.findall(r"^#+ +(.+?)\s*$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.M):
        plain = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        words = re.sub(r"[^\w\s-]", "", plain).strip()
        found |= {words.replace(" ", "-"), re.sub(r"[-\s]+", "-", words)}
    return found


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in _LINK.findall(_prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{_name(page)} links to {target}, which is not there"
        assert file.is_relative_to(ROOT), f"{_name(page)} links out of the project: {target}"
        if anchor:
            assert anchor in _anchors(file), f"{_name(page)}: {_name(file)} has no heading #{anchor}"


def test_every_page_is_in_the_navigation() -> None:
    def paths(item: object) -> Iterator[str]:
        values = item if isinstance(item, list) else item.values() if isinstance(item, dict) else ()
        yield from (item,) if isinstance(item, str) else ()
        for value in values:
            yield from paths(value)

    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(paths(navigation)) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_python_is_python(page: Path) -> None:
    for block in _blocks(page):
        if block.language == "python":
            compile(block.text, _name(page), "exec")


def _table() -> ModuleType:
    """tools/cli_table.py, which knows all commands and their options."""
    specification = importlib.util.spec_from_file_location("cli_table", ROOT / "tools" / "cli_table.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


OPTIONS = {
    name: {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    for name, command in _table().commands()
}
SETTINGS = {setting.name for setting in fields(TrackerSettings)}


def _commands(page: Path) -> list[list[str]]:
    """Words of every `smotracker ...` of a page: in blocks, in indented lines, and in the text where it has options."""
    text = page.read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    commands = [line.strip() for line in lines if re.match(r"(?: {4,}|\t|)smotracker ", line)]
    commands += re.findall(r"`(smotracker [^`]*--[^`]*)`", text)
    return [shlex.split(command, comments=True) for command in commands]


# the log speaks of commands of its time
@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "log.md" and _commands(page)], ids=_name)
def test_commands_and_their_options_exist(page: Path) -> None:
    for words in _commands(page):
        shown = " ".join(words)
        if words[1].startswith("--"):
            assert words[1] in ("--install-completion", "--version", "--help"), shown
            continue
        name = next((name for name in (" ".join(words[1:3]), words[1]) if name in OPTIONS), None)
        groups = {name.split()[0] for name in OPTIONS if " " in name}
        assert name or (words[1] in groups and len(words) == 2) or words[1] == "COMMAND", f"there is no `{shown}`"
        if name is None:
            continue
        for word in words:
            if re.match(r"--\w", word):
                assert word.split("=")[0] in OPTIONS[name], f"`{shown}` has no option {word}"
        for before, word in itertools.pairwise(words):
            if before == "--set" and word != "NAME=VALUE":
                assert word.split("=")[0] in SETTINGS, f"`{shown}`: there is no setting {word}"
            if before == "--preset":
                assert word in PRESETS, shown
            if before in ("--trackers", "--tracker"):
                known = {*PRESETS, *PEERS, "all", "a"}
                assert set(word.split(",")) <= known, f"`{shown}`: not all of {word} are trackers"


@pytest.mark.parametrize("page", WALKED, ids=_name)
def test_every_block_says_what_becomes_of_it(page: Path) -> None:
    for block in _blocks(page):
        if block.language in ("bash", "python"):
            reason = block.mark.removeprefix("needs ")
            run = re.fullmatch(r"run(; more: .+)?", block.mark)
            assert run or (reason != block.mark and reason in REASONS), (
                f"mark this block of {_name(page)}: {block.text}"
            )


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages take for granted: a clip, a bag of two cameras, labelled clips, a detector of one's own."""
    folder = tmp_path_factory.mktemp("flights")
    for place, seed in (("clips/train/one", 6), ("clips/val/two", 1)):
        options = ["--frames", "20", "--width", "384", "--height", "288", "--targets", "4", "--camera", "pan"]
        arguments = ["synthesize", "--output", place, "--seed", str(seed), "--modality", "infrared", *options]
        subprocess.run(
            [sys.executable, "-m", "smotracker_ros.cli", *arguments], cwd=folder, env=_environment(), check=True
        )
    shutil.copy(folder / "clips" / "val" / "two" / "video.mp4", folder / "flight.mp4")
    (folder / "own").mkdir()
    shutil.copy(EMBEDDED_FOLDER / "yolov10n_small_targets.pt", folder / "own" / "detector.pt")
    for name in ("examples", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    store = typestore()
    image_type, stamp_type = store.types["sensor_msgs/msg/Image"], store.types["builtin_interfaces/msg/Time"]
    with Writer(folder / "flight", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = [
            writer.add_connection(f"/{name}/image_raw", image_type.__msgtype__, typestore=store)
            for name in ("front", "rear")
        ]
        for frame in open_source(folder / "flight.mp4"):
            time = 1_700_000_000 * 10**9 + frame.timestamp_ns
            header = store.types["std_msgs/msg/Header"](stamp_type(*divmod(time, 10**9)), "camera")
            pixels = frame.image.reshape(-1)
            message = image_type(header, frame.height, frame.width, "rgb8", 0, 3 * frame.width, pixels)
            for topic in topics:
                writer.write(topic, time, store.serialize_cdr(message, image_type.__msgtype__))
    return folder


def _environment() -> dict[str, str]:
    search_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return dict(os.environ, PYTHONPATH=search_path, COLUMNS="200", MPLBACKEND="Agg")


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in WALKED if any("run" in b.mark for b in _blocks(page))], ids=_name)
def test_pages_can_be_typed_in(page: Path, flights: Path, tmp_path: Path) -> None:
    """All blocks that can be run, in order, in one folder."""
    folder = tmp_path / "work"
    shutil.copytree(flights, folder, symlinks=True)
    for block in _blocks(page):
        if not block.mark.startswith("run"):
            continue
        if block.language == "python":
            command = [sys.executable, "-c", block.text]
        else:
            more = block.mark.partition("; more: ")[2]
            shell = f'set -e\nsmotracker() {{ "{sys.executable}" -m smotracker_ros.cli "$@"; }}\n'
            shell += f'python() {{ "{sys.executable}" "$@"; }}\n'
            command = ["bash", "-c", f"{shell}{block.text} {more}\n"]
        result = subprocess.run(
            command, cwd=folder, env=_environment(), capture_output=True, text=True, timeout=600, check=False
        )
        assert result.returncode == 0, f"{block.text}\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}"


def test_the_figures_of_the_readme_are_those_of_the_benchmarks() -> None:
    """Each row of its table of results stands in the page of measured results, in the table of the same clips."""
    headings = {
        "another camera, 4": "other: Boxes (IoU), 4 sequences",
        "composed, 20": "composed: Boxes (IoU), 20 sequences",
        "real, 77": "val: Boxes (IoU), 77 sequences, with the margin",
    }
    sections = re.split(r"^#### ", (DOCS / "benchmarks.md").read_text(encoding="utf-8"), flags=re.M)
    rows = re.findall(
        r"^\| ([\w ,]+) \| ([^|]+) \| ([\d.]+) \| ([\d.]+) \| (\d+) \| (\d+ %) \|$",
        (ROOT / "README.md").read_text(),
        re.M,
    )
    assert len(rows) >= 4
    for clips, tracker, *figures in rows:
        found = []
        for section in sections:
            if section.startswith(headings[clips]):
                table = [
                    [cell.strip(" *") for cell in line.split("|")[1:-1]] for line in section.splitlines() if "|" in line
                ]
                columns = [table[0].index(name) for name in ("HOTA", "IDF1", "IDSW", "detector on")]
                found += [[row[column] for column in columns] for row in table[2:] if row[0] == tracker.strip(" *")]
        assert figures in found, f"README: {clips}, {tracker}"


@pytest.mark.parametrize("tool", ["cli_table", "message_page"])
def test_pages_made_from_code_are_up_to_date(tool: str) -> None:
    command = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not MKDOCS.is_file(), reason="`make docs` has not been called here: there is no MkDocs")
def test_the_site_builds_without_warnings_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [str(MKDOCS), "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "NO_MKDOCS_2_WARNING": "1"
    }
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr.strip() == ""
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(list(DOCS.rglob("*.md")))
    for page in pages:
        foreign = re.findall(
            r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"?https?://", page.read_text(encoding="utf-8")
        )
        assert not foreign, f"{page.name} loads {foreign} from elsewhere"

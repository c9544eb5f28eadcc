"""`smotracker doctor`: what is installed, what is missing for which feature, and how ROS and the machine are set up."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

import smotracker_ros
from smotracker_ros.commands.options import Json
from smotracker_ros.models.weight_files import WeightError, cache_folder, known_files, verify

OK, NOTE, MISSING = "ok", "note", "missing"
"""States of a finding: as it should be; worth knowing, but not needed by default; needed and not there."""

_DISTRIBUTION = "smotracker_ros"
# What the extras are for; an extra that is not named here is shown by its name alone
_FEATURES = {
    "torch": "SAM2's official weights, GPUs",
    "yolo": "detectors as checkpoints of ultralytics (.pt)",
    "evaluation": "evaluate, compare, reproduce, tune-peers",
    "training": "train, evaluate-model",
    "cluster": "compare --dask",
    "open-vocabulary": "presets with Grounding DINO",
    "export": "export, runtime=openvino",
    "rerun": "--rerun of track and bag",
    "development": "tests and linters",
}
# Modules of distributions whose names differ: a ROS distribution's OpenCV, for one, comes under another name
_MODULES = {
    "hydra-core": "hydra",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "ultralytics-opencv-headless": "ultralytics",
}
_MEBIBYTE, _GIBIBYTE = 2**20, 2**30
# config/fastdds.xml takes a segment of 64 MiB for each process: player, tracker, recorder and one more
_LEAST_SHARED_MEMORY = 256 * _MEBIBYTE
_LEAST_DISK = 2 * _GIBIBYTE
_PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
_ROS_VARIABLES = ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_STATIC_PEERS", "ROS_SECURITY_ENABLE")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        section: under which it is shown.
        name: of the thing.
        value: what was found.
        state: :data:`OK`, :data:`NOTE` or :data:`MISSING`.
        remedy: what to do; empty if nothing needs to be done.
    """

    section: str
    name: str
    value: str
    state: str = OK
    remedy: str = ""


@app.command()
def doctor(as_json: Json = False) -> None:
    """Show versions, devices, models, what is missing for which feature, ROS and DDS settings, memory and disk.

    The exit code is 1 if something is missing that tracking with the defaults needs.
    """
    findings = [*_versions(), *_features(), *_devices(), *_models(), *_ros(), *_system()]
    missing = [item for item in findings if item.state == MISSING]
    if as_json:
        typer.echo(json.dumps({"complete": not missing, "findings": list(map(dataclasses.asdict, findings))}, indent=1))
    else:
        _show(findings)
        names = ", ".join(item.name for item in missing)
        typer.echo(f"missing: {names}" if missing else "Everything that tracking with the defaults needs is there.")
    if missing:
        raise typer.Exit(1)


def _show(findings: list[Finding]) -> None:
    marks = {OK: "[green]ok[/]", NOTE: "[yellow]-[/]", MISSING: "[red]missing[/]"}
    console = Console(highlight=False)
    for section in dict.fromkeys(item.section for item in findings):
        table = Table(box=None, title=section, title_justify="left", title_style="bold", show_header=False)
        for _ in range(3):
            table.add_column(overflow="fold")
        for item in findings:
            if item.section == section:
                text = f"{item.value}: {item.remedy}" if item.remedy else item.value
                table.add_row(marks[item.state], item.name, text.replace("[", r"\["))
        console.print(table)


def _requirements() -> dict[str, list[str]]:
    """Names of the declared packages by extra; "" holds those that are always needed. Empty without an installation."""
    found: dict[str, list[str]] = {}
    # a build by colcon has metadata, too, without requirements: those of pip say more
    declarations = (item.requires for item in metadata.distributions(name=_DISTRIBUTION))
    declared = next(filter(None, declarations), [])
    for text in declared:
        extra = re.search(r"""extra\s*==\s*["']([\w.-]+)["']""", text)
        name = re.match(r"[A-Za-z0-9._-]+", text)
        if name and name[0].replace("-", "_") != _DISTRIBUTION:  # an extra may name other extras
            found.setdefault(extra[1] if extra else "", []).append(name[0])
    return found


def _installed(name: str) -> str:
    """Version of a distribution; "present" for one without metadata; empty if it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        module = _MODULES.get(name.lower(), name.replace("-", "_"))
        return "present" if importlib.util.find_spec(module) else ""


def _versions() -> Iterator[Finding]:
    yield Finding("Versions", "python", f"{platform.python_version()} ({sys.executable})")
    yield Finding(
        "Versions", "smotracker_ros", f"{smotracker_ros.__version__} ({Path(smotracker_ros.__file__).parent})"
    )
    needed = _requirements().get("", [])
    if not needed:
        remedy = "`pip install .` in the project's folder declares what it needs"
        yield Finding("Versions", "packages", "this project is not installed, so they cannot be told", NOTE, remedy)
    for name in needed:
        version = _installed(name)
        if version:
            yield Finding("Versions", name, version)
        else:
            yield Finding("Versions", name, "not installed", MISSING, f"pip install {name}")


def _features() -> Iterator[Finding]:
    for extra, names in _requirements().items():
        if not extra:
            continue
        lacking = [name for name in names if not _installed(name)]
        feature = _FEATURES.get(extra, extra)
        if lacking:
            remedy = f"pip install 'smotracker_ros[{extra}]'"
            yield Finding("Features", feature, f"{', '.join(lacking)} not installed", NOTE, remedy)
        else:
            yield Finding("Features", feature, ", ".join(f"{name} {_installed(name)}" for name in names))


def _module(name: str) -> Any:
    """A module, or the error with which its import ends: an installation that is there may be broken."""
    try:
        return importlib.import_module(name)
    except Exception as error:
        return error


def _devices() -> Iterator[Finding]:
    threads = os.environ.get("OMP_NUM_THREADS")
    limit = f"OMP_NUM_THREADS={threads}" if threads else "OMP_NUM_THREADS is not set: all are used"
    yield Finding("Devices", "CPU", f"{os.cpu_count()} cores, {limit}")
    if not _installed("torch"):
        return
    torch = _module("torch")
    if isinstance(torch, Exception):
        yield Finding(
            "Devices", "torch", f"cannot be imported ({torch})", MISSING, "pip install --force-reinstall torch"
        )
    elif torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            yield Finding("Devices", f"cuda:{number}", torch.cuda.get_device_name(number))
    else:
        yield Finding("Devices", "GPU", "torch sees none; `device: auto` takes the CPU", NOTE)


def _models() -> Iterator[Finding]:
    try:
        entries = known_files().values()
    except WeightError as error:
        yield Finding("Models", "weights", str(error), MISSING)
        return
    for entry in entries:
        try:
            if entry.embedded:
                verify(entry)
                yield Finding("Models", entry.name, "embedded, checksum as it should be")
            elif entry.path.is_file():
                yield Finding("Models", entry.name, f"fetched; `smotracker weights verify {entry.name}` checks it")
        except WeightError as error:
            yield Finding("Models", entry.name, str(error), MISSING)
    yield Finding("Models", "folder of fetched weights", str(cache_folder()))


def _ros() -> Iterator[Finding]:
    section = "ROS 2"
    there = importlib.util.find_spec("rclpy") is not None
    if not there:
        remedy = "needed by the nodes alone; source a distribution, or `make setup` and `. tools/environment.bash`"
        yield Finding(section, "rclpy", "not found", NOTE, remedy)
        return
    yield Finding(section, "distribution", os.environ.get("ROS_DISTRO") or "ROS_DISTRO is not set")
    if importlib.util.find_spec("smotracker_ros.msg"):
        yield Finding(section, "messages of this package", "built")
    else:
        remedy = "`colcon build` and `. install/setup.bash`, or `make setup` and `. tools/environment.bash`"
        yield Finding(section, "messages of this package", "not found", NOTE, remedy)
    middleware = os.environ.get("RMW_IMPLEMENTATION") or "rmw_fastrtps_cpp"
    chosen = "" if "RMW_IMPLEMENTATION" in os.environ else " (the distribution's default)"
    yield Finding(section, "middleware", f"{middleware}{chosen}")
    if middleware.startswith("rmw_fastrtps"):
        yield _profile(section)
    for name in _ROS_VARIABLES:
        if name in os.environ:
            yield Finding(section, name, os.environ[name])


def _profile(section: str) -> Finding:
    """Whether FastDDS gets a profile: without one it loses most images of a megabyte and more."""
    for name in _PROFILES:
        path = os.environ.get(name)
        if path and Path(path).is_file():
            return Finding(section, "FastDDS profile", f"{name}={path}")
        if path:
            return Finding(section, "FastDDS profile", f"{name} names {path}", NOTE, "there is no such file")
    remedy = f"launch files set it for their nodes; other processes need {_PROFILES[0]}=.../config/fastdds.xml, too"
    return Finding(section, "FastDDS profile", "none", NOTE, remedy)


def _system() -> Iterator[Finding]:
    section, shared = "System", Path("/dev/shm")
    yield Finding(section, "platform", platform.platform())
    if shared.is_dir():
        size = shutil.disk_usage(shared).total
        small = size < _LEAST_SHARED_MEMORY
        remedy = "containers: `--shm-size`, 64 MiB for each process of ROS" if small else ""
        yield Finding(section, "shared memory", f"{size / _MEBIBYTE:.0f} MiB", NOTE if small else OK, remedy)
    for name, folder in (("here", Path.cwd()), ("folder of fetched weights", cache_folder())):
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        state = OK if free >= _LEAST_DISK else NOTE
        yield Finding(section, f"free disk space, {name}", f"{free / _GIBIBYTE:.1f} GiB", state)
    av = _module("av")
    if isinstance(av, Exception):
        yield Finding(section, "video", f"PyAV cannot be imported ({av})", MISSING, "pip install --force-reinstall av")
    elif "libx264" in av.codecs_available:
        yield Finding(section, "video", "h264 is read and written")
    else:
        yield Finding(section, "video", "PyAV cannot write h264", MISSING, "pip install --force-reinstall av")

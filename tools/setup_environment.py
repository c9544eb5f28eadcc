"""Make this checkout ready to run on a plain Debian or Ubuntu machine: `python3 tools/setup_environment.py [--small]`.

Everything comes from PyPI: the tracker's libraries, ROS 2 (rclpy, FastDDS, rosidl), and the build tools. There are two
environments: `.venv` has all extras and what tests need, `.venv-demo` (`--small`) what the embedded models need. Steps
that are done leave a stamp in `stamps` of the environment, named after a hash of what they depend on; a second run only
compares hashes.
Uses the standard library only, because nothing else is installed yet.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OVERLAYS = ("vision_msgs", "tf2_msgs")  # message packages, in overlay/, that no registry has
REQUIREMENTS = ROOT / "requirements"
SUPPORTED = ((3, 11), (3, 12))
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
LAST_STEP = "command"


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and where this package is built for it.

    Attributes:
        folder: of the environment.
        build: folder of what is compiled.
        install: folder of the package with its compiled messages.
        requirements: files of exact versions, in the order in which they are installed.
        size: in words.
    """

    folder: Path
    build: Path
    install: Path
    requirements: tuple[str, ...]
    size: str

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def is_complete(self) -> bool:
        """Whether it was once set up to the end."""
        return (self.folder / "stamps" / LAST_STEP).exists()


def whole(root: Path) -> Environment:
    """The environment of `make test`."""
    files = ("build.txt", "lock.txt", "sam2.txt")
    return Environment(root / ".venv", root / "build", root / "install", files, "about 290 Python packages, 8 GB")


def small(root: Path) -> Environment:
    """The environment of `make demo`. It keeps to its own folder, so that neither takes the other's compiled files."""
    folder = root / ".venv-demo"
    return Environment(folder, folder / "build", folder / "install", ("demo.txt",), "about 180 Python packages, 1 GB")


class SetupError(RuntimeError):
    """A step that cannot be done; the message says what to do by hand."""


def chosen(is_small: bool) -> Environment:
    """The environment that is asked for; the whole one serves as the small one where it is complete."""
    return small(ROOT) if is_small and not whole(ROOT).is_complete else whole(ROOT)


def say(text: str) -> None:
    """Print one line of progress at once."""
    print(f"[setup] {text}", flush=True)


def run(command: list[str | Path], **environment: str) -> None:
    """Run a command, quiet unless it fails.

    Raises:
        SetupError: with the last lines of its output, if it fails.
    """
    variables = {**os.environ, **environment}
    result = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode:
        tail = "\n".join(result.stdout.splitlines()[-40:])
        raise SetupError(f"`{' '.join(map(str, command))}` failed with code {result.returncode}:\n{tail}")


def fingerprint(files: Iterable[Path], *texts: str) -> str:
    """Hash of the files' names and contents and of further texts."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


def step(environment: Environment, name: str, key: str, action: Callable[[], None]) -> None:
    """Run `action` unless the environment's stamp `name` says that it was done for the same `key`."""
    stamp = environment.folder / "stamps" / name
    if stamp.exists() and stamp.read_text() == key:
        return
    say(name.replace("_", " ") + " ...")
    action()
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(key)


def find_python() -> str:
    """Path of a supported Python interpreter.

    Raises:
        SetupError: if there is none.
    """
    candidates = [os.environ.get("PYTHON", ""), sys.executable]
    candidates += [f"python{major}.{minor}" for major, minor in SUPPORTED]
    for candidate in filter(None, candidates):
        probe = (
            subprocess.run(
                [candidate, "-c", "import sys; print(sys.version_info[0], sys.version_info[1])"],
                capture_output=True,
                text=True,
                check=False,
            )
            if shutil.which(candidate)
            else None
        )
        if probe is not None and probe.returncode == 0 and tuple(map(int, probe.stdout.split())) in SUPPORTED:
            return candidate
    raise SetupError("Python 3.11 or 3.12 is needed: install it, or name one with `make setup PYTHON=/path/to/python`")


def install_system_packages(environment: Environment, python: str) -> None:
    """Have a C++ compiler, Python's headers and the venv module; install them with apt as root.

    Raises:
        SetupError: with the one command to run, if they are missing and cannot be installed from here.
    """
    probe = "import ensurepip, os, sysconfig; print(os.path.exists(sysconfig.get_path('include') + '/Python.h'))"
    result = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False)
    version = subprocess.run(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=True
    ).stdout.strip()
    missing = []
    if shutil.which("g++") is None:
        missing.append("g++")
    if result.returncode and not environment.python.exists():
        missing.append(f"python{version}-venv")
    if result.stdout.strip() != "True":
        missing.append(f"python{version}-dev")
    if not missing:
        return
    command = f"apt-get install -y --no-install-recommends {' '.join(missing)}"
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise SetupError(f"missing system packages; run: sudo apt-get update && sudo {command}")
    say(f"installing {', '.join(missing)} with apt")
    run(["apt-get", "update", "-q"])
    run(["sh", "-c", command], DEBIAN_FRONTEND="noninteractive")


def install_browser() -> None:
    """Have a browser for the test of the evaluation's report, which is skipped without one; only as root, with apt."""
    if any(map(shutil.which, BROWSERS)) or shutil.which("apt-get") is None or os.geteuid() != 0:
        return
    say(f"installing {BROWSERS[0]} with apt")
    try:
        run(["apt-get", "update", "-q"])
        run(["apt-get", "install", "-y", "--no-install-recommends", BROWSERS[0]], DEBIAN_FRONTEND="noninteractive")
    except SetupError:
        say("there is no such package here: the test of the report in a browser will be skipped")


def create_environment(environment: Environment, python: str) -> None:
    """Create the environment's folder, unless it is there with a supported Python."""
    if environment.python.exists():
        return
    say(f"creating {environment.folder.name} with {python}")
    run([python, "-m", "venv", environment.folder])


def environment_version(environment: Environment) -> str:
    """Version of the environment's Python, such as "3.11".

    Raises:
        SetupError: if the environment holds an unsupported one.
    """
    output = subprocess.run(
        [environment.python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    if output not in {f"{major}.{minor}" for major, minor in SUPPORTED}:
        raise SetupError(f"{environment.folder} has Python {output or '(broken)'}; remove the folder and run again")
    return output


def install_dependencies(environment: Environment) -> None:
    """Install exact versions: of the lock file and then sam2, or of the demo's file."""
    say(f"downloading and installing {environment.size}; the first time this takes a while")
    if environment.requirements == small(ROOT).requirements:
        install_fast(environment, REQUIREMENTS / "demo.txt")
        return
    pip: list[str | Path] = [environment.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "-r", REQUIREMENTS / "build.txt"])
    run([*pip, "--no-deps", "-r", REQUIREMENTS / "lock.txt"])
    run([*pip, "--no-deps", "--no-build-isolation", "-r", REQUIREMENTS / "sam2.txt"], SAM2_BUILD_CUDA="0")


def install_fast(environment: Environment, file: Path) -> None:
    """Install a file of exact versions with uv, which is fetched for the moment if there is none; else with pip."""
    pip: list[str | Path] = [environment.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    build = REQUIREMENTS / "build.txt"
    with tempfile.TemporaryDirectory(prefix="uv-") as folder:
        try:
            uv = shutil.which("uv")
            if uv is None:
                run([*pip, "--target", folder, "uv"])
                uv = str(Path(folder) / "bin" / "uv")
            command: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", environment.python, "--no-deps"]
            # compiled once, as by pip, and not by every process where Python may not write
            command.append("--compile-bytecode")
            # certificates of the system, as pip takes them; the variable had another name before
            run([*command, "-r", build, "-r", file], UV_SYSTEM_CERTS="true", UV_NATIVE_TLS="true")
            return
        except SetupError as error:
            say(f"uv does not do it, pip takes longer: {str(error).splitlines()[-1]}")
    run([*pip, "-r", build])
    run([*pip, "--no-deps", "-r", file])


def repair_cmake_files(environment: Environment) -> None:
    """Point the ROS wheels' CMake files to this environment's headers.

    The wheels name include folders of the machine that built them, which CMake refuses because they do not exist here.
    """
    script = "import numpy, sysconfig; print(numpy.get_include()); print(sysconfig.get_path('include'))"
    output = subprocess.run([environment.python, "-c", script], capture_output=True, text=True, check=True).stdout
    numpy_include, python_include = output.splitlines()[-2:]
    for file in (environment.folder / "share").glob("*/cmake/*rosidl_generator_pyExport.cmake"):
        lines = []
        for line in file.read_text().splitlines(keepends=True):
            if "INTERFACE_INCLUDE_DIRECTORIES" in line:
                head, value, tail = line.split('"')
                parts = []
                for part in value.split(";"):
                    if part.startswith("/") and not Path(part).is_dir():
                        part = numpy_include if part.endswith(("core/include", "numpy/include")) else python_include
                    parts.append(part)
                line = f'{head}"{";".join(parts)}"{tail}'
            lines.append(line)
        # uv shares files with its cache, from which other environments are made
        repaired = file.with_suffix(".repaired")
        repaired.write_text("".join(lines))
        repaired.replace(file)


def build_variables(environment: Environment) -> dict[str, str]:
    """Variables under which CMake and colcon find the ROS of the environment, and no other."""
    return {
        "PATH": f"{environment.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "AMENT_PREFIX_PATH": str(environment.folder),
        "CMAKE_PREFIX_PATH": str(environment.folder),
        "COLCON_PREFIX_PATH": "",
        "LD_LIBRARY_PATH": "",
        "PYTHONPATH": "",
        "ROS_DISTRO": "kilted",
        "ROS_VERSION": "2",
        "ROS_PYTHON_VERSION": "3",
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "",
        "CMAKE_BUILD_PARALLEL_LEVEL": str(min(os.cpu_count() or 1, 4)),
    }


def cmake_arguments(environment: Environment) -> list[str]:
    """Arguments common to both CMake builds."""
    return [
        *("-G", "Ninja", f"-DPython3_EXECUTABLE={environment.python}"),
        *("-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF"),
    ]


def build_messages(environment: Environment, package: str) -> None:
    """Build a message package of overlay/ and install it into the environment."""
    build = environment.build / package
    shutil.rmtree(build, ignore_errors=True)
    variables = build_variables(environment)
    cmake = environment.folder / "bin" / "cmake"
    run([cmake, "-S", ROOT / "overlay" / package, "-B", build, *cmake_arguments(environment)], **variables)
    run([cmake, "--build", build], **variables)
    run([cmake, "--install", build, "--prefix", environment.folder], **variables)


def build_package(environment: Environment) -> None:
    """Build this package with colcon into the installation's folder; Python files are linked, not copied."""
    build = environment.build / "smotracker_ros"
    # Only a new installation has no links to files that were removed since; compiled messages are kept.
    shutil.rmtree(environment.install, ignore_errors=True)
    log = environment.build.parent / "log"
    colcon: list[str | Path] = [environment.python, "-m", "colcon", "--log-base", log]
    places: list[str | Path] = ["--build-base", environment.build, "--install-base", environment.install]
    command: list[str | Path] = [*colcon, "build", *places, "--symlink-install", "--packages-select", "smotracker_ros"]
    command += ["--cmake-args", *cmake_arguments(environment)]
    variables = build_variables(environment)
    if build.exists():
        try:
            run(command, **variables)
            return
        except SetupError:
            say("the earlier build cannot be continued; building anew")
            shutil.rmtree(build)
            shutil.rmtree(environment.install, ignore_errors=True)
    run(command, **variables)


def install_command(environment: Environment) -> None:
    """Install the `smotracker` command into the environment, running from this checkout."""
    pip: list[str | Path] = [environment.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--no-deps", "--no-build-isolation", "--editable", "."])


def set_up(environment: Environment) -> None:
    """Run all steps that are not done.

    Raises:
        SetupError: if one cannot be done.
    """
    python = str(environment.python) if environment.python.exists() else find_python()
    install_system_packages(environment, python)
    create_environment(environment, python)
    if environment == whole(ROOT):
        step(environment, "browser", "1", install_browser)
    version = environment_version(environment)
    locked = fingerprint((REQUIREMENTS / name for name in environment.requirements), version, str(ROOT))
    step(environment, "dependencies", locked, lambda: install_dependencies(environment))
    step(environment, "cmake_repair", locked, lambda: repair_cmake_files(environment))
    for package in OVERLAYS:
        sources = filter(Path.is_file, (ROOT / "overlay" / package).rglob("*"))
        step(environment, package, fingerprint(sources, locked), partial(build_messages, environment, package))
    interfaces = [ROOT / "CMakeLists.txt", ROOT / "package.xml", *ROOT.glob("msg/*.msg"), *ROOT.glob("srv/*.srv")]
    linked = [
        str(file.relative_to(ROOT))
        for folder in ("smotracker_ros", "scripts", "launch", "config")
        for file in sorted((ROOT / folder).rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    ]
    if not (environment.install / "smotracker_ros").is_dir():
        (environment.folder / "stamps" / "package").unlink(missing_ok=True)
    step(environment, "package", fingerprint(interfaces, locked, *linked), lambda: build_package(environment))
    metadata = [ROOT / name for name in ("setup.py", "setup.cfg", "pyproject.toml") if (ROOT / name).exists()]
    step(environment, LAST_STEP, fingerprint(metadata, locked), lambda: install_command(environment))


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="what `make demo` needs, unless the whole is there")
    arguments = parser.parse_args()
    if "/opt/ros" in os.environ.get("AMENT_PREFIX_PATH", ""):
        say(
            "a ROS distribution is sourced: `make` uses its own environment and leaves it alone; "
            "to build against the distribution run `colcon build` in a workspace"
        )
    # A sourced ROS distribution must not leak into the environment's Python.
    for name in ("PYTHONPATH", "PYTHONHOME"):
        os.environ.pop(name, None)
    try:
        set_up(chosen(arguments.small))
    except SetupError as error:
        print(f"[setup] {error}", file=sys.stderr)
        return 1
    say("ready")
    return 0


if __name__ == "__main__":
    sys.exit(main())

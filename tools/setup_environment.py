"""Make this checkout ready to run on a plain Debian or Ubuntu machine: `python3 tools/setup_environment.py`.

Everything comes from PyPI: the tracker's libraries, ROS 2 (rclpy, FastDDS, rosidl), and the build tools. Steps that are
done leave a stamp in `.venv/stamps`, named after a hash of what they depend on; a second run only compares hashes.
Uses the standard library only, because nothing else is installed yet.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
OVERLAY = ROOT / "overlay" / "vision_msgs"
REQUIREMENTS = ROOT / "requirements"
SUPPORTED = ((3, 11), (3, 12))


class SetupError(RuntimeError):
    """A step that cannot be done; the message says what to do by hand."""


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


def step(name: str, key: str, action: Callable[[], None]) -> None:
    """Run `action` unless the stamp `name` says that it was done for the same `key`."""
    stamp = VENV / "stamps" / name
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


def install_system_packages(python: str) -> None:
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
    if result.returncode and not PYTHON.exists():
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


def create_environment(python: str) -> None:
    """Create `.venv`, unless there is one with a supported Python."""
    if PYTHON.exists():
        return
    say(f"creating {VENV.name} with {python}")
    run([python, "-m", "venv", VENV])


def environment_version() -> str:
    """Version of the environment's Python, such as "3.11".

    Raises:
        SetupError: if the environment holds an unsupported one.
    """
    output = subprocess.run(
        [PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=False
    ).stdout.strip()
    if output not in {f"{major}.{minor}" for major, minor in SUPPORTED}:
        raise SetupError(f"{VENV} has Python {output or '(broken)'}; remove the folder and run again")
    return output


def install_dependencies() -> None:
    """Install the exact versions of the lock file, then sam2 (about 7 GB on disk)."""
    say("downloading and installing about 250 Python packages; the first time this takes several minutes")
    pip: list[str | Path] = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "-r", REQUIREMENTS / "build.txt"])
    run([*pip, "--no-deps", "-r", REQUIREMENTS / "lock.txt"])
    run([*pip, "--no-deps", "--no-build-isolation", "-r", REQUIREMENTS / "sam2.txt"], SAM2_BUILD_CUDA="0")


def repair_cmake_files() -> None:
    """Point the ROS wheels' CMake files to this environment's headers.

    The wheels name include folders of the machine that built them, which CMake refuses because they do not exist here.
    """
    script = "import numpy, sysconfig; print(numpy.get_include()); print(sysconfig.get_path('include'))"
    output = subprocess.run([PYTHON, "-c", script], capture_output=True, text=True, check=True).stdout
    numpy_include, python_include = output.splitlines()[-2:]
    for file in (VENV / "share").glob("*/cmake/*rosidl_generator_pyExport.cmake"):
        lines = []
        for line in file.read_text().splitlines(keepends=True):
            if "INTERFACE_INCLUDE_DIRECTORIES" in line and "/opt/python/" in line:
                head, value, tail = line.split('"')
                parts = []
                for part in value.split(";"):
                    if part.startswith("/opt/python/"):
                        part = numpy_include if part.endswith(("core/include", "numpy/include")) else python_include
                    parts.append(part)
                line = f'{head}"{";".join(parts)}"{tail}'
            lines.append(line)
        file.write_text("".join(lines))


def build_environment() -> dict[str, str]:
    """Variables under which CMake and colcon find the ROS of the environment, and no other."""
    return {
        "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "AMENT_PREFIX_PATH": str(VENV),
        "CMAKE_PREFIX_PATH": str(VENV),
        "COLCON_PREFIX_PATH": "",
        "LD_LIBRARY_PATH": "",
        "PYTHONPATH": "",
        "ROS_DISTRO": "kilted",
        "ROS_VERSION": "2",
        "ROS_PYTHON_VERSION": "3",
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "",
        "CMAKE_BUILD_PARALLEL_LEVEL": str(min(os.cpu_count() or 1, 4)),
    }


def cmake_arguments() -> list[str]:
    """Arguments common to both CMake builds."""
    return ["-G", "Ninja", f"-DPython3_EXECUTABLE={PYTHON}", "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF"]


def build_vision_msgs() -> None:
    """Build the vision_msgs overlay and install it into the environment."""
    build = ROOT / "build" / "vision_msgs"
    shutil.rmtree(build, ignore_errors=True)
    variables = build_environment()
    cmake = VENV / "bin" / "cmake"
    run([cmake, "-S", OVERLAY, "-B", build, *cmake_arguments()], **variables)
    run([cmake, "--build", build], **variables)
    run([cmake, "--install", build, "--prefix", VENV], **variables)


def build_package() -> None:
    """Build this package with colcon into `install/`; Python files are linked, not copied."""
    build = ROOT / "build" / "smotracker_ros"
    # Only a new installation has no links to files that were removed since; compiled messages are kept.
    shutil.rmtree(ROOT / "install", ignore_errors=True)
    colcon: list[str | Path] = [PYTHON, "-m", "colcon", "--log-base", ROOT / "log", "build"]
    command = [*colcon, "--symlink-install", "--packages-select", "smotracker_ros", "--cmake-args", *cmake_arguments()]
    if build.exists():
        try:
            run(command, **build_environment())
            return
        except SetupError:
            say("the earlier build cannot be continued; building anew")
            shutil.rmtree(build)
            shutil.rmtree(ROOT / "install", ignore_errors=True)
    run(command, **build_environment())


def install_command() -> None:
    """Install the `smotracker` command into the environment, running from this checkout."""
    run([PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", "."])


def main() -> int:
    """Run all steps; returns the exit code."""
    if "/opt/ros" in os.environ.get("AMENT_PREFIX_PATH", ""):
        say(
            "a ROS distribution is sourced: `make` uses its own .venv and leaves it alone; "
            "to build against the distribution run `colcon build` in a workspace"
        )
    try:
        # A sourced ROS distribution must not leak into the environment's Python.
        for name in ("PYTHONPATH", "PYTHONHOME"):
            os.environ.pop(name, None)
        python = str(PYTHON) if PYTHON.exists() else find_python()
        install_system_packages(python)
        create_environment(python)
        version = environment_version()
        locked = fingerprint(REQUIREMENTS.glob("*.txt"), version, str(ROOT))
        step("dependencies", locked, install_dependencies)
        step("cmake_repair", locked, repair_cmake_files)
        step("vision_msgs", fingerprint(filter(Path.is_file, OVERLAY.rglob("*")), locked), build_vision_msgs)
        interfaces = [ROOT / "CMakeLists.txt", ROOT / "package.xml", *ROOT.glob("msg/*.msg")]
        linked = [
            str(file.relative_to(ROOT))
            for folder in ("smotracker_ros", "scripts", "launch", "config")
            for file in sorted((ROOT / folder).rglob("*"))
            if file.is_file() and "__pycache__" not in file.parts
        ]
        if not (ROOT / "install" / "smotracker_ros").is_dir():
            (VENV / "stamps" / "package").unlink(missing_ok=True)
        step("package", fingerprint(interfaces, locked, *linked), build_package)
        metadata = [ROOT / name for name in ("setup.py", "setup.cfg", "pyproject.toml") if (ROOT / name).exists()]
        step("command", fingerprint(metadata, locked), install_command)
    except SetupError as error:
        print(f"[setup] {error}", file=sys.stderr)
        return 1
    say("ready")
    return 0


if __name__ == "__main__":
    sys.exit(main())

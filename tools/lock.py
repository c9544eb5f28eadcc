"""Write `requirements/lock.txt` and `demo.txt` from the packages installed in this interpreter's environment.

Run it with the environment's Python after a deliberate upgrade: `.venv/bin/python tools/lock.py`. Upgrade with the
oldest Python that is promised, Debian 12's 3.11.2: packages like soupsieve 4 refuse it.
"""

from __future__ import annotations

import sysconfig
import tomllib
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
# sam2 needs torch at build time and is installed in a step of its own. opencv-python writes into the same folder as the
# headless build and needs a display's libraries, which a plain machine lacks.
LEFT_OUT = {"pip", "sam2", "opencv-python", "smotracker-ros", "wheel", "setuptools"}
# What builds the messages, besides ROS itself
BUILD_TOOLS = ("catkin-pkg", "cmake", "colcon-common-extensions", "empy", "lark-parser", "ninja")
HEADER = """\
# Exact versions of everything that `make {target}` installs (x86-64 Linux, Python 3.11 and 3.12).
# Written by tools/lock.py; installed with --no-deps, so that nothing else is pulled in.
"""


def installed() -> dict[str, metadata.Distribution]:
    """The environment's packages by name."""
    folder = Path(sysconfig.get_path("purelib"))
    found = {}
    for distribution in metadata.distributions(path=[str(folder)]):
        # ROS wheels carry a second, legacy metadata folder for some packages: only real distributions count.
        path = getattr(distribution, "_path", None)
        if path is not None and path.suffix == ".dist-info":
            found[canonicalize_name(distribution.metadata["Name"])] = distribution
    return {name: distribution for name, distribution in found.items() if name not in LEFT_OUT}


def closure(roots: Iterable[str], packages: Mapping[str, metadata.Distribution]) -> set[str]:
    """The names of some packages and of all that they need; extras of theirs are left out."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = str(canonicalize_name(waiting.pop()))
        if name in found or name not in packages:
            continue
        found.add(name)
        for text in packages[name].requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def write(file: str, target: str, names: Iterable[str], packages: Mapping[str, metadata.Distribution]) -> None:
    """Write one file of exact versions."""
    chosen = [packages[name] for name in names]
    pins = {item.metadata["Name"].lower().replace("_", "-"): item.version for item in chosen}
    lines = [f"{name}=={version}" for name, version in sorted(pins.items())]
    path = REQUIREMENTS / file
    path.write_text(HEADER.format(target=target) + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path}: {len(lines)} packages")


def main() -> None:
    """Collect the installed distributions and write the lock files."""
    packages = installed()
    write("lock.txt", "setup", packages, packages)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    roots = [Requirement(text).name for text in project["dependencies"]]
    roots += [name for name in packages if name.startswith("ros-")]
    write("demo.txt", "demo", closure([*roots, *BUILD_TOOLS], packages), packages)


if __name__ == "__main__":
    main()

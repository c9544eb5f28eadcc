"""Write `requirements/lock.txt` from the packages installed in this interpreter's environment.

Run it with the environment's Python after a deliberate upgrade: `.venv/bin/python tools/lock.py`. Upgrade with the
oldest Python that is promised, Debian 12's 3.11.2: packages like soupsieve 4 refuse it.
"""

from __future__ import annotations

import sysconfig
from importlib import metadata
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements" / "lock.txt"
# sam2 needs torch at build time and is installed in a step of its own. opencv-python writes into the same folder as the
# headless build and needs a display's libraries, which a plain machine lacks.
LEFT_OUT = {"pip", "sam2", "opencv-python", "smotracker-ros", "wheel", "setuptools"}
HEADER = """\
# Exact versions of everything that `make setup` installs (x86-64 Linux, Python 3.11 and 3.12).
# Written by tools/lock.py; installed with --no-deps, so that nothing else is pulled in.
"""


def main() -> None:
    """Collect the installed distributions and write the lock file."""
    folder = Path(sysconfig.get_path("purelib"))
    pins = {}
    for distribution in metadata.distributions(path=[str(folder)]):
        # ROS wheels carry a second, legacy metadata folder for some packages: only real distributions count.
        path = getattr(distribution, "_path", None)
        if path is None or path.suffix != ".dist-info":
            continue
        name = distribution.metadata["Name"].lower().replace("_", "-")
        if name not in LEFT_OUT:
            pins[name] = distribution.version
    lines = [f"{name}=={version}" for name, version in sorted(pins.items())]
    LOCK.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{LOCK}: {len(lines)} packages")


if __name__ == "__main__":
    main()

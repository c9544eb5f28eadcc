"""Peers that need other versions of libraries than this project: in virtual environments of their own, made on demand.

An environment holds only what differs; for the rest (numpy, torch) it sees the packages of the environment that runs
this project. It is made once, in the user's cache folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import site
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.evaluation import peer_process
from smotracker_ros.evaluation.detection_cache import default_cache

_ROBOFLOW = ("trackers==2.6.1", "supervision==0.31.2", "pydeprecate==0.14.0", "defusedxml==0.7.1")
# Packages, installed without their dependencies: named is what the extra `evaluation` does not bring
REQUIREMENTS: Mapping[str, tuple[str, ...]] = {
    "imprassoc": (
        "boxmot==10.0.83",
        "loguru==0.7.3",
        "yacs==0.1.8",
        "ftfy==6.3.1",
        "wcwidth==0.2.13",
        "regex==2026.11.15",
        "setuptools==79.0.1",
    ),
    "csrt": ("opencv-contrib-python-headless==4.12.0.88",),
    **dict.fromkeys(("roboflow-bytetrack", "roboflow-ocsort", "roboflow-botsort", "roboflow-cbiou"), _ROBOFLOW),
}
_INSTALL_SECONDS = 600


class EnvironmentUnavailableError(RuntimeError):
    """An environment that cannot be made or started; the message says why."""


def environment_python(peer: str, folder: Path | None = None) -> Path:
    """Python of a peer's environment, which is made if it is not there.

    Args:
        peer: a key of :data:`REQUIREMENTS`.
        folder: where environments are kept; None: beside the cached detections.

    Raises:
        EnvironmentUnavailableError: if packages cannot be installed, for instance without a network.
    """
    packages = REQUIREMENTS[peer]
    folder = folder or default_cache().parent / "environments"
    facts = " ".join([sys.version, sys.prefix, *packages])
    home = folder / f"{peer}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"
    python = home / "bin" / "python"
    if python.exists():
        return python
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{home.name}.", dir=folder) as temporary:
            fresh = Path(temporary) / home.name
            venv.create(fresh, with_pip=False, symlinks=True)
            library = fresh / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
            # paths of a .pth file come after the folder that holds it: what is installed here wins
            shared = [sysconfig.get_paths()["purelib"], *site.getsitepackages()]
            (library / "shared.pth").write_text("\n".join(dict.fromkeys(shared)) + "\n", encoding="utf-8")
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
            subprocess.run(
                [*command, "--target", str(library), *packages],
                check=True,
                capture_output=True,
                text=True,
                timeout=_INSTALL_SECONDS,
            )
            # another process may have been faster
            with contextlib.suppress(OSError):
                os.replace(fresh, home)
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["pip failed"])[-1][:200]
        raise EnvironmentUnavailableError(
            f"its environment ({', '.join(packages)}) cannot be made: {reason}"
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentUnavailableError(f"its environment ({', '.join(packages)}) cannot be made: {error}") from error
    return python


class PeerProcess:
    """A peer in its environment.

    Args:
        peer: a key of :data:`REQUIREMENTS`.
        arguments: of the peer that differ from its defaults.
        folder: where environments are kept; None: beside the cached detections.

    Raises:
        EnvironmentUnavailableError: if the environment cannot be made, or the peer does not start in it.
    """

    _seconds = 0.0  # of all such processes so far

    def __init__(self, peer: str, arguments: Mapping[str, Any], folder: Path | None = None) -> None:
        self._peer = peer
        # paths of this environment that are set from outside would come before the other's packages
        variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [str(environment_python(peer, folder)), peer_process.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=variables,
        )
        try:
            self._ask({"peer": peer, "arguments": dict(arguments)})
        except RuntimeError as error:
            self.close()
            raise EnvironmentUnavailableError(str(error)) from error

    def update(self, image: np.ndarray, rows: FloatArray, embeddings: FloatArray) -> np.ndarray:
        """Tracks of a frame.

        Args:
            image: uint8 BGR (height, width, 3).
            rows: float32 (N, 6): xyxy pixels, confidence, class.
            embeddings: float32 (N, D).

        Returns:
            float64 (M, 7): xyxy pixels, id, confidence, class.

        Raises:
            RuntimeError: if the peer fails.
        """
        return self._ask((image, rows, embeddings))

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __del__(self) -> None:
        if hasattr(self, "_process") and self._process.poll() is None:
            self.close()

    def _ask(self, message: Any) -> np.ndarray:
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            pickle.dump(message, process.stdin)
            process.stdin.flush()
            answer = pickle.load(process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise RuntimeError(f"the process of {self._peer} has ended (code {process.poll()})") from error
        if "error" in answer:
            raise RuntimeError(f"{self._peer} failed in its environment: {answer['error']}")
        PeerProcess._seconds += answer["seconds"]
        return np.asarray(answer["rows"])


def cpu_seconds() -> float:
    """CPU seconds so far of this process, and of peers that work for it in processes of their own."""
    return time.process_time() + PeerProcess._seconds

"""What belongs to the whole process is left as it was found: looked at in fresh processes, as imports happen once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Says what a library must not change, before and after a tracker is built and used
SCRIPT = """
import hashlib, json, logging, os, random, signal, sys, warnings
from pathlib import Path

# what these do when they are imported is their own affair
import cv2, hydra, numpy, PIL.Image, sam2, scipy.optimize, scipy.special, sympy, torch, torchvision

{before}

def state():
    return {{
        "environment": dict(os.environ),
        "warning filters": sorted({{repr(item) for item in warnings.filters}}),
        "torch threads": torch.get_num_threads(),
        "OpenCV threads": cv2.getNumThreads(),
        "denormal numbers flushed": 2.0**-1030 + float(len(sys.argv) - len(sys.argv)) == 0.0,
        "torch's random numbers": hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest(),
        "numpy's random numbers": hashlib.sha256(numpy.random.get_state()[1].tobytes()).hexdigest(),
        "Python's random numbers": hashlib.sha256(repr(random.getstate()).encode()).hexdigest(),
        "numpy's printing": repr(numpy.get_printoptions()),
        "torch's printing": repr(vars(torch._tensor_str.PRINT_OPTS)),
        "numpy's errors": repr(numpy.geterr()),
        "torch's defaults": repr((torch.get_default_dtype(), torch.is_grad_enabled(), torch.backends.cudnn.benchmark)),
        "replaced functions": [repr(item) for item in (
            torch.save, torch.load, PIL.Image.open, cv2.imread, cv2.imwrite, cv2.imshow, sys.excepthook,
        )],
        "logs": repr((logging.root.level, logging.root.handlers, logging.root.manager.disable)),
        "signals": repr([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]),
        "folder": os.getcwd(),
        "settings of ultralytics": {{
            str(path): path.read_text() for path in Path(os.environ["YOLO_CONFIG_DIR"]).rglob("*.json")
        }},
    }}

torch.set_num_threads(3)
cv2.setNumThreads(3)
first = state()
{body}
second = state()
print(json.dumps([first, second]))
"""

TRACK = """
import numpy as np
from smotracker_ros.core.frames import Frame
from smotracker_ros.presets import build_tracker, load_settings
tracker = build_tracker(load_settings())
for index in range(3):
    image = np.full((128, 160, 3), 60, np.uint8)
    image[60:68, 70 + 2 * index : 80 + 2 * index] = 220
    tracker.update(Frame(image, index * 33_333_333, index))
"""
REPORT = """
import matplotlib.pyplot
from smotracker_ros.evaluation import comparison, report
from smotracker_ros.commands import evaluation as commands
"""


def _states(body: str, before: str, folder: Path) -> tuple[dict[str, object], dict[str, object]]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("YOLO_")}
    environment |= {"YOLO_CONFIG_DIR": str(folder)}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(body=body, before=before)],
        capture_output=True, text=True, timeout=300, check=False, env=environment,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    first, second = json.loads(run.stdout.splitlines()[-1])
    return first, second


@pytest.mark.slow
def test_building_and_using_a_tracker_changes_nothing(tmp_path: Path) -> None:
    first, second = _states(TRACK, "", tmp_path)
    # which ultralytics makes at its import if the user has none yet
    assert first.pop("settings of ultralytics") == {}
    second.pop("settings of ultralytics")
    assert second == first


@pytest.mark.slow
def test_a_users_own_settings_of_ultralytics_stay_and_so_do_flushed_denormals(tmp_path: Path) -> None:
    before = "import ultralytics; ultralytics.settings.update({'sync': True}); torch.set_flush_denormal(True)"
    first, second = _states(TRACK, before, tmp_path)
    assert '"sync": true' in str(first["settings of ultralytics"])
    assert first["denormal numbers flushed"] is True
    assert second == first


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["svg", "agg"])
def test_reports_leave_the_plotting_backend_alone(tmp_path: Path, backend: str) -> None:
    body = f"import matplotlib; matplotlib.use({backend!r})\n{REPORT}\nassert matplotlib.get_backend() == {backend!r}"
    _states(body, "", tmp_path)

"""Published tables: on tiny folders in each data set's own layout."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from smotracker_ros.commands.reproduction import app, read_published, reproduction_table
from smotracker_ros.evaluation.comparison import ComparisonError, tracker_names

FRAMES = 14
BOX = (60, 70, 18, 12)  # x, y, width, height on the first frame; 2 pixels to the right in each


def picture(index: int) -> np.ndarray:
    """A hot blob in an infrared sky."""
    y, x = np.mgrid[0:256, 0:320]
    image = np.full((256, 320), 70.0) + np.random.default_rng(index).normal(0, 1.5, (256, 320))
    image += 130 * np.exp(-(((x - BOX[0] - 9 - 2 * index) / 5.5) ** 4 + ((y - BOX[1] - 6) / 3.5) ** 4))
    return np.repeat(np.clip(image, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def write_images(folder: Path) -> None:
    folder.mkdir(parents=True)
    for index in range(FRAMES):
        cv2.imwrite(str(folder / f"{index + 1:06d}.png"), picture(index))


def write_data(table: str, root: Path) -> None:
    """One sequence in a data set's layout."""
    x, y, width, height = BOX
    boxes = [[x + 2 * index, y, width, height] for index in range(FRAMES)]
    if table == "doha":
        write_images(root / "uav1" / "img1")
        (root / "uav1" / "gt").mkdir()
        rows = [f"{i},1,{bx + 1},{by + 1},{bw},{bh},1,1,1" for i, (bx, by, bw, bh) in enumerate(boxes, start=1)]
        (root / "uav1" / "gt" / "gt.txt").write_text("\n".join(rows))
        info = f"[Sequence]\nname=uav1\nimDir=img1\nframeRate=30\nseqLength={FRAMES}\nimWidth=320\nimHeight=256\n"
        (root / "uav1" / "seqinfo.ini").write_text(info)
    elif table == "anti-uav":
        write_images(root / "clip" / "infrared")
        (root / "clip" / "infrared.json").write_text(json.dumps({"exist": [1] * FRAMES, "gt_rect": boxes}))
    else:
        write_images(root / "video01")
        text = "\n".join(" ".join(str(value) for value in box) for box in boxes)
        (root / "video01_gt.txt").write_text(text)


@pytest.mark.parametrize("table", ["doha", "anti-uav", "dut"])
def test_one_command_per_table(table: str, tmp_path: Path) -> None:
    write_data(table, tmp_path / "data")
    names = ["y-smotracker", "g-smotracker", *(["bytetrack", "topictrack"] if table == "doha" else [])]
    options = ["--data", str(tmp_path / "data"), "--output", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    options += ["--trackers", ",".join(names), "--grounding-dino-weights", "nobody/nothing"]
    done = CliRunner().invoke(app, [table, *options])
    assert done.exit_code == 0, done.output
    lines = (tmp_path / "out" / "reproduction.md").read_text().splitlines()
    rows = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:]] for line in lines[4:]}
    assert list(rows) == names
    published = read_published(table)
    hota, shown = rows["y-smotracker"][0].split(" / ")
    assert float(hota) > 20 and shown == f"{published['rows']['y-smotracker'][0]:.1f}"
    assert rows["y-smotracker"][2].split(" / ") == ["1", str(published["rows"]["y-smotracker"][2])]
    assert rows["g-smotracker"][0].startswith("- / ") and "not on this machine" in rows["g-smotracker"][-2]
    if table == "doha":
        assert rows["topictrack"][0].endswith(" / -") and not rows["bytetrack"][0].startswith("-")


def test_all_published_rows_can_be_computed() -> None:
    for table in ("doha", "anti-uav", "dut"):
        published = read_published(table)
        assert len(published["rows"]) == 10
        assert tracker_names(",".join(published["rows"])) == list(published["rows"])
        assert all(len(row) == len(published["columns"]) for row in published["rows"].values())
    with pytest.raises(ComparisonError, match="unknown table 'mot17'; there are: doha, anti-uav, dut"):
        read_published("mot17")


def test_a_tracker_without_published_figures_has_a_row() -> None:
    published = {"title": "T", "columns": ["HOTA", "IDs"], "rows": {"a": [10.26, 3]}}
    rows = {"a": {"combined": None, "note": "n"}, "b": {"combined": {"HOTA": 50.0, "IDs": 2}, "note": ""}}
    assert reproduction_table(rows, published).splitlines()[4:] == [
        "| a | - / 10.3 | - / 3 | n |",
        "| b | 50.0 / - | 2 / - |  |",
    ]

"""Labelled clips mirrored, played backwards, and both: three more data sets of the same statistics.

    python benchmarks/turned_clips.py --data DATA/composed --output runs/turned

What a tracker does at a crossing hangs on single pixels, and twenty clips hold some fifty crossings: one more that goes
wrong moves HOTA by tenths of a point, and the clip's by ten. A rule that helps must help the clips as they are,
mirrored, and played backwards, where what left comes in and what flew apart meets. Writes OUTPUT/mirrored,
OUTPUT/backwards and OUTPUT/mirrored_backwards in the layout that `smotracker compare` reads; videos are encoded anew,
nearly without loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import av
import numpy as np
import typer
from rich.progress import track as progress

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.evaluation.datasets import read_dataset
from smotracker_ros.evaluation.sequences import EvaluationSequence

# (mirrored, backwards) by name of the data set
TURNS = {"mirrored": (True, False), "backwards": (False, True), "mirrored_backwards": (True, True)}
LABELS = ("gt.txt", "gt_label.txt")
# Nearly without loss: compression noise would be a second difference
QUALITY = {"crf": "12", "preset": "fast"}


def turn_labels(text: str, width: int, length: int, mirrored: bool, backwards: bool) -> str:
    """Rows `frame,id,x,y,w,h,...` of a clip of so many pixels and frames, turned; sorted by frame and id."""
    rows = []
    for line in text.splitlines():
        row = line.split(",")
        if backwards:
            row[0] = str(length + 1 - int(row[0]))
        if mirrored:
            row[2] = f"{width - float(row[2]) - float(row[4]):.2f}"
        rows.append(row)
    rows.sort(key=lambda row: (int(row[0]), int(row[1])))
    return "".join(",".join(row) + "\n" for row in rows)


def write_video(path: Path, images: Sequence[UInt8Image], fps: int) -> None:
    """Encode uint8 RGB images (height, width, 3) as h264."""
    height, width = images[0].shape[:2]
    with av.open(str(path.absolute()), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=QUALITY)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode())


def turn(sequence: EvaluationSequence, output: Path) -> None:
    """Write all turned copies of a clip."""
    directory = sequence.directory
    settings = (directory / "seqinfo.ini").read_text(encoding="utf-8")
    images = [frame.image for frame in sequence.frames()]
    for name, (mirrored, backwards) in TURNS.items():
        target = output / name / directory.name
        (target / "gt").mkdir(parents=True)
        turned = images[::-1] if backwards else images
        write_video(
            target / "video.mp4", [image[:, ::-1] if mirrored else image for image in turned], round(sequence.fps)
        )
        (target / "seqinfo.ini").write_text(settings, encoding="utf-8")
        for file in LABELS:
            if (directory / "gt" / file).exists():
                text = (directory / "gt" / file).read_text(encoding="utf-8")
                labels = turn_labels(text, images[0].shape[1], len(images), mirrored, backwards)
                (target / "gt" / file).write_text(labels, encoding="utf-8")


def main(
    data: Annotated[Path, typer.Option(help="Folder of labelled clips.", exists=True)],
    output: Annotated[Path, typer.Option(help="Folder for the three data sets; must not hold them yet.")],
) -> None:
    """Command line."""
    taken = [name for name in TURNS if (output / name).exists()]
    if taken:
        raise typer.BadParameter(f"{output} holds {', '.join(taken)} already; name another folder")
    clips = read_dataset(data)
    cut = [clip.name for clip in clips if clip.cuts]
    if cut:
        raise typer.BadParameter(f"clips with cuts cannot be turned, leave them out: {', '.join(cut)}")
    for clip in progress(clips, description="clips"):
        turn(clip, output)


if __name__ == "__main__":
    typer.run(main)

"""Motion stack: a frame and two older ones, laid over it by the camera's motion, as the three channels of one image.

A small target is known by its motion: where the background is held still, what moves differs between the channels. A
detector of colour images needs no other architecture for it. Multi-frame input is common among detectors of small
flying targets (TransVisDrone, Sangam et al. 2022; YOLOMG, Guo et al. 2025).
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import Frame, UInt8Image
from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.detection.detections import Detections, Detector, MotionDetector
from smotracker_ros.detection.regions import RegionDetector, Regions

Matrix = npt.NDArray[np.float64]

# Share of an age by which a frame's time may miss the wanted one
_TOLERANCE = 0.5
# Frames nearer to each other than this share of the smaller age are not all kept: fast cameras would fill the memory
_SPACING = 0.25


def lay_over(older: UInt8Image, matrix: Matrix, newest: UInt8Image, corner: tuple[int, int] = (0, 0)) -> UInt8Image:
    """Bring an older picture to the place of the newest.

    Args:
        older: uint8 grey (height, width).
        matrix: (2, 3), maps pixels of the older picture to those of the newest.
        newest: uint8 grey (height, width), or a part of it.
        corner: column and row in the newest picture at which that part begins.

    Returns:
        uint8 of the newest's size; the newest picture where the older one did not see, so that nothing seems to move
        there.
    """
    height, width = newest.shape
    if np.allclose(matrix, np.eye(3)[:2], atol=1e-3):
        return older[corner[1] : corner[1] + height, corner[0] : corner[0] + width]
    result = newest.copy()
    moved = matrix - np.array([[0, 0, corner[0]], [0, 0, corner[1]]])
    cv2.warpAffine(older, moved, (width, height), result, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)
    return result


class MotionStack:
    """Keeps the grey pictures of the last moments of a stream and lays them over the newest.

    Args:
        seconds: ages of the two older frames, the younger first.
    """

    def __init__(self, seconds: Sequence[float]) -> None:
        self._seconds = tuple(seconds)
        self._past: deque[tuple[int, UInt8Image, Matrix]] = deque()
        self._newest: tuple[int, UInt8Image] | None = None

    @property
    def memory_bytes(self) -> int:
        """Bytes of the pictures held."""
        held = [picture for _, picture, _ in self._past]
        return sum(picture.nbytes for picture in held) + (self._newest[1].nbytes if self._newest else 0)

    def reset(self) -> None:
        """Forget the stream."""
        self._past.clear()
        self._newest = None

    def push(self, frame: Frame, shift: Matrix) -> None:
        """Add the next frame.

        Args:
            frame: the frame; one of another size, or from before the last one, starts anew.
            shift: the camera's motion, (2, 3): maps pixels of the previous frame to those of this one.
        """
        grey = frame.grey
        if self._newest is not None:
            time, picture = self._newest
            if picture.shape != grey.shape or frame.timestamp_ns < time:
                self.reset()
            else:
                step = np.vstack([shift, [0, 0, 1]])
                moved = [(stamp, old, (step @ np.vstack([matrix, [0, 0, 1]]))[:2]) for stamp, old, matrix in self._past]
                spacing = _SPACING * min(self._seconds) * 1e9
                if len(moved) < 2 or time - moved[-2][0] >= spacing:
                    moved.append((time, picture, step[:2]))
                else:
                    moved[-1] = (time, picture, step[:2])
                oldest = frame.timestamp_ns - round((1 + _TOLERANCE) * max(self._seconds) * 1e9)
                self._past = deque(item for item in moved if item[0] >= oldest)
        self._newest = frame.timestamp_ns, grey

    def image(self, regions: Regions | None = None) -> UInt8Image:
        """The stack, uint8 (height, width, 3), newest first; the newest stands in for frames that are not there.

        Args:
            regions: what of it is wanted; the rest is black. None: all.

        Raises:
            ValueError: before the first frame.
        """
        if self._newest is None:
            raise ValueError("a motion stack needs a frame before it can be shown")
        time, newest = self._newest
        older: list[tuple[UInt8Image, Matrix] | None] = []
        for age in self._seconds:
            wanted = time - round(age * 1e9)
            near = min(self._past, key=lambda item: abs(item[0] - wanted), default=None)
            known = near is not None and abs(near[0] - wanted) <= _TOLERANCE * age * 1e9
            older.append(near[1:] if near is not None and known else None)
        height, width = newest.shape
        stack = np.zeros((height, width, 1 + len(older)), dtype=np.uint8)
        for x1, y1, x2, y2 in (Regions.whole(width, height) if regions is None else regions).boxes.tolist():
            part = newest[y1:y2, x1:x2]
            channels = [part]
            for item in older:
                channels.append(part if item is None else lay_over(item[0], item[1], part, (x1, y1)))
            stack[y1:y2, x1:x2] = cv2.merge(channels)
        return stack


class DetectorView:
    """What a detector sees of a stream: its frames as they are, or motion stacks for a :class:`MotionDetector`.

    Args:
        detector: looks at the stream.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        seconds = detector.motion_seconds if isinstance(detector, MotionDetector) else ()
        self._stack = MotionStack(seconds) if seconds else None
        self._frame: Frame | None = None

    def reset(self) -> None:
        """Forget the stream."""
        self._frame = None
        if self._stack is not None:
            self._stack.reset()

    def push(self, frame: Frame, shift: Matrix) -> None:
        """Add the next frame and the camera's motion since the one before, (2, 3); see :meth:`MotionStack.push`."""
        self._frame = frame
        if self._stack is not None:
            self._stack.push(frame, shift)

    def scale(self, image_size: int = 0) -> float:
        """Pixels of the network per pixel of the newest frame; 0: the detector must see whole frames.

        Raises:
            ValueError: before the first frame.
        """
        if not isinstance(self._detector, RegionDetector):
            return 0.0
        return self._detector.scale(self._newest.width, self._newest.height, image_size)

    def regions(self, places: FloatArray, image_size: int = 0) -> Regions:
        """What of the newest frame to look at in order to see some places, float32 (N, 4), xyxy pixels.

        Raises:
            ValueError: before the first frame.
        """
        frame, scale = self._newest, self.scale(image_size)
        if scale == 0:
            return Regions.whole(frame.width, frame.height)
        return Regions.around(places, frame.width, frame.height, scale)

    def detect(self, least_confidence: float = 0.0, image_size: int = 0, regions: Regions | None = None) -> Detections:
        """Detections of the newest frame; see :meth:`Detector.detect`.

        Args:
            least_confidence: detections below are left out.
            image_size: longer side in pixels at which the network sees the whole frame; 0: the detector's choice.
            regions: what of it is looked at; None: all.

        Raises:
            ValueError: before the first frame.
        """
        seen = self._newest
        if self._stack is not None:
            seen = dataclasses.replace(seen, image=self._stack.image(regions))
        if regions is None or regions.is_whole or not isinstance(self._detector, RegionDetector):
            return self._detector.detect(seen, least_confidence, image_size)
        return self._detector.detect_in(seen, regions, least_confidence, image_size)

    @property
    def _newest(self) -> Frame:
        if self._frame is None:
            raise ValueError("a detector needs a frame to look at")
        return self._frame

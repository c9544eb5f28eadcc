"""How a picture is to be turned before it is shown, as videos (display matrix) and photographs (EXIF) state it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import FrameError, UInt8Image

# Of a display matrix, the largest entry beside a quarter turn's, relative to it
_SLANT = 0.01


@dataclass(frozen=True)
class Orientation:
    """A way to turn a picture by quarter turns and mirrors.

    Attributes:
        transposed: rows become columns, first.
        mirrored: left and right change places, then.
        upside_down: top and bottom change places.
    """

    transposed: bool = False
    mirrored: bool = False
    upside_down: bool = False

    def apply(self, image: UInt8Image) -> UInt8Image:
        """The picture as it is to be seen, C-contiguous (height, width, 3)."""
        turned = image.swapaxes(0, 1) if self.transposed else image
        turned = turned[:, ::-1] if self.mirrored else turned
        return np.ascontiguousarray(turned[::-1] if self.upside_down else turned)


UPRIGHT = Orientation()
_EXIF = {
    2: Orientation(mirrored=True),
    3: Orientation(mirrored=True, upside_down=True),
    4: Orientation(upside_down=True),
    5: Orientation(transposed=True),
    6: Orientation(transposed=True, mirrored=True),
    7: Orientation(transposed=True, mirrored=True, upside_down=True),
    8: Orientation(transposed=True, upside_down=True),
}


def exif_orientation(code: object) -> Orientation:
    """The orientation of EXIF's tag 274; anything unknown leaves the picture as it is."""
    return _EXIF.get(code, UPRIGHT) if isinstance(code, int) else UPRIGHT


def matrix_orientation(matrix: npt.NDArray[np.int32]) -> Orientation:
    """The orientation of a display matrix.

    Args:
        matrix: int32 (3, 3) as FFmpeg has it: the point (x, y) is shown at (x, y, 1) @ matrix. Shifts and scales are
            left out.

    Raises:
        FrameError: if the picture is to be shown aslant.
    """
    turn = matrix[:2, :2].astype(np.float64)
    straight, crossed = np.abs(np.diag(turn)), np.abs(np.diag(turn[::-1]))
    if max(straight.max(), crossed.max()) == 0:
        return UPRIGHT
    transposed = bool(crossed.max() > straight.max())
    wanted, unwanted = (crossed, straight) if transposed else (straight, crossed)
    if unwanted.max() > _SLANT * wanted.max() or wanted.min() == 0:
        angle = np.degrees(np.arctan2(turn[0, 1], turn[0, 0]))
        raise FrameError(f"it is to be shown turned by {angle:.0f} degrees, not by quarter turns; turn its pixels")
    across, down = (turn[1, 0], turn[0, 1]) if transposed else (turn[0, 0], turn[1, 1])
    return Orientation(transposed, bool(across < 0), bool(down < 0))

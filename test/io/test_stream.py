"""What breaks a stream: the rules of the node, for recordings, said once."""

from __future__ import annotations

import numpy as np

from smotracker_ros.core.frames import Frame
from smotracker_ros.io.stream import FrameOrder, StreamRules


def frame(index: int, seconds: float, size: tuple[int, int] = (16, 24)) -> Frame:
    return Frame(np.zeros((*size, 3), np.uint8), round(seconds * 1e9), index)


def test_sizes_and_times_that_break_a_recording() -> None:
    told: list[str] = []
    rules = StreamRules(told.append)
    frames = [
        frame(0, 10.0),
        frame(1, 10.1),
        frame(2, 10.05),  # overtaken
        frame(3, 10.1),  # sent twice
        frame(4, 10.2, (32, 48)),
        frame(5, 10.3),
        frame(6, 3.0),  # begun anew
        frame(7, 90.0),  # a gap
    ]
    broken = {item.index: rules.broken for item in frames if rules.admit(item)}
    assert broken == {0: False, 1: False, 4: True, 5: True, 6: True, 7: False}
    assert (rules.out_of_order, rules.restarts) == (2, 3)
    assert len(told) == 2
    assert "frame 3 is left out" in told[0]
    assert "frame 5: the image size changed from 24x16 to 48x32" in told[1]


def test_the_reason_is_that_of_the_last_image() -> None:
    order = FrameOrder()
    order.place(10**10, (16, 24))
    assert order.place(10**9, (16, 24)) == (0, True)
    assert order.reason == "time jumped back by 9.000 s"
    assert order.place(2 * 10**9, (16, 24)) == (1, False)
    assert order.reason == ""

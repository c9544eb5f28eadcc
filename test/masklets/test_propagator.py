"""The propagator on a rendered target, with the embedded model in torch and in onnxruntime."""

import numpy as np
import pytest

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import pairwise_iou
from smotracker_ros.masklets import torch_network as torch_network_module
from smotracker_ros.masklets.checkpoints import load_network
from smotracker_ros.masklets.masks import clean_masks
from smotracker_ros.masklets.memory import DISTRACTOR_AWARE, FIFO, MOTION_AWARE, MemoryPolicy
from smotracker_ros.masklets.network import MaskletNetwork
from smotracker_ros.masklets.onnx_network import OnnxNetwork
from smotracker_ros.masklets.propagator import Guess, Propagator


@pytest.fixture(scope="module", params=[load_network, OnnxNetwork.embedded], ids=["torch", "onnxruntime"])
def network(request: pytest.FixtureRequest) -> MaskletNetwork:
    return request.param()


def _sky(positions: list[tuple[float, float]], index: int = 0) -> Frame:
    generator = np.random.default_rng(index)
    image = np.full((256, 320), 90.0) + np.linspace(-20, 20, 256)[:, None] + generator.normal(0, 1.5, (256, 320))
    y, x = np.mgrid[0:256, 0:320]
    for cx, cy in positions:
        image += 110 * np.exp(-(((x - cx) / 5.0) ** 4 + ((y - cy) / 3.0) ** 4))
    return Frame(np.repeat(np.clip(image, 0, 255).astype(np.uint8)[..., None], 3, axis=2), index * 33_000_000, index)


def _box(x: float, y: float) -> np.ndarray:
    return np.float32([x - 8, y - 6, x + 8, y + 6])


def test_two_targets_are_carried_and_a_third_joins(network: MaskletNetwork) -> None:
    propagator = Propagator(network, MOTION_AWARE, "windows")
    places = {1: (80.0, 90.0), 2: (220.0, 150.0)}
    propagator.prompt(_sky(list(places.values())), {key: _box(*place) for key, place in places.items()})
    for index in range(1, 25):
        places = {key: (x + 1.5, y + (0.7 if key == 1 else -0.7)) for key, (x, y) in places.items()}
        frame = _sky(list(places.values()), index)
        result = propagator.step(frame)
        if index == 10:
            places[3] = (40.0, 200.0)
            frame = _sky(list(places.values()), index)
            result |= propagator.prompt(frame, {3: _box(40, 200)})
        for key, place in places.items():
            box = result[key].box
            assert box is not None, f"object {key} lost at frame {index}"
            center = (box[:2] + box[2:]) / 2
            assert np.abs(center - place).max() < 6, f"object {key} at {center}, truth {place}"
    assert result[1].mask.area >= 8


def test_groups_too_large_for_the_caches_are_split_without_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    network = load_network()
    places = [(80.0, 90.0), (220.0, 150.0), (150.0, 60.0)]
    boxes = {key: _box(*place) for key, place in enumerate(places)}
    answers = []
    for pixels in (torch_network_module._PIXELS_TOGETHER, network.image_size**2):
        monkeypatch.setattr(torch_network_module, "_PIXELS_TOGETHER", pixels)
        propagator = Propagator(network, FIFO, "windows")
        propagator.prompt(_sky(places), boxes)
        assert len(propagator._groups([0, 1, 2])) == (1 if pixels > network.image_size**2 else 3)
        answers.append([propagator.step(_sky(places, index)) for index in range(1, 4)])
    for together, one_by_one in zip(*answers, strict=True):
        for key in boxes:
            assert one_by_one[key].box == pytest.approx(together[key].box, abs=0.05)
            assert one_by_one[key].predicted_iou == pytest.approx(together[key].predicted_iou, abs=1e-3)


def test_dropping_forgets_and_other_objects_go_on(network: MaskletNetwork) -> None:
    propagator = Propagator(network, MOTION_AWARE, "windows")
    frame = _sky([(80, 90), (220, 150)])
    propagator.prompt(frame, {1: _box(80, 90), 2: _box(220, 150)})
    before = propagator.memory_bytes
    propagator.drop([1, 99])
    assert propagator.ids == (2,)
    assert propagator.memory_bytes == pytest.approx(before / 2)
    assert set(propagator.step(_sky([(80, 90), (220, 150)], 1))) == {2}


def test_a_correction_moves_the_masklet(network: MaskletNetwork) -> None:
    propagator = Propagator(network, MOTION_AWARE, "windows")
    frame = _sky([(80, 90), (150, 90)])
    propagator.prompt(frame, {1: _box(80, 90)})
    later = _sky([(80, 90), (150, 90)], 1)
    propagator.step(later)
    corrected = propagator.prompt(later, {1: _box(150, 90)})[1]
    assert corrected.box is not None
    assert pairwise_iou(corrected.box, _box(150, 90))[0, 0] > 0.2
    following = propagator.step(_sky([(80, 90), (150, 90)], 2))[1]
    assert following.box is not None and abs((following.box[0] + following.box[2]) / 2 - 150) < 5


def test_suspended_objects_keep_their_memory(network: MaskletNetwork) -> None:
    propagator = Propagator(network, MOTION_AWARE, "windows")
    frame = _sky([(80, 90), (220, 150)])
    propagator.prompt(frame, {1: _box(80, 90), 2: _box(220, 150)})
    for index in range(1, 5):
        assert set(propagator.step(_sky([(80, 90), (220, 150)], index), [2])) == {2}
    assert set(propagator.ids) == {1, 2}
    woken = propagator.step(_sky([(80, 90), (220, 150)], 5), [1, 2], {1: Guess(np.float32([80, 90]), 16.0)})
    assert woken[1].box is not None


@pytest.mark.parametrize("policy", [FIFO, MOTION_AWARE, DISTRACTOR_AWARE], ids=lambda policy: policy.name)
def test_what_was_suspended_for_long_can_be_prompted_again(network: MaskletNetwork, policy: MemoryPolicy) -> None:
    propagator = Propagator(network, policy, "windows")
    places = [(80.0, 90.0), (220.0, 150.0)]
    propagator.prompt(_sky(places), {1: _box(*places[0]), 2: _box(*places[1])})
    for index in range(1, 10):
        propagator.step(_sky(places, index))
    for index in range(10, 120):
        propagator.step(_sky(places[1:], index), [2])
    found = propagator.prompt(_sky([(100.0, 80.0), places[1]], 120), {1: _box(100, 80)})[1]
    assert found.box is not None
    assert float(pairwise_iou(found.box, np.float32([95, 77, 106, 84]))[0, 0]) > 0.4


def test_memory_per_object_is_bounded(network: MaskletNetwork) -> None:
    propagator = Propagator(network, MOTION_AWARE, "windows")
    propagator.prompt(_sky([(80, 90)]), {1: _box(80, 90)})
    sizes = []
    for index in range(1, 30):
        propagator.step(_sky([(80, 90)], index))
        sizes.append(propagator.memory_bytes)
    assert sizes[-1] == sizes[-10] < 64 * 1024


def test_the_same_frames_give_the_same_masks_bit_for_bit(network: MaskletNetwork) -> None:
    def run() -> list[bytes]:
        propagator = Propagator(network, MOTION_AWARE, "windows")
        propagator.prompt(_sky([(80, 90), (220, 150)]), {1: _box(80, 90), 2: _box(220, 150)})
        frames = [_sky([(80 + i, 90), (220, 150 - i)], i) for i in range(1, 6)]
        return [m.mask.pixels.tobytes() for f in frames for m in propagator.step(f).values()]

    assert run() == run()


def test_appearance_vectors_are_unit_and_tell_places_apart(network: MaskletNetwork) -> None:
    propagator = Propagator(network, MOTION_AWARE, "windows")
    frame = _sky([(80, 90)])
    vectors = propagator.describe(frame, np.stack([_box(80, 90), _box(81, 90), _box(220, 180)]))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert len(propagator.describe(frame, np.zeros((0, 4), np.float32))) == 0


def test_specks_are_removed_and_large_pieces_kept() -> None:
    logits = np.full((32, 32), -3.0, dtype=np.float32)
    logits[5:15, 5:15] = 4
    logits[20:30, 20:26] = 4
    logits[1, 30] = 9
    whole, empty = np.full((32, 32), -3.0, dtype=np.float32), np.full((32, 32), -3.0, dtype=np.float32)
    whole[3:8, 31] = 1
    cleaned, same, nothing = clean_masks(np.stack([logits, whole, empty]))
    left = cleaned.logits > 0
    assert left[10, 10] and left[25, 22] and not left[1, 30]
    assert cleaned.box is not None and cleaned.box.tolist() == [5, 5, 26, 30], "of what is left"
    assert same.box is not None and same.box.tolist() == [31, 3, 32, 8]
    np.testing.assert_array_equal(same.logits, whole)
    assert nothing.box is None


def test_frames_with_a_similar_neighbour_are_remembered_for_long(network: MaskletNetwork) -> None:
    propagator = Propagator(network, DISTRACTOR_AWARE, "windows")
    propagator.prompt(_sky([(120, 120), (150, 124)]), {1: _box(120, 120)})
    recent = network.recent_limit
    for index in range(1, 25):
        x = 120 + 1.5 * index
        result = propagator.step(_sky([(x, 120), (x + 30, 124)], index))[1]
        assert result.box is not None
        assert np.abs((result.box[:2] + result.box[2:]) / 2 - [x, 120]).max() < 6
        prompted_and_anchors, newest, _ = propagator._objects[1].bank.signature
        assert prompted_and_anchors <= 1 + DISTRACTOR_AWARE.anchors and newest <= recent
    assert propagator.memory_bytes > 0
